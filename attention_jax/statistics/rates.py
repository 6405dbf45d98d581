"""Chooses the learning rate of an arm and budget: the lowest of those tied with the best on the selection seeds.

A rate curve is {rate: {selection seed: validation loss in nats per token}}; a run that diverged has the loss infinity.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from attention_jax.statistics import intervals
from attention_jax.system.errors import DataError

Losses = Mapping[float, Mapping[int, float]]

GROWTH = 2  # steps that a grid may grow beyond what was declared
SMALLEST_LOSS = 1e-9  # nats per token; what is smaller counts as this
TIED = 0.2  # mean difference of log loss up to which a rate can be tied with the best


class Choice(NamedTuple):
    """The rate that a curve chooses. `rate` and `best` are None where every rate diverged."""

    rate: float | Any  # the lowest of the tie set
    best: float | Any  # the rate with the smallest mean log loss
    tied: tuple[float, ...]
    excluded: tuple[float, ...]  # a seed diverged there
    at_edge: bool  # the best rate is the lowest or the highest of the grid: the choice does not stand
    add: float | None  # the rate to run next, where the grid may still grow
    log_loss: float  # mean over selection seeds at `rate`


def choose(losses: Losses, declared: Sequence[float]) -> Choice:
    """Chooses the rate of an arm at a budget, from its curve and the grid that was declared for it.

    Criterion: mean log validation loss over the selection seeds. A rate with a loss that is not finite is excluded. Tied are the best rate
    and every other whose paired difference of log loss to it has a 95 % interval that contains 0 and a mean of at most 0.2; the lowest tied
    rate is chosen. While the best rate lies at an edge of the grid, the grid grows there, by at most two rates beyond the declared ones.
    A single selection seed ties nothing. Raises `DataError` for seeds that differ between rates, and for an empty curve.
    """
    seeds = {frozenset(of_seed) for of_seed in losses.values()}
    if len(seeds) != 1 or not next(iter(seeds)):
        raise DataError("a rate curve needs the same selection seeds, at least one, at every rate")
    excluded = tuple(rate for rate in sorted(losses) if not all(math.isfinite(loss) for loss in losses[rate].values()))
    logs = {rate: {s: math.log(max(x, SMALLEST_LOSS)) for s, x in losses[rate].items()} for rate in sorted(losses) if rate not in excluded}
    if not logs:
        return Choice(None, None, (), excluded, False, None, math.inf)
    means = {rate: sum(of_seed.values()) / len(of_seed) for rate, of_seed in logs.items()}
    best = min(means, key=means.__getitem__)
    tied = tuple(rate for rate in logs if rate == best or _tied(logs[rate], logs[best]))
    at_edge = best in (min(losses), max(losses))
    return Choice(tied[0], best, tied, excluded, at_edge, _next(losses, best, declared) if at_edge else None, means[tied[0]])


def neighbours(choice: Choice, losses: Losses) -> tuple[float, ...]:
    """Returns the rates of the grid next to the chosen one, without excluded ones; at an edge there is one."""
    grid = sorted(losses)
    place = grid.index(choice.rate)
    return tuple(rate for rate in grid[max(place - 1, 0) : place + 2] if rate != choice.rate and rate not in choice.excluded)


def _tied(of_seed: Mapping[int, float], best: Mapping[int, float]) -> bool:
    if len(best) < 2:
        return False
    apart = intervals.paired(of_seed, best)
    return apart.low <= 0 <= apart.high and apart.mean <= TIED


def _next(losses: Losses, best: float, declared: Sequence[float]) -> float | None:
    """Returns the rate a factor of two beyond the edge of the best one (the lower edge, of a single rate); None after two such steps."""
    if len(set(losses) - set(declared)) >= GROWTH:
        return None
    return best / 2 if best == min(losses) else best * 2
