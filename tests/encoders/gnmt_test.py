"""GNMT's encoder against loops in NumPy, and the settings it cannot have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import ModelConfig
from attention_jax.encoders import gnmt
from attention_jax.system.errors import ConfigError

B, S, E, H = 3, 5, 3, 4


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def numpy_run(params, x_SxI, reverse: bool):
    """(h_SxH, last h_H) of Elman's cell, a loop in float64."""
    (W, b), (U, b_h) = (
        [np.asarray(p[part], np.float64) for part in ("weight", "bias")] for p in (params["input"], params["recurrent"]["hidden"])
    )
    h_SxH, h_H = np.zeros((len(x_SxI), H)), np.zeros(H)
    for s in reversed(range(len(x_SxI))) if reverse else range(len(x_SxI)):
        h_SxH[s] = h_H = np.tanh(x_SxI[s] @ W + b + h_H @ U + b_h)
    return h_SxH, h_H


@pytest.mark.long
def test_two_directions_below_one_above_residual_from_the_third_layer(evidence):
    lengths = (5, 3, 1)
    encoder = gnmt.gnmt(ModelConfig(hidden_size=H, layers=4, cell="rnn"), E)
    params = jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), jax.eval_shape(encoder.init, jax.random.key(0)))
    inputs_BxSxE = random(B, S, E, seed=1)
    memory = encoder.apply(params, inputs_BxSxE, jnp.arange(S)[None, :] < jnp.array(lengths)[:, None])
    for b, length in enumerate(lengths):
        x_SxE = np.asarray(inputs_BxSxE[b, :length], np.float64)
        ahead_SxH, last_0 = numpy_run(params["layer0"]["forward"], x_SxE, reverse=False)
        back_SxH, last_back = numpy_run(params["layer0"]["reversed"], x_SxE, reverse=True)
        h_1, last_1 = numpy_run(params["layer1"]["forward"], np.concatenate([ahead_SxH, back_SxH], axis=1), reverse=False)
        h_2, last_2 = numpy_run(params["layer2"]["forward"], h_1, reverse=False)
        h_3, last_3 = numpy_run(params["layer3"]["forward"], h_2 + h_1, reverse=False)
        reference = "four layers of Elman's cell, a loop in NumPy, each example without padding (Wu 2016, eq. 6 and fig. 1)"
        evidence("encoder=gnmt", reference, memory.states_BxSxM[b, :length], h_3 + h_2 + h_1)
        evidence("encoder=gnmt", reference, memory.final_BxD[b], np.concatenate([last_0, last_back, last_1, last_2, last_3]))
    assert [set(params[f"layer{layer}"]) for layer in range(4)] == [{"forward", "reversed"}, *[{"forward"}] * 3]
    assert (encoder.memory_size, encoder.final_size, encoder.directions) == (H, 5 * H, ("forward",))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"layers": 1}, r"model\.layers=1 is impossible with model\.encoder=gnmt: it needs at least 2"),
        ({"layers": 2, "direction": "forward"}, r"model\.direction='forward' is impossible with model\.encoder=gnmt"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        gnmt.gnmt(ModelConfig(**changes), E)
