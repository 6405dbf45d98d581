"""Deep transitions against a loop in NumPy; what they share with the plain cell, and whom they are refused to."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import ModelConfig
from attention_jax.layers import cells, recurrence, transition
from attention_jax.system.errors import ConfigError

B, S, E, H = 3, 4, 3, 5
LENGTHS = (4, 2, 0)


def mask():
    return jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def parameters_of(init):
    return jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), jax.eval_shape(init, jax.random.key(0)))


def σ(x):
    return 1 / (1 + np.exp(-x))


def numpy_lstm(x_P, carry, affine):
    h, c = np.split(carry, 2)
    i, f, o, g = np.split(x_P + affine["hidden"](h), 4)
    c = σ(f) * c + σ(i) * np.tanh(g)
    return np.concatenate([σ(o) * np.tanh(c), c])


def numpy_gru(x_P, h, affine):
    (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(x_P, 3), np.split(affine["hidden"](h), 3)
    z = σ(z_x + z_h)
    return (1 - z) * np.tanh(n_x + σ(r_x + r_h) * n_h) + z * h


def numpy_gru_before(x_P, h, affine):
    (r_x, z_x, n_x), (r_h, z_h) = np.split(x_P, 3), np.split(affine["gates"](h), 2)
    z = σ(z_x + z_h)
    return (1 - z) * np.tanh(n_x + affine["candidate"](σ(r_x + r_h) * h)) + z * h


def numpy_affine(parameters):
    exact = {name: np.asarray(x, np.float64) for name, x in parameters.items()}
    return lambda x: x @ exact["weight"] + exact["bias"] if "weight" in exact else exact["bias"]


@pytest.mark.parametrize("name, step, depth", [("lstm", numpy_lstm, 2), ("gru", numpy_gru, 3), ("gru_before", numpy_gru_before, 2)])
def test_further_cells_follow_within_the_position(evidence, name, step, depth):
    cell = transition.build(ModelConfig(cell=name, transition=depth), E, H)
    params, inputs_BxSxE = parameters_of(cell.init), random(B, S, E, seed=1)
    h_BxSxH, last_BxF = recurrence.run(cell, params, inputs_BxSxE, mask())
    recurrent = {part: numpy_affine(p) for part, p in params["recurrent"].items()}
    read = numpy_affine(params["input"])
    expected_BxSxH, carry_BxF = np.zeros((B, S, H)), np.zeros((B, cell.carry_size))
    for b, length in enumerate(LENGTHS):
        for s in range(length):
            carry_BxF[b] = step(read(np.asarray(inputs_BxSxE[b, s], np.float64)), carry_BxF[b], recurrent)
            for i in range(2, depth + 1):
                inner = {part.removeprefix(f"transition{i}_"): f for part, f in recurrent.items() if part.startswith(f"transition{i}_")}
                carry_BxF[b] = step(inner["input"](np.zeros(0)), carry_BxF[b], inner)
            expected_BxSxH[b, s] = carry_BxF[b, :H]
    reference = f"transition={depth}: a loop in NumPy, float64 (Pascanu 2014)"
    evidence(f"cell={name}", reference, h_BxSxH, expected_BxSxH)
    evidence(f"cell={name}", reference, last_BxF, carry_BxF)


@pytest.mark.long
def test_deferred_gradients_are_those_of_the_scan():
    cell = transition.build(ModelConfig(cell="gru_before", transition=2), E, H)
    recurrent, carry_BxF = parameters_of(cell.init)["recurrent"], random(B, H, seed=2)
    inputs = random(S, B, cell.projected_size, seed=3), mask().T[:, :, None]

    @partial(jax.jit, static_argnums=0)
    def gradients(loop, recurrent, carry_BxF):
        return jax.grad(lambda *x: sum(jnp.sin(y).sum() for y in loop(cell, False, *x, inputs)), argnums=(0, 1))(recurrent, carry_BxF)

    plain, deferred = (gradients(loop, recurrent, carry_BxF) for loop in (partial(recurrence.loop, scan=jax.lax.scan), recurrence.loop))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), plain, deferred)
    assert all(np.abs(g).max() > 1e-4 for g in jax.tree.leaves(deferred) if g.size)


def test_further_cells_start_like_first_ones_and_read_nothing():
    cell = transition.build(ModelConfig(cell="lstm", transition=2), E, H)
    params, plain = cell.init(jax.random.key(0)), cells.lstm(E, H)
    assert set(params["recurrent"]) == {"hidden", "transition2_input", "transition2_hidden"}
    assert params["recurrent"]["transition2_input"].keys() == {"bias"}
    np.testing.assert_array_equal(params["recurrent"]["transition2_input"]["bias"], params["input"]["bias"])
    assert (cell.hidden_size, cell.carry_size, cell.projected_size) == (plain.hidden_size, plain.carry_size, plain.projected_size)


@pytest.mark.parametrize("name", cells.TABLE)
def test_a_transition_of_one_is_the_cell_itself(name):
    cell, plain = transition.build(ModelConfig(cell=name), E, H), cells.TABLE[name](E, H)
    jax.tree.map(np.testing.assert_array_equal, cell.init(jax.random.key(0)), plain.init(jax.random.key(0)))
    assert (cell.gates is None) == (plain.gates is None)


@pytest.mark.parametrize("name", ["mingru", "minlstm", "diagonal"])
def test_linear_recurrences_cannot_be_deep(name):
    with pytest.raises(ConfigError, match=rf"model\.transition=2 .*model\.cell='{name}' .*valid: rnn, lstm, gru, gru_before$"):
        transition.build(ModelConfig(cell=name, transition=2), E, H)


def test_unknown_cells_are_refused_with_the_valid_ones():
    with pytest.raises(ConfigError, match=r"model\.cell='grue' .*did you mean 'gru'"):
        transition.build(ModelConfig(cell="grue"), E, H)
