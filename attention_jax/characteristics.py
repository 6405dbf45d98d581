"""Operating characteristics: how often the public verdict says what under planted truths, how often intervals cover, how far L50 is off.

Cells are drawn in blocks, each draw from a key of its own (cell and number), so that blocks can be drawn anywhere and in any order; a
block is a row on file, and what is on file is not drawn again. `page` makes docs/characteristics.md of the rows.
"""

import math
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from attention_jax import intervals, lengths, truths, verdicts
from attention_jax.truths import Curve, Truth
from attention_jax.types import DataError
from attention_jax.verdicts import Verdict

SEEDS = (8, 4, 16)  # the first is what targets are for
DRAWS = 2000
BLOCK = 250
CODES = {
    "B": "bottleneck, levelling off",
    "C": "bottleneck, still closing",
    "S": "slower to train",
    "N": "no bottleneck",
    "0": "missing, or an edge",
    "1": "not learned",
    "2": "short lengths",
    "a": "a. gap",
    "b": "b. memory",
    "c": "c. rates",
    "d": "d. placebo",
}
"""What a draw came to, a letter each; from "0" on, what made it inconclusive."""
CAUSES = {"missing": "0", "learned": "1", "short": "2", "gap": "a", "memory": "b", "rates": "c", "placebo": "d"}
INCONCLUSIVE = "".join(CAUSES.values())

RATES = (0.5, 0.9, 0.956, 0.997)
SCATTERS = (0.3, 0.8, 1.5)
EXAMPLES = (128, 512)
COVERAGE = 0.93  # at least
WIDTH = 1.5  # times Student's, at most, where that covers
COVERED_DRAWS = 4000
PLANTED = (Curve(0.0, 5.0), Curve(0.0, 8.0), Curve(0.0, 8.0, 3.0), Curve(0.002, 8.0), Curve(0.0, 12.0, 2.0), Curve(0.0, 13.5))
LENGTH_DRAWS = 500
LENGTH_SEEDS = 8


NOTES = """\
**Equal** arms at 0.87 are called less often than was asked for: a difference of two typical seeds that scatter by 0.8 log-odds is
uncertain by √2 · t₇ · 0.8/√8 · 0.87 · 0.13 = 0.107 at 8 seeds, more than the margin. At 0.9 it is 0.085, at 0.97 0.028.

**One rate off** is missed: condition d compares means over 4 selection seeds. Where the fixed arm is exactly as bad as attention
one rate off, each of attention's two neighbours is a coin toss. That c holds there too is planted.

**L50 4.5** cannot be called: with 8 symbols the shortest evaluated lengths are 3 and 4, and of a curve that falls so early only
length 3 comes out right in 0.9 of the examples. Two short lengths need L50 ≥ 5.3 at this slope, as "holds 4 to 5" has.

**Failing seeds of attention** end as "not learned": one failed seed of 4 takes the lower bound far below ½ on the selection seeds.

**−1.5 logit** and **failing seeds of the fixed arm** stop at "short lengths", before memory is asked for; "handicap" and
"-2 logit, 0.97" are the handicaps that reach it.

**Levelling off** is said rarely even where L50 stands still ("gap" and "holds 4 to 5"): at a scatter of 0.8 log-odds L50 of a seed moves by
a tenth between runs, more than the half symbol that is asked for. "Still closing" is what is left when it cannot be told.
"""
"""What the table does not say by itself."""


class Target(NamedTuple):
    """At 8 seeds, the share of draws with one of these codes is at least, or at most, `bound`."""

    truth: str
    codes: str
    sense: str  # ≥ or ≤
    bound: float

    def met(self, share: float) -> bool:
        """Whether it is so."""
        return share >= self.bound if self.sense == "≥" else share <= self.bound


def targets() -> Iterator[Target]:
    """Those of the protocol, at 8 seeds."""
    for truth in truths.truths():
        if truth.kind == "null":
            yield Target(truth.name, "BC", "≤", 0.05)
        elif truth.kind == "level":
            yield Target(truth.name, "B", "≤", 0.05)
    yield Target("gap 0.27", "BC", "≥", 0.6)
    yield Target("gap 0.4", "BC", "≥", 0.95)
    yield Target("holds 4 to 5", "BC", "≥", 0.95)
    yield Target("equal", "N", "≥", 0.4)
    yield Target("equal, 0.9", "N", "≥", 0.4)
    yield Target("equal, calm", "N", "≥", 0.95)
    yield Target("untrained", INCONCLUSIVE, "≥", 1.0)


def truth_named(name: str) -> Truth:
    """A truth of the table."""
    for truth in truths.truths():
        if truth.name == name:
            return truth
    raise DataError(f"no truth is named {name!r}")


def code(verdict: Verdict) -> str:
    """The letter of a verdict in `CODES`."""
    if verdict.value == "bottleneck":
        return "B" if verdict.detail == "levelling off" else "C"
    return {"slower to train": "S", "no bottleneck": "N"}.get(verdict.value) or CAUSES[verdict.failed[0]]


def draw(truth: Truth, seeds: int, first: int, draws: int) -> str:
    """Codes of the draws numbered from `first` on: rows made up, and put through `verdicts.verdict`."""
    found = []
    for number in range(first, first + draws):
        random = np.random.default_rng([zlib.crc32(truth.name.encode()), seeds, number])
        found.append(code(verdicts.verdict(truths.rows(truth, seeds, random), truths.comparison(seeds))))
    return "".join(found)


def block(name: str, seeds: int, first: int, draws: int) -> dict:
    """`draw` as a row."""
    return {"table": "verdicts", "truth": name, "seeds": seeds, "first": first, "codes": draw(truth_named(name), seeds, first, draws)}


def open_blocks(rows: Iterable[dict], draws: int) -> list[tuple[str, int, int, int]]:
    """Arguments of `block` for what is not on file yet, up to so many draws a cell; those of 8 seeds first."""
    there = {}
    for row in rows:
        if row["table"] == "verdicts":
            key = (row["truth"], row["seeds"])
            there[key] = max(there.get(key, 0), row["first"] + len(row["codes"]))
    found = []
    for seeds in SEEDS:
        for truth in truths.truths():
            begin = there.get((truth.name, seeds), 0)
            found += [(truth.name, seeds, first, min(BLOCK, draws - first)) for first in range(begin, draws, BLOCK)]
    return sorted(found, key=lambda each: (each[1] != SEEDS[0], each[2] // BLOCK))


def stale(rows: Iterable[dict], draws: int = 2) -> list[str]:
    """Cells whose first draws come out otherwise today: the rule or the generator is another."""
    first = [row for row in rows if row["table"] == "verdicts" and row["first"] == 0]
    return [
        f"{row['truth']}, {row['seeds']} seeds"
        for row in first
        if row["truth"] not in {truth.name for truth in truths.truths()}
        or draw(truth_named(row["truth"]), row["seeds"], 0, draws) != row["codes"][:draws]
    ]


def coverage(examples: int, p: float, scatter: float, seeds: int, draws: int = COVERED_DRAWS) -> dict:
    """How often `intervals.typical_seed` and Student's interval of the mean cover what each is of, and their mean widths."""
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


def planted_length(number: int, draws: int = LENGTH_DRAWS) -> dict:
    """L50 of a planted curve by the fit and by interpolation: bias and scatter of one seed, coverage of the interval over 8 seeds."""
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
    """Logit of exact match, rising, and log length: exact match on a fine grid of lengths."""
    grid = np.linspace(math.log(truths.LENGTHS[0]), math.log(truths.LENGTHS[-1]), 20001)
    right = np.exp(grid) * np.log1p(-curve.floor) - np.log1p((np.exp(grid) / curve.half) ** curve.slope)
    exact = np.exp(right)
    return np.log(exact / (1 - exact))[::-1], grid[::-1]


def _normal(x: np.ndarray) -> np.ndarray:
    weights = np.exp(-(x**2) / 2)
    return weights / weights.sum()


def tally(rows: Iterable[dict]) -> dict[tuple[str, int], str]:
    """(truth, seeds) → the codes of all its draws, in their order; blocks that leave a gap or overlap raise `DataError`."""
    blocks = sorted((row for row in rows if row["table"] == "verdicts"), key=lambda row: (row["truth"], row["seeds"], row["first"]))
    found: dict[tuple[str, int], str] = {}
    for row in blocks:
        key = (row["truth"], row["seeds"])
        if row["first"] != len(found.get(key, "")):
            raise DataError(f"draws of {key} do not follow each other at {row['first']}")
        found[key] = found.get(key, "") + row["codes"]
    return found


def share(codes: str, of: str) -> float:
    """The share of draws with one of the codes `of`."""
    return sum(map(codes.count, of)) / len(codes)


def page(rows: Iterable[dict]) -> str:
    """docs/characteristics.md."""
    rows = list(rows)
    found = tally(rows)
    return "\n".join(
        [
            "<!-- made by `make characteristics` from docs/results/characteristics/rows.jsonl -->\n",
            "# Operating characteristics\n",
            "How often `verdicts.verdict` says what, when the truth is known. Every data set is made up by the generator below and goes",
            "through the public function, rate choice and ladder included. `make characteristics` draws what is not on file yet; each",
            "draw has a key of its own, so that any of them can be drawn again.\n",
            "## Targets, 8 seeds\n",
            *_lines(("truth", "verdict", "share [95 %]", "target", "met"), _targets(found)),
            "",
            "## Shares\n",
            "Bottleneck / slower to train / no bottleneck / inconclusive, in %; after a comma, the part of *bottleneck* that is",
            "*levelling off*. Causes: what made a draw inconclusive first, 8 seeds.\n",
            *_lines(("truth", "", *(f"{n} seeds" for n in sorted(SEEDS)), "causes"), _shares(found)),
            "",
            *_draws(found),
            NOTES,
            "## Coverage of the typical seed\n",
            "Share of intervals that contain σ(E θ), and their mean width over that of Student's interval of the mean rate; in brackets,",
            "how often Student's contains the mean rate.",
            f"Over all cells the smallest coverage is {_smallest(rows)}; asked for is {COVERAGE}.\n",
            *_lines(("examples", "p", "scatter", *(f"{n} seeds" for n in sorted(SEEDS))), _coverage(rows)),
            "",
            "## L50\n",
            "One seed's L50 from 512 examples a length, how often the interval over 8 seeds contains the true one; no scatter.\n",
            *_lines(("floor", "half", "slope", "L50", "fit: bias", "sd", "covers", "interpolation: bias", "sd", "covers"), _planted(rows)),
            "",
            "## The generator\n",
            f"{(truths.__doc__ or '').partition(chr(10))[2].strip(chr(10))}",
            "",
            f"Lengths {truths.LENGTHS}, budgets {truths.LADDER}, rates {comparison_rates()}, {truths.EXAMPLES} examples a length.",
            "Symbol errors of the typical seed:\n",
            *_lines(("truth", "attention: floor", "fixed arm at U, 2U, 4U: floor", "half", "handicap", "scatter"), _planted_truths()),
            "",
        ]
    )


def comparison_rates() -> str:
    """The grid in words."""
    return ", ".join(f"{rate:g}" for rate in truths.comparison(SEEDS[0]).rates)


def _lines(header: tuple[str, ...], lines: Iterable[tuple]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(map(str, each))} |" for each in (header, ("---",) * len(header), *lines)]


def _targets(found: dict[tuple[str, int], str]) -> Iterator[tuple]:
    words = {"BC": "bottleneck", "B": "levelling off", "N": "no bottleneck", INCONCLUSIVE: "inconclusive"}
    for target in targets():
        if codes := found.get((target.truth, SEEDS[0])):
            of = share(codes, target.codes)
            _, low, high, _ = intervals.clopper_pearson(round(of * len(codes)), len(codes))
            says = f"{100 * of:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
            yield target.truth, words[target.codes], says, f"{target.sense} {100 * target.bound:g} %", "yes" if target.met(of) else "**no**"


def _shares(found: dict[tuple[str, int], str]) -> Iterator[tuple]:
    for truth in truths.truths():
        cells = []
        for seeds in sorted(SEEDS):
            codes = found.get((truth.name, seeds))
            if codes is None:
                cells.append("–")
                continue
            shares = "/".join(f"{100 * share(codes, of):.0f}" for of in ("BC", "S", "N", INCONCLUSIVE))
            levelling = f", {100 * share(codes, 'B') / share(codes, 'BC'):.0f}" if share(codes, "BC") >= 0.2 else ""
            cells.append(shares + levelling)
        codes = found.get((truth.name, SEEDS[0]), "")
        causes = sorted(((codes.count(of), of) for of in INCONCLUSIVE if codes.count(of) >= 0.02 * len(codes) > 0), reverse=True)
        yield truth.name, truth.says, *cells, ", ".join(f"{CODES[of]} {100 * n / len(codes):.0f}" for n, of in causes)


def _draws(found: dict[tuple[str, int], str]) -> Iterator[str]:
    """How many draws the cells have."""
    for seeds in sorted(SEEDS):
        numbers = [len(codes) for (_, n), codes in found.items() if n == seeds]
        if numbers:
            low, high = min(numbers), max(numbers)
            yield f"{seeds} seeds: {f'{low:,}' if low == high else f'{low:,} to {high:,}'} draws a cell.\n"


def _cells(rows: list[dict]) -> dict[tuple, dict]:
    return {(row["examples"], row["p"], row["scatter"], row["seeds"]): row for row in rows if row["table"] == "coverage"}


def _smallest(rows: list[dict]) -> str:
    return f"{min((row['covered'] / row['draws'] for row in _cells(rows).values()), default=math.nan):.3f}"


def _coverage(rows: list[dict]) -> Iterator[tuple]:
    cells = _cells(rows)
    for examples in EXAMPLES:
        for p in RATES:
            for scatter in SCATTERS:
                texts = []
                for seeds in sorted(SEEDS):
                    row = cells.get((examples, p, scatter, seeds))
                    texts.append(
                        f"{row['covered'] / row['draws']:.3f}, {row['width'] / row['student_width']:.2f} × "
                        f"({row['student_covered'] / row['draws']:.2f})"
                        if row
                        else "–"
                    )
                yield examples, p, scatter, *texts


def _planted(rows: list[dict]) -> Iterator[tuple]:
    for row in sorted((row for row in rows if row["table"] == "lengths"), key=lambda row: row["curve"]):
        numbers = [
            text
            for name in ("fit", "interpolation")
            for text in (f"{row[f'{name}_bias']:+.3f}", f"{row[f'{name}_deviation']:.3f}", f"{row[f'{name}_covered'] / row['draws']:.2f}")
        ]
        yield *PLANTED[row["curve"]], f"{row['true']:.2f}", *numbers


def _planted_truths() -> Iterator[tuple]:
    for truth in truths.truths():
        floors = sorted({curve.floor for curve in truth.fixed})
        halves = [f"{curve.half:.2f}" if math.isfinite(curve.half) else "∞" for curve in truth.fixed]
        half = halves[0] if len(set(halves)) == 1 else ", ".join(halves)
        yield truth.name, f"{truth.attention.floor:.2g}", ", ".join(f"{f:.2g}" for f in floors), half, f"{truth.handicap:g}", truth.scatter
