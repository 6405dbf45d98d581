"""Cells against their equations in NumPy, against Flax's, and what they start from."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.layers import cells, recurrence

B, S, E, H = 3, 5, 4, 6
LENGTHS = (5, 3, 0)
ROWS = pytest.mark.parametrize("name", cells.TABLE)
LINEAR = ("mingru", "minlstm", "diagonal")


def mask():
    return jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def parameters_of(init):
    """Random parameters of the shapes that `init` makes, biases included."""
    return jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), jax.eval_shape(init, jax.random.key(0)))


def σ(x):
    return 1 / (1 + np.exp(-x))


def numpy_lstm(x, carry, W, U):
    h, c = np.split(carry, 2)
    i, f, o, g = np.split(W["x"](x) + U["hidden"](h), 4)
    c = σ(f) * c + σ(i) * np.tanh(g)
    return np.concatenate([σ(o) * np.tanh(c), c])


def numpy_gru(x, h, W, U):
    (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(W["x"](x), 3), np.split(U["hidden"](h), 3)
    z = σ(z_x + z_h)
    return (1 - z) * np.tanh(n_x + σ(r_x + r_h) * n_h) + z * h


def numpy_gru_before(x, h, W, U):
    (r_x, z_x, n_x), (r_h, z_h) = np.split(W["x"](x), 3), np.split(U["gates"](h), 2)
    z = σ(z_x + z_h)
    return (1 - z) * np.tanh(n_x + U["candidate"](σ(r_x + r_h) * h)) + z * h


def numpy_mingru(x, h, W, U):
    z, n = np.split(W["x"](x), 2)
    return (1 - σ(z)) * h + σ(z) * n


def numpy_minlstm(x, h, W, U):
    f, i, n = np.split(W["x"](x), 3)
    return (σ(f) * h + σ(i) * n) / (σ(f) + σ(i))


def numpy_diagonal(x, h, W, U):
    decay = np.exp(-np.exp(U["decay"](np.zeros(0))))
    return decay * h + np.sqrt(1 - decay**2) * W["x"](x)


NUMPY = {
    "lstm": numpy_lstm,
    "gru": numpy_gru,
    "gru_before": numpy_gru_before,
    "mingru": numpy_mingru,
    "minlstm": numpy_minlstm,
    "diagonal": numpy_diagonal,
}
"""Other rows bring their own `formula`."""


def expected_carry(name, cell, params, carry_F, input_I):
    """The carry after one position, in float64, by the row's own formula or by one of the above."""
    if cell.formula is None:
        W, U = {"x": numpy_affine(params["input"])}, {part: numpy_affine(p) for part, p in params["recurrent"].items()}
        return NUMPY[name](input_I, carry_F, W, U)
    whole = {"input": {"weight": np.zeros((0, cell.projected_size))} | params["input"], "recurrent": params["recurrent"]}
    return cell.formula(jax.tree.map(lambda x: np.asarray(x, np.float64), whole), carry_F, input_I)


def numpy_affine(parameters):
    exact = {name: np.asarray(x, np.float64) for name, x in parameters.items()}
    return lambda x: x @ exact["weight"] + exact["bias"] if "weight" in exact else exact["bias"]


@ROWS
@pytest.mark.parametrize("inputs", [E, 0], ids=["inputs", "no_inputs"])
def test_a_cell_follows_its_equations(evidence, name, inputs):
    cell = cells.TABLE[name](inputs, H)
    params = parameters_of(cell.init)
    inputs_BxSxE = random(B, S, inputs, seed=1)
    h_BxSxH, last_BxF = recurrence.run(cell, params, inputs_BxSxE, mask())
    expected_BxSxH, expected_BxF = np.zeros((B, S, H)), np.zeros((B, cell.carry_size))
    for b, length in enumerate(LENGTHS):
        for s in range(length):
            expected_BxF[b] = expected_carry(name, cell, params, expected_BxF[b], np.asarray(inputs_BxSxE[b, s], np.float64))
            expected_BxSxH[b, s] = expected_BxF[b, :H]
    reference = "its equations, a loop in NumPy, float64"
    evidence(f"cell={name}", reference, h_BxSxH, expected_BxSxH)
    evidence(f"cell={name}", reference, last_BxF, expected_BxF)


def flax_params(params, hidden: str, gates: str, input_name, hidden_name, input_bias: str, hidden_bias: str):
    """Our side-by-side blocks as Flax's one dense layer a gate. It has one bias where ours has two: they are added there."""
    blocks = len(gates)
    x, h = params["input"], params["recurrent"][hidden]
    parts = [jnp.split(p, blocks, axis=-1) for p in (x["weight"], x["bias"], h["weight"], h["bias"])]
    out = {}
    for gate, x_weight, x_bias, h_weight, h_bias in zip(gates, *parts, strict=True):
        out[input_name(gate)], out[hidden_name(gate)] = {"kernel": x_weight}, {"kernel": h_weight}
        if gate in input_bias and gate in hidden_bias:
            out[input_name(gate)]["bias"], out[hidden_name(gate)]["bias"] = x_bias, h_bias
        else:
            out[(input_name if gate in input_bias else hidden_name)(gate)]["bias"] = x_bias + h_bias
    return {"params": {"cell": out}}


FLAX = {
    "rnn": (nn.SimpleCell, ("x", lambda g: "i", lambda g: "h", "x", "")),
    "lstm": (nn.OptimizedLSTMCell, ("ifog", "i{}".format, "h{}".format, "", "ifog")),
    "gru": (nn.GRUCell, ("rzn", "i{}".format, "h{}".format, "rzn", "n")),
}


@pytest.mark.parametrize("name", FLAX)
def test_a_cell_is_flax_s(evidence, name):
    cell = cells.TABLE[name](E, H)
    params = parameters_of(cell.init)
    make, layout = FLAX[name]
    inputs_BxSxE = random(B, S, E, seed=1)
    expected_BxSxH = nn.RNN(make(H)).apply(flax_params(params, "hidden", *layout), inputs_BxSxE)
    h_BxSxH, _ = recurrence.run(cell, params, inputs_BxSxE, jnp.ones((B, S), bool))
    evidence(f"cell={name}", f"flax.linen.{make.__name__} in flax.linen.RNN", h_BxSxH, expected_BxSxH)


def test_the_lstm_s_memory_is_flax_s(evidence):
    cell = cells.lstm(E, H)
    params = parameters_of(cell.init)
    inputs_BxE, carry_BxF = random(B, E, seed=1), random(B, 2 * H, seed=2)
    h_BxH, c_BxH = jnp.split(carry_BxF, 2, axis=1)
    theirs = flax_params(params, "hidden", *FLAX["lstm"][1])["params"]["cell"]
    (expected_c_BxH, expected_h_BxH), _ = nn.LSTMCell(H).apply({"params": theirs}, (c_BxH, h_BxH), inputs_BxE)
    next_BxF = cell.step(params["recurrent"], carry_BxF, cell.project(params["input"], inputs_BxE))
    evidence("cell=lstm", "flax.linen.LSTMCell, h and c of one step", next_BxF, jnp.concatenate([expected_h_BxH, expected_c_BxH], axis=1))


@pytest.mark.parametrize("name", ("rnn", *NUMPY))
def test_initial_parameters(name):
    """Where the rows of this project start; the contract leaves that to a row."""
    cell = cells.TABLE[name](E, H)
    params, other = cell.init(jax.random.key(0)), cell.init(jax.random.key(1))
    assert params["input"]["weight"].shape == (E, cell.projected_size)
    for block in jnp.split(params["input"]["weight"], cell.projected_size // H, axis=1):
        assert np.abs(block).max() <= np.sqrt(6 / (E + H)) and np.std(block) > 0.1
    assert (params["recurrent"] == {}) == (name in ("mingru", "minlstm"))
    for part, affine in params["recurrent"].items():
        if name == "diagonal":
            continue
        moved = other["recurrent"][part]
        assert not affine["bias"].any() and not np.array_equal(affine["weight"], moved["weight"])
        for block in jnp.split(affine["weight"], affine["weight"].shape[1] // H, axis=1):
            np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-5)
    gates = jnp.split(params["input"]["bias"], cell.projected_size // H)
    assert [set(np.asarray(gate).tolist()) for gate in gates] == ([{0}, {1}, {0}, {0}] if name == "lstm" else [{0}] * len(gates))


@ROWS
def test_a_cell_of_no_inputs_starts_like_any_other(name):
    cell, wide = cells.TABLE[name](0, H), cells.TABLE[name](E, H)
    params, expected = cell.init(jax.random.key(0)), wide.init(jax.random.key(0))
    assert params["input"].keys() == {"bias"} and params["input"]["bias"].shape == (wide.projected_size,)
    np.testing.assert_array_equal(params["input"]["bias"], expected["input"]["bias"])
    jax.tree.map(np.testing.assert_array_equal, params["recurrent"], expected["recurrent"])


def test_the_diagonal_s_decays_start_between_a_half_and_one():
    bias_H = cells.diagonal(E, 500).init(jax.random.key(0))["recurrent"]["decay"]["bias"]
    decay_H = np.exp(-np.exp(np.asarray(bias_H, np.float64)))
    assert 0.5 <= decay_H.min() < 0.52 and 0.97 < decay_H.max() <= 0.99
    assert abs(decay_H.mean() - 0.745) < 0.03 and abs(decay_H.std() - 0.49 / 12**0.5) < 0.01


@pytest.mark.parametrize("name", LINEAR)
def test_no_input_makes_a_linear_recurrence_grow(name):
    """0 ≤ a ≤ 1 and b bounded by the candidate, at any scale of what is projected; gradients stay finite."""
    cell = cells.TABLE[name](E, H)
    params = parameters_of(cell.init)

    def gates(recurrent, projected_BxP):
        return cell.gates(recurrent, projected_BxP)

    for scale in (1.0, 1e4, -1e4):
        recurrent = jax.tree.map(lambda p, scale=scale: scale * p, params["recurrent"])
        projected_BxP = scale * random(B, cell.projected_size, seed=3)
        (a_BxH, b_BxH), backward = jax.vjp(gates, recurrent, projected_BxP)
        assert (a_BxH >= 0).all() and (a_BxH <= 1).all() and (np.abs(b_BxH) <= np.abs(projected_BxP[:, -H:])).all()
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(backward((jnp.ones_like(a_BxH), jnp.ones_like(b_BxH)))))
