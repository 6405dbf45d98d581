"""Cells against Flax and plain numpy; recurrent encoders against compositions of single runs made by hand; dropout's draws."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import recurrence
from attention_jax.config import ModelConfig
from attention_jax.encoders import cells, recurrent
from attention_jax.encoders.dropout import dropout
from attention_jax.types import ConfigError

B, S, E, H = 3, 5, 4, 6
LENGTHS = (5, 3, 0)
CONFIG = ModelConfig(hidden_size=H, embedding_size=E)
ROWS = pytest.mark.parametrize("name", cells.TABLE)


def mask(extra: int = 0):
    return jnp.arange(S + extra)[None, :] < jnp.array(LENGTHS)[:, None]


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def parameters_of(init):
    """Random parameters of the shapes that `init` makes, biases included."""
    return jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), jax.eval_shape(init, jax.random.key(0)))


def σ(x):
    return 1 / (1 + np.exp(-x))


def numpy_rnn(x, carry, W, U):
    h = np.tanh(W["x"](x) + U["hidden"](carry))
    return h


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


NUMPY = {"rnn": numpy_rnn, "lstm": numpy_lstm, "gru": numpy_gru, "gru_before": numpy_gru_before}


def numpy_affine(parameters):
    weight, bias = (np.asarray(parameters[name], np.float64) for name in ("weight", "bias"))
    return lambda x: x @ weight + bias


@ROWS
def test_a_cell_follows_its_equations(name):
    cell = cells.TABLE[name](E, H)
    params = parameters_of(cell.init)
    inputs_BxSxE = random(B, S, E, seed=1)
    h_BxSxH, last_BxF = recurrence.run(cell, params, inputs_BxSxE, mask())
    W = {"x": numpy_affine(params["input"])}
    U = {part: numpy_affine(p) for part, p in params["recurrent"].items()}
    for b, length in enumerate(LENGTHS):
        carry_F = np.zeros(cell.carry_size)
        for s in range(length):
            carry_F = NUMPY[name](np.asarray(inputs_BxSxE[b, s], np.float64), carry_F, W, U)
            np.testing.assert_allclose(h_BxSxH[b, s], carry_F[:H], atol=1e-5)
        np.testing.assert_allclose(last_BxF[b], carry_F, atol=1e-5)


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
def test_a_cell_is_flax_s(name):
    cell = cells.TABLE[name](E, H)
    params = parameters_of(cell.init)
    make, layout = FLAX[name]
    inputs_BxSxE = random(B, S, E, seed=1)
    expected_BxSxH = nn.RNN(make(H)).apply(flax_params(params, "hidden", *layout), inputs_BxSxE)
    h_BxSxH, _ = recurrence.run(cell, params, inputs_BxSxE, jnp.ones((B, S), bool))
    np.testing.assert_allclose(h_BxSxH, expected_BxSxH, atol=1e-5)


@ROWS
def test_initial_parameters(name):
    cell = cells.TABLE[name](E, H)
    params, other = cell.init(jax.random.key(0)), cell.init(jax.random.key(1))
    assert params["input"]["weight"].shape == (E, cell.projected_size)
    for block in jnp.split(params["input"]["weight"], cell.projected_size // H, axis=1):
        assert jnp.abs(block).max() <= np.sqrt(6 / (E + H)) and jnp.std(block) > 0.1
    for affine, moved in zip(params["recurrent"].values(), other["recurrent"].values(), strict=True):
        assert not affine["bias"].any() and not jnp.array_equal(affine["weight"], moved["weight"])
        for block in jnp.split(affine["weight"], affine["weight"].shape[1] // H, axis=1):
            np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-5)
    gates = jnp.split(params["input"]["bias"], cell.projected_size // H)
    assert [set(np.asarray(gate).tolist()) for gate in gates] == ([{0}, {1}, {0}, {0}] if name == "lstm" else [{0}] * len(gates))


def encode(inputs_BxSxE, mask_BxS, **settings):
    config = dataclasses.replace(CONFIG, **settings)
    encoder = recurrent.recurrent(config, E)
    params = parameters_of(encoder.init)
    memory = encoder.apply(params, inputs_BxSxE, mask_BxS)
    assert memory.states_BxSxM.shape[2] == encoder.memory_size and memory.final_BxD.shape[1] == encoder.final_size
    return params, memory


def flip(x_BxSxE):
    """Every row's real prefix in reversed order, the padding where it was."""
    return jnp.stack([jnp.concatenate([row[:length][::-1], row[length:]]) for row, length in zip(x_BxSxE, LENGTHS, strict=True)])


@ROWS
def test_directions_are_runs_on_flipped_prefixes(name):
    inputs_BxSxE = random(B, S, E, seed=1)
    params, both = encode(inputs_BxSxE, mask(), cell=name, direction="both")
    cell = cells.TABLE[name](E, H)
    ahead_BxSxH, ahead_last_BxF = recurrence.run(cell, params["layer0"]["forward"], inputs_BxSxE, mask())
    back_BxSxH, back_last_BxF = recurrence.run(cell, params["layer0"]["reversed"], flip(inputs_BxSxE), mask())
    np.testing.assert_allclose(both.states_BxSxM, jnp.concatenate([ahead_BxSxH, flip(back_BxSxH)], axis=2), atol=1e-6)
    np.testing.assert_allclose(both.final_BxD, jnp.concatenate([ahead_last_BxF, back_last_BxF], axis=1), atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "reversed"])
def test_one_direction_alone(direction):
    inputs_BxSxE = random(B, S, E, seed=1)
    params, memory = encode(inputs_BxSxE, mask(), direction=direction)
    turn = flip if direction == "reversed" else (lambda x: x)
    states_BxSxH, last_BxF = recurrence.run(cells.gru(E, H), params["layer0"][direction], turn(inputs_BxSxE), mask())
    np.testing.assert_allclose(memory.states_BxSxM, turn(states_BxSxH), atol=1e-6)
    np.testing.assert_allclose(memory.final_BxD, last_BxF, atol=1e-6)


@pytest.mark.parametrize("residual", [False, True])
def test_layers_read_the_layer_below(residual):
    inputs_BxSxE = random(B, S, E, seed=1)
    params, memory = encode(inputs_BxSxE, mask(), cell="lstm", layers=3, residual=residual)
    states_BxSxM, finals = inputs_BxSxE, []
    for layer in range(3):
        cell = cells.lstm(E if layer == 0 else 2 * H, H)
        ahead_BxSxH, ahead_last_BxF = recurrence.run(cell, params[f"layer{layer}"]["forward"], states_BxSxM, mask())
        back_BxSxH, back_last_BxF = recurrence.run(cell, params[f"layer{layer}"]["reversed"], states_BxSxM, mask(), reverse=True)
        outputs_BxSxM = jnp.concatenate([ahead_BxSxH, back_BxSxH], axis=2)
        states_BxSxM = outputs_BxSxM + states_BxSxM if residual and layer else outputs_BxSxM
        finals += [ahead_last_BxF, back_last_BxF]
    np.testing.assert_allclose(memory.states_BxSxM, states_BxSxM, atol=1e-6)
    np.testing.assert_allclose(memory.final_BxD, jnp.concatenate(finals, axis=1), atol=1e-6)


@pytest.mark.parametrize("direction", recurrent.DIRECTIONS)
def test_padding_changes_no_memory(direction):
    settings = {"direction": direction, "layers": 2, "residual": True}
    inputs_BxSxE = random(B, S, E, seed=1)
    _, memory = encode(inputs_BxSxE, mask(), **settings)
    _, garbage = encode(jnp.where(mask()[:, :, None], inputs_BxSxE, 1e4), mask(), **settings)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, memory, garbage))
    assert not jnp.where(mask()[:, :, None], 0, memory.states_BxSxM).any()
    assert not memory.final_BxD[LENGTHS.index(0)].any()
    _, wider = encode(jnp.concatenate([inputs_BxSxE, random(B, 2, E, seed=9)], axis=1), mask(extra=2), **settings)
    np.testing.assert_allclose(wider.states_BxSxM[:, :S], memory.states_BxSxM, atol=1e-6)
    np.testing.assert_allclose(wider.final_BxD, memory.final_BxD, atol=1e-6)


def test_unknown_names_are_refused_with_the_valid_ones():
    with pytest.raises(ConfigError, match=r"model\.cell='grue' .*did you mean 'gru'.*valid: rnn, lstm, gru, gru_before"):
        recurrent.recurrent(dataclasses.replace(CONFIG, cell="grue"), E)
    with pytest.raises(ConfigError, match=r"model\.direction='backward' .*valid: forward, reversed, both"):
        recurrent.recurrent(dataclasses.replace(CONFIG, direction="backward"), E)


KEYS_B = jax.random.split(jax.random.key(0), B)


def test_dropout_drops_and_scales():
    x_BxTxE = random(B, 200, E)
    dropped_BxTxE = dropout(KEYS_B, 1, x_BxTxE, 0.25)
    kept_BxTxE = dropped_BxTxE != 0
    np.testing.assert_allclose(dropped_BxTxE[kept_BxTxE], x_BxTxE[kept_BxTxE] / 0.75, rtol=1e-6)
    shares_B = kept_BxTxE.mean((1, 2))
    assert (jnp.abs(shares_B - 0.75) < 0.06).all() and len(set(shares_B.tolist())) == B  # 800 draws a row: 4 standard deviations


def test_dropout_without_keys_or_rate_is_the_identity():
    x_BxTxE = random(B, S, E)
    assert dropout(None, 1, x_BxTxE, 0.5) is x_BxTxE
    assert dropout(KEYS_B, 1, x_BxTxE, 0.0) is x_BxTxE


def test_draws_belong_to_example_and_place():
    ones = jnp.ones((B, 40, E))
    drawn_BxTxE = dropout(KEYS_B, 1, ones, 0.5)
    np.testing.assert_array_equal(drawn_BxTxE, dropout(KEYS_B, 1, ones, 0.5))
    np.testing.assert_array_equal(dropout(KEYS_B[1:2], 1, ones[:1], 0.5), drawn_BxTxE[1:2])  # not on who else is in the batch
    np.testing.assert_array_equal(dropout(KEYS_B, 1, ones[:, :17], 0.5), drawn_BxTxE[:, :17])  # not on padding
    assert not jnp.array_equal(dropout(KEYS_B, 2, ones, 0.5), drawn_BxTxE)
    assert not jnp.array_equal(drawn_BxTxE[0], drawn_BxTxE[1])
