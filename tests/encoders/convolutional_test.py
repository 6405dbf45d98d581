"""Filters along the source against scipy.signal, and the recurrent encoder that reads what they leave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from attention_jax.config import ModelConfig
from attention_jax.encoders import convolutional, recurrent
from attention_jax.system.errors import ConfigError

S, E, H = 9, 3, 4
LENGTHS = (9, 6, 1)


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def parameters_of(init):
    return jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), jax.eval_shape(init, jax.random.key(0)))


def scipy_layer(parameters, x_SxI, kernel: int, stride: int):
    """relu of scipy's full correlation, from where the filter's middle stands on position 0, every stride-th."""
    weight_KxIxO = np.asarray(parameters["weight"], np.float64).reshape(kernel, x_SxI.shape[1], H)
    outputs = []
    for o in range(H):
        full = sum(signal.correlate(x_SxI[:, i], weight_KxIxO[:, i, o], mode="full") for i in range(x_SxI.shape[1]))
        outputs.append(full[kernel // 2 :][: len(x_SxI)][::stride] + float(parameters["bias"][o]))
    return np.maximum(np.stack(outputs, axis=1), 0)


@pytest.mark.parametrize("kernel, stride, convolutions", [(3, 1, 1), (3, 2, 2), (4, 3, 1), (1, 1, 2)])
def test_filters_are_scipy_s(evidence, kernel, stride, convolutions):
    """Each example alone and without its padding: what lies outside the source is zero, in every layer."""
    config = ModelConfig(hidden_size=H, kernel=kernel, stride=stride, convolutions=convolutions)
    params = parameters_of(lambda key: convolutional.init_filters(key, config, 1, E))
    inputs_BxSxE, mask_BxS = random(len(LENGTHS), S, E, seed=1), jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]
    states_BxPxH, mask_BxP = convolutional.filters(config, params, inputs_BxSxE, mask_BxS)
    for b, length in enumerate(LENGTHS):
        expected_PxH = np.asarray(inputs_BxSxE[b, :length], np.float64)
        for layer in range(convolutions):
            expected_PxH = scipy_layer(params[f"layer{layer}"], expected_PxH, kernel, stride)
        P = len(expected_PxH)
        evidence("encoder=convolutional", "filters: scipy.signal.correlate, float64", states_BxPxH[b, :P], expected_PxH)
        assert mask_BxP[b].tolist() == [j < P for j in range(mask_BxP.shape[1])] and not states_BxPxH[b, P:].any()


@pytest.mark.long
def test_the_recurrent_encoder_reads_what_the_filters_leave(evidence):
    config = ModelConfig(hidden_size=H, cell="lstm", layers=2, stride=2)
    encoder, upper = convolutional.convolutional(config, E), recurrent.recurrent(config, H)
    params, inputs_BxSxE = parameters_of(encoder.init), random(len(LENGTHS), S, E, seed=1)
    memory = encoder.apply(params, inputs_BxSxE, jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None])
    heard_BxPxH, real_BxP = np.zeros((len(LENGTHS), (S + 1) // 2, H)), np.zeros((len(LENGTHS), (S + 1) // 2), bool)
    for b, length in enumerate(LENGTHS):
        heard_PxH = scipy_layer(params["filters"]["layer0"], np.asarray(inputs_BxSxE[b, :length], np.float64), 3, 2)
        heard_BxPxH[b, : len(heard_PxH)], real_BxP[b, : len(heard_PxH)] = heard_PxH, True
    expected = upper.apply(params["recurrent"], jnp.asarray(heard_BxPxH, jnp.float32), jnp.asarray(real_BxP))
    reference = "recurrent encoder over scipy.signal.correlate"
    evidence("encoder=convolutional", reference, memory.states_BxSxM, expected.states_BxSxM)
    evidence("encoder=convolutional", reference, memory.final_BxD, expected.final_BxD)
    assert (encoder.reduction, encoder.memory_size, encoder.final_size) == (2, upper.memory_size, upper.final_size)


def test_filters_start_as_he_2015_proposes():
    config = ModelConfig(hidden_size=50, kernel=5, convolutions=2)
    params = convolutional.init_filters(jax.random.key(0), config, 1, 20)
    for affine, seen in zip(params.values(), (100, 250), strict=True):
        assert affine["weight"].shape == (seen, 50) and not affine["bias"].any()
        np.testing.assert_allclose(affine["weight"].std(), np.sqrt(2 / seen), rtol=0.05)


def test_filters_that_would_miss_positions_are_refused():
    with pytest.raises(ConfigError, match=r"model\.stride=3 is above model\.kernel=2"):
        convolutional.convolutional(ModelConfig(kernel=2, stride=3), E)
