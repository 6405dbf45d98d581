"""Weights of others in our networks, and the same numbers out: Flax's cells beside ours, PyTorch's by the formulas of its manual."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attention_jax import encoders
from attention_jax.adapters.interchange import OURS, cell_from_flax, recurrent_from_torch, recurrent_to_torch
from attention_jax.config import ModelConfig
from attention_jax.layers import cells, recurrence
from attention_jax.system.errors import ConfigError, DataError

B, S, E, H = 2, 4, 3, 5
LENGTHS = np.array([4, 2])
MASK = np.arange(S)[None, :] < LENGTHS[:, None]
KEY = jax.random.key(0)
INPUTS = np.random.default_rng(0).normal(size=(B, S, E)).astype(np.float32)
LINEN = [(nn.SimpleCell, "rnn"), (nn.LSTMCell, "lstm"), (nn.OptimizedLSTMCell, "lstm"), (nn.GRUCell, "gru")]
NNX = [(nnx.SimpleCell, "rnn"), (nnx.LSTMCell, "lstm"), (nnx.OptimizedLSTMCell, "lstm"), (nnx.GRUCell, "gru")]


def random_like(tree, scale: float = 0.5):
    """Random arrays of the shapes in a tree, biases included."""
    draw = np.random.default_rng(1).normal
    return jax.tree.map(lambda leaf: draw(0, scale, leaf.shape).astype(np.float32), tree)


def ours(params, cell: str):
    run = jax.jit(lambda params: recurrence.run(cells.TABLE[cell](E, H), params, INPUTS, MASK)[0])
    return run(params)


@pytest.mark.parametrize("theirs, cell", LINEN)
def test_a_linen_cell(theirs, cell, evidence):
    layer = nn.RNN(theirs(H))
    variables = random_like(jax.eval_shape(layer.init, KEY, INPUTS))
    states = np.where(MASK[:, :, None], jax.jit(layer.apply)(variables, INPUTS), 0)
    params = cell_from_flax(variables["params"]["cell"], cell)
    evidence(f"cell={cell}", f"flax.linen.{theirs.__name__}, weights copied", ours(params, cell), states)


@pytest.mark.parametrize("theirs, cell", NNX)
def test_an_nnx_cell(theirs, cell, evidence):
    layer = theirs(E, H, rngs=nnx.Rngs(0))
    params = random_like(nnx.to_pure_dict(nnx.state(layer, nnx.Param)))
    nnx.update(layer, params)
    carry, states = layer.initialize_carry((B, E), nnx.Rngs(0)), []
    step = nnx.jit(lambda layer, carry, x: layer(carry, x))
    for t in range(S):
        carry, h = step(layer, carry, INPUTS[:, t])
        states.append(h)
    expected = np.where(MASK[:, :, None], np.stack(states, axis=1), 0)
    evidence(f"cell={cell}", f"flax.nnx.{theirs.__name__}, weights copied", ours(cell_from_flax(params, cell), cell), expected)


def torch_state_dict(cell: str, layers: int, bidirectional: bool) -> dict[str, np.ndarray]:
    """A state dict as PyTorch documents it: (gates * H, inputs) matrices and two biases for each layer and direction."""
    P, shapes = len(OURS[cell]) * H, {}
    for layer in range(layers):
        for suffix in ("", "_reverse") if bidirectional else ("",):
            I = E if layer == 0 else (1 + bidirectional) * H
            shapes |= {f"weight_ih_l{layer}{suffix}": (P, I), f"weight_hh_l{layer}{suffix}": (P, H)}
            shapes |= {f"bias_ih_l{layer}{suffix}": (P,), f"bias_hh_l{layer}{suffix}": (P,)}
    draw = np.random.default_rng(2).normal
    return {name: draw(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def σ(x):
    return 1 / (1 + np.exp(-x))


def by_the_manual(weights: dict, cell: str, layers: int, bidirectional: bool, inputs_SxE):
    """(outputs, all final h and c) of one sequence, by the formulas of torch.nn's manual in float64."""
    states, finals = inputs_SxE.astype(np.float64), []
    for layer in range(layers):
        outputs = []
        for suffix in ("", "_reverse") if bidirectional else ("",):
            W, U, b, d = (
                weights[f"{kind}_l{layer}{suffix}"].astype(np.float64) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h, c, rows = np.zeros(H), np.zeros(H), {}
            for t in reversed(range(len(states))) if suffix else range(len(states)):
                x, y = W @ states[t] + b, U @ h + d
                if cell == "rnn":
                    h = np.tanh(x + y)
                elif cell == "lstm":
                    i, f, g, o = np.split(x + y, 4)
                    c = σ(f) * c + σ(i) * np.tanh(g)
                    h = σ(o) * np.tanh(c)
                else:
                    (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(x, 3), np.split(y, 3)
                    z = σ(z_x + z_h)
                    h = (1 - z) * np.tanh(n_x + σ(r_x + r_h) * n_h) + z * h
                rows[t] = h
            outputs.append(np.stack([rows[t] for t in range(len(states))]))
            finals += [h, c] if cell == "lstm" else [h]
        states = np.concatenate(outputs, axis=1)
    return states, np.concatenate(finals)


@pytest.mark.parametrize("cell", OURS)
@pytest.mark.parametrize("layers, bidirectional", [(1, False), (2, True)])
def test_torch(cell, layers, bidirectional, evidence):
    weights = torch_state_dict(cell, layers, bidirectional)
    params = recurrent_from_torch(
        {f"encoder.rnn.{k}": v for k, v in weights.items()} | {"out.weight": 0}, cell, layers, bidirectional, "encoder.rnn."
    )
    encoder = encoders.build(ModelConfig(cell=cell, hidden_size=H, layers=layers, direction="both" if bidirectional else "forward"), E)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, jax.eval_shape(encoder.init, KEY))
    memory = jax.jit(encoder.apply)(params, INPUTS, MASK)
    for b, length in enumerate(LENGTHS):
        states, final = by_the_manual(weights, cell, layers, bidirectional, INPUTS[b, :length])
        evidence(f"cell={cell}", "formulas of torch.nn's manual in float64", memory.states_BxSxM[b, :length], states)
        evidence(f"cell={cell}", "formulas of torch.nn's manual in float64", memory.final_BxD[b], final)
    back = recurrent_to_torch(params, cell)
    assert back.keys() == weights.keys()
    for name, array in back.items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
        assert array.flags["C_CONTIGUOUS"] and array.flags["WRITEABLE"]


def test_torch_without_biases():
    weights = {name: array for name, array in torch_state_dict("gru", 1, False).items() if "bias" not in name}
    params = recurrent_from_torch(weights, "gru")
    assert not np.any(params["layer0"]["forward"]["input"]["bias"]) and not np.any(
        params["layer0"]["forward"]["recurrent"]["hidden"]["bias"]
    )


class OnAnotherDevice:
    """What numpy cannot read."""

    def __array__(self, *arguments, **settings):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda d: d.pop("weight_ih_l0"),
            "the state dict has no matrix weight_ih_l0; it has weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, …",
        ),
        (
            lambda d: d.pop("bias_hh_l0_reverse"),
            "the state dict lacks bias_hh_l0_reverse, which torch.nn.LSTM of 1 layer, bidirectional has",
        ),
        (
            lambda d: d.update(weight_ih_l1=np.zeros((20, 10))),
            "the state dict has weight_ih_l1, which torch.nn.LSTM of 1 layer, bidirectional has not",
        ),
        (
            lambda d: d.update(weight_hr_l0=np.zeros((2, 5)), weight_hh_l0=np.zeros((20, 2))),
            "the state dict has weight_hr_l0, which comes of a proj_size: proj_size has no counterpart here",
        ),
        (
            lambda d: d.update(bias_hh_l0=d["bias_hh_l0"].astype(np.float64)),
            "bias_hh_l0 is float64, which JAX would round to float32: convert it (.float()), or set JAX_ENABLE_X64=1",
        ),
        (
            lambda d: d.update(weight_hh_l0=np.zeros((20, 4))),
            "weight_hh_l0 is of shape (20, 4): torch.nn.LSTM of 1 layer, bidirectional has (20, 5) there",
        ),
        (lambda d: d.update(bias_ih_l0=OnAnotherDevice()), "bias_ih_l0 cannot be read as a numpy array: can't convert cuda:0"),
        (lambda d: d.clear(), "the state dict has no matrix weight_ih_l0; it has nothing"),
    ],
)
def test_a_state_dict_that_does_not_fit(change, message):
    weights = torch_state_dict("lstm", 1, True)
    change(weights)
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        recurrent_from_torch(weights, "lstm", bidirectional=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"ir": 0}, "a Flax gru has ir, iz, in, hr, hz, hn; missing or left over: hn, hr, hz, in, iz"),
        ({"dense_i": {}, "dense_h": {}, "norm": {}}, "a Flax gru has dense_i, dense_h; missing or left over: norm"),
        (
            {"dense_i": {"kernel": np.zeros((2, 6))}, "dense_h": {"kernel": np.zeros((3, 6))}},
            "the kernel of dense_h is of shape (3, 6), where the others ask for (2, 6)",
        ),
        (
            {"dense_i": {"kernel": np.zeros((2, 6))}, "dense_h": {"bias": np.zeros(6)}},
            "a Flax gru has a matrix dense_h.kernel, and this one has not",
        ),
        (
            {"dense_i": {"kernel": np.zeros((2, 6), np.float32)}, "dense_h": {"kernel": np.zeros((2, 6))}},
            "dense_h.kernel is float64, which JAX would round to float32: convert it (.float()), or set JAX_ENABLE_X64=1",
        ),
    ],
)
def test_a_cell_that_does_not_fit(params, message):
    with pytest.raises(DataError, match=re.escape(message)):
        cell_from_flax(params, "gru")


@pytest.mark.parametrize("biases", [True, False])
def test_float64_stays_float64_where_jax_has_it(biases):
    weights = {name: array.astype(np.float64) for name, array in torch_state_dict("lstm", 1, False).items() if biases or "bias" not in name}
    flax = {"dense_i": {"kernel": np.full((E, 3 * H), 1 / 3)}, "dense_h": {"kernel": np.full((H, 3 * H), 1 / 3)}}
    with jax.enable_x64(True):
        params = recurrent_from_torch(weights, "lstm")
        back = recurrent_to_torch(params, "lstm")
        cell = cell_from_flax(flax, "gru")
    assert {leaf.dtype for leaf in jax.tree.leaves((params, back, cell))} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(back["weight_hh_l0"], weights["weight_hh_l0"])
    np.testing.assert_array_equal(cell["input"]["weight"], flax["dense_i"]["kernel"])


def test_cells_without_a_counterpart():
    for convert in (recurrent_from_torch, recurrent_to_torch, cell_from_flax):
        with pytest.raises(ConfigError, match="cell='gru_before' is unknown; valid: rnn, lstm, gru"):
            convert({}, "gru_before")
