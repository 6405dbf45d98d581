"""An arm has its look in every picture, no two of an experiment look alike, and several lines of one are shades that grey tells apart."""

import importlib
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from attention_jax.report.figures import colours
from attention_jax.report.figures.curves import arm_in
from experiments import modern, run

CLEAR = 20
"""Steps of CIE L*a*b* between two colours that are told apart at a glance."""


def lab(colour: str) -> np.ndarray:
    """L*, a*, b* of a colour, of light like the day's (D65)."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]] @ linear / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def clear(one: colours.Look, other: colours.Look) -> bool:
    """Whether the lines of two looks are told apart: by their dashes, or by their colours."""
    return one.dashes != other.dashes or float(np.linalg.norm(lab(one.colour) - lab(other.colour))) > CLEAR


@pytest.mark.parametrize("name", run.CLAIMS)
def test_no_two_arms_of_an_experiment_look_alike(name):
    claim = importlib.import_module(f"experiments.{name}")
    arms = sorted({arm_in(claim.name(config)) for preset in claim.PRESETS for config in claim.sweep(preset)})
    assert not set(arms) - set(colours.LOOKS), "arms of a preset have a look of their own: write it into LOOKS"
    alike = [pair for pair in combinations(arms, 2) if not clear(*map(colours.LOOKS.get, pair))]
    assert not alike and len(arms) > 1


def test_no_two_cells_look_alike():
    configs = [config for preset in modern.PRESETS for config in modern.sweep(preset)]
    cells = {modern.named(c.model.encoder, c.model.cell, c.model.layers, c.training.optimizer) for c in configs}
    assert cells <= set(colours.LOOKS)
    assert len({colours.LOOKS[cell][:2] for cell in cells}) == len(cells)  # dashes say whether a line attends


def test_an_arm_has_its_look_wherever_it_stands():
    assert len(set(colours.LOOKS.values())) == len(colours.LOOKS)
    found = colours.of_arms(["novel", "additive", "none", "novel"])
    assert list(found) == ["novel", "additive", "none"]
    assert {arm: found[arm] for arm in ("additive", "none")} == {arm: colours.LOOKS[arm] for arm in ("additive", "none")}


def test_arms_that_have_no_look_never_have_one_of_the_named():
    found = colours.of_arms([*map(str, range(16)), "summary"])
    assert len({look[::2] for look in found.values()}) == 17  # colour and dashes
    assert not {look.colour for arm, look in found.items() if arm != "summary"} & {look.colour for look in colours.LOOKS.values()}
    assert len(colours.of_arms(map(str, range(30)))) == 30
    assert all(clear(colours.Look(other, "o"), named._replace(dashes=colours.SOLID)) for other in colours.OTHERS for named in NAMED)


NAMED = tuple({look.colour: look for look in colours.LOOKS.values()}.values())


def test_labels_are_shades_of_their_arm_from_light_to_full():
    found = colours.shades({"d = 4": "summary", "additive": "additive", "d = 8": "summary", "d = 16": "summary"})
    assert list(found) == ["d = 4", "additive", "d = 8", "d = 16"]
    assert (found["d = 16"].colour, found["additive"]) == (colours.LOOKS["summary"].colour, colours.LOOKS["additive"])
    grey = [np.mean(to_rgb(found[f"d = {d}"].colour)) for d in (4, 8, 16)]
    assert grey[0] > grey[1] + 0.1 > grey[2] + 0.2
    assert len({look.marker for label, look in found.items() if "d" in label.split()}) == 3
