"""Simulates losses of sentences under planted truths: random captions, joined to lines, and random seeds of each arm.

Captions have 3 + Poisson(8) words and 1.4 subwords a word, EOS beside; all whole groups of 1 to 4 consecutive ones are lines. Loss in nats
per token of a line of w words, for a seed of an arm:

    μ(w) + mean over its captions of (c + d) + s + s' · (w/25 − 1) + e / √tokens

μ is planted; c is a caption's own, d what an arm makes of a caption, s and s' a seed's level and slope, e a seed's luck with a line: normal
with mean 0 and standard deviations 0.6, 0.25, 0.03, 0.02 and 1. So an arm's true loss on a half is the token-weighted mean of μ there.
A rate one factor of two away from the best adds 0.1, two add 0.3. A seed that fails loses what an arm loses that does not see the source.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from attention_jax.statistics import rates
from attention_jax.statistics.observations import SELECTION_SEEDS, Comparison
from attention_jax.statistics.sentences import Sentences

LENGTHS = (10, 20, 30, 40)
MOST = 4  # captions that are joined
CAPTIONS = 1000
LADDER = (100, 200, 400)
GRID = (0.001, 0.002, 0.004, 0.008, 0.016)  # the middle one is best
REPORTED, SELECTION = tuple(range(16)), tuple(range(1000, 1000 + SELECTION_SEEDS))


class Scatter(NamedTuple):
    """Standard deviations of the simulated effects, in nats per token."""

    captions: float = 0.6
    arms: float = 0.25
    seeds: float = 0.03
    slopes: float = 0.02
    lines: float = 1.0


PLAIN = Scatter()


class Corpus(NamedTuple):
    """A simulated test split: its captions, and the lines they are joined to."""

    hard_C: np.ndarray  # c
    length_N: np.ndarray
    tokens_N: np.ndarray
    first_N: np.ndarray
    joined_N: np.ndarray


def corpus(captions: int, random: np.random.Generator, scatter: Scatter = PLAIN) -> Corpus:
    """Draws captions of about 11 words, and joins all whole groups of 1 to 4 of them."""
    words_C = 3 + random.poisson(8, captions)
    tokens_C = words_C + random.poisson(0.4 * words_C)
    groups = [(first, k) for k in range(1, MOST + 1) for first in range(0, captions - k + 1, k)]
    first_N, joined_N = np.array(groups).T
    ends = np.stack([first_N, first_N + joined_N])
    length_N, tokens_N = (np.diff(np.concatenate([[0], np.cumsum(of_C)])[ends], axis=0)[0] for of_C in (words_C, tokens_C))
    return Corpus(scatter.captions * random.standard_normal(captions), length_N, tokens_N + 1, first_N, joined_N)


@cache
def _many(captions: int) -> Corpus:
    return corpus(captions, np.random.default_rng(99))


def true(mu: Callable, captions: int = 200_000) -> np.ndarray:
    """Returns the true loss on the short and the long half."""
    whole = _many(captions)
    halves = [(whole.length_N <= LENGTHS[1]), (whole.length_N > LENGTHS[1]) & (whole.length_N <= LENGTHS[3])]
    return np.array([np.average(mu(whole.length_N[half]), weights=whole.tokens_N[half]) for half in halves])


def sentences(
    lines: Corpus, mus: Sequence[Callable], seeds: tuple[int, ...], random: np.random.Generator, scatter: Scatter = PLAIN
) -> list[Sentences]:
    """Draws the sentences of arms that share captions."""
    C, N, R = len(lines.hard_C), len(lines.length_N), len(seeds)
    ends = np.stack([lines.first_N, lines.first_N + lines.joined_N])
    found = []
    for mu in mus:
        hard_C = lines.hard_C + scatter.arms * random.standard_normal(C)
        hard_N = np.diff(np.concatenate([[0], np.cumsum(hard_C)])[ends], axis=0)[0] / lines.joined_N
        level_Rx1, slope_Rx1 = (sd * random.standard_normal((R, 1)) for sd in (scatter.seeds, scatter.slopes))
        luck_RxN = scatter.lines * random.standard_normal((R, N)) / np.sqrt(lines.tokens_N)
        loss_RxN = mu(lines.length_N) + hard_N + level_Rx1 + slope_Rx1 * (lines.length_N / 25 - 1) + luck_RxN
        nll_RxN = np.maximum(loss_RxN * lines.tokens_N, 0).astype(np.float32)
        integers = (each.astype(np.int32) for each in (lines.tokens_N, lines.length_N, lines.first_N, lines.joined_N))
        found.append(Sentences(seeds, nll_RxN, *integers))
    return found


def comparison(seeds: int) -> Comparison:
    """Returns the comparison that is declared for the simulated rows."""
    return Comparison("fixed", "attention", LENGTHS, LADDER, GRID, seeds)


class Truth(NamedTuple):
    """One planted truth: what arms lose on a line of w words, in nats per token. The fixed arm's are one a rung."""

    name: str
    kind: str  # "null": a bottleneck would be wrong; "effect": it would be right; "level": "levelling off" would be wrong
    says: str
    attention: Callable
    fixed: tuple[Callable, ...]
    blind: Callable
    off: float = 0.1  # what a rate adds, a factor of two away from the best; three times that at four
    fixed_fail: float = 0.0  # share of seeds
    attention_fail: float = 0.0


def experiment(truth: Truth, seeds: int, captions: int, random: np.random.Generator, scatter: Scatter = PLAIN) -> tuple[list, dict]:
    """Simulates (rows, sentences by run) of a whole comparison in which attention has learned at the first rung."""
    lines = corpus(captions, random, scatter)
    places = [("fixed", budget, mu) for budget, mu in zip(LADDER, truth.fixed, strict=True)]
    places += [(arm, budget, mu) for arm, mu in (("attention", truth.attention), ("blind", truth.blind)) for budget in LADDER[:2]]
    fail = {"fixed": truth.fixed_fail, "attention": truth.attention_fail, "blind": 0.0}
    (luck,) = random.spawn(1)
    failed = {(arm, ids): luck.random((len(ids), 1)) < chance for arm, chance in fail.items() for ids in (SELECTION, REPORTED[:seeds])}
    rows, kept = [], {}

    def drawn(arm: str, mu: Callable, step: int, ids: tuple[int, ...]) -> Sentences:
        """Of one arm at the rate `step`."""
        off = truth.off * abs(step - 2) * (abs(step - 2) + 1) / 2
        return sentences(lines, [lambda words: np.where(failed[arm, ids], truth.blind(words), mu(words) + off)], ids, random, scatter)[0]

    for arm, budget, mu in places:
        name = f"{arm}-{budget}"
        fields = {"attention": "attention" if arm == "blind" else arm, "blind": arm == "blind", "budget": budget, "run": name}
        losses: dict = {}
        for step, rate in enumerate(GRID):
            trial, place = drawn(arm, mu, step, SELECTION), fields | {"role": "selection", "learning_rate": rate}
            losses_R = trial.nll_RxN.sum(1) / trial.tokens_N.sum()
            losses[rate] = dict(zip(SELECTION, losses_R.tolist(), strict=True))
            rows += [place | {"seed": seed, "validation_loss": loss} for seed, loss in losses[rate].items()]
            rows += _forced(trial, place)
        chosen = rates.choose(losses, GRID).rate
        kept[name] = drawn(arm, mu, GRID.index(chosen), REPORTED[:seeds])
        rows += _forced(kept[name], fields | {"role": "reported", "learning_rate": chosen})
    return rows, kept


def rising(words: np.ndarray):
    """Returns attention's loss by words, rising with length."""
    return 2.5 + 0.3 * (words / 25 - 1)


def falling(words: np.ndarray):
    """Returns attention's loss by words, falling with length."""
    return 2.5 - 0.3 * (words / 25 - 1)


def unseen(words: np.ndarray):
    """Returns the loss of an arm that does not see the source, by words."""
    return 4.0 + 0 * words


def growth(words: np.ndarray):
    """Returns a gap by words: 0 up to 15 words, then growing in proportion."""
    return np.maximum(words / 15 - 1, 0)


@cache
def growing(gap: float) -> Callable:
    """Returns a fixed arm's loss by words with this gap on the long half, and nearly none on the short one."""
    share = gap / float(true(growth)[1])
    return lambda words: rising(words) + share * growth(words)


def truths() -> Iterator[Truth]:
    """Returns all planted truths, in the order of the table."""

    def planted(name: str, kind: str, says: str, *fixed: Callable, attention: Callable = rising, **more) -> Truth:
        return Truth(name, kind, says, attention, fixed * (3 // len(fixed)), unseen, **more)

    yield planted("equal", "null", "equal arms", rising)
    yield planted("times 1.4", "null", "the fixed arm loses 1.4 times as much at every length", lambda words: 1.4 * rising(words))
    yield planted("times 1.1", "null", "1.1 times as much", lambda words: 1.1 * rising(words))
    yield planted("plus 0.3", "null", "0.3 nats more at every length", lambda words: rising(words) + 0.3)
    says = "0.3 nats more at every length, losses fall with length"
    yield planted("plus 0.3, falling", "null", says, lambda words: falling(words) + 0.3, attention=falling)
    yield planted("untrained", "null", "neither arm uses the source", unseen, attention=unseen)
    yield planted("25 % fail", "null", "equal arms, a quarter of the fixed arm's seeds fail", rising, fixed_fail=0.25)
    yield planted("50 % fail", "null", "equal arms, half of the fixed arm's seeds fail", rising, fixed_fail=0.5)
    yield planted("gap 0.02", "null", "0.02 nats on the long half: real, and below the margin", growing(0.02))
    yield planted("4 x slower", "null", "0.2 nats behind on the long half at U and 2U, equal at 4U", growing(0.2), growing(0.2), rising)
    says = "0.4, 0.35, 0.3 nats behind on the long half: 0.05 a doubling"
    yield planted("0.05 a doubling", "level", says, growing(0.4), growing(0.35), growing(0.3))
    for gap in (0.1, 0.15, 0.2, 0.4):
        yield planted(f"gap {gap}", "effect", f"{gap} nats on the long half", growing(gap))
    both = growing(0.2)
    yield planted("gap 0.2 beside 0.2", "effect", "the same beside 0.2 nats at every length", lambda words: both(words) + 0.2)
    says = "0.4 nats on the long half, a quarter of attention's seeds fail"
    yield planted("gap 0.4, 25 % fail", "effect", says, growing(0.4), attention_fail=0.25)


def _forced(found: Sentences, fields: dict) -> list[dict]:
    """Returns a forced row per seed and bucket, as a run writes it."""
    rows = []
    for length, first in zip(LENGTHS, (0, *LENGTHS), strict=False):
        is_in_N = (found.length_N > first) & (found.length_N <= length)
        tokens, lines = int(found.tokens_N[is_in_N].sum()), int(is_in_N.sum())
        bucket = fields | {"length": length, "seen": True, "mode": "forced", "examples": lines, "symbols": tokens - lines}
        losses_R = found.nll_RxN[:, is_in_N].sum(1, dtype=float) / tokens
        rows += [bucket | {"seed": seed, "loss": float(loss)} for seed, loss in zip(found.seeds, losses_R, strict=True)]
    return rows
