"""Canvases: resizing against Pillow, places against overlap, patches against the image they are of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from attention_jax.data.signals import canvas
from attention_jax.data.signals.canvas import Layout
from attention_jax.data.signals.mnist import Digits
from attention_jax.running import evaluation


def digits(N: int = 6) -> Digits:
    """Images of random pixels."""
    return Digits(np.random.default_rng(0).integers(0, 256, (N, 28, 28)).astype(np.uint8), np.arange(N, dtype=np.int32) % 10)


@pytest.mark.parametrize("size", [4, 17, 28, 41])
def test_resizing_is_pillow_s_bilinear(size):
    images = digits().image_NxYxX
    expected = np.stack([np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)) for image in images])
    assert np.abs(canvas.resized(images, size).astype(int) - expected).max() <= 1  # it rounds after each axis


@given(st.integers(0, 10**6), st.integers(0, 8), st.integers(0, 40))
def test_things_stand_side_by_side_within_the_canvas(seed, first, more):
    rng = np.random.default_rng(seed)
    size_NxK, count_N = rng.integers(4, 20, (5, 6)), rng.integers(0, 7, 5)
    real_NxK = np.arange(6)[None] < count_N[:, None]
    width = first + int(np.where(real_NxK, size_NxK, 0).sum(1).max()) + more
    left_NxK = canvas.placed(rng, size_NxK, real_NxK, first, width)
    for left, size, count in zip(left_NxK, size_NxK, count_N, strict=True):
        ends = [first, *(left[:count] + size[:count])]
        assert all(end <= start for end, start in zip(ends, [*left[:count], width], strict=True))


def test_every_column_is_taken_about_as_often():
    """One thing of 4 pixels in 10 has 7 places."""
    left_NxK = canvas.placed(np.random.default_rng(0), np.full((7000, 1), 4), np.ones((7000, 1), bool), 0, 10)
    assert set(np.unique(left_NxK)) == set(range(7)) and np.abs(np.bincount(left_NxK[:, 0]) - 1000).max() < 150


def test_digits_stand_in_front_of_clutter_and_only_they_are_there_without():
    found, rng = digits(), np.random.default_rng(1)
    layout = Layout(*(np.array([[value]]) for value in (2, 28, 3, 30, True)))
    plain, littered = (canvas.painted(rng, found, layout, clutter, 40, 80)[0] for clutter in (0, 9))
    expected = np.zeros((40, 80), np.uint8)
    expected[3:31, 30:58] = found.image_NxYxX[2]
    assert np.array_equal(plain, expected)
    assert np.array_equal(littered[3:31, 30:58], found.image_NxYxX[2]) and (littered != expected).any()
    assert layout.box_NxKx4.tolist() == [[[3, 30, 31, 58]]]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_an_image_is_put_together_again_of_its_patches(patch, rows, columns):
    image = np.random.default_rng(0).integers(0, 256, (2, rows * patch, columns * patch)).astype(np.uint8)
    source_NxSxF = canvas.patches(image, patch)
    assert source_NxSxF.shape == (2, rows * columns, patch**2) and source_NxSxF.dtype == np.float32
    for source, one in zip(source_NxSxF, image.astype(float), strict=True):
        expected = np.rint(255 * (one - one.min()) / max(one.max() - one.min(), 1e-9))
        assert np.abs(evaluation.image(2 * source, rows) - expected).max() <= 1
