"""Writes docs/characteristics.md from the rows on file."""

import math
from collections.abc import Iterable, Iterator, Mapping

from attention_jax.statistics import intervals, truths
from attention_jax.statistics.characteristics import coverage
from attention_jax.statistics.characteristics.draws import CODES, INCONCLUSIVE, SEEDS, STRINGS, TEXT, Suite, share
from attention_jax.statistics.text import truths as text_truths

ON_STRINGS = """\
**Equal** arms at 0.87 are called "no bottleneck" less often than was asked for. The difference of two typical seeds that scatter by 0.8
log-odds is uncertain by √2 · t₇ · 0.8/√8 · 0.87 · 0.13 = 0.107 at 8 seeds. That is more than the margin. At 0.9 it is 0.085, at 0.97
0.028.

**One rate off** misses its target. Condition d compares means over 4 selection seeds. Where the fixed arm is exactly as bad as
attention one rate off, each of attention's two neighbouring rates is a coin toss. Condition c holds there too: that is planted.

**L50 4.5** cannot be called a bottleneck. With 8 symbols the shortest evaluated lengths are 3 and 4. Of a curve that falls so early
only length 3 comes out right in 0.9 of the examples. Two short lengths need L50 ≥ 5.3 at this slope, as "holds 4 to 5" has.

**Failing seeds of attention** end as "not learned". One failed seed of 4 takes the lower bound on the selection seeds far below ½.

**−1.5 logit** and **failing seeds of the fixed arm** end at "short lengths", before condition b is tested. "handicap" and "-2 logit,
0.97" are the handicaps that reach it.

**Levelling off** is rare even where L50 does not move ("gap" and "holds 4 to 5"). At a scatter of 0.8 log-odds a seed's L50 differs by
a tenth between runs, which is more than the half symbol that is asked for. "Still closing" is the answer wherever the two cannot be
told apart.
"""
"""What the table does not say by itself."""

ON_TEXT = """\
**A handicap that adds** the same at every length fails the condition "widening". One that **multiplies** fails "ratio". So b has two
forms.

**Gap 0.1** fails d, since here a rate one off costs attention as much. Real gaps from 0.15 nats on are found with 8 seeds.

**Failing seeds of attention** end as "missing" or "not learned". With one of 4 selection seeds failed, luck decides which rate is best.

**4 x slower** and **equal** need more than 8 seeds, or more sentences, for the gap's upper bound to lie below 0.05 nats.
"""


def page(rows: Iterable[dict]) -> str:
    """Renders docs/characteristics.md."""
    rows = list(rows)
    return "\n".join(
        [
            "<!-- made by `make characteristics` from docs/results/characteristics/rows.jsonl -->\n",
            "# Operating characteristics\n",
            "How often is a verdict right where the truth is known? The generators below draw data sets with a planted truth. Each data",
            "set goes through the public functions, `verdicts.verdict` and `text.verdicts.verdict`, the choice of rates and the ladder of",
            "budgets included. `make characteristics` draws what is not on file yet. Each draw has a key of its own, so it",
            "can be drawn again.\n",
            "Shares are bottleneck / slower to train / no bottleneck / inconclusive, in %. After a comma stands the part of *bottleneck*",
            "that is *levelling off*. Causes, at 8 seeds, are the first condition that failed of the draws that were inconclusive.",
            "[How to read a verdict](verdicts.md) explains the words.\n",
            *_verdicts(STRINGS, rows, "Strings", ON_STRINGS),
            *_verdicts(TEXT, rows, "Text", ON_TEXT),
            "## Coverage of the typical seed\n",
            "The share of intervals that contain σ(E θ), θ the log-odds of a seed. Then their mean width over that of Student's interval",
            "of the mean rate. In brackets: how often Student's interval contains the mean rate.",
            f"The smallest coverage of all cells is {_smallest(rows)}; {coverage.COVERAGE} is asked for.\n",
            *_lines(("examples", "p", "scatter", *(f"{n} seeds" for n in sorted(SEEDS))), _coverage(rows)),
            "",
            "## Coverage of losses of text\n",
            "The share of intervals that contain what was planted, a gap of 0.2 nats.",
            "In brackets: that of percentiles of the same draws.\n",
            *_lines(("seeds", *coverage.STATISTICS), _losses(rows)),
            "",
            "## L50\n",
            "L50 of one seed from 512 examples a length, without scatter.",
            "*Covers*: how often the interval over 8 seeds contains the true L50.\n",
            *_lines(("floor", "half", "slope", "L50", "fit: bias", "sd", "covers", "interpolation: bias", "sd", "covers"), _planted(rows)),
            "",
            "## The generator of strings\n",
            _generator(truths.__doc__),
            "",
            f"Lengths {truths.LENGTHS}, budgets {truths.LADDER}, rates {comparison_rates()}, {truths.EXAMPLES} examples a length.",
            "Symbol errors of the typical seed:\n",
            *_lines(("truth", "attention: floor", "fixed arm at U, 2U, 4U: floor", "half", "handicap", "scatter"), _planted_truths()),
            "",
            "## The generator of text\n",
            _generator(text_truths.__doc__),
            "",
            f"{text_truths.CAPTIONS:,} captions, buckets up to {text_truths.LENGTHS} words, the same budgets and rates.",
            "Loss on short and long half, nats per token:\n",
            *_lines(("truth", "attention", "fixed arm at U, 2U, 4U", "without the source"), _planted_losses()),
            "",
        ]
    )


def _verdicts(suite: Suite, rows: list[dict], title: str, notes: str) -> list[str]:
    """Returns the section of one verdict: targets, shares, notes."""
    found = suite.tally(rows)
    return [
        f"## {title}: targets, 8 seeds\n",
        *_lines(("truth", "verdict", "share [95 %]", "target", "met"), _targets(suite, found)),
        "",
        f"## {title}: shares\n",
        *_lines(("truth", "", *(f"{n} seeds" for n in sorted(SEEDS)), "causes"), _shares(suite, found)),
        "",
        *_draws(found),
        notes,
    ]


def _generator(doc: str | None) -> str:
    return (doc or "").partition("\n")[2].strip("\n")


def comparison_rates() -> str:
    """Returns the grid of rates in words."""
    return ", ".join(f"{rate:g}" for rate in truths.comparison(SEEDS[0]).rates)


def _lines(header: tuple[str, ...], lines: Iterable[tuple]) -> list[str]:
    """Returns a table in Markdown."""
    return [f"| {' | '.join(map(str, each))} |" for each in (header, ("---",) * len(header), *lines)]


def _targets(suite: Suite, found: Mapping[tuple[str, int], str]) -> Iterator[tuple]:
    words = {"BC": "bottleneck", "B": "levelling off", "N": "no bottleneck", INCONCLUSIVE: "inconclusive"}
    for target in suite.targets:
        if codes := found.get((target.truth, SEEDS[0])):
            of = share(codes, target.codes)
            _, low, high, _ = intervals.clopper_pearson(round(of * len(codes)), len(codes))
            says = f"{100 * of:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
            yield target.truth, words[target.codes], says, f"{target.sense} {100 * target.bound:g} %", "yes" if target.met(of) else "**no**"


def _shares(suite: Suite, found: Mapping[tuple[str, int], str]) -> Iterator[tuple]:
    for truth in suite.truths().values():
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


def _draws(found: Mapping[tuple[str, int], str]) -> Iterator[str]:
    """Returns the number of draws a cell."""
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
    for examples in coverage.EXAMPLES:
        for p in coverage.RATES:
            for scatter in coverage.SCATTERS:
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
        yield *coverage.PLANTED[row["curve"]], f"{row['true']:.2f}", *numbers


def _losses(rows: list[dict]) -> Iterator[tuple]:
    for row in sorted((row for row in rows if row["table"] == "losses"), key=lambda row: row["seeds"]):
        shares = [[row[f"{name}{by}"] / row["draws"] for by in ("", "_percentile")] for name in coverage.STATISTICS]
        yield row["seeds"], *(f"{ours:.3f} ({theirs:.2f})" for ours, theirs in shares)


def _planted_losses() -> Iterator[tuple]:
    for truth in TEXT.truths().values():
        rungs = dict.fromkeys(_halves(mu) for mu in truth.fixed)
        yield truth.name, _halves(truth.attention), ", ".join(rungs), _halves(truth.blind)


def _halves(mu) -> str:
    return " / ".join(f"{loss:.2f}" for loss in text_truths.true(mu))


def _planted_truths() -> Iterator[tuple]:
    for truth in truths.truths():
        floors = sorted({curve.floor for curve in truth.fixed})
        halves = [f"{curve.half:.2f}" if math.isfinite(curve.half) else "∞" for curve in truth.fixed]
        half = halves[0] if len(set(halves)) == 1 else ", ".join(halves)
        yield truth.name, f"{truth.attention.floor:.2g}", ", ".join(f"{f:.2g}" for f in floors), half, f"{truth.handicap:g}", truth.scatter
