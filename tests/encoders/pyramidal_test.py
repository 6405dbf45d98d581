"""The pyramid against loops in NumPy over pairs that are picked one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import ModelConfig
from attention_jax.encoders import pyramidal, recurrent
from attention_jax.system.errors import ConfigError

S, E, H = 7, 3, 4
CONFIG = ModelConfig(hidden_size=H, layers=3, cell="rnn")


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def parameters_of(init):
    return jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), jax.eval_shape(init, jax.random.key(0)))


def numpy_run(params, x_SxI, reverse: bool):
    """(h_SxH, last h_H) of Elman's cell, a loop in float64."""
    (W, b), (U, b_h) = (
        [np.asarray(p[part], np.float64) for part in ("weight", "bias")] for p in (params["input"], params["recurrent"]["hidden"])
    )
    h_SxH, h_H = np.zeros((len(x_SxI), H)), np.zeros(H)
    for s in reversed(range(len(x_SxI))) if reverse else range(len(x_SxI)):
        h_SxH[s] = h_H = np.tanh(x_SxI[s] @ W + b + h_H @ U + b_h)
    return h_SxH, h_H


def numpy_layer(params, x_SxI):
    """(both directions side by side, [last h of both])."""
    runs = [numpy_run(params[name], x_SxI, reverse=name == "reversed") for name in ("forward", "reversed")]
    return np.concatenate([h_SxH for h_SxH, _ in runs], axis=1), [h_H for _, h_H in runs]


@pytest.mark.long
def test_layers_read_pairs_of_the_layer_below(evidence):
    """Each example alone and without its padding: 7 → 4 → 2, 6 → 3 → 2, 5 → 3 → 2, 1 → 1 → 1 places."""
    lengths = (7, 6, 5, 1)
    encoder = pyramidal.pyramidal(CONFIG, E)
    params, inputs_BxSxE = parameters_of(encoder.init), random(len(lengths), S, E, seed=1)
    memory = encoder.apply(params, inputs_BxSxE, jnp.arange(S)[None, :] < jnp.array(lengths)[:, None])
    for b, length in enumerate(lengths):
        states_PxM, finals = np.asarray(inputs_BxSxE[b, :length], np.float64), []
        for layer in range(3):
            if layer > 0:
                even = [*states_PxM, *[np.zeros(2 * H)] * (len(states_PxM) % 2)]
                states_PxM = np.stack([np.concatenate(even[j : j + 2]) for j in range(0, len(even), 2)])
            states_PxM, lasts = numpy_layer(params[f"layer{layer}"], states_PxM)
            finals += lasts
        P = len(states_PxM)
        reference = "three layers of Elman's cell over pairs, a loop in NumPy, each example without padding (Chan 2016, eq. 5)"
        evidence("encoder=pyramidal", reference, memory.states_BxSxM[b, :P], states_PxM)
        evidence("encoder=pyramidal", reference, memory.final_BxD[b], np.concatenate(finals))
        assert memory.mask_BxS[b].tolist() == [j < P for j in range(2)]


def test_one_layer_is_the_recurrent_encoder():
    config = ModelConfig(hidden_size=H, direction="reversed", cell="rnn")
    ours, theirs = pyramidal.pyramidal(config, E), recurrent.recurrent(config, E)
    params, inputs, mask = theirs.init(jax.random.key(0)), random(2, S, E, seed=1), jnp.arange(S)[None, :] < jnp.array([[S], [3]])
    jax.tree.map(np.testing.assert_array_equal, ours.init(jax.random.key(0)), params)
    jax.tree.map(np.testing.assert_array_equal, ours.apply(params, inputs, mask), theirs.apply(params, inputs, mask))
    weights_2x1xS = mask[:, None] * random(2, 1, S, seed=2)
    np.testing.assert_array_equal(ours.spread(weights_2x1xS, mask), weights_2x1xS)


def test_residual_connections_are_refused():
    with pytest.raises(ConfigError, match=r"model\.residual=True is impossible with model\.encoder=pyramidal"):
        pyramidal.pyramidal(ModelConfig(residual=True), E)
