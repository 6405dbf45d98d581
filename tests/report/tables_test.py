"""Tables on rows made up here, every cell worked out by hand."""

import math

import pytest

from attention_jax.report import by_seed, tables
from attention_jax.statistics.conditions import Condition
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.ladder import Need
from attention_jax.statistics.verdicts import Rung, Verdict


def row(arm: str, seed: int, length: int, exact: float, budget: int = 100, mode: str = "free", **more) -> dict:
    return {
        "attention": arm, "seed": seed, "length": length, "mode": mode, "budget": budget, "seen": length <= 2, "exact_match": exact,
        "examples": 1200 if length == 1 else 2,
        "state_size": 8, "parameters": 12345, "learning_rate": 0.002, "step": budget,
    } | more  # fmt: skip


ROWS = [
    row(arm, seed, length, exact, budget)
    for budget in (50, 100)
    for arm, by_length in (("summary", {1: (1.0, 1.0), 4: (0.0, 0.5)}), ("additive", {1: (1.0, 1.0), 4: (1.0, 1.0)}))
    for length, exacts in by_length.items()
    for seed, exact in enumerate(exacts)
]


@pytest.mark.parametrize(
    ("interval", "digits", "text"),
    [
        (Interval(0.934, 0.912, 0.956, 3), 2, "0.93 [0.91, 0.96]"),
        (Interval(0.934, math.nan, math.nan, 1), 1, "0.9"),
        (Interval(-0.001, -0.2, 0.004, 3), 2, "0.00 [-0.20, 0.00]"),
        (None, 2, "–"),
    ],
)
def test_interval_text(interval, digits, text):
    assert tables.interval_text(interval, digits) == text


def test_critical_text():
    assert tables.critical_text(Interval(6.12, 5.81, 6.43, 3), "=") == "6.1 [5.8, 6.4]"
    assert tables.critical_text(Interval(32.0, math.nan, math.nan, 3), ">=") == ">= 32.0"
    assert tables.critical_text(Interval(math.nan, math.nan, math.nan, 3), "?") == "–"


def test_multiple_text():
    assert tables.multiple_text(Interval(2.1, 1.8, 2.5, 4), "=") == "2.1 × [1.8, 2.5]"
    assert tables.multiple_text(Interval(4, math.nan, math.nan, 4), ">=") == ">= 4.0 ×"
    assert tables.multiple_text(Interval(math.nan, math.nan, math.nan, 4), "?") == "–"


def test_by_length():
    table = tables.by_length(ROWS, ["summary", "additive"], "additive", "exact_match", "free", 100, "Exact match")
    assert table.title == "Exact match"
    assert table.header == ("length", "examples", "trained", "summary", "additive", "summary − additive")
    assert table.rows == [
        ("1", "1,200", "yes", "1.00 [1.00, 1.00]", "1.00 [1.00, 1.00]", "0.00 [0.00, 0.00]"),
        ("4", "2", "no", "0.25 [0.00, 1.00]", "1.00 [1.00, 1.00]", "-0.75 [-1.00, 1.00]"),  # Student's are ± 3.18
    ]
    alone = tables.by_length(ROWS, ["summary"], None, "exact_match", "free", 100, "")
    assert alone.header == ("length", "examples", "trained", "summary") and all(len(cells) == 4 for cells in alone.rows)


@pytest.mark.parametrize(
    ("value", "low", "high", "cell"),
    [
        ("token_accuracy", 0.0, 1.0, "0.50 [0.00, 1.00]"),
        ("bleu", 1.0, 3.0, "2.00 [0.00, 14.71]"),
        ("chrf", 97.0, 99.0, "98.00 [85.29, 100.00]"),
        ("loss", 0.1, 0.3, "0.20 [0.00, 1.47]"),
    ],
)
def test_intervals_end_where_values_do(value, low, high, cell):
    """2 ± 12.7 BLEU of two seeds are none below 0."""
    rows = [row("summary", seed, 1, 0.0) | {value: x} for seed, x in enumerate((low, high))]
    table = tables.by_length(rows, ["summary"], None, value, "free", 100, "")
    assert table.rows[0][-1] == cell
    (interval,) = by_seed.curve(rows, "summary", value, "free", 100).values()
    assert interval.low >= 0 and interval.mean == (low + high) / 2


def test_an_open_bucket_says_so():
    """Rows of earlier versions name it by its longest example and do not tell."""
    rows = [{**r, "length": 3, "open": True} if r["length"] == 4 else r for r in ROWS]
    for found, name in ((rows, "3 and more"), (ROWS, "4")):
        table = tables.by_length(found, ["summary"], None, "exact_match", "free", 100, "")
        assert [cells[:3] for cells in table.rows] == [("1", "1,200", "yes"), (name, "2", "no")]


def test_by_arm():
    best = [row("summary", 0, 1, 1.0, step=40), row("summary", 1, 1, 1.0, step=80), row("summary", 0, 1, 1.0, 50, step=10)]
    table = tables.by_arm([*best, *ROWS[-4:]], ["summary", "additive"], {"shout": str.upper}, "Arms")
    assert table.header == ("arm", "d", "parameters", "learning rate", "step", "shout")
    assert table.rows == [
        ("summary", "8", "12,345", "0.002", "40–80", "SUMMARY"),
        ("additive", "8", "12,345", "0.002", "100", "ADDITIVE"),
    ]


def test_arms_budgets_and_groups():
    assert tables.arms_of(ROWS, ("none", "summary")) == (["summary", "additive"], "additive")
    assert tables.arms_of(ROWS[:4], ("none", "summary")) == (["summary"], None)
    assert tables.budgets_of(ROWS) == (100, 50)
    further = [*ROWS, row("summary", 0, 1, 1.0, 200)]
    assert tables.budgets_of(further) == (100, 50) and "50 to 200 updates" in tables.budget_text(further)  # arms meet at 100
    assert tables.budgets_of([row("summary", 0, 1, 1.0, 50), row("additive", 0, 1, 1.0, 200)]) == (200, 50)
    assert tables.budget_text(ROWS) == "with 2 seeds, at 50 to 100 updates, each budget a run of its own"
    rows = [
        row("none", 0, 1, 1.0, cell=cell, hidden_size=h, max_words=w) for cell, h, w in (("gru", 64, 0), ("gru", 64, 30), ("lstm", 8, 0))
    ]
    groups = tables.grouped(rows, ("cell", "hidden_size", "absent"))
    assert groups == {"gru h64": rows[:2], "lstm h8": rows[2:]}
    assert list(tables.grouped(rows[1:2], ("cell", "max_words"))) == ["gru up to 30 words"]
    assert list(tables.grouped([{"vector_size": 8}], ("vector_size",))) == ["d8"]
    assert list(tables.grouped([{"layers": 2, "batch_size": 32}], ("layers", "batch_size"))) == ["layers 2 batch 32"]


def test_a_verdict_and_what_would_decide_it():
    def condition(name, met, mean=0.2, low=0.125, rate=None):
        return Condition(name, "what,", Interval(mean, low, 0.25, 8), 0.1, met, 0.01, rate)

    none = Condition("placebo", "what,", Interval(math.nan, math.nan, math.nan, 0), 0.0, True, math.nan)
    found = condition("gap", True), condition("memory", False), condition("rates", True, low=math.nan, rate=0.004), none
    rungs = (Rung(200, found),)
    need = Need("additive", 100, "reported", 8, (0.004,), "scatter")
    later = Need("summary", 1600, "reported", 8, (), "too early")
    verdict = Verdict(
        "inconclusive", "", unit=100, learned=condition("learned", True), rungs=rungs, failed=("memory",), needs=(need, later)
    )
    found = tables.conditions(verdict, "Conditions")
    assert found.rows == [
        ("", "learned", "what", "0.200 [0.125, 0.250]", "0.1", "yes"),
        ("2 ×", "gap", "what", "0.200 [0.125, 0.250]", "0.1", "yes"),
        ("2 ×", "memory", "what", "0.200 [0.125, 0.250]", "0.1", "no"),
        ("2 ×", "rates", "what, at rate 0.004", "0.200", "0.1", "yes"),
        ("2 ×", "placebo", "what", "none to compare with", "0", "yes"),
    ]
    found = tables.needs(verdict, lambda need: need.updates / 1000, "Needs")
    assert found.rows == [
        ("additive", "100", "8 reported", "0.004", "scatter", "0.8"),
        ("summary", "1,600", "8 reported", "the one to be chosen", "too early", "12.8"),
    ]
    assert all(len(row) == len(found.header) for row in found.rows)
    assert tables.conditions(Verdict("inconclusive", ""), "Nothing").rows == []


@pytest.mark.parametrize(("p", "text"), [(0.0, "< 1e-12"), (9e-13, "< 1e-12"), (0.0312, "0.031"), (1.0, "1"), (math.nan, "nan")])
def test_no_p_is_nought(p, text):
    assert tables.p_text(p) == text
