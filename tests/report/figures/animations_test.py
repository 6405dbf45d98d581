"""A decoder looking, frame by frame."""

import re
import struct

import numpy as np
import pytest
from matplotlib.figure import Figure

from attention_jax.report import figures
from attention_jax.report.figures import animations, looks
from attention_jax.report.figures.looks import Panel
from attention_jax.system.errors import ConfigError, DataError

PANEL = Panel("additive", np.array([[0.9, 0.1, 0.0], [0.0, 0.0, 1.0]]), ["3", "1", "⏎"], ["<b>", "⏎"])
ROWS = ["additive", "input", "output"]


def texts(said: int, panel: Panel = PANEL) -> tuple[list[str], list[float]]:
    """What a frame says, and the widths of its lines."""
    axes = Figure().subplots()
    animations.frame(axes, panel, said)
    return [text.get_text() for text in axes.texts], [line.get_linewidth() for line in axes.lines]


def test_a_frame_has_what_was_said_so_far():
    assert texts(0) == ([*ROWS, "3", "1", "⏎"], [])
    assert texts(1) == ([*ROWS, "3", "1", "⏎", "<b>"], pytest.approx([5.4, 0.6]))
    assert texts(2) == ([*ROWS, "3", "1", "⏎", "<b>", "⏎"], pytest.approx([5.4, 0.6, 6.0]))
    said, lines = texts(2, PANEL._replace(weights_TxS=None))
    assert any("one fixed vector" in text for text in said) and lines == []


def test_it_lasts_as_long_as_it_is_said_to():
    found = animations.looking(PANEL, seconds=20)
    assert found[:6] == b"GIF89a"
    delays = [struct.unpack("<H", delay)[0] for delay in re.findall(rb"\x21\xf9\x04.(..).\x00", found, re.DOTALL)]
    assert sum(delays) == pytest.approx(2000, abs=8), "hundredths of a second"


def test_what_no_frame_holds_is_refused():
    with pytest.raises(DataError, match="41 inputs and 2 outputs; an animation has 1 to 40 of each"):
        animations.looking(PANEL._replace(source_tokens=["a"] * 41))
    with pytest.raises(DataError, match="0 outputs"):
        animations.looking(PANEL._replace(target_tokens=[]))


def test_a_slide_has_larger_letters_in_a_larger_picture():
    def size(style: str) -> tuple[int, float, float]:
        """Pixels across, inches as drawn, and points of the smallest letters of the SVG as it is shown."""
        with figures.sized(style):
            figure = looks.alignment(np.eye(2), "ab", "ab", "t")
            (across, _), svg = struct.unpack(">II", figures.png_bytes(figure)[16:24]), figures.svg_text(figure)
        shown, drawn = (float(re.search(pattern, svg)[1]) for pattern in (r'width="([\d.]+)pt"', r'viewBox="0 0 ([\d.]+)'))
        letters = min(float(size) for size in re.findall(r"([\d.]+)px", svg))
        return across, figure.get_figwidth(), letters * shown / drawn

    (page, wide, small), (slide, narrow, large) = size("page"), size("slide")
    assert narrow < 0.8 * wide and slide > 1.05 * page and size("page") == (page, wide, small)
    assert small == 9 and large >= 14


def test_an_animation_for_a_slide_fills_a_projector():
    page = struct.unpack("<HH", animations.looking(PANEL)[6:10])
    with figures.sized("slide"):
        slide = struct.unpack("<HH", animations.looking(PANEL)[6:10])
        long = struct.unpack("<HH", animations.looking(PANEL._replace(weights_TxS=None, source_tokens=["a"] * 40))[6:10])
    assert slide[0] >= 1278 > page[0] and slide[1] >= 718 and long[0] >= 1278 and long[1] >= 718
    with pytest.raises(ConfigError, match="--style"), figures.sized("poster"):
        pass
