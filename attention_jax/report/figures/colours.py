"""How arms look, the same in every picture: a colour, a marker and a dash each, told apart by colour-blind readers, and in grey."""

from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

MARKERS = "osD^vPX*<>"
"""Of lines that are of one arm: the arm's own, and those behind it."""
SOLID, DASHED, DOTTED, MIXED = "-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2))


class Look(NamedTuple):
    """How the lines of an arm are drawn."""

    colour: str
    marker: str
    dashes: Any = SOLID  # a line style of Matplotlib


GREY, VERMILION, BLUE, GREEN, PURPLE = "#6e6e6e", "#d55e00", "#0072b2", "#009e73", "#b2528e"
SKY, ORANGE, BROWN, INDIGO, BLACK = "#56b4e9", "#e69f00", "#8c510a", "#3b3b98", "#111111"
"""After Okabe and Ito (2008), whose yellow is too light for lines; brown and indigo are added."""
ROSE, FOREST = "#cc5577", "#1b4d3e"
LOOKS = {
    # nothing of the source, or nothing but the vector
    "none": Look(GREY, "o"),
    "conditional": Look(GREY, "D", DASHED),
    "blind": Look(GREY, "X", DOTTED),
    "summary": Look(VERMILION, "s"),
    # scores
    "additive": Look(BLUE, "o"),
    "additive_window": Look(BLUE, "^", DASHED),
    "attention": Look(BLUE, "D", DOTTED),
    "word_by_word": Look(BLUE, "P", MIXED),
    "dot": Look(GREEN, "D"),
    "scaled_dot": Look(GREEN, "v", DASHED),
    "general": Look(PURPLE, "^"),
    "cosine": Look(ORANGE, "P"),
    "copy": Look(PURPLE, "P", DASHED),
    # what is known of places attended before
    "location": Look(SKY, "v", DOTTED),
    "location_aware": Look(SKY, "D"),
    "location_aware_window": Look(SKY, "s", DASHED),
    "coverage": Look(SKY, "P", MIXED),
    "dark": Look(BLACK, "v", DOTTED),
    "gaussian": Look(ORANGE, "<"),
    "gmm_v2": Look(ORANGE, "X", DASHED),
    "dynamic_convolution": Look(BLACK, "P", MIXED),
    # ways along the source
    "monotonic": Look(BROWN, "v"),
    "mocha": Look(BROWN, "X", DASHED),
    "stepwise": Look(INDIGO, "s"),
    "forward": Look(ROSE, ">"),
    "forward_agent": Look(ROSE, "*", DASHED),
    "local_p": Look(ORANGE, "*", MIXED),
    "guided": Look(PURPLE, "D", DOTTED),
    "swapped": Look(BLACK, "X", DASHED),
    # soft and hard
    "soft": Look(BLUE, "v", (0, (9, 1.5))),
    "sparsemax": Look(SKY, "X", (0, (4, 1, 1, 1))),
    "entmax15": Look(SKY, "*", (0, (2, 1))),
    "gumbel": Look(ORANGE, "s", DOTTED),
    "straight_through": Look(PURPLE, "v", MIXED),
    "reinforce": Look(ROSE, "^", DOTTED),
    "marginal": Look(FOREST, "D"),
    "variational": Look(FOREST, "X", DASHED),
    "hard": Look(INDIGO, "v", DASHED),
    # encoders, whose lines are full with attention and dashed without
    "gru": Look(INDIGO, "o"),
    "gru-l1": Look(INDIGO, "^"),
    "gru-adadelta": Look(INDIGO, "X"),
    "lstm": Look(ROSE, "s"),
    "mingru": Look(FOREST, "o"),
    "mingru-l1": Look(FOREST, "v"),
    "minlstm": Look(ORANGE, "D"),
    "diagonal": Look(SKY, "^"),
    "self_attention": Look(BLACK, "*"),
}
"""{what an experiment compares: its look}; arms of one kind share a colour."""
OTHERS = ("#5c8a00", "#8e5be0", "#00798c", "#8f8400")
"""Colours of all that have no look of their own, in order of appearance; every further round of them has another dash."""
LIGHTEST = 0.45  # how far the first of several shades of one colour is from white


def of_arms(arms: Iterable[str]) -> dict[str, Look]:
    """Returns {arm: its look}. An arm that is not in `LOOKS` never has one of those that are."""
    every = list(dict.fromkeys(arms))
    rounds = {SOLID: "o", DASHED: "X", DOTTED: "^", MIXED: "P"}
    free = cycle([Look(colour, marker, dashes) for dashes, marker in rounds.items() for colour in OTHERS])
    return {arm: LOOKS.get(arm) or next(free) for arm in every}


def shades(arm_by_label: Mapping[str, str]) -> dict[str, Look]:
    """Returns {label: look}, that of its arm; where an arm has several labels, from light to full, and each has another marker."""
    from matplotlib.colors import to_hex, to_rgb

    found = {}
    for arm, look in of_arms(arm_by_label.values()).items():
        labels = [label for label, own in arm_by_label.items() if own == arm]
        full, first = np.array(to_rgb(look.colour)), MARKERS.index(look.marker)
        for i, label in enumerate(labels):
            share = 1 if len(labels) == 1 else LIGHTEST + (1 - LIGHTEST) * i / (len(labels) - 1)
            marker = MARKERS[(first + i) % len(MARKERS)]
            found[label] = look._replace(colour=to_hex(tuple(1 - share * (1 - full))), marker=marker)
    return {label: found[label] for label in arm_by_label}
