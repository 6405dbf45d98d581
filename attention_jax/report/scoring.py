"""Rows of a claim about exact match → its tables and verdicts: fixed arms on a ladder of budgets against attention.

A group is the rows of equal settings other than arm and budget. In each, `verdicts.verdict` compares every fixed arm with attention;
the claim's own verdict is that of its first group and primary fixed arm, corrected for multiplicity.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from attention_jax.report import standings, tables
from attention_jax.report.figures.curves import length_curves
from attention_jax.report.figures.ladders import Curve, Line
from attention_jax.report.standings import Group, Tested
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import ladder, rates, verdicts
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.observations import SELECTION_SEEDS
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import ConfigError


def groups(rows: Sequence[dict], fields: Sequence[str], fixed: Sequence[str]) -> list[Group]:
    """Groups rows by the values of `fields`."""
    return [Group(name, of_group, fixed) for name, of_group in tables.grouped(rows, fields).items()]


def score(rows: list[dict], fields: Sequence[str], fixed: Sequence[str], primary: str) -> Score:
    """Returns the tables of every group (by length, by arm and budget, rate curves, conditions) and the verdict of all."""
    shown, found = [], {}
    found_groups = groups(rows, fields, fixed)
    for group in found_groups:
        for arm in group.fixed or [primary]:
            found[group.name, arm] = verdict(group, arm)
        shown += [by_length(group), by_budget(group)]
        if curves := rate_curves(group.rows, group.name, group.long):
            shown.append(curves)
        shown += [
            tables.conditions(found[group.name, arm], f"Conditions, {group.name}, {arm} against {group.attention}")
            for arm in group.fixed
            if found[group.name, arm].learned
        ]
    corrected = verdicts.together({", ".join(name): each for name, each in found.items()})
    lines = [
        (*name, str(each), tables.p_text(each.p), ", ".join(each.failed)) for name, each in zip(found, corrected.values(), strict=True)
    ]
    title = "Verdicts; p of bottleneck, corrected for all claims of this table (Holm)"
    shown.append(Table(title, ("group", "fixed arm", "verdict", "p", "what failed"), lines))
    first = next((name for name in found if name[1] == primary), next(iter(found)))
    return Score(corrected[", ".join(first)], shown, budget_text(found_groups[0]))


def verdict(group: Group, fixed: str) -> Verdict:
    """Judges a fixed arm against attention; inconclusive where there is nothing to compare."""
    if not (group.attention and group.fixed):
        return verdicts.NOTHING_TO_COMPARE
    try:
        return verdicts.verdict(group.rows, standings.declared(group.rows, fixed, group.attention))
    except ConfigError as error:
        return Verdict("inconclusive", f"no comparison by the protocol: {error}", failed=("missing",))


def by_length(group: Group) -> Table:
    """Tabulates exact match of the typical seed by length, each arm at its largest budget, and the fixed arms at their smallest."""
    columns = [(arm, budget) for arm in group.arms for budget in _ends(group, arm)]
    all_tested = {place: group.tested(*place) for place in columns}
    curves = {place: standings.exact_match(found) for place, found in all_tested.items()}
    first = next(iter(all_tested.values()))
    lines = [
        (
            str(length),
            f"{group.examples[length]:,}",
            "yes" if seen else "no",
            *(tables.interval_text(curve.get(length)) for curve in curves.values()),
        )
        for length, seen in zip(first.lengths, first.seen, strict=True)
    ]
    header = ("length", "examples", "trained", *(f"{arm}, {budget:,}" for arm, budget in columns))
    return Table(f"Exact match of the typical seed, free running, {group.name}; columns are arm, updates; {tables.TYPICAL}", header, lines)


def by_budget(group: Group) -> Table:
    """Tabulates arms and budgets: d, parameters, learning rate, exact match on the long half, L50, failed seeds."""
    lines = []
    for arm in group.arms:
        for budget in group.budgets(arm):
            row = next(row for row in group.rows if row["attention"] == arm and row["budget"] == budget and standings.is_reported(row))
            free, forced = group.tested(arm, budget), group.tested(arm, budget, "forced")
            short = [length for length in free.trained if length not in group.long]
            lines.append(
                (
                    arm,
                    f"{budget:,}",
                    f"{row['state_size']}",
                    f"{row['parameters']:,}",
                    f"{row['learning_rate']:g}",
                    str(len(free.seeds)),
                    tables.interval_text(standings.pooled(free, group.long)),
                    _critical(free),
                    tables.interval_text(standings.failed(forced, short or free.trained)),
                    f"{row['seconds']:.0f}",
                )
            )
    long = f"{group.long[0]}–{group.long[-1]}"
    header = ("arm", "updates", "d", "parameters", "rate", "seeds", f"exact on {long}", "L50, tokens", "share failed", "seconds")
    return Table(f"Arms and budgets, {group.name}", header, lines)


def rate_curves(rows: Sequence[dict], name: str, long: Sequence[int] = ()) -> Table | None:
    """Tabulates validation loss by rate, and exact match on `long`, by arm and budget; * is the chosen rate, = is tied with it."""
    found = {place: standings.curve(rows, *place) for place in _places(rows)}
    found = {place: curve for place, curve in found.items() if curve}
    if not found:
        return None
    grid = sorted({rate for curve in found.values() for rate in curve})
    lines: list[Sequence[str]] = []
    for (arm, budget), curve in found.items():
        chosen = choice(rows, arm, budget)
        exact = standings.exact_of_trials(rows, arm, budget, long)
        kept = any(row.get("kept") for row in rows if row["attention"] == arm and row["budget"] == budget)
        cells = [_rate_cell(rate, curve, exact, chosen) for rate in grid]
        lines.append((arm, f"{budget:,}", "kept" if kept else "here", *cells, "best at an edge" if chosen.at_edge else ""))
    header = ("arm", "updates", "measured", *(f"{rate:g}" for rate in grid), "")
    what = "validation loss (exact match on the long half)" if long else "validation loss in nats per token"
    return Table(f"Rate curves, {name}: {what} by learning rate; * chosen, = tied with the best", header, lines)


def lines(group: Group, beside: Sequence[Group]) -> list[Line]:
    """Returns the lines of a group in a picture of several: fixed arms of each size, other arms of the first group only."""
    found = []
    for arm in group.arms:
        if arm not in group.fixed and group is not beside[0]:
            continue
        d = f", d = {group.rows[0].get('vector_size', 0)}" if arm in group.fixed else ""
        tested = {budget: group.tested(arm, budget) for budget in group.budgets(arm)}
        l50 = {budget: standings.critical(each) for budget, each in tested.items() if len(each.trained) > 1} if arm in group.fixed else {}
        last = group.budgets(arm)[-1]
        found.append(Line(f"{arm}{d}", arm, standings.exact_match(tested[last]), l50))
    return found


def note(several: Sequence[Group]) -> str:
    """Returns the note of a picture: what its lines are, and at which budgets."""
    first = several[0]
    budgets = ", ".join(f"{arm} after {first.budgets(arm)[-1]:,} updates" for arm in first.arms)
    examples = sorted(set(first.examples.values()))
    return f"left: {budgets}; typical seed and 95 % interval, {examples[0]:,} examples a length"


def choice(rows: Sequence[dict], arm: str, budget: int) -> rates.Choice:
    """Returns the rate that an arm's curve at a budget chooses. Raises `DataError` where there is no curve."""
    here = [row for row in rows if row["attention"] == arm and row["budget"] == budget and standings.is_trial(row)]
    return rates.choose(standings.curve(here, arm, budget), sorted({row["learning_rate"] for row in here if not row["grown"]}))


def lacking(rows: Sequence[dict], arm: str, budget: int) -> Need | None:
    """Returns the trials that an arm's rate curve at a budget lacks: all of them, or those beyond an edge; None where its choice stands."""
    losses = standings.curve(rows, arm, budget)
    if not losses:
        return Need(arm, budget, "selection", SELECTION_SEEDS, (), "there is no rate curve")
    found = ladder.standing(choice(rows, arm, budget), losses, arm, budget, SELECTION_SEEDS)
    return found if isinstance(found, Need) else None


def long_by_seed(group: Group, arm: str, budget: int) -> dict[int, tuple[int, int]]:
    """Returns {seed: (exact outputs, examples)} of an arm at a budget, pooled over the long half, free running."""
    found = group.tested(arm, budget).at(group.long)
    sums = zip(found.count_RxL.sum(1), found.total_RxL.sum(1), strict=True)
    return {seed: (int(exact), int(examples)) for seed, (exact, examples) in zip(found.seeds, sums, strict=True)}


def curves(rows: Sequence[dict]) -> list[Curve]:
    """Returns the rate curves of a group, for `figures.ladders`."""
    found = []
    for place in _places(rows):
        if losses := standings.curve(rows, *place):
            by_rate = {rate: list(of_seed.values()) for rate, of_seed in losses.items()}
            found.append(Curve(*place, by_rate, choice(rows, *place).rate))
    return found


def lengths_drawn(group: Group):
    """Draws exact match of the typical seed by length, each arm at its largest budget."""
    last = {arm: group.budgets(arm)[-1] for arm in group.arms}
    return length_curves(
        {arm: standings.exact_match(group.tested(arm, last[arm])) for arm in group.arms},
        title=f"{group.name}: outputs that are entirely right",
        ylabel=f"exact match, {max(last.values()):,} updates",
        trained=(min(group.trained), max(group.trained)),
        line_label="typical seed",
        examples=group.examples,
    )


def budget_text(group: Group) -> str:
    """Returns the budgets and seeds that go with every verdict, as text; arms of the same budgets are named together."""
    arms_at: dict[str, list[str]] = {}
    for arm in group.arms:
        arms_at.setdefault(", ".join(f"{budget:,}" for budget in group.budgets(arm)), []).append(arm)
    parts = [f"{', '.join(arms)} at {budgets} updates" for budgets, arms in arms_at.items()]
    seeds = len({row["seed"] for row in standings.reported(group.rows)})
    return f"with {seeds} seeds, {' and '.join(parts)}, each budget a run of its own"


def _ends(group: Group, arm: str) -> list[int]:
    budgets = group.budgets(arm)
    return sorted({budgets[0], budgets[-1]}) if arm in group.fixed else budgets[-1:]


def _critical(found: Tested) -> str:
    if len(found.trained) < 2:
        return "–"
    return tables.critical_text(*standings.critical(found))


def _places(rows: Sequence[dict]) -> list[tuple[str, int]]:
    """Returns (arm, budget) of all results: arms in order of appearance, their budgets ascending."""
    found = dict.fromkeys((row["attention"], row["budget"]) for row in rows if standings.is_reported(row))
    arms = list(dict.fromkeys(arm for arm, _ in found))
    return sorted(found, key=lambda place: (arms.index(place[0]), place[1]))


def _rate_cell(rate: float, curve: Mapping, exact: Mapping, choice: rates.Choice) -> str:
    if rate not in curve:
        return ""
    if rate in choice.excluded:
        return "diverged"
    loss = float(np.exp(np.mean(np.log(np.maximum(list(curve[rate].values()), rates.SMALLEST_LOSS)))))
    mark = "*" if rate == choice.rate else "=" if rate in choice.tied else ""
    share = f" ({np.mean(list(exact[rate].values())):.2f})" if rate in exact else ""
    return f"{loss:.2g}{share}{mark}"
