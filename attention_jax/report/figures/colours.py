"""Colours of arms, the same in every picture: told apart by colour-blind readers, and by their shades in grey."""

from collections.abc import Iterable, Mapping

import numpy as np

from attention_jax.report import figures

COLOURS = {
    "none": "#6e6e6e",
    "summary": "#d55e00",
    "additive": "#0072b2",
    "dot": "#009e73",
    "general": "#b2528e",
}
"""After Okabe and Ito (2008)."""
OTHERS = ("#56b4e9", "#a6761d", "#3b3b98", "#e69f00", "#1b4d3e")
"""Of arms that have none of these, in order of appearance."""
LIGHTEST = 0.45  # how far the first of several shades of one colour is from white


def of_arms(arms: Iterable[str]) -> dict[str, str]:
    """Returns {arm: its colour}; an eleventh arm that has none of its own is grey."""
    every = list(dict.fromkeys(arms))
    free = iter([*OTHERS, *(colour for arm, colour in COLOURS.items() if arm not in every)])
    return {arm: COLOURS.get(arm) or next(free, figures.GREY) for arm in every}


def shades(arm_by_label: Mapping[str, str]) -> dict[str, str]:
    """Returns {label: colour}, that of its arm; from light to full where an arm has several labels."""
    from matplotlib.colors import to_hex, to_rgb

    colours = of_arms(arm_by_label.values())
    found = {}
    for arm, colour in colours.items():
        labels = [label for label, own in arm_by_label.items() if own == arm]
        full = np.array(to_rgb(colour))
        for i, label in enumerate(labels):
            share = 1 if len(labels) == 1 else LIGHTEST + (1 - LIGHTEST) * i / (len(labels) - 1)
            found[label] = to_hex(tuple(1 - share * (1 - full)))
    return {label: found[label] for label in arm_by_label}
