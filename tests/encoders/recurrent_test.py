"""Recurrent encoders against compositions of single runs made by hand."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import encoders
from attention_jax.config import ModelConfig
from attention_jax.encoders import recurrent
from attention_jax.layers import cells, recurrence
from attention_jax.system.errors import ConfigError

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
    np.testing.assert_allclose(both.states_BxSxM, np.concatenate([ahead_BxSxH, flip(back_BxSxH)], axis=2), atol=1e-6)
    np.testing.assert_allclose(both.final_BxD, np.concatenate([ahead_last_BxF, back_last_BxF], axis=1), atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "reversed"])
def test_one_direction_alone(direction):
    inputs_BxSxE = random(B, S, E, seed=1)
    params, memory = encode(inputs_BxSxE, mask(), direction=direction)
    turn = flip if direction == "reversed" else (lambda x: x)
    states_BxSxH, last_BxF = recurrence.run(cells.gru(E, H), params["layer0"][direction], turn(inputs_BxSxE), mask())
    np.testing.assert_allclose(memory.states_BxSxM, turn(states_BxSxH), atol=1e-6)
    np.testing.assert_allclose(memory.final_BxD, last_BxF, atol=1e-6)


@pytest.mark.parametrize("residual", [False, True])
def test_layers_read_the_layer_below(evidence, residual):
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
    reference = "three layers composed by hand of single runs" + ", residual" * residual
    evidence("encoder=recurrent", reference, memory.states_BxSxM, states_BxSxM)
    evidence("encoder=recurrent", reference, memory.final_BxD, jnp.concatenate(finals, axis=1))


def test_both_directions_are_flax_s(evidence):
    inputs_BxSxE = random(B, S, E, seed=1)
    params, memory = encode(inputs_BxSxE, mask(), cell="rnn")
    theirs = {}
    for ours, name in (("forward", "forward_rnn"), ("reversed", "backward_rnn")):
        x, h = params["layer0"][ours]["input"], params["layer0"][ours]["recurrent"]["hidden"]
        theirs[name] = {"cell": {"i": {"kernel": x["weight"], "bias": x["bias"] + h["bias"]}, "h": {"kernel": h["weight"]}}}
    lengths_B = jnp.array(LENGTHS)
    both = nn.Bidirectional(nn.RNN(nn.SimpleCell(H)), nn.RNN(nn.SimpleCell(H)))
    expected_BxSxM = both.apply({"params": theirs}, inputs_BxSxE, seq_lengths=lengths_B)
    real_BxSx1 = mask()[:, :, None]  # what Flax gives past a length depends on padding
    evidence("encoder=recurrent", "flax.linen.Bidirectional", memory.states_BxSxM, jnp.where(real_BxSx1, expected_BxSxM, 0))


@pytest.mark.parametrize("direction", recurrent.DIRECTIONS)
def test_padding_changes_no_memory(direction):
    settings = {"direction": direction, "layers": 2, "residual": True}
    inputs_BxSxE = random(B, S, E, seed=1)
    _, memory = encode(inputs_BxSxE, mask(), **settings)
    _, garbage = encode(jnp.where(mask()[:, :, None], inputs_BxSxE, 1e4), mask(), **settings)
    assert jax.tree.all(jax.tree.map(np.array_equal, memory, garbage))
    assert not np.where(mask()[:, :, None], 0, memory.states_BxSxM).any()
    assert not memory.final_BxD[LENGTHS.index(0)].any()
    _, wider = encode(jnp.concatenate([inputs_BxSxE, random(B, 2, E, seed=9)], axis=1), mask(extra=2), **settings)
    np.testing.assert_allclose(wider.states_BxSxM[:, :S], memory.states_BxSxM, atol=1e-6)
    np.testing.assert_allclose(wider.final_BxD, memory.final_BxD, atol=1e-6)


def test_unknown_names_are_refused_with_the_valid_ones():
    with pytest.raises(ConfigError, match=r"model\.cell='grue' .*did you mean 'gru'.*valid: rnn, lstm, gru, gru_before, mingru"):
        encoders.build(dataclasses.replace(CONFIG, cell="grue"), E)
    with pytest.raises(ConfigError, match=r"model\.direction='backward' .*valid: forward, reversed, both"):
        encoders.build(dataclasses.replace(CONFIG, direction="backward"), E)
