"""An arm has its colour in every picture, and several lines of it are shades that grey tells apart."""

import numpy as np
from matplotlib.colors import to_rgb

from attention_jax.report.figures import colours


def test_an_arm_has_its_colour_wherever_it_stands():
    found = colours.of_arms(["novel", "additive", "none", "novel"])
    assert list(found) == ["novel", "additive", "none"]
    assert {arm: found[arm] for arm in ("additive", "none")} == {arm: colours.COLOURS[arm] for arm in ("additive", "none")}
    assert found["novel"] == colours.OTHERS[0]


def test_ten_arms_differ_and_more_are_drawn():
    found = colours.of_arms([*map(str, range(9)), "summary"])
    assert len(set(found.values())) == 10 and len(colours.of_arms(map(str, range(30)))) == 30


def test_labels_are_shades_of_their_arm_from_light_to_full():
    found = colours.shades({"d = 4": "summary", "additive": "additive", "d = 8": "summary", "d = 16": "summary"})
    assert list(found) == ["d = 4", "additive", "d = 8", "d = 16"]
    assert (found["d = 16"], found["additive"]) == (colours.COLOURS["summary"], colours.COLOURS["additive"])
    grey = [np.mean(to_rgb(found[f"d = {d}"])) for d in (4, 8, 16)]
    assert grey[0] > grey[1] + 0.1 > grey[2] + 0.2
