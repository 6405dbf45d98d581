"""What rows say of an arm at a budget: against counts made here, and rows that say nothing clear."""

import numpy as np
import pytest

from attention_jax.report import standings
from attention_jax.statistics import intervals, lengths
from attention_jax.system.errors import ConfigError, DataError

LENGTHS = (2, 4, 6, 8, 16)
EXACT = np.array([[64, 60, 30, 5, 0], [64, 62, 34, 9, 1]])


def rows(arm: str = "summary", budget: int = 100, exact_RxL=EXACT) -> list[dict]:
    """Free and forced rows of two seeds; the last length was not trained on."""
    found = []
    for seed, exact_L in enumerate(exact_RxL):
        for length, exact in zip(LENGTHS, exact_L, strict=True):
            shared = {"attention": arm, "budget": budget, "seed": seed, "length": length, "seen": length < 16, "examples": 64}
            found.append(shared | {"mode": "free", "exact": int(exact), "symbols": 64 * length, "symbol_errors": 1})
            found.append(shared | {"mode": "forced", "exact": 0, "symbols": 64 * length, "symbol_errors": 64 - int(exact)})
    return found


def trial(rate: float, seed: int, loss: float, grown: bool = False, **more) -> list[dict]:
    shared = {"role": "selection", "attention": "summary", "budget": 100, "learning_rate": rate, "seed": seed, "grown": grown}
    return [
        shared | {"validation_loss": loss},
        *({**shared, "mode": "free", "seen": True, "examples": 64, "exact": 16, "length": n} for n in (6, 8)),
    ]


def test_counts_are_found_by_their_fields():
    data = rows() + rows("additive") + rows(budget=200, exact_RxL=EXACT * 0) + trial(0.1, 9, 1.0)
    found = standings.tested(data[::-1], "summary", 100)
    assert (found.seeds, found.lengths, found.trained) == ((0, 1), LENGTHS, (2, 4, 6, 8))
    np.testing.assert_array_equal(found.count_RxL, EXACT)
    part = found.at((8, 2))
    assert part.lengths == (2, 8) and part.count_RxL.tolist() == [[64, 5], [64, 9]]
    forced = standings.tested(data, "summary", 100, "forced")
    np.testing.assert_array_equal(forced.count_RxL, 64 - EXACT)
    assert forced.total_RxL[0].tolist() == [64 * length for length in LENGTHS]


def test_numbers_are_those_of_the_intervals():
    found = standings.tested(rows(), "summary", 100)
    assert standings.exact_match(found)[6] == intervals.typical_seed([30, 34], [64, 64])
    assert standings.pooled(found, (6, 8)) == intervals.typical_seed([35, 43], [128, 128])
    expected = lengths.over_seeds(lengths.critical(LENGTHS[:4], EXACT[:, :4], np.full((2, 4), 64), 0.5))
    assert standings.critical(found) == expected and 5 < expected[0].mean < 7
    few = rows(exact_RxL=np.array([[64] * 5, [0] * 5]))
    forced = [row | {"symbol_errors": row["symbols"] * (row["seed"] == 1)} for row in few]
    assert standings.failed(standings.tested(forced, "summary", 100, "forced"), (2, 4)) == intervals.clopper_pearson(1, 2)


def test_critical_lengths_of_every_budget_are_those_of_its_seeds():
    group = standings.Group("", rows() + rows(budget=200, exact_RxL=EXACT // 2), ["summary"])
    found = standings.criticals(group, "summary")
    assert list(found) == [100, 200] and list(found[100]) == [0, 1]
    assert list(found[100].values()) == lengths.critical(LENGTHS[:4], EXACT[:, :4], np.full((2, 4), 64), 0.5)
    one = [row for row in rows() if row["length"] in (2, 16)]  # of these one was trained on
    assert standings.criticals(standings.Group("", one, ["summary"]), "summary") == {}


def test_rate_curves_and_trials():
    besides = {"role": "measured", "attention": "summary", "budget": 100, "seed": 9, "length": 6, "forced": [1, 2]}  # neither
    data = [*rows(), *trial(0.1, 9, 2.0), *trial(0.1, 8, 1.0), *trial(0.2, 9, 3.0), besides]
    assert standings.curve(data, "summary", 100) == {0.1: {9: 2.0, 8: 1.0}, 0.2: {9: 3.0}}
    assert standings.exact_of_trials(data, "summary", 100, (6, 8)) == {0.1: {8: 0.25, 9: 0.25}, 0.2: {9: 0.25}}
    assert standings.curve(data, "additive", 100) == {}


def test_the_comparison_is_read_from_the_rows():
    grid = (0.001, 0.002, 0.004, 0.008, 0.016)
    data = rows() + rows(budget=200) + rows("additive") + [row for rate in grid for row in trial(rate, 9, 1.0)] + trial(0.032, 9, 1.0, True)
    found = standings.declared(data, "summary", "additive")
    assert (found.lengths, found.ladder, found.rates, found.seeds) == ((2, 4, 6, 8), (100, 200), grid, 8)
    assert standings.declared(rows() + rows("additive"), "summary", "additive").rates == standings.GRID
    assert found.attending == () and standings.declared(data, "summary", "additive", own_rungs=True).attending == (100,)
    with pytest.raises(ConfigError, match=r"attending = \(200,\); needed are the first rungs of the ladder \(100, 200\)"):
        standings.declared(rows() + rows("additive", budget=200), "summary", "additive", own_rungs=True)
    beyond = [row | {"length": 17, "open": True, "seen": True} for row in data if row.get("length") == 8]
    assert (
        standings.declared(data + beyond, "summary", "additive").lengths == (2, 4, 6, 8) == tuple(standings.trained_lengths(data + beyond))
    )
    with pytest.raises(ConfigError, match="every budget is twice"):
        standings.declared(data + rows(budget=300), "summary", "additive")


def test_groups_know_their_arms():
    group = standings.Group("all", rows("additive") + rows("none") + rows("none", 200) + rows("dot"), ("none", "summary"))
    assert (group.arms, group.fixed, group.attention) == (["additive", "none", "dot"], ["none"], "additive")
    assert group.budgets("none") == [100, 200] and group.trained == (2, 4, 6, 8) and group.long == (6, 8)
    assert group.examples == dict.fromkeys(LENGTHS, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data + data, "two free rows of 'summary' at 100 updates, seed 0, length 2"),
        (lambda data: data[1:], "every seed needs every length"),
        (lambda data: [], "every seed needs every length"),
        (
            lambda data: [{name: x for name, x in row.items() if name != "exact"} for row in data],
            "exact and examples must be whole numbers",
        ),
        (lambda data: [row | {"exact": 0.5} for row in data], "whole numbers"),
    ],
)
def test_rows_that_say_nothing_clear_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        standings.tested(change(rows()), "summary", 100)
