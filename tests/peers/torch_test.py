"""PyTorch's recurrent networks and multi-head attention with the same weights, and JoeyNMT's own expected values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention, encoders
from attention_jax.adapters import interchange
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-peers")

B, S, T, E, H = 4, 6, 3, 5, 4
LENGTHS = (6, 4, 1, 3)
MASK_BxS = np.arange(S) < np.array(LENGTHS)[:, None]
NETWORKS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def random(*shape, seed: int = 0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def numbers(tensor):
    return tensor.detach().numpy()


def interleaved(states_LDxBxH, layers: int, directions: int):
    """PyTorch's last states, layer by layer and direction by direction as in final_BxD."""
    return [numbers(states_LDxBxH[i]) for i in range(layers * directions)]


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", NETWORKS)
def test_packed_sequences_give_the_same_states_and_gradients(cell, layers, bidirectional, evidence):
    torch.manual_seed(0)
    theirs = NETWORKS[cell](E, H, layers, batch_first=True, bidirectional=bidirectional)
    direction = "both" if bidirectional else "forward"
    encoder = encoders.build(ModelConfig(cell=cell, hidden_size=H, layers=layers, direction=direction), E)
    params = interchange.recurrent_from_torch(theirs.state_dict(), cell, layers, bidirectional)
    inputs_BxSxE, cotangent_BxSxM = random(B, S, E, seed=1), random(B, S, encoder.memory_size, seed=2) * MASK_BxS[:, :, None]

    inputs = torch.tensor(inputs_BxSxE, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    packed_states, last = theirs(packed)
    states_BxSxM, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_states, batch_first=True)
    (states_BxSxM * torch.tensor(cotangent_BxSxM)).sum().backward()
    carries = last if cell == "lstm" else (last,)
    finals = zip(*(interleaved(states, layers, 1 + bidirectional) for states in carries), strict=True)
    final_BxD = np.concatenate([part_BxH for parts in finals for part_BxH in parts], axis=1)

    @jax.jit
    def ours(params, inputs_BxSxE):
        memory, backward = jax.vjp(lambda p, x: encoder.apply(p, x, jnp.asarray(MASK_BxS)), params, inputs_BxSxE)
        zeros = jax.tree.map(jnp.zeros_like, memory.final_BxD)
        mask_cotangent = np.zeros(memory.mask_BxS.shape, jax.dtypes.float0)
        return memory, backward(memory.replace(states_BxSxM=jnp.asarray(cotangent_BxSxM), mask_BxS=mask_cotangent, final_BxD=zeros))

    memory, (d_params, d_inputs_BxSxE) = ours(params, jnp.asarray(inputs_BxSxE))
    reference = f"torch.nn.{NETWORKS[cell].__name__}, packed sequences"
    evidence(f"cell={cell}", f"{reference}: states", memory.states_BxSxM, numbers(states_BxSxM))
    evidence(f"cell={cell}", f"{reference}: last states", memory.final_BxD, final_BxD)
    evidence(f"cell={cell}", f"{reference}: gradients", d_inputs_BxSxE, inputs.grad.numpy())
    expected = interchange.recurrent_from_torch({name: p.grad for name, p in theirs.named_parameters()}, cell, layers, bidirectional)
    for mine, other in zip(jax.tree.leaves(d_params), jax.tree.leaves(expected), strict=True):
        evidence(f"cell={cell}", f"{reference}: gradients", mine, other)
    row = "recurrent" if not bidirectional else "recurrent direction=both"
    evidence(f"encoder={row}", reference, memory.states_BxSxM, numbers(states_BxSxM))


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_multi_head_attention(heads, evidence):
    """PyTorch's keys and values are projected apart, ours together: it gets the same matrix twice."""
    M = 6
    theirs = torch.nn.MultiheadAttention(M, heads, bias=False, batch_first=True)
    query_MxM, memory_MxM, output_MxM = (random(M, M, seed=seed) * 0.5 for seed in (1, 2, 3))
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.tensor(np.concatenate([query_MxM.T, memory_MxM.T, memory_MxM.T])),
            "out_proj.weight": torch.tensor(output_MxM.T.copy()),
        }
    )
    query_BxTxM, memory_BxSxM = random(B, T, M, seed=4), random(B, S, M, seed=5)
    expected = theirs(
        torch.tensor(query_BxTxM), torch.tensor(memory_BxSxM), torch.tensor(memory_BxSxM), key_padding_mask=torch.tensor(~MASK_BxS)
    )
    params = {"query": query_MxM, "memory": memory_MxM, "output": output_MxM}
    mechanism = attention.build(ModelConfig(attention="scaled_dot", heads=heads), Sizes(M, M, M))
    shapes = jax.eval_shape(mechanism.init, jax.random.key(0))
    if heads == 1:  # the bare mechanism stands between the projections
        query_BxTxM, memory_BxSxM, params = query_BxTxM @ query_MxM, memory_BxSxM @ memory_MxM, shapes
    else:
        params["heads"] = jax.tree.map(jnp.zeros_like, shapes["heads"])
    prepared = mechanism.prepare(params, jnp.asarray(memory_BxSxM), jnp.asarray(MASK_BxS))
    looks = look_at_all(mechanism, params, prepared, mechanism.initial(prepared), jnp.asarray(query_BxTxM))
    context_BxTxM = looks.context_BxTxC @ output_MxM if heads == 1 else looks.context_BxTxC
    row = "heads=N" if heads > 1 else "attention=scaled_dot"
    evidence(row, "torch.nn.MultiheadAttention: outputs", context_BxTxM, numbers(expected[0]))
    evidence(row, "torch.nn.MultiheadAttention: weights", looks.weights_BxTxS, numbers(expected[1]))


JOEY = {  # JoeyNMT 2.3, test/unit/test_attention.py: the first target position of examples 0, 1, 2 and 4, contexts and probabilities
    "additive": (
        [[0.5080, 0.5832, 0.5614], [0.4709, 0.5817, 0.3091], [0.4394, 0.4482, 0.6526], [0.4079, 0.4145, 0.2439]],
        [
            [0.4904, 0.5096, 0.0000, 0.0000, 0.0000],
            [0.3314, 0.3278, 0.3408, 0.0000, 0.0000],
            [0.1977, 0.2047, 0.2040, 0.1936, 0.1999],
            [0.2455, 0.2414, 0.2588, 0.2543, 0.0000],
        ],
    ),
    "general": (
        [[0.5347, 0.2918, 0.4707], [0.5210, 0.6707, 0.4343], [0.4998, 0.5570, 0.3388], [0.4439, 0.5916, 0.3691]],
        [
            [0.3238, 0.6762, 0.0000, 0.0000, 0.0000],
            [0.2483, 0.3291, 0.4226, 0.0000, 0.0000],
            [0.1955, 0.1516, 0.2518, 0.1466, 0.2546],
            [0.2475, 0.2482, 0.2865, 0.2178, 0.0000],
        ],
    ),
}


@pytest.mark.parametrize("name", JOEY)
def test_joeynmt_s_expected_values(name, evidence):
    """Their weights and inputs are what PyTorch's generator gives after manual_seed(42), drawn in the order of their code."""
    torch.manual_seed(42)
    shapes = {"additive": [("memory", 3, 7), ("query", 5, 7), ("v", 7, 1)], "general": [("memory", 3, 5)]}[name]
    weights = {part: numbers(torch.nn.Linear(rows, columns, bias=False).weight).T for part, rows, columns in shapes}
    query_6xTxH, memory_6x5x3 = torch.rand(6, 4, 5).numpy(), torch.rand(6, 5, 3).numpy()
    mask_6x5 = np.arange(5) < np.array([2, 3, 5, 5, 4, 5])[:, None]
    mechanism = attention.build(ModelConfig(attention=name), Sizes(memory=3, query=5, score=7))
    params = {"score": jax.tree.map(jnp.asarray, weights), "normaliser": {}, "window": {}, "estimator": {}}
    prepared = mechanism.prepare(params, jnp.asarray(memory_6x5x3), jnp.asarray(mask_6x5))
    looks = look_at_all(mechanism, params, prepared, mechanism.initial(prepared), jnp.asarray(query_6xTxH))
    examples = np.array([0, 1, 2, 4])
    reference = "JoeyNMT 2.3: test_attention.py, expected values (four decimals)"
    for ours, theirs in zip((looks.context_BxTxC, looks.weights_BxTxS), JOEY[name], strict=True):
        evidence(f"attention={name}", reference, ours[examples, 0], theirs, rtol=0, atol=1e-4)
