"""The encoder-decoder of `training` in plain PyTorch, for machines without joeynmt: its layers are PyTorch's own, on a GPU cuDNN's.

What joeynmt computes at these settings, without what it does besides: no masks, and nothing is left for a search. Layers have joeynmt's
names, so that weights and gradients travel by `peers.joeynmt_weights`.
"""

from typing import Any

from attention_jax.types import BOS


def layers(V: int, E: int, H: int):
    """Builds a bidirectional GRU, a bridge, additive attention and a GRU that is fed its readout, as a `torch.nn.ModuleDict`."""
    from torch import nn

    attention = {
        "key_layer": nn.Linear(2 * H, H, bias=False),
        "query_layer": nn.Linear(H, H, bias=False),
        "energy_layer": nn.Linear(H, 1, bias=False),
    }
    decoder = {
        "rnn": nn.GRU(E + H, H, batch_first=True),
        "bridge_layer": nn.Linear(2 * H, H),
        "attention": nn.ModuleDict(attention),
        "att_vector_layer": nn.Linear(3 * H, H),
        "output_layer": nn.Linear(H, V, bias=False),
    }
    embeddings = {name: nn.ModuleDict({"lut": nn.Embedding(V, E)}) for name in ("src_embed", "trg_embed")}
    encoder = {"rnn": nn.GRU(E, H, batch_first=True, bidirectional=True)}
    return nn.ModuleDict(embeddings | {"encoder": nn.ModuleDict(encoder), "decoder": nn.ModuleDict(decoder)})


def nll(model: Any, source_BxS: Any, target_BxT: Any):
    """Returns -log p of every target word, BxT, of sentences of full length; the decoder's GRU is called step by step."""
    import torch

    decoder, attention = model["decoder"], model["decoder"]["attention"]
    memory_BxSxM, final_2xBxH = model["encoder"]["rnn"](model["src_embed"]["lut"](source_BxS))
    keys_BxSxA = attention["key_layer"](memory_BxSxM)
    state_1xBxH = torch.tanh(decoder["bridge_layer"](torch.cat([*final_2xBxH], dim=1)))[None]
    previous_BxT = torch.nn.functional.pad(target_BxT[:, :-1], (1, 0), value=BOS)
    readout_Bx1xH, readouts = torch.zeros_like(state_1xBxH).transpose(0, 1), []
    for embedded_Bx1xE in model["trg_embed"]["lut"](previous_BxT).split(1, dim=1):
        query_Bx1xH, state_1xBxH = decoder["rnn"](torch.cat([embedded_Bx1xE, readout_Bx1xH], dim=2), state_1xBxH)
        e_BxSx1 = attention["energy_layer"](torch.tanh(attention["query_layer"](query_Bx1xH) + keys_BxSxA))
        context_Bx1xM = torch.softmax(e_BxSx1, dim=1).transpose(1, 2) @ memory_BxSxM
        readout_Bx1xH = torch.tanh(decoder["att_vector_layer"](torch.cat([query_Bx1xH, context_Bx1xM], dim=2)))
        readouts.append(readout_Bx1xH)
    logits_BxTxV = decoder["output_layer"](torch.cat(readouts, dim=1))
    return torch.nn.functional.cross_entropy(logits_BxTxV.transpose(1, 2), target_BxT, reduction="none")
