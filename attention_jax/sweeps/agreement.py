"""Compares two result folders of one claim: verdicts, measurements, and how their runs differ in settings and environment.

A *place* is one arm at one budget and length, under one group of settings. At every place that both folders have, the two sides are
compared: exact match of the typical seed, or of text the mean loss or error rate. Seeds count as independent even where both sides have the
same ones: code that rounds differently makes of one seed two draws, so that pairing would promise what is not there.

Intervals of the differences are simultaneous, by Bonferroni: with m places each has confidence 1 − 0.05/m, so that two folders of the
same truth exceed *anywhere* in at most 5 %, whatever the dependence of lengths, arms and budgets. Each is MOVER of the two sides'
intervals at that confidence and at Welch's degrees of freedom (`intervals.typical_difference`, `intervals.welch`).

In simulation, m = 72 and 512 examples: of all places alike, with exact match 0.001 to 0.99, 2 to 16 seeds that scatter by 0.1 to 1.5
logits, 0 to 4.5 exceed per hundred pairs of folders, fewest near 0 and 1; over curves from 0.999 to 0.001 about one pair in a hundred does.
What 8 seeds find: a difference of 0.3 at one length in 99 % where seeds scatter by 0.3 logits; where they scatter by 0.8, in 98 % from
0.99 down to 0.69, in 76 % from 0.97, in 17 % from 0.65. The last is three standard errors, which chance has too, among 72 places.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from attention_jax.config import formats
from attention_jax.report import report, tables
from attention_jax.report.figures import curves
from attention_jax.report.tables import Table
from attention_jax.running import results
from attention_jax.statistics import intervals
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.verdicts import Verdict
from attention_jax.system.errors import ConfigError, DataError

GROUP = ("task", "cell", "hidden_size", "vector_size", "alphabet", "longest", "max_words", "blind", "normaliser", "estimator")
"""Fields of a row within which only arms, budgets and lengths differ, beside a claim's own `GROUP`; those that rows lack do not count."""

FIELDS = {"attention": str, "budget": int, "length": int, "seen": bool, "seed": int, "learning_rate": float}
"""What every row has to have, beside what was measured."""

MODES = {"exact_match": "free", "loss": "forced", "error_rate": "free"}
"""{what can be compared: the mode of its rows}."""

UNITS = {"exact_match": "exact match, typical seed,", "loss": "nats per target token", "error_rate": "errors per symbol"}
"""{what can be compared: its unit, for axes}."""

EXIT = {"same": 0, "differs": 3, "undecided": 4}
"""Exit status of an outcome; 1, 2, 70 and 75 have other meanings in `experiments.run`."""


class Side(NamedTuple):
    """One of the two folders of results that are compared."""

    name: str  # what a reader calls it: its path
    rows: Sequence[Mapping]  # as `results.read` gives them
    stored: Mapping[str, Mapping]  # run → its config.json, as `results.stored` gives it
    verdict: Verdict


class Place(NamedTuple):
    """Group, arm, budget and length at which two folders are compared."""

    group: str
    arm: str
    budget: int
    length: int


class Difference(NamedTuple):
    """Both measurements, and their difference, at a place that both folders have."""

    place: Place
    seen: bool  # a trained length
    a: Interval
    b: Interval
    difference: Interval  # a − b, simultaneous over all places
    seeds: int  # that both sides have
    same: int  # of these, with the same measurement to the last digit

    @property
    def exceeds(self) -> bool:
        """True where the interval excludes 0."""
        return self.difference.low > 0 or self.difference.high < 0

    @property
    def decided(self) -> bool:
        """True where there is an interval, or a single seed, which has none, is the same on both sides."""
        return self.difference.low == self.difference.low or self.same == self.a.n == self.b.n


class Agreement(NamedTuple):
    """The comparison of two folders: their differences, and the places that one of them lacks."""

    names: tuple[str, str]
    verdicts: tuple[Verdict, Verdict]
    value: str  # of `MODES`
    differences: tuple[Difference, ...]
    only: tuple[str, ...]  # a line for each part that one side lacks
    settings: tuple[str, ...]  # a line for each version, device, setting or chosen rate that differs

    @property
    def outcome(self) -> str:
        """A key of `EXIT`: "differs" where the verdicts' values do, or a length exceeds its interval; else "same".

        "Undecided" where nothing differs, but one side lacks places of the other, or seeds for an interval.
        """
        here, there = self.verdicts
        if here.value != there.value or any(each.exceeds for each in self.differences):
            return "differs"
        return "undecided" if self.only or not all(each.decided for each in self.differences) else "same"


def between(a: Side, b: Side, group: Sequence[str] = GROUP, value: str = "exact_match") -> Agreement:
    """Compares two folders; `value` is "exact_match" (the typical seed), "loss" or "error_rate" (the mean over seeds).

    Only reported rows are compared, each arm at the rate that was chosen on its side. Rows without `exact`, of earlier versions, have
    it computed from exact match. Raises `DataError` for folders of different claims or without a common place, and for rows that
    contradict each other or lack a field.
    """
    if value not in MODES:
        raise ConfigError(f"value={value!r} cannot be compared; valid: {', '.join(MODES)}")
    claims = [{content["config"].get("experiment") for content in side.stored.values()} for side in (a, b)]
    if all(claims) and not claims[0] & claims[1]:
        here, there = (", ".join(sorted(map(str, of_side))) for of_side in claims)
        raise DataError(f"nothing to compare: {a.name} is of {here}, {b.name} of {there}")
    found = [_measured(side, tuple(dict.fromkeys(group)), value) for side in (a, b)]
    shared = sorted(found[0].keys() & found[1].keys())
    if not shared:
        parts = (f"{side.name} has {'; '.join(_parts(of_side)) or 'no rows of it'}" for side, of_side in zip((a, b), found, strict=True))
        raise DataError(f"nothing to compare: no {value} of the same settings, arm, budget and length; {', '.join(parts)}")
    confidence = 1 - (1 - intervals.CONFIDENCE) / len(shared)
    differences = tuple(_difference(place, found[0][place], found[1][place], value, confidence) for place in shared)
    only = [
        f"only {mark} has {part}"
        for mark, ours, theirs in (("A", *found), ("B", *found[::-1]))
        for part in _parts([place for place in ours if place not in theirs])
    ]
    settings = (*differing(a.stored, b.stored), *_rates(*found))
    return Agreement((a.name, b.name), (a.verdict, b.verdict), value, differences, tuple(only), settings)


def differing(a: Mapping[str, Mapping], b: Mapping[str, Mapping]) -> list[str]:
    """Returns a line per difference between two folders' stored runs, {run: its config.json}.

    First versions, devices and command, with all values of all runs. Then settings, between runs of the same name; a line names its runs
    where these are not all. Settings that did not exist when a run was made have the value that it then behaved by.
    """
    alone = {mark: [run for run in ours if run not in theirs] for mark, ours, theirs in (("A", a, b), ("B", b, a))}
    unpaired = [f"runs that only {mark} has: {', '.join(runs)}" for mark, runs in alone.items() if runs]
    return [*_differing_environments(a, b), *_differing_settings(a, b), *unpaired]


def _differing_environments(a: Mapping[str, Mapping], b: Mapping[str, Mapping]) -> list[str]:
    """Returns a line per version, device or command that differs, with the values of all runs."""
    sides = [[results.flat({part: x for part, x in each.items() if part != "config"}) for each in side.values()] for side in (a, b)]
    lines = []
    for path in dict.fromkeys(path for side in sides for leaves in side for path in leaves):
        here, there = (", ".join(sorted({_shown(leaves, path) for leaves in side})) for side in sides)
        if here != there:
            lines.append(_line(path.removeprefix("environment."), here, there))
    return lines


def _differing_settings(a: Mapping[str, Mapping], b: Mapping[str, Mapping]) -> list[str]:
    """Returns a line per setting that differs between runs of the same name."""
    found: dict[str, list[str]] = {}
    shared = [run for run in a if run in b]
    for run in shared:
        here, there = (formats.AS_IT_WAS | results.flat(side[run]["config"]) for side in (a, b))
        for path in dict.fromkeys((*here, *there)):
            if _shown(here, path) != _shown(there, path):
                found.setdefault(_line(path, _shown(here, path), _shown(there, path)), []).append(run)
    return _folded(found, len(shared))


def table(agreement: Agreement) -> Table:
    """Tabulates places: both sides with their own 95 % intervals, and the difference with its simultaneous one."""
    digits = 2 if agreement.value == "exact_match" else 3
    return Table(
        f"{agreement.value.replace('_', ' ')} of both: A is {agreement.names[0]}, B is {agreement.names[1]}",
        ("group", "arm", "updates", "length", "A", "B", "A − B, simultaneous", "exceeds"),
        [
            (
                each.place.group,
                each.place.arm,
                f"{each.place.budget:,}",
                str(each.place.length),
                *(tables.interval_text(interval, digits) for interval in (each.a, each.b, each.difference)),
                "yes" if each.exceeds else "no" if each.decided else "one seed",
            )
            for each in agreement.differences
        ],
    )


def figures(agreement: Agreement) -> dict[str, curves.Figure]:
    """Draws {stem: both sides' curves by length, A solid, B dashed}, a figure per group and budget."""
    drawn = {}
    exact = agreement.value == "exact_match"
    for group, budget in dict.fromkeys((each.place.group, each.place.budget) for each in agreement.differences):
        here = [each for each in agreement.differences if (each.place.group, each.place.budget) == (group, budget)]
        a, b = ({arm: {} for arm in dict.fromkeys(each.place.arm for each in here)} for _ in agreement.names)
        for each in here:
            a[each.place.arm][each.place.length], b[each.place.arm][each.place.length] = each.a, each.b
        seen = [each.place.length for each in here if each.seen]
        apart = sorted({each.place.length for each in here if each.exceeds})
        drawn[f"agreement_{group}_{budget}".replace(" ", "_")] = curves.length_curves(
            a,
            title=f"{group}: {f'apart at {_lengths(apart)}' if apart else 'nowhere apart'}",
            ylabel=f"{UNITS[agreement.value]} after {budget} updates",
            xlabel="length (payload tokens)" if exact else "source words",
            trained=(min(seen), max(seen)) if seen else None,
            faint=b,
            faint_label=f"B: {_tail(agreement.names[1])}",
            line_label=f"A: {_tail(agreement.names[0])}",
            percent=exact,
        )
    return drawn


def text(agreement: Agreement) -> str:
    """Returns the text for a terminal: the table, how the runs differ, and whether the results do."""
    here, there = agreement.verdicts
    shown, lines = table(agreement), [f"A: {agreement.names[0]}", f"B: {agreement.names[1]}"]
    lines += agreement.settings or ["settings, versions and devices: the same"]
    lines += agreement.only
    if undecided := [each.place for each in agreement.differences if not each.decided]:
        lines.append(f"no interval, for want of a second seed: {'; '.join(_parts(undecided))}")
    same, seeds = (sum(getattr(each, name) for each in agreement.differences) for name in ("same", "seeds"))
    lines.append(f"measurements of the same seed that are the same to the last digit: {same:,} of {seeds:,}")
    if here.value != there.value:
        lines.append(f"verdicts differ: {here} / {there}\n  A: {here.reason}\n  B: {there.reason}")
    else:
        lines.append(f"same verdict: {here}" + ("" if str(here) == str(there) else f" / {there}"))
    exceeding = "; ".join(_parts([each.place for each in agreement.differences if each.exceeds]))
    lines.append(f"lengths whose difference exceeds its simultaneous 95 % interval: {exceeding or 'none'}")
    return "\n".join([shown.title, report.text_table(shown.header, shown.rows), "", *lines])


class _Sample(NamedTuple):
    """Measurements of one side at a place."""

    by_seed: dict[int, tuple]  # (exact, examples), or (what is measured,)
    rates: set[float]
    seen: bool


def _measured(side: Side, group: Sequence[str], value: str) -> dict[Place, _Sample]:
    """Returns {place: the measurements of a side's reported rows}."""
    reported = [row for row in side.rows if row.get("role", "reported") == "reported" and row.get("length") is not None]
    then: dict[str, Any] = {name: was for path, was in formats.AS_IT_WAS.items() if (name := path.rpartition(".")[2]) in group}
    measured = [{**then, **row} for row in reported if row.get("mode") == MODES[value]]
    found: dict[Place, _Sample] = {}
    for name, rows in tables.grouped(measured, group).items():
        for row in rows:
            if wrong := [f"{field} is {row.get(field)!r}" for field, kind in FIELDS.items() if type(row.get(field)) is not kind]:
                raise DataError(f"{side.name}: in a row {', '.join(wrong)}; needed are {', '.join(FIELDS)}")
            place = Place(name, row["attention"], row["budget"], row["length"])
            sample = found.setdefault(place, _Sample({}, set(), row["seen"]))
            if row["seed"] in sample.by_seed:
                mixed = f"several runs are mixed; what tells them apart has to be one of {', '.join(group)}"
                raise DataError(f"{side.name}: two rows of {_words(place)}, seed {row['seed']}: {mixed}")
            measurement: tuple[Any, ...] = _count(row) if value == "exact_match" else (row.get(value),)
            if not all(type(x) in (int, float) and 0 <= x < math.inf for x in measurement):
                raise DataError(f"{side.name}: {value} is not measured in the row of {_words(place)}, seed {row['seed']}")
            sample.by_seed[row["seed"]] = measurement
            sample.rates.add(row["learning_rate"])
    return found


def _count(row: Mapping) -> tuple:
    """Returns (exact, examples) of a row, or (None,) where these are no counts."""
    exact, examples, share = cast(tuple[Any, Any, Any], tuple(row.get(name) for name in ("exact", "examples", "exact_match")))
    if exact is None and type(examples) is int and type(share) in (int, float) and 0 <= share <= 1:
        exact = round(share * examples)
    return (exact, examples) if type(exact) is int and type(examples) is int and 0 <= exact <= examples > 0 else (None,)


def _difference(place: Place, a: _Sample, b: _Sample, value: str, confidence: float) -> Difference:
    if value == "exact_match":
        of_a, of_b = (intervals.typical(*zip(*side.by_seed.values(), strict=True)) for side in (a, b))
        own, at = (of_a.interval(), of_b.interval()), partial(intervals.typical_difference, of_a, of_b)
    else:
        of_a, of_b = ([x for (x,) in side.by_seed.values()] for side in (a, b))
        own, at = (intervals.student(of_a), intervals.student(of_b)), partial(intervals.welch, of_a, of_b)
    both = a.by_seed.keys() & b.by_seed.keys()
    same = sum(a.by_seed[seed] == b.by_seed[seed] for seed in both)
    ends = results.RANGES.get(value, (-math.inf, math.inf))
    return Difference(place, a.seen, *own, at(confidence).of_difference(*ends), len(both), same)


def _rates(a: Mapping[Place, _Sample], b: Mapping[Place, _Sample]) -> list[str]:
    """Returns a line where an arm was reported at another rate on either side."""
    chosen: list[dict] = [{}, {}]
    for of_side, side in zip(chosen, (a, b), strict=True):
        for place, sample in side.items():
            of_side.setdefault(place[:3], set()).update(sample.rates)
    found: dict[str, list[str]] = {}
    shared = [run for run in chosen[0] if run in chosen[1]]
    for run in shared:
        here, there = (", ".join(f"{rate:g}" for rate in sorted(of_side[run])) for of_side in chosen)
        if here != there:
            found.setdefault(_line("learning_rate", here, there), []).append(f"{run[0]}, {run[1]} at {run[2]} updates")
    return _folded(found, len(shared))


def _line(name: str, here: str, there: str) -> str:
    return f"{name}: {here or 'nothing'} in A, {there or 'nothing'} in B"


def _folded(found: Mapping[str, Sequence[str]], everywhere: int) -> list[str]:
    """Returns the lines, each with its places where these are not all."""
    return [line + ("" if len(where) == everywhere else f" ({'; '.join(where)})") for line, where in found.items()]


def _shown(leaves: Mapping[str, object], path: str) -> str:
    return json.dumps(leaves[path], ensure_ascii=False) if path in leaves else "absent"


def _words(place: Place) -> str:
    return f"{place.group}, {place.arm!r} at {place.budget} updates, length {place.length}"


def _parts(places: Iterable[Place]) -> list[str]:
    """Returns a text per group, arm and budget, such as "copy gru h64 d0: summary at 800 updates, lengths 12, 14"."""
    found: dict[tuple, list[int]] = {}
    for place in sorted(places):
        found.setdefault(place[:3], []).append(place.length)
    return [f"{group}: {arm} at {budget} updates, {_lengths(lengths)}" for (group, arm, budget), lengths in found.items()]


def _lengths(lengths: Sequence[int]) -> str:
    return f"length{'s' * (len(lengths) > 1)} {', '.join(map(str, lengths))}"


def _tail(name: str, longest: int = 32) -> str:
    """Returns the end of a path, which says more than its beginning."""
    return name if len(name) <= longest else "…" + name[1 - longest :]
