"""Rows of planted truths that tests of several experiments share."""

from collections.abc import Mapping, Sequence

import numpy as np

RATES = (0.004, 0.008, 0.016, 0.032, 0.064)


def curve(own: Mapping, best: float, rates: Sequence[float] = RATES, random: np.random.Generator | None = None) -> list[dict]:
    """A rate curve of 4 selection seeds: the loss rises by 1 for each doubling away from the best rate, and seeds scatter by up to 0.1.

    Without `random` by 0.001 from one to the next. `own`: the fields of the run.
    """
    found = []
    for rate in rates:
        for i in range(4):
            loss = 0.5 + abs(np.log2(rate / best)) + (random.random() / 10 if random else 0.001 * i)
            place = {"role": "selection", "seed": 2_000_000_000 + i, "learning_rate": rate, "grown": False}
            found.append({**own, **place, "validation_loss": float(loss)})
    return found
