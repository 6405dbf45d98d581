"""Scores of test sentences by arm and budget, as tables and findings, with intervals over seeds and sentences."""

from collections.abc import Mapping

from attention_jax.report import findings as said
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Table, interval_text
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.text import scores
from attention_jax.statistics.text.blocks import Estimate, Sums
from attention_jax.system.errors import DataError

Scored = Mapping[tuple[str, int], Sums]
"""{(arm, budget in updates): its sums}."""


def by_arm(found: Scored, reference: str, baselines: Mapping[str, list[float]], title: str, digits: int = 3) -> Table:
    """Tabulates the mean score of every arm and budget, and what it gains over `reference` at the same budget; baselines come last."""
    lines = []
    for (arm, budget), sums in found.items():
        beside = found.get((reference, budget)) if arm != reference else None
        gained = estimated(sums, beside) if beside else None
        lines.append((arm, f"{budget:,}", str(len(sums.seeds)), interval_text(estimated(sums), digits), interval_text(gained, digits)))
    if found:
        like = next(iter(found.values()))
        for name, sums_K in baselines.items():
            sums = scores.constant(sums_K, like)
            lines.append((name, "–", "–", interval_text(estimated(sums), digits), "–"))
    return Table(title, ("arm", "updates", "seeds", "score", f"gained over {reference}"), lines)


def largest(found: Scored, arm: str, other: str) -> int | None:
    """Returns the largest budget at which both arms were scored; None where there is none."""
    return max((budget for each, budget in found if each == arm and (other, budget) in found), default=None)


def estimated(arm: Sums, reference: Sums | None = None) -> Interval:
    """Returns the interval of an arm's mean, or of arm − reference; without bounds where there are too few sentences, or other seeds."""
    try:
        return (scores.mean(arm) if reference is None else scores.gained(arm, reference)).interval()
    except DataError:
        nan = float("nan")
        value = arm.nll_RxKx2.sum() / (len(arm.seeds) * arm.tokens_Kx2.sum())
        other = 0.0 if reference is None else reference.nll_RxKx2.sum() / (len(reference.seeds) * reference.tokens_Kx2.sum())
        return Interval(float(value - other), nan, nan, len(arm.seeds))


def finding(claim: str, source: str, number: str, gained: Estimate, bar: float = 0.0, digits: int = 3) -> Finding:
    """Returns a finding on a difference of scores."""
    return said.of_interval(claim, source, number, gained.interval, bar, digits)
