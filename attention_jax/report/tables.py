"""Rows → tables of text: a line per length or per arm, every number with its interval. `report` lays them out."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from attention_jax.config import ModelConfig
from attention_jax.report import by_seed
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Need, multiple
from attention_jax.statistics.verdicts import Verdict


class Table(NamedTuple):
    """A table of text; every row is as long as the header."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


TYPICAL = "½ added to counts"
"""What a table of typical seeds says of its counts, of right and of wrong outputs (`intervals.typical`): all right is less than 1."""


TINIEST = 1e-12
"""The smallest p that is written out."""


class Score(NamedTuple):
    """The result of a claim: its verdict, tables, and one sentence that names budgets and seeds."""

    verdict: Verdict
    tables: Sequence[Table]
    budget: str


def interval_text(interval: Interval | None, digits: int = 2) -> str:
    """Returns 0.93 [0.91, 0.95]; the mean alone where there is no interval, a dash where there is nothing."""
    if interval is None:
        return "–"
    mean, low, high = (f"{x:.{digits}f}".replace(f"-{0:.{digits}f}", f"{0:.{digits}f}") for x in interval[:3])
    return mean if interval.low != interval.low else f"{mean} [{low}, {high}]"


def p_text(p: float) -> str:
    """Returns 0.03, or < 1e-12 below that: such a p is 0 by rounding, or because all seeds say the same."""
    return f"< {TINIEST:g}" if p < TINIEST else f"{p:.2g}"


def critical_text(interval: Interval, bound: str) -> str:
    """Returns 6.1 [5.8, 6.4], a bound such as >= 32.0 where some seeds never fall, or a dash where a seed has no such length."""
    if interval.mean != interval.mean:
        return "–"
    return interval_text(interval, 1) if bound == "=" else f"{bound} {interval.mean:.1f}"


def multiple_text(interval: Interval, bound: str) -> str:
    """Returns 2.1 × [1.8, 2.5], a bound such as >= 4.0 ×, or a dash."""
    text = critical_text(interval, bound)
    return text if text == "–" else text.replace(" [", " × [") if "[" in text else f"{text} ×"


def by_length(
    rows: list[dict], arms: Sequence[str], reference: str | None, value: str, mode: str, budget: int, title: str, digits: int = 2
) -> Table:
    """Tabulates lengths: examples, every arm with its interval, and the difference of each to `reference`, paired by seed."""
    curves = {arm: by_seed.curve(rows, arm, value, mode, budget) for arm in arms}
    others = [arm for arm in arms if arm != reference] if reference else []
    gaps = {arm: by_seed.gap_by_length(rows, arm, reference or "", budget=budget, value=value, mode=mode) for arm in others}
    seen = {row["length"]: row["seen"] for row in rows}
    examples, is_open = by_seed.examples(rows), by_seed.open_lengths(rows)
    return Table(
        title,
        ("length", "examples", "trained", *arms, *(f"{arm} − {reference}" for arm in others)),
        [
            (
                f"{length} and more" if length in is_open else str(length),
                f"{examples[length]:,}",
                "yes" if seen[length] else "no",
                *(interval_text(curves[arm].get(length), digits) for arm in arms),
                *(interval_text(gaps[arm].get(length), digits) for arm in others),
            )
            for length in sorted(seen)
        ],
    )


def by_arm(rows: list[dict], arms: Sequence[str], columns: dict[str, Callable[[str], str]], title: str) -> Table:
    """Tabulates arms: d, parameters, learning rate, step of the evaluated parameters, and `columns`, functions of the arm's name."""
    lines = []
    for arm in arms:
        of_arm = [row for row in rows if row["attention"] == arm]
        last = max(row["budget"] for row in of_arm)
        steps = sorted({row["step"] for row in of_arm if row["budget"] == last})
        first = next(row for row in of_arm if row["budget"] == last)
        lines.append(
            (
                arm,
                str(first["state_size"]),
                f"{first['parameters']:,}",
                f"{first['learning_rate']:g}",
                str(steps[0]) if len(steps) == 1 else f"{steps[0]}–{steps[-1]}",
                *(column(arm) for column in columns.values()),
            )
        )
    return Table(title, ("arm", "d", "parameters", "learning rate", "step", *columns), lines)


def corrected(found: Mapping[str, Verdict]) -> Table:
    """Tabulates the verdicts of groups, whose p are corrected together (`verdicts.together`)."""
    lines = [(group, str(each), p_text(each.p), ", ".join(each.failed)) for group, each in found.items()]
    return Table("Verdicts; p of bottleneck, corrected for all of them (Holm)", ("group", "verdict", "p", "what failed"), lines)


def conditions(verdict: Verdict, title: str) -> Table:
    """Tabulates the conditions of a verdict at every budget of the fixed arm: measurement, threshold, and whether it was met."""
    lines = [("", verdict.learned)] if verdict.learned else []
    lines += [(multiple(rung.budget, verdict.unit), condition) for rung in verdict.rungs for condition in rung.conditions]
    return Table(
        title,
        ("budget", "condition", "what", "value", "bar", "met"),
        [
            (
                budget,
                each.name,
                each.says.rstrip(",") + ("" if each.rate is None else f", at rate {each.rate:g}"),
                "none to compare with" if each.interval.mean != each.interval.mean else interval_text(each.interval, 3),
                f"{each.threshold:g}",
                "yes" if each.met else "no",
            )
            for budget, each in lines
        ],
    )


def needs(verdict: Verdict, minutes: Callable[[Need], float], title: str) -> Table:
    """Tabulates the groups of runs that would decide an inconclusive verdict, with the `minutes` each takes."""
    return Table(
        title,
        ("arm", "updates", "seeds", "rates", "why", "minutes"),
        [
            (
                need.arm,
                f"{need.budget:,}",
                f"{need.seeds} {need.role}",
                ", ".join(f"{rate:g}" for rate in need.rates) or "the one to be chosen",
                need.why,
                f"{minutes(need):.1f}",
            )
            for need in verdict.needs
        ],
    )


def arms_of(rows: list[dict], fixed: Sequence[str]) -> tuple[list[str], str | None]:
    """Returns (arms in order of appearance, the attention arm that others are compared with: the first that is not `fixed`)."""
    arms = list(dict.fromkeys(row["attention"] for row in rows))
    return arms, next((arm for arm in arms if arm not in fixed), None)


def budgets_of(rows: list[dict]) -> tuple[int, int]:
    """Returns (the largest budget that all arms have, the smallest) in updates; of arms without a common one the largest of all."""
    of_arm: dict[str, set[int]] = {}
    for row in rows:
        of_arm.setdefault(row["attention"], set()).add(row["budget"])
    every = set.union(*of_arm.values())
    return max(set.intersection(*of_arm.values()), default=max(every)), min(every)


def budget_text(rows: list[dict]) -> str:
    """Returns the budgets and seeds that go with every verdict, as text."""
    least, full = (choose(row["budget"] for row in rows) for choose in (min, max))
    budgets = f"{full:,} updates" if least == full else f"{least:,} to {full:,} updates, each budget a run of its own"
    return f"with {len({row['seed'] for row in rows})} seeds, at {budgets}"


def grouped(rows: Sequence[dict], fields: Sequence[str]) -> dict[str, list[dict]]:
    """Groups rows by the values of `fields`, each group under a name such as "gru h64": within it only arms differ."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        words = (_word(field, row[field]) for field in fields if field in row)
        found.setdefault(" ".join(filter(None, words)), []).append(row)
    return found


USUAL = {"readout": ModelConfig().readout}
"""Values that no group is named for: rows of before there was a choice lack the field."""


def _word(field: str, value) -> str:
    if isinstance(value, bool):
        return field if value else ""
    if field in USUAL:
        return "" if value == USUAL[field] else f"{value} {field}"
    short = {"hidden_size": "h", "vector_size": "d", "alphabet": "V", "longest": "l", "max_words": "up to "}
    short |= {"layers": "layers ", "batch_size": "batch "}
    return f"{short[field]}{value}" + (" words" if field == "max_words" else "") if field in short else str(value)
