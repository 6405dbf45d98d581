"""Coverage of intervals by simulation: of the typical seed, of losses of text, of L50, with its bias."""

import math
import zlib

import numpy as np

from attention_jax.statistics import intervals, lengths, truths
from attention_jax.statistics.text import blocks
from attention_jax.statistics.text import truths as text_truths
from attention_jax.statistics.truths import Curve

RATES = (0.5, 0.9, 0.956, 0.997)
SCATTERS = (0.3, 0.8, 1.5)
EXAMPLES = (128, 512)
COVERAGE = 0.93  # at least
WIDTH = 1.5  # times Student's, at most, where that covers
COVERED_DRAWS = 4000
PLANTED = (Curve(0.0, 5.0), Curve(0.0, 8.0), Curve(0.0, 8.0, 3.0), Curve(0.002, 8.0), Curve(0.0, 12.0, 2.0), Curve(0.0, 13.5))
LENGTH_DRAWS = 500
LENGTH_SEEDS = 8


LOSS_DRAWS = 1000
STATISTICS = {"gap": blocks.gap, "widening": blocks.widening, "ratio": blocks.ratio}


def of_typical_seed(examples: int, p: float, scatter: float, seeds: int, draws: int = COVERED_DRAWS) -> dict:
    """Returns coverage and mean width of `intervals.typical_seed` and of Student's interval of the mean."""
    random = np.random.default_rng([zlib.crc32(f"{p} {scatter}".encode()), examples, seeds])
    logit = math.log(p / (1 - p))
    mean = float((1 / (1 + np.exp(-(logit + scatter * np.linspace(-8, 8, 4001))))) @ _normal(np.linspace(-8, 8, 4001)))
    counts = random.binomial(examples, 1 / (1 + np.exp(-(logit + scatter * random.standard_normal((draws, seeds))))))
    ours = [intervals.typical_seed(of_draw, np.full(seeds, examples)) for of_draw in counts]
    theirs = [intervals.student(of_draw / examples) for of_draw in counts]
    return {
        "table": "coverage",
        "examples": examples,
        "p": p,
        "scatter": scatter,
        "seeds": seeds,
        "draws": draws,
        "covered": sum(each.low <= p <= each.high for each in ours),
        "width": sum(each.high - each.low for each in ours) / draws,
        "student_covered": sum(each.low <= mean <= each.high for each in theirs),
        "student_width": sum(each.high - each.low for each in theirs) / draws,
    }


def of_losses(seeds: int, draws: int = LOSS_DRAWS) -> dict:
    """Returns coverage of the bootstrap's intervals, and of plain percentiles of its draws, for a gap that grows."""
    random = np.random.default_rng([zlib.crc32(b"losses"), seeds])
    mus = (text_truths.growing(0.2), text_truths.rising)
    planted = [text_truths.true(mu) for mu in mus]
    covered = {f"{name}{by}": 0 for by in ("", "_percentile") for name in STATISTICS}
    for _ in range(draws):
        lines = text_truths.corpus(text_truths.CAPTIONS, random)
        arms = [blocks.by_block(of, text_truths.LENGTHS) for of in text_truths.sentences(lines, mus, tuple(range(seeds)), random)]
        drawn = [blocks.losses(arm, *blocks.draws(seeds, len(arm.tokens_Kx2))) for arm in arms]
        for name, statistic in STATISTICS.items():
            truth, interval = statistic(*planted), blocks.estimate(statistic, *arms).interval()
            covered[name] += bool(interval.low <= truth <= interval.high)
            low, high = np.percentile(statistic(*drawn), (2.5, 97.5))
            covered[f"{name}_percentile"] += bool(low <= truth <= high)
    return {"table": "losses", "seeds": seeds, "draws": draws, **covered}


def planted_length(number: int, draws: int = LENGTH_DRAWS) -> dict:
    """Returns bias and scatter of one seed's L50, by the fit and by interpolation, and the coverage of its interval over 8 seeds."""
    curve, random = PLANTED[number], np.random.default_rng([number, 50])
    grid = np.array(truths.LENGTHS)
    exact = (1 / (1 + np.exp(curve.log_odds()))) ** grid
    true = math.exp(np.interp(0, *_falling(curve)))
    counts = random.binomial(truths.EXAMPLES, exact, (draws, LENGTH_SEEDS, len(grid)))
    found = {"fit": [], "interpolation": []}
    for of_draw in counts:
        found["fit"].append([each.length for each in lengths.critical(grid, of_draw, np.full_like(of_draw, truths.EXAMPLES), 0.5)])
        found["interpolation"].append([lengths.interpolated(grid, row / truths.EXAMPLES, 0.5).length for row in of_draw])
    row = {"table": "lengths", "curve": number, "draws": draws, "true": true}
    for name, values in found.items():
        over = [intervals.student(of_draw) for of_draw in values]
        row |= {
            f"{name}_bias": float(np.mean(values) - true),
            f"{name}_deviation": float(np.std(values)),
            f"{name}_covered": sum(each.low <= true <= each.high for each in over),
        }
    return row


def _falling(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits of exact match, ascending, and log lengths on a fine grid."""
    grid = np.linspace(math.log(truths.LENGTHS[0]), math.log(truths.LENGTHS[-1]), 20001)
    right = np.exp(grid) * np.log1p(-curve.floor) - np.log1p((np.exp(grid) / curve.half) ** curve.slope)
    exact = np.exp(right)
    return np.log(exact / (1 - exact))[::-1], grid[::-1]


def _normal(x: np.ndarray) -> np.ndarray:
    weights = np.exp(-(x**2) / 2)
    return weights / weights.sum()
