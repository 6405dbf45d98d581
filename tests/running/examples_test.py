"""Examples are packed to 8 bits and read back; what is none is one line."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from attention_jax.running import examples
from attention_jax.system.errors import DataError

TOKENS = ["3", "▁größer", "⏎"], ["1", "⏎"], ["1", "⏎"]
WEIGHTS = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
EXAMPLE = examples.of(TOKENS, WEIGHTS, np.array([1.23456, 2.0]), [["1", "2"], ["⏎", "1"]], np.array([[0.9, 0.1], [0.6, 0.3]]))

IMAGE_YxX = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
PICTURED = examples.of(TOKENS, WEIGHTS, image_YxX=IMAGE_YxX)


def png(image: Image.Image) -> str:
    written = io.BytesIO()
    image.save(written, "PNG")
    return examples.text(written.getvalue())


@given(st.lists(st.lists(st.floats(0, 30), min_size=3, max_size=3), min_size=2, max_size=2))
def test_a_weight_is_kept_to_half_a_level(rows):
    found = examples.of(TOKENS, np.array(rows))
    if found.weights is None:
        assert not np.any(rows)
        return
    kept = np.frombuffer(found.weights, np.uint8).reshape(2, 3) * found.peak / examples.LEVELS
    assert found.peak == max(1, np.max(rows))
    np.testing.assert_allclose(kept, rows, atol=found.peak / examples.LEVELS / 2 + 1e-9)


def test_entropy_is_that_of_shares():
    assert EXAMPLE.entropy == pytest.approx([1.5 * np.log(2), 0], abs=1e-3)
    np.testing.assert_allclose(examples.entropies(4 * WEIGHTS), examples.entropies(WEIGHTS))
    assert examples.entropies(np.zeros((1, 3))) == [0]


def test_what_is_not_known_is_left_out():
    blind = examples.of(TOKENS, np.zeros((2, 3)), np.array([np.nan, 1]))
    assert (blind.weights, blind.entropy, blind.norm, blind.likely, blind.shares) == (None, [], [], [], b"")
    assert np.frombuffer(examples.of(TOKENS, np.array([[np.nan, -1, 2]] * 2)).weights, np.uint8).tolist() == [0, 0, 255] * 2


def test_what_is_written_is_read(tmp_path):
    examples.write(tmp_path / "examples.json", [(7, 2, EXAMPLE), (8, 4, EXAMPLE._replace(target=None))])
    first, second = examples.read(tmp_path / "examples.json")
    assert first == {"seed": 7, "length": 2, "example": EXAMPLE} and second["example"].target is None


def test_an_image_is_kept_pixel_by_pixel(tmp_path):
    examples.write(tmp_path / "examples.json", [(7, 2, PICTURED)])
    (found,) = examples.read(tmp_path / "examples.json")
    np.testing.assert_array_equal(examples.pixels(found["example"].image), IMAGE_YxX)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": "abc"}, "lists of tokens"),
        ({"output": [1, 2]}, "lists of tokens"),
        ({"weights": "AAA="}, "2 x 3 bytes"),
        ({"weights": "<script>"}, "must be base64"),
        ({"weights": 3}, "must be base64"),
        ({"peak": 0.5}, "peak"),
        ({"peak": True}, "peak"),
        ({"norm": [1.0]}, "entropy and norm must be 2 numbers"),
        ({"norm": [1.0, 1e13]}, "entropy and norm"),
        ({"entropy": [1, "2"]}, "entropy and norm"),
        ({"likely": [["1"], ["1", "2"]]}, "2 lists of as many tokens"),
        ({"likely": {}}, "2 lists of as many tokens"),
        ({"shares": ""}, "a byte for each"),
        ({"shares": None}, "a byte for each"),
        ({"image": "<svg/onload=x>"}, "must be base64"),
        ({"image": 3}, "must be base64"),
        ({"image": "PHN2Zz4="}, "image: no PNG"),
        ({"image": png(Image.new("RGB", (6, 4)))}, "image: an image in shades of grey"),
        ({"image": png(Image.new("L", (2001, 2000)))}, "image: an image in shades of grey"),
        ({"image": png(Image.new("L", (4, 4)))}, "equally many pixels for each of the 3 places"),
    ],
)
def test_what_is_no_example_is_one_line(tmp_path, change, says):
    path = tmp_path / "examples.json"
    path.write_text(json.dumps({"examples": [{"seed": 0, "length": 1} | examples.to_json(EXAMPLE) | change]}))
    with pytest.raises(DataError, match=rf"examples\.json is no decoded example: .*{says}.*remove the file$"):
        examples.read(path)


@pytest.mark.parametrize(
    "content", [{}, {"examples": 3}, {"examples": [3]}, {"examples": [{"seed": 0}]}, {"examples": [{"seed": 0, "length": "1"}]}]
)
def test_a_file_of_anything_else(tmp_path, content):
    (tmp_path / "examples.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"examples\.json.*remove the file$"):
        examples.read(tmp_path / "examples.json")
