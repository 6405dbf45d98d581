"""Other people's implementations with our weights: PyTorch's layers and joeynmt's encoder-decoder.

Nothing here is imported unless it is installed: `installed(name)` says so, and prints how to install what is missing.
"""

import importlib.util
import logging
from functools import cache
from types import SimpleNamespace

import jax
import numpy as np

from attention_jax.adapters import interchange
from attention_jax.layers import precision
from attention_jax.system import machine
from attention_jax.types import BOS, EOS, PAD, UNK

REMEDY = {
    "torch": "pip install -e '.[peers]'",
    "joeynmt": "pip install --no-deps joeynmt==2.3.0 (its own requirements: see benchmarks/__init__.py)",
}


@cache
def installed(name: str) -> bool:
    """True where torch or joeynmt (which needs torch) is installed; prints a line, once, where it is not."""
    for needed in ("torch", name):
        if importlib.util.find_spec(needed) is None:
            print(f"   without {name}: {needed} is not installed: {REMEDY[needed]}", flush=True)
            return False
    return True


def ready() -> None:
    """Sets PyTorch up, if it is installed: all cores, and products of float32 in our precision."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    torch.set_num_threads(machine.cores())
    torch.set_float32_matmul_precision({"highest": "highest", "tf32": "high", "bf16": "medium"}[precision.current()])
    torch.backends.cudnn.allow_tf32 = precision.current() != "highest"
    logging.disable(logging.INFO)  # joeynmt tells of every optimizer it makes


def tensors(arrays: dict) -> dict:
    """Returns {name: torch tensor}, copies of `arrays`, on the GPU if JAX has one."""
    import torch

    return {name: torch.from_numpy(np.array(array)).to(device()) for name, array in arrays.items()}


def device() -> str:
    """Returns PyTorch's name of the kind of device that JAX uses."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def wait() -> None:
    """Waits for PyTorch's device to finish."""
    if device() == "cuda":
        import torch

        torch.cuda.synchronize()


def joeynmt_model(params: dict, V: int, E: int, H: int):
    """Returns joeynmt's bidirectional GRU with Bahdanau attention, input feeding and a bridge, with our weights."""
    from joeynmt.decoders import RecurrentDecoder
    from joeynmt.embeddings import Embeddings
    from joeynmt.encoders import RecurrentEncoder
    from joeynmt.model import Model

    encoder = RecurrentEncoder(rnn_type="gru", hidden_size=H, emb_size=E, num_layers=1, bidirectional=True)
    decoder = RecurrentDecoder(
        rnn_type="gru",
        emb_size=E,
        hidden_size=H,
        encoder=encoder,
        attention="bahdanau",
        num_layers=1,
        vocab_size=V,
        init_hidden="bridge",
        input_feeding=True,
    )
    source, target = (Embeddings(embedding_dim=E, vocab_size=V, padding_idx=PAD) for _ in range(2))
    model = Model(encoder, decoder, source, target, vocabulary(), vocabulary())
    model.loss_function = ("crossentropy", 0.0)
    model.load_state_dict(tensors(joeynmt_weights(params)))
    return model.to(device())


def vocabulary() -> SimpleNamespace:
    """Returns a vocabulary for joeynmt's model, with our special tokens."""
    return SimpleNamespace(
        pad_index=PAD, bos_index=BOS, eos_index=EOS, unk_index=UNK, sep_index=None, specials=[], lang_tags=[], lookup=lambda token: token
    )


def joeynmt_weights(params: dict) -> dict[str, np.ndarray]:
    """Converts our parameters, or their gradients, to joeynmt's names and layout.

    Its readout does not see the previous token, and its logits have no bias: `without_extras` makes ours so. Its decoder's GRU reads
    the embedding and the readout as one input, [E; R].
    """
    decoder, E = params["decoder"], params["target_embedding"].shape[1]
    cell, feed = decoder["cell"], decoder["feed"]
    cell = cell | {"input": cell["input"] | {"weight": np.concatenate([cell["input"]["weight"], feed])}}
    encoder_rnn = interchange.recurrent_to_torch(params["encoder"], "gru")
    decoder_rnn = interchange.recurrent_to_torch({"layer0": {"forward": cell}}, "gru")
    weights = {
        "src_embed.lut.weight": params["source_embedding"],
        "trg_embed.lut.weight": params["target_embedding"],
        **{f"encoder.rnn.{name}": array for name, array in encoder_rnn.items()},
        **{f"decoder.rnn.{name}": array for name, array in decoder_rnn.items()},
        "decoder.bridge_layer.weight": decoder["start"]["weight"].T,
        "decoder.bridge_layer.bias": decoder["start"]["bias"],
        "decoder.attention.key_layer.weight": decoder["attention"]["score"]["memory"].T,
        "decoder.attention.query_layer.weight": decoder["attention"]["score"]["query"].T,
        "decoder.attention.energy_layer.weight": decoder["attention"]["score"]["v"].T,
        "decoder.att_vector_layer.weight": decoder["readout"]["weight"][:-E].T,
        "decoder.att_vector_layer.bias": decoder["readout"]["bias"],
        "decoder.output_layer.weight": params["logits"]["weight"].T,
    }
    return {name: np.ascontiguousarray(array) for name, array in weights.items()}


def without_extras(params: dict) -> dict:
    """Returns our parameters with zeros where joeynmt has none: the previous token in the readout, the logits' bias."""
    E, readout, logits = params["target_embedding"].shape[1], params["decoder"]["readout"], params["logits"]
    readout = readout | {"weight": readout["weight"].at[-E:].set(0)}
    return params | {
        "decoder": params["decoder"] | {"readout": readout},
        "logits": logits | {"bias": 0 * logits["bias"]},
    }
