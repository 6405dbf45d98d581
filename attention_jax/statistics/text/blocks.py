"""Bootstrap over seeds and sentences at once, for differences of loss between arms.

A draw takes as many seeds, and as many blocks of consecutive captions, as there are, with replacement, and reads every drawn seed at every
drawn block (Owen 2007, "The pigeonhole bootstrap"). All arms of a difference share what is drawn, so that it is paired by both. A line of
joined captions belongs to the block of its first one: captions are what is drawn, in however many lines they are. Sums of nll and of
tokens by block are all that a draw needs, and all draws are one product of matrices.

Percentiles of the draws are too narrow with few seeds. So the draws give variances, and Student's t the interval: of the gap, where seeds
scatter most, percentiles cover 0.88 with 4 seeds and 0.94 with 8, these intervals 0.94 and 0.96 (docs/characteristics.md).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from attention_jax.statistics.intervals import CONFIDENCE, Interval
from attention_jax.statistics.sentences import Sentences
from attention_jax.system.errors import DataError

BLOCK = 16  # captions; four times the most that are joined, and 62 blocks of 1,000 captions
FEWEST = 20  # blocks that hold sentences of a half; with fewer, draws miss the half
RESAMPLES = 2000

SHORT, LONG = 0, 1
"""Places of the halves."""


class Sums(NamedTuple):
    """Summed nll and tokens of one arm, by seed, block and half. Tokens are the same for every seed."""

    seeds: tuple[int, ...]
    nll_RxKx2: np.ndarray
    tokens_Kx2: np.ndarray


class Draws(NamedTuple):
    """Counts of each seed, and of each block, in each of E draws."""

    times_ExR: np.ndarray
    times_ExK: np.ndarray


class Estimate(NamedTuple):
    """A difference of losses, and variances of its parts: of the seeds, of the blocks, and of what a seed makes of a block."""

    value: float
    of_seeds: float
    of_blocks: float
    of_both: float
    R: int
    K: int

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Returns value ± t · √(of_seeds + of_blocks + of_both), t by Satterthwaite's degrees of freedom; one seed has no interval."""
        from scipy import special  # only now: it takes a third of a second to import

        if self.R == 1:
            return Interval(self.value, np.nan, np.nan, 1)
        half = float(special.stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        return Interval(self.value, self.value - half, self.value + half, self.R)

    def p(self, threshold: float) -> float:
        """Returns the one-sided p of "not above the threshold"."""
        from scipy import special

        above = self.value - threshold
        return float(special.stdtr(self.freedom, -above / self.error)) if self.error > 0 else (1 - float(np.sign(above))) / 2

    def with_seeds(self, R: int) -> "Estimate":
        """Returns the estimate with R seeds, if value and scatter stay as they are."""
        return self._replace(of_seeds=self.of_seeds * self.R / R, of_both=self.of_both * self.R / R, R=R)

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt(self.of_seeds + self.of_blocks + self.of_both))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance: v² / Σ vᵢ²/fᵢ over seeds (R − 1) and blocks (K − 1); nan with one of either."""
        if min(self.R, self.K) == 1:
            return np.nan
        parts = self.of_seeds**2 / (self.R - 1) + self.of_blocks**2 / (self.K - 1)
        return self.error**4 / parts if parts > 0 else self.R - 1.0


def by_block(sentences: Sentences, lengths: Sequence[int], block: int = BLOCK) -> Sums:
    """Sums nll and tokens by block of `block` captions, over lines in the first and in the last ⌊n/2⌋ of n buckets of source length.

    `lengths` are the trained buckets' upper edges in words, ascending; what is longer than the last counts nowhere.
    """
    n, bucket_N = len(lengths), np.searchsorted(np.asarray(lengths), sentences.length_N)
    half_N = np.where(bucket_N < n // 2, SHORT, LONG)
    is_in_N = (bucket_N < n // 2) | ((bucket_N >= n - n // 2) & (bucket_N < n))
    K = int(sentences.first_N.max()) // block + 1
    place_N = (sentences.first_N // block * 2 + half_N)[is_in_N]

    def summed(values_N: np.ndarray) -> np.ndarray:
        return np.bincount(place_N, values_N[is_in_N], 2 * K).reshape(K, 2)

    return Sums(sentences.seeds, np.stack([summed(nll_N) for nll_N in sentences.nll_RxN]), summed(sentences.tokens_N))


def whole(sentences: Sentences, block: int = BLOCK) -> Sums:
    """Sums nll and tokens by block of `block` captions, over all lines: each half is the whole test set, and so `gap` is of all of it."""
    K = int(sentences.first_N.max()) // block + 1
    place_N = sentences.first_N // block
    nll_RxK = np.stack([np.bincount(place_N, nll_N, K) for nll_N in sentences.nll_RxN])
    tokens_K = np.bincount(place_N, sentences.tokens_N, K)
    return Sums(sentences.seeds, np.stack([nll_RxK] * 2, 2), np.stack([tokens_K] * 2, 1))


def together(parts: Sequence[Sums]) -> Sums:
    """Merges runs of other seeds on the same sentences, seeds ascending. Raises `DataError` for other sentences."""
    _check(parts)
    order = np.argsort(seeds := [seed for part in parts for seed in part.seeds])
    nll_RxKx2 = np.concatenate([part.nll_RxKx2 for part in parts])
    return Sums(tuple(seeds[i] for i in order), nll_RxKx2[order], parts[0].tokens_Kx2)


def fewest(sums: Sums) -> int:
    """Returns the number of blocks with sentences of a half, the smaller of both halves."""
    return int((sums.tokens_Kx2 > 0).sum(0).min())


@lru_cache(maxsize=8)
def draws(R: int, K: int) -> Draws:
    """Returns `RESAMPLES` draws with replacement, always the same; read-only, since all callers share them."""
    random = np.random.default_rng(0)
    made = Draws(*(random.multinomial(n, [1 / n] * n, RESAMPLES).astype(float) for n in (R, K)))
    for times in made:
        times.flags.writeable = False
    return made


def losses(sums: Sums, times_ExR: np.ndarray, times_ExK: np.ndarray) -> np.ndarray:
    """Returns nats per token by draw and half."""
    nll_2xExK = times_ExR @ np.moveaxis(sums.nll_RxKx2, -1, 0)
    nll_Ex2 = np.einsum("hek,ek->eh", nll_2xExK, times_ExK)
    return nll_Ex2 / (times_ExR.sum(1)[:, None] * (times_ExK @ sums.tokens_Kx2))


def estimate(statistic: Callable[..., np.ndarray], *arms: Sums) -> Estimate:
    """Estimates a statistic of the losses of arms, (…, half) each, with its variances by bootstrap.

    Arms of different seeds or sentences, and a half in fewer than `FEWEST` blocks, raise `DataError`.
    """
    _check(arms)
    if any(arm.seeds != arms[0].seeds for arm in arms):
        raise DataError("a paired bootstrap needs the same seeds in every arm")
    if (there := min(map(fewest, arms))) < FEWEST:
        raise DataError(
            f"a half of the trained buckets has sentences in {there} blocks; {FEWEST} are needed: test on more, or in smaller blocks"
        )
    R, K, _ = arms[0].nll_RxKx2.shape

    def of(times_ExR: np.ndarray, times_ExK: np.ndarray) -> np.ndarray:
        return statistic(*(losses(arm, times_ExR, times_ExK) for arm in arms))

    return crossed(of, R, K)


def crossed(of: Callable[[np.ndarray, np.ndarray], np.ndarray], R: int, K: int) -> Estimate:
    """Estimates a statistic of R seeds and K blocks, `of(times_ExR, times_ExK)` a number for each draw, with its variances by bootstrap.

    Draws of seeds alone and of blocks alone say which part is whose. R drawn from R scatter by (R − 1)/R too little, K from K too: that is
    mended. What is left of the variance of draws of both is what a seed makes of a block, up to three times of it, on the safe side.
    """
    drawn = draws(R, K)
    all_1xR, all_1xK = np.ones((1, R)), np.ones((1, K))
    all_ExR, all_ExK = (np.broadcast_to(once, (RESAMPLES, once.shape[1])) for once in (all_1xR, all_1xK))
    seeds, blocks, both = (float(of(*times).var()) for times in ((drawn[0], all_ExK), (all_ExR, drawn[1]), drawn))
    value = float(of(all_1xR, all_1xK)[0])
    return Estimate(value, seeds * R / max(R - 1, 1), blocks * K / max(K - 1, 1), max(both - seeds - blocks, 0.0), R, K)


def gap(fixed_x2: np.ndarray, attention_x2: np.ndarray) -> np.ndarray:
    """Returns fixed − attention in nats per token on the long half."""
    return fixed_x2[..., LONG] - attention_x2[..., LONG]


def widening(fixed_x2: np.ndarray, attention_x2: np.ndarray) -> np.ndarray:
    """Returns fixed − attention in nats per token on the long half, minus that on the short half."""
    return gap(fixed_x2, attention_x2) - (fixed_x2[..., SHORT] - attention_x2[..., SHORT])


def ratio(fixed_x2: np.ndarray, attention_x2: np.ndarray) -> np.ndarray:
    """Returns log(fixed/attention) on the long half − that on the short half: 0 for a handicap that multiplies every loss."""
    log_x2 = np.log(fixed_x2 / attention_x2)
    return log_x2[..., LONG] - log_x2[..., SHORT]


def _check(parts: Sequence[Sums]) -> None:
    if not all(np.array_equal(part.tokens_Kx2, parts[0].tokens_Kx2) for part in parts):
        raise DataError("losses of different test sentences cannot be compared: the runs were tested on other data or in other subwords")
