"""The verdict against a slow re-implementation of the rule, and cases worked by hand."""

import math
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from attention_jax.statistics import lengths, truths, verdicts
from attention_jax.statistics.observations import Comparison
from attention_jax.statistics.truths import Curve, Truth
from attention_jax.system.errors import ConfigError, DataError

SEEDS = 8
COMPARISON = truths.comparison(SEEDS)
TRUTHS = {truth.name: truth for truth in truths.truths()}


def made(name: str, number: int = 0, seeds: int = SEEDS) -> list[dict]:
    """Rows of a planted truth, in no order."""
    rows = truths.rows(TRUTHS[name], seeds, np.random.default_rng(number))
    random.Random(number).shuffle(rows)
    return rows


# The slow way: no arrays, a filter of rows for each number, scipy.stats for each interval.


def slow_typical(pairs):
    """(point, low, high) of the typical seed."""
    ends = []
    for right, wrong in ((0.5, 0.5), (0.1, 0.5), (0.5, 0.1)):
        logits = [math.log((k + right) / (n - k + wrong)) for k, n in pairs]
        t = stats.t.ppf(0.975, len(logits) - 1)
        mean, error = np.mean(logits), stats.sem(logits)
        ends.append((mean, mean - t * error, mean + t * error))
    pooled = stats.binomtest(sum(k for k, _ in pairs), sum(n for _, n in pairs)).proportion_ci(0.95, method="exact")
    low, high = min(end[1] for end in ends[:2]), max(end[2] for end in ends[::2])
    return special.expit(ends[0][0]), min(special.expit(low), pooled.low), max(special.expit(high), pooled.high)


def slow_verdict(rows, comparison):
    """(value, detail, k, failed conditions) of complete rows, or None where rows are missing or an edge was met."""

    def where(**fields):
        return [row for row in rows if all(row.get(name) == value for name, value in fields.items())]

    def exact_on(of_lengths, **fields):
        """{seed: (exact, examples)} over lengths."""
        found = {}
        for row in where(mode="free", **fields):
            if row["length"] in of_lengths:
                k, n = found.get(row["seed"], (0, 0))
                found[row["seed"]] = (k + row["exact"], n + row["examples"])
        return dict(sorted(found.items()))

    def share_on(of_lengths, **fields):
        return np.mean([k / n for k, n in exact_on(of_lengths, **fields).values()])

    def chosen(arm, budget):
        """(rate, mean log loss, grid without diverged rates), or None."""
        curve = {}
        for row in where(attention=arm, budget=budget, role="selection"):
            if "validation_loss" in row:
                curve.setdefault(row["learning_rate"], {})[row["seed"]] = row["validation_loss"]
        if set(curve) < set(comparison.rates):
            return None
        grid = [rate for rate in sorted(curve) if all(x is not None and math.isfinite(x) for x in curve[rate].values())]
        logs = {rate: np.log([curve[rate][seed] for seed in sorted(curve[rate])]) for rate in grid}
        best = min(grid, key=lambda rate: logs[rate].mean())
        if best in (min(curve), max(curve)):
            return None
        for rate in grid:
            test = stats.ttest_1samp(logs[rate] - logs[best], 0).confidence_interval(0.95) if rate != best else (0, 0)
            if test[0] <= 0 <= test[1] and (logs[rate] - logs[best]).mean() <= 0.2:
                return rate, logs[rate].mean(), sorted(curve), grid
        raise AssertionError

    n = len(comparison.lengths)
    long, first = comparison.lengths[n - n // 2 :], comparison.lengths[: n // 2]
    ours, theirs = comparison.attention, comparison.fixed
    unit = None
    for budget in comparison.ladder:
        choice = chosen(ours, budget)
        if choice is None:
            return None
        pairs = exact_on(long, attention=ours, budget=budget, role="selection", learning_rate=choice[0]).values()
        if slow_typical(list(pairs))[1] >= 0.5:
            unit = budget
            break
    if unit is None:
        return "inconclusive", "", math.nan, ("learned",)
    rungs = [budget for budget in comparison.ladder if budget >= unit]
    choices = {(arm, budget): chosen(arm, budget) for arm, budgets in ((ours, rungs[:2]), (theirs, rungs)) for budget in budgets}
    if None in choices.values():
        return None
    best = min(rungs[:2], key=lambda budget: choices[ours, budget][1])
    reported = {
        place: exact_on(long, attention=place[0], budget=place[1], role="reported", learning_rate=choice[0])
        for place, choice in choices.items()
    }
    K = rungs[-1]
    k = K / unit
    attention = slow_typical(list(reported[ours, best].values()))
    if attention[1] < 0.5:
        return "inconclusive", "", math.nan, ("learned",)
    short = [
        length
        for length in first
        if all(
            share_on([length], attention=arm, budget=budget, role="selection", learning_rate=choices[arm, budget][0]) >= 0.9
            for arm, budget in ((ours, best), (theirs, K))
        )
    ]
    if len(short) < 2:
        return "inconclusive", "", math.nan, ("short",)

    def growth(arm, budget):
        found = {}
        for seed in reported[arm, budget]:
            halves = []
            for half in (short, long):
                forced = where(
                    attention=arm, budget=budget, role="reported", mode="forced", seed=seed, learning_rate=choices[arm, budget][0]
                )
                forced = [row for row in forced if row["length"] in half]
                halves.append((sum(row["symbol_errors"] for row in forced), sum(row["symbols"] for row in forced)))
            delta = 1 / (2 * min(total for _, total in halves))
            low, high = (math.log((wrong / total + delta) / (1 - wrong / total + delta)) for wrong, total in halves)
            found[seed] = high - low
        return found

    def failing(budget):
        """Names of conditions that fail, and the gap's upper bound."""
        fixed = slow_typical(list(reported[theirs, budget].values()))
        gap = attention[0] - fixed[0]
        low = gap - math.hypot(attention[0] - attention[1], fixed[2] - fixed[0])
        high = gap + math.hypot(attention[2] - attention[0], fixed[0] - fixed[1])
        ours_grown, theirs_grown = growth(ours, best), growth(theirs, budget)
        memory = stats.ttest_rel([theirs_grown[s] for s in theirs_grown], [ours_grown[s] for s in theirs_grown]).confidence_interval(0.95)

        def selected(arm, at, rate):
            return share_on(long, attention=arm, budget=at, role="selection", learning_rate=rate)

        own, _, grid, finite = choices[ours, best]
        at_own = selected(ours, best, own)
        c = min(at_own - selected(theirs, budget, rate) for rate in choices[theirs, budget][2])
        gap_selected = at_own - selected(theirs, budget, choices[theirs, budget][0])
        place = grid.index(own)
        beside = [rate for rate in grid[max(0, place - 1) : place + 2] if rate != own and rate in finite]
        d = all(gap_selected > at_own - selected(ours, best, rate) for rate in beside)
        names = (("gap", low > 0.1), ("memory", memory.low > 0), ("rates", c > 0.1), ("placebo", d))
        return tuple(name for name, met in names if not met), high

    found = {budget: failing(budget) for budget in rungs}
    if found[K][1] < 0.1:
        if not any(not found[budget][0] for budget in rungs[:-1]):
            return "no bottleneck", "", k, ()
        since = max([i for i, budget in enumerate(rungs) if found[budget][1] >= 0.1], default=-1) + 1
        return "slower to train", "", rungs[since] / unit, ()
    if found[K][0]:
        return "inconclusive", "", k, found[K][0]
    if len(rungs) < 2:
        return "bottleneck", "still closing", k, ()
    found_lengths = []
    for budget in rungs[-2:]:
        of_length = {
            length: exact_on([length], attention=theirs, budget=budget, role="reported", learning_rate=choices[theirs, budget][0])
            for length in comparison.lengths
        }
        exact, examples = (np.array([[of_length[x][s][i] for x in of_length] for s in of_length[long[0]]]) for i in (0, 1))
        found_lengths.append(lengths.critical(comparison.lengths, exact, examples, 0.5))
    before, after = found_lengths
    if {each.bound for each in (*before, *after)} != {"exact"}:
        return "bottleneck", "still closing", k, ()
    gains = [b.length - a.length for a, b in zip(before, after, strict=True)]
    high = np.mean(gains) + stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
    return "bottleneck", "levelling off" if high < 0.5 else "still closing", k, ()


@pytest.mark.parametrize("name", TRUTHS)
def test_the_verdict_is_that_of_the_slow_rule(name):
    for number in range(2):
        rows = made(name, number)
        found, expected = verdicts.verdict(rows, COMPARISON), slow_verdict(rows, COMPARISON)
        if expected is None:
            assert (found.value, found.failed) == ("inconclusive", ("missing",))
        else:
            value, detail, k, failed = expected
            assert (found.value, found.detail, found.failed) == (value, detail, failed), found.reason
            assert found.k == k or (math.isnan(found.k) and math.isnan(k))
        assert bool(found.needs) == (found.value == "inconclusive")


FLOOR = Curve(0.002)
CALM = Truth("calm", "", "", FLOOR, (Curve(0.002, 8.0),) * 3, scatter=0.05)


def of(truth: Truth, **fields) -> list[dict]:
    return truths.rows(replace(truth, **fields), SEEDS, np.random.default_rng(3))


def test_a_bottleneck_says_all_it_rests_on():
    found = verdicts.verdict(of(CALM), COMPARISON)
    assert str(found) == "bottleneck up to 4 ×, levelling off" and found.needs == () and found.failed == ()
    assert (found.unit, found.short, found.long) == (100, (3, 4, 5, 6), (10, 12, 14, 16))
    assert [rung.budget for rung in found.rungs] == [100, 200, 400] and all(rung.hold for rung in found.rungs)
    for number in ("gap: attention − fixed in exact match on lengths 10 to 16 0.", "memory: ", "rates: ", "placebo: ", "above 0.1"):
        assert number in found.reason
    assert found.p < 1e-3 and found.learned.met and abs(found.progress.mean) < 0.3  # the rates that are chosen differ


def test_the_other_words():
    closing = tuple(Curve(0.002, half) for half in (5.5, 7.0, 8.5))
    assert str(verdicts.verdict(of(CALM, fixed=closing), COMPARISON)) == "bottleneck up to 4 ×, still closing"
    slower = (Curve(0.002, 8.0), Curve(0.002, 10.0), FLOOR)
    found = verdicts.verdict(of(CALM, fixed=slower), COMPARISON)
    assert str(found) == "slower to train: caught up at 4 ×" and re.search("at 1 × gap: .* above 0.1", found.reason)
    assert str(verdicts.verdict(of(CALM, fixed=(Curve(0.002, 8.0), FLOOR, FLOOR)), COMPARISON)) == "slower to train: caught up at 2 ×"
    assert str(verdicts.verdict(of(CALM, fixed=(FLOOR,) * 3), COMPARISON)) == "no bottleneck"
    assert verdicts.verdict(of(CALM, attention=Curve(0.2), fixed=(Curve(0.2),) * 3), COMPARISON).failed == ("learned",)
    assert verdicts.verdict(of(CALM, fixed=(Curve(0.002, 3.5),) * 3), COMPARISON).failed == ("short",)
    handicap = verdicts.verdict(of(CALM, attention=Curve(0.002, 20.0), fixed=(Curve(0.022),) * 3), COMPARISON)
    assert handicap.failed == ("memory",) and "a handicap, not memory" in handicap.needs[0].why
    assert [(need.budget, need.seeds) for need in handicap.needs] == [(800, 4), (800, 8)]


def test_more_seeds_are_asked_for_where_they_would_decide():
    close = replace(CALM, fixed=(Curve(0.002, 17.0),) * 3, scatter=0.5)
    needs = verdicts.verdict(of(close), COMPARISON).needs
    assert [(need.arm, need.role) for need in needs] == [("attention", "reported"), ("fixed", "reported")]
    seeds = needs[0].seeds
    assert 1 <= seeds <= 56 and needs[0].updates == needs[0].budget * seeds
    mean, low, high, n = verdicts.verdict(of(close), COMPARISON).rungs[-1].gap.interval

    def decides(m):
        narrower = stats.t.ppf(0.975, m - 1) / math.sqrt(m) / (stats.t.ppf(0.975, n - 1) / math.sqrt(n))
        return mean - narrower * (mean - low) > 0.1 or mean + narrower * (high - mean) < 0.1

    assert decides(n + seeds) and not decides(n + seeds - 1)


def without(rows, **fields):
    return [row for row in rows if not all(row.get(name) == value for name, value in fields.items())]


@pytest.mark.parametrize(
    "fields, arm, budget, role, seeds",
    [
        ({"attention": "fixed", "budget": 200, "role": "reported"}, "fixed", 200, "reported", 8),
        ({"attention": "fixed", "budget": 400, "role": "selection"}, "fixed", 400, "selection", 4),
        ({"attention": "attention", "budget": 200}, "attention", 200, "selection", 4),
        ({"attention": "attention", "budget": 100, "seed": 1001}, "attention", 100, "selection", 1),
        ({"attention": "fixed", "budget": 100, "learning_rate": 0.016}, "fixed", 100, "selection", 4),
        ({"attention": "fixed", "seed": 3, "budget": 400, "length": 6, "mode": "forced"}, "fixed", 400, "reported", 1),
        ({"attention": "fixed", "budget": 400, "role": "selection", "length": 6, "learning_rate": 0.002}, "fixed", 400, "selection", 4),
    ],
)
def test_what_is_missing_is_named(fields, arm, budget, role, seeds):
    found = verdicts.verdict(without(of(CALM), **fields), COMPARISON)
    assert (found.value, found.failed) == ("inconclusive", ("missing",)) and found.reason.startswith("missing: ")
    assert (arm, budget, role, seeds) in {(need.arm, need.budget, need.role, need.seeds) for need in found.needs}


def test_an_edge_is_inconclusive_and_names_the_rate_to_add():
    rows = of(CALM)
    for row in rows:
        if row["attention"] == "fixed" and row["budget"] == 400 and row.get("validation_loss"):
            row["validation_loss"] = 1 / row["learning_rate"]
    found = verdicts.verdict(rows, COMPARISON)
    assert found.failed == ("missing",) and "edge" in found.reason and found.needs[0].rates == (0.032,)


def test_other_arms_budgets_lengths_and_test_sets_do_not_count():
    rows = of(CALM)
    found = verdicts.verdict(rows, COMPARISON)
    more = [row | {"attention": "none"} for row in rows] + [row | {"budget": 800} for row in rows]
    more += [row | {"length": 32, "seen": False} for row in rows if row.get("length") == 16]
    more += [row | {"role": "further", "test": test} for test in "bc" for row in rows if row["role"] == "reported"]
    assert verdicts.verdict(rows + more, COMPARISON)._replace(needs=()) == found


def test_a_diverged_rate_is_excluded_with_or_without_rows():
    rows = of(CALM)
    found = verdicts.verdict(rows, COMPARISON)
    for loss in (None, math.inf, math.nan):
        diverged = [row | ({"validation_loss": loss} if "validation_loss" in row and row["learning_rate"] == 0.016 else {}) for row in rows]
        assert str(verdicts.verdict(diverged, COMPARISON)) == str(found)
    gone = [row for row in diverged if row["learning_rate"] != 0.016 or "validation_loss" in row]
    assert str(verdicts.verdict(gone, COMPARISON)) == str(found)


def test_rows_that_contradict_each_other_are_refused():
    rows = of(CALM)
    for bad, words in (
        (rows + [row for row in rows if row.get("length") == 3][:1], "several runs are mixed"),
        (rows + [row for row in rows if "validation_loss" in row][:1], "two validation losses"),
        ([row | ({"exact": 513} if row.get("length") == 3 and row["mode"] == "free" else {}) for row in rows], "no whole number"),
        ([row | ({"exact": None} if row.get("length") == 3 and row["mode"] == "free" else {}) for row in rows], "no whole number"),
        ([row | {"seed": row["seed"] % 1000} for row in rows], "have to be different seeds"),
        ([{name: value for name, value in row.items() if name != "role"} for row in rows], "no field 'role'"),
    ):
        with pytest.raises(DataError, match=words):
            verdicts.verdict(bad, COMPARISON)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"fixed": "attention"}, "two arms"),
        ({"lengths": (3, 4, 5)}, "four or more"),
        ({"lengths": (3, 5, 4, 6)}, "ascending"),
        ({"ladder": (100, 300)}, "twice the one before"),
        ({"rates": (0.1, 0.2)}, "5 or more"),
        ({"seeds": 1}, "two or more"),
    ],
)
def test_a_comparison_that_is_none_is_refused(fields, words):
    given = {"fixed": "fixed", "attention": "attention", "lengths": truths.LENGTHS, "ladder": (1, 2), "rates": COMPARISON.rates}
    with pytest.raises(ConfigError, match=words):
        Comparison(**(given | fields))


def test_claims_on_one_page_are_corrected_together():
    found = verdicts.verdict(of(CALM), COMPARISON)._replace(p=0.02)
    none = verdicts.verdict(of(CALM, fixed=(FLOOR,) * 3), COMPARISON)
    together = verdicts.together({"one": found, "none": none})
    assert together["one"].value == "inconclusive" and together["one"].p == 0.04 and "Holm" in together["one"].reason
    assert together["none"].value == "no bottleneck"
    assert verdicts.together({"one": found})["one"] == found
    strong = verdicts.together({"one": found._replace(p=0.001), "none": none})["one"]
    assert (strong.value, strong.detail, strong.p) == ("bottleneck", "levelling off", 0.002)


def test_groups_agree_or_not():
    found, none = (verdicts.verdict(of(CALM, fixed=fixed), COMPARISON) for fixed in (CALM.fixed, (FLOOR,) * 3))
    assert verdicts.agree({"gru": found}) == found
    assert str(verdicts.agree({"gru": found, "lstm": found._replace(k=2.0)})) == "bottleneck up to 2 ×, levelling off"
    assert verdicts.agree({"gru": found, "lstm": none}).value == "inconclusive"
    assert verdicts.agree({}) == verdicts.NOTHING_TO_COMPARE and verdicts.NOTHING_TO_COMPARE.value == "inconclusive"
