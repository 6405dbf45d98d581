"""Filters over a square of places against scipy.signal; what stands around an image changes nothing."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from attention_jax.config import ModelConfig
from attention_jax.encoders import image
from attention_jax.system.errors import ConfigError

B, E, H = 2, 3, 4


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def parameters_of(config):
    shapes = jax.eval_shape(image.image(config, E).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), shapes)


@pytest.mark.parametrize("side, kernel, stride, convolutions", [(4, 3, 1, 1), (5, 3, 2, 2), (4, 2, 2, 1)])
def test_places_are_scipy_s_row_by_row(evidence, side, kernel, stride, convolutions):
    config = ModelConfig(hidden_size=H, kernel=kernel, stride=stride, convolutions=convolutions)
    params, inputs_BxSxE = parameters_of(config), random(B, side**2, E, seed=1)
    memory = jax.jit(image.image(config, E).apply)(params, inputs_BxSxE, jnp.ones((B, side**2), bool))
    for b in range(B):
        x = np.asarray(inputs_BxSxE[b], np.float64).reshape(side, side, E)
        for affine in params.values():
            weight = np.asarray(affine["weight"], np.float64).reshape(kernel, kernel, x.shape[2], H)
            y = []
            for o in range(H):
                full = sum(signal.correlate2d(x[:, :, i], weight[:, :, i, o], mode="full") for i in range(x.shape[2]))
                middle = full[kernel // 2 :, kernel // 2 :][: len(x), : len(x)]
                y.append(middle[::stride, ::stride] + float(affine["bias"][o]))
            x = np.maximum(np.stack(y, axis=2), 0)
        reference = "scipy.signal.correlate2d, float64"
        evidence("encoder=image", reference, memory.states_BxSxM[b], x.reshape(-1, H))
        evidence("encoder=image", f"{reference}: mean of places", memory.final_BxD[b], x.mean((0, 1)))
    assert memory.mask_BxS.all()


@pytest.mark.parametrize("stride", [1, 2])
def test_a_frame_of_masked_places_changes_nothing(stride):
    config = ModelConfig(hidden_size=H, stride=stride, convolutions=2)
    params, inner_BxYxXxE = parameters_of(config), random(B, 4, 5, E, seed=1)
    look = jax.jit(partial(image.look, config))
    plain = look(params, inner_BxYxXxE, jnp.ones((B, 4, 5), bool))
    frame_BxYxXxE = random(B, 9, 7, E, seed=2).at[:, :4, :5].set(inner_BxYxXxE)
    mask_BxYxX = jnp.zeros((B, 9, 7), bool).at[:, :4, :5].set(True)
    framed = look(params, frame_BxYxXxE, mask_BxYxX)
    np.testing.assert_allclose(framed.states_BxSxM[framed.mask_BxS], plain.states_BxSxM[plain.mask_BxS], atol=1e-5)
    np.testing.assert_allclose(framed.final_BxD, plain.final_BxD, atol=1e-5)
    assert not framed.states_BxSxM[~framed.mask_BxS].any()


@pytest.mark.parametrize("stride", [1, 2])
def test_the_mean_is_over_real_places_wherever_they_are(stride):
    config = ModelConfig(hidden_size=H, stride=stride)
    mask_1x16 = np.array([[c == "#" for c in "...##.........##"]])
    memory = image.image(config, E).apply(parameters_of(config), random(1, 16, E), mask_1x16)
    states_PxM, real_P = np.asarray(memory.states_BxSxM[0], np.float64), np.asarray(memory.mask_BxS[0])
    assert 0 < real_P.sum() < 16 and not states_PxM[~real_P].any()
    np.testing.assert_allclose(memory.final_BxD[0], states_PxM[real_P].mean(0), rtol=1e-5)


def test_a_place_s_weight_is_shown_on_its_patch():
    encoder = image.image(ModelConfig(hidden_size=H, stride=2), E)
    weights_1x1xP = jnp.array([[[0.4, 0.1, 0.2, 0.3]]])
    shown = encoder.spread(weights_1x1xP, jnp.ones((1, 9), bool))[0, 0].reshape(3, 3)
    np.testing.assert_allclose(shown, [[0.1, 0.1, 0.05], [0.1, 0.1, 0.05], [0.1, 0.1, 0.3]], rtol=1e-6)


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match=r"model\.layers=2 is impossible with model\.encoder=image"):
        image.image(ModelConfig(layers=2), E)
    with pytest.raises(ConfigError, match=r"model\.stride=4 is above model\.kernel=3"):
        image.image(ModelConfig(stride=4), E)
    config = ModelConfig(hidden_size=H)
    for rows, said in ((0, "reads square images, and a source of 8"), (3, "reads images of 3 rows, and a source of 8")):
        encoder = image.image(dataclasses.replace(config, rows=rows), E)
        with pytest.raises(ConfigError, match=f"{said} positions is none"):
            encoder.apply(parameters_of(config), random(B, 8, E), jnp.ones((B, 8), bool))


@pytest.mark.parametrize("stride", [1, 2])
def test_rows_say_how_a_source_is_folded(stride):
    """3 x 5 places, against the same image of two axes; a weight is shown where its place is."""
    config = ModelConfig(hidden_size=H, stride=stride, rows=3)
    encoder, params, inputs_BxYxXxE = image.image(config, E), parameters_of(config), random(B, 3, 5, E, seed=1)
    memory = encoder.apply(params, inputs_BxYxXxE.reshape(B, 15, E), jnp.ones((B, 15), bool))
    folded = image.look(config, params, inputs_BxYxXxE, jnp.ones((B, 3, 5), bool))
    np.testing.assert_array_equal(memory.states_BxSxM, folded.states_BxSxM)
    P = memory.mask_BxS.shape[1]
    shown = encoder.spread(jnp.eye(P)[:1, None], jnp.ones((1, 15), bool))[0, 0].reshape(3, 5)
    expected = np.zeros((3, 5))
    expected[:stride, :stride] = 1 / stride**2
    np.testing.assert_allclose(shown, expected)


def test_coordinates_end_the_vectors_of_real_places():
    located = ModelConfig(hidden_size=H, stride=2, rows=4, coordinates=True)
    encoder, inputs_BxSxE = image.image(located, E), random(B, 24, E, seed=1)
    params = encoder.init(jax.random.key(0))
    mask_BxS = jnp.asarray(np.arange(24) % 6 < 4)[None].repeat(B, 0)
    ours = encoder.apply(params, inputs_BxSxE, mask_BxS)
    assert encoder.memory_size == H + 2 == ours.final_BxD.shape[1]
    np.testing.assert_array_equal(ours.states_BxSxM[0, :, H:], [[0, 0], [0, 0.5], [0, 0], [0.5, 0], [0.5, 0.5], [0, 0]])
    other = encoder.apply(params, jnp.where(mask_BxS[..., None], inputs_BxSxE, 9), mask_BxS)
    np.testing.assert_array_equal(ours.states_BxSxM, other.states_BxSxM)


@pytest.mark.parametrize("coordinates", [False, True])
def test_the_mean_tells_what_stands_where_if_filters_read_places(coordinates):
    """Two things that change places have one mean, unless what filters say of a thing depends on where it stands."""
    config = ModelConfig(hidden_size=8, kernel=2, stride=2, convolutions=2, rows=4, coordinates=coordinates)
    encoder = image.image(config, E)
    thing_2xE = random(2, E, seed=2)
    means = []
    for first, second in ((0, 1), (1, 0)):
        image_YxXxE = jnp.zeros((4, 16, E)).at[1, 1].set(thing_2xE[first]).at[1, 13].set(thing_2xE[second])
        means.append(encoder.apply(encoder.init(jax.random.key(0)), image_YxXxE.reshape(1, 64, E), jnp.ones((1, 64), bool)).final_BxD)
    assert np.allclose(*means, atol=1e-6) != coordinates


def test_a_kernel_of_four_sees_around_the_middle_of_what_it_stands_for():
    """Kernel 4, stride 2, two layers: of places 4 j … 4 j + 3 it sees 4 j − 3 … 4 j + 6, three more on each side."""
    config = ModelConfig(hidden_size=H, kernel=4, stride=2, convolutions=2, rows=16)
    encoder = image.image(config, E)
    params, inputs_BxSxE = encoder.init(jax.random.key(0)), jnp.abs(random(1, 256, E, seed=1))

    def of_place(inputs_BxSxE):
        return jnp.square(encoder.apply(params, inputs_BxSxE, jnp.ones((1, 256), bool)).states_BxSxM[0, 4 + 1]).sum()

    seen_YxX = np.abs(jax.grad(of_place)(inputs_BxSxE)).sum((0, 2)).reshape(16, 16) > 0
    shown_YxX = np.asarray(encoder.spread(jnp.eye(16)[5][None, None], jnp.ones((1, 256), bool)))[0, 0].reshape(16, 16) > 0
    for axis in (0, 1):
        assert np.flatnonzero(shown_YxX.any(axis)).tolist() == [4, 5, 6, 7]
        assert np.flatnonzero(seen_YxX.any(axis)).tolist() == list(range(1, 11))
