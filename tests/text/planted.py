"""Sentences under planted truths: what arms lose on captions that are drawn, joined and read by seeds that are drawn.

Loss per token of a line of w words, for a seed of an arm:

    μ(w) + mean over its captions of (c + d) + s + s' · (w/25 − 1) + e / √tokens

μ is planted; c is a caption's own, d what an arm makes of a caption, s and s' a seed's level and slope, e a seed's luck with a line. All
but μ have mean 0, so an arm's true loss on a half is the token-weighted mean of μ there.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from attention_jax import rates
from attention_jax.observations import Comparison
from attention_jax.sentences import Sentences

LENGTHS = (10, 20, 30, 40)
MOST = 4  # captions that are joined


class Scatter(NamedTuple):
    """Standard deviations, nats per token."""

    captions: float = 0.6
    arms: float = 0.25
    seeds: float = 0.03
    slopes: float = 0.02
    lines: float = 1.0


PLAIN = Scatter()


class Corpus(NamedTuple):
    """A test split: its captions, and the lines that they are joined to."""

    hard_C: np.ndarray  # c
    words_N: np.ndarray
    tokens_N: np.ndarray
    first_N: np.ndarray
    joined_N: np.ndarray


def corpus(captions: int, random: np.random.Generator, scatter: Scatter = PLAIN) -> Corpus:
    """Captions of about 11 words, and all whole groups of 1 to 4 of them."""
    words_C = 3 + random.poisson(8, captions)
    tokens_C = words_C + random.poisson(0.4 * words_C)
    groups = [(first, k) for k in range(1, MOST + 1) for first in range(0, captions - k + 1, k)]
    first_N, joined_N = np.array(groups).T
    ends = np.stack([first_N, first_N + joined_N])
    words_N, tokens_N = (np.diff(np.concatenate([[0], np.cumsum(of_C)])[ends], axis=0)[0] for of_C in (words_C, tokens_C))
    return Corpus(scatter.captions * random.standard_normal(captions), words_N, tokens_N + 1, first_N, joined_N)


def true(mu: Callable, captions: int = 200_000) -> np.ndarray:
    """The loss on the short and the long half."""
    whole = corpus(captions, np.random.default_rng(99))
    halves = [(whole.words_N <= LENGTHS[1]), (whole.words_N > LENGTHS[1]) & (whole.words_N <= LENGTHS[3])]
    return np.array([np.average(mu(whole.words_N[half]), weights=whole.tokens_N[half]) for half in halves])


def sentences(
    lines: Corpus, mus: list[Callable], seeds: tuple[int, ...], random: np.random.Generator, scatter: Scatter = PLAIN
) -> list[Sentences]:
    """Of arms that share captions."""
    C, N, R = len(lines.hard_C), len(lines.words_N), len(seeds)
    ends = np.stack([lines.first_N, lines.first_N + lines.joined_N])
    found = []
    for mu in mus:
        hard_C = lines.hard_C + scatter.arms * random.standard_normal(C)
        hard_N = np.diff(np.concatenate([[0], np.cumsum(hard_C)])[ends], axis=0)[0] / lines.joined_N
        level_Rx1, slope_Rx1 = (sd * random.standard_normal((R, 1)) for sd in (scatter.seeds, scatter.slopes))
        luck_RxN = scatter.lines * random.standard_normal((R, N)) / np.sqrt(lines.tokens_N)
        loss_RxN = mu(lines.words_N) + hard_N + level_Rx1 + slope_Rx1 * (lines.words_N / 25 - 1) + luck_RxN
        nll_RxN = np.maximum(loss_RxN * lines.tokens_N, 0).astype(np.float32)
        integers = (each.astype(np.int32) for each in (lines.tokens_N, lines.words_N, lines.first_N, lines.joined_N))
        found.append(Sentences(seeds, nll_RxN, *integers))
    return found


LADDER = (100, 200, 400)
GRID = (0.001, 0.002, 0.004, 0.008, 0.016)  # the middle one is best
REPORTED, SELECTION = tuple(range(16)), tuple(range(1000, 1004))
COMPARISON = Comparison("fixed", "attention", LENGTHS, LADDER, GRID)


class Truth(NamedTuple):
    """What arms lose on a line of w words. `off`: what a rate adds, a factor of two away from the best; three times that at four."""

    attention: Callable
    fixed: tuple[Callable, Callable, Callable]  # one a rung
    blind: Callable
    off: float = 0.1


def experiment(truth: Truth, seeds: int, captions: int, random: np.random.Generator, scatter: Scatter = PLAIN) -> tuple[list, dict]:
    """(rows, sentences by run) of all that a verdict asks for, if attention has learned at the first rung; reported at the chosen rates."""
    lines = corpus(captions, random, scatter)
    places = [("fixed", budget, mu) for budget, mu in zip(LADDER, truth.fixed, strict=True)]
    places += [(arm, budget, mu) for arm, mu in (("attention", truth.attention), ("blind", truth.blind)) for budget in LADDER[:2]]
    rows, kept = [], {}
    for arm, budget, mu in places:
        name = f"{arm}-{budget}"
        fields = {"attention": "attention" if arm == "blind" else arm, "blind": arm == "blind", "budget": budget, "run": name}
        mus = [lambda words, mu=mu, step=step: mu(words) + truth.off * abs(step - 2) * (abs(step - 2) + 1) / 2 for step in range(len(GRID))]
        losses: dict = {}
        for rate, trial in zip(GRID, sentences(lines, mus, SELECTION, random, scatter), strict=True):
            place = fields | {"role": "selection", "learning_rate": rate}
            losses_R = trial.nll_RxN.sum(1) / trial.tokens_N.sum()
            losses[rate] = dict(zip(SELECTION, losses_R.tolist(), strict=True))
            rows += [place | {"seed": seed, "validation_loss": loss} for seed, loss in losses[rate].items()]
            rows += _forced(trial, place)
        chosen = rates.choose(losses, GRID).rate
        (kept[name],) = sentences(lines, [mus[GRID.index(chosen)]], REPORTED[:seeds], random, scatter)
        rows += _forced(kept[name], fields | {"role": "reported", "learning_rate": chosen})
    return rows, kept


def _forced(found: Sentences, fields: dict) -> list[dict]:
    """A row per seed and bucket, as a run leaves it."""
    rows = []
    for length, first in zip(LENGTHS, (0, *LENGTHS), strict=False):
        is_in_N = (found.words_N > first) & (found.words_N <= length)
        tokens, lines = int(found.tokens_N[is_in_N].sum()), int(is_in_N.sum())
        bucket = fields | {"length": length, "seen": True, "mode": "forced", "examples": lines, "symbols": tokens - lines}
        losses_R = found.nll_RxN[:, is_in_N].sum(1, dtype=float) / tokens
        rows += [bucket | {"seed": seed, "loss": float(loss)} for seed, loss in zip(found.seeds, losses_R, strict=True)]
    return rows
