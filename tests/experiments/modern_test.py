"""The claim's verdict, tables and figures on rows whose truth is planted, and what its presets hold equal."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attention_jax import model
from attention_jax.statistics import recall
from attention_jax.sweeps import sweep
from experiments import modern
from tests.experiments import planted

GRID, SIZES, EXAMPLES = modern.TINY.training.learning_rates, modern.SIZES, 512
SHARED = {"encoder": "recurrent", "layers": 2, "optimizer": "adam", "alphabet": 8, "parameters": 6_932, "seconds": 9.0, "hidden_size": 4}


def rows(truths: dict, task: str = modern.RECALL, seeds: int = 8, scatter: float = 0.01, best: float = GRID[2], **own) -> list[dict]:
    """What a sweep leaves where {(cell, arm): accuracy on the long half by n} is the truth; without attention seeds scatter by so much."""
    random, found = np.random.default_rng(7), []
    for ((cell, arm), accuracy), n, budget in product(truths.items(), SIZES, modern.BUDGETS[task]):
        run = f"{arm}-{cell}-{task}-n{n}-u{budget}"
        shared = SHARED | own | {"run": run, "task": task, "cell": cell, "attention": arm, "state_size": n, "budget": budget}
        found += planted.curve(shared, best, GRID, random)
        for seed, length in product(range(seeds), modern.LENGTHS[task]):
            p = float(
                np.clip(
                    accuracy[SIZES.index(n)]
                    + scatter * (arm == "summary") * np.sin(7.3 * seed + n + 2.1 * seed * modern.CELLS.index(cell)),
                    0.0,
                    1.0,
                )
            )
            place = {"role": "reported", "seed": seed, "learning_rate": best, "length": length, "seen": True, "examples": EXAMPLES}
            symbols = EXAMPLES * min(2, length)
            place |= {"symbols": symbols, "symbol_errors": int(random.binomial(symbols, 1 - p))}
            exact = int(random.binomial(EXAMPLES, p ** min(2, length)))
            found += [shared | place | {"mode": mode, "exact": exact, "exact_match": exact / EXAMPLES} for mode in ("free", "forced")]
    return found


ALIKE = (0.3, 0.5, 0.7)
ATTENTION = {("gru", "additive"): (0.9, 0.97, 0.99)}


def cells(**others) -> dict:
    """Truths of all cells without attention: alike, but for `others`."""
    return {(cell, "summary"): others.get(cell, ALIKE) for cell in modern.CELLS}


@pytest.mark.parametrize(
    ("truths", "value"),
    [
        (cells() | ATTENTION, "attention beats state, cells alike"),
        (cells(diagonal=(0.2, 0.3, 0.4)) | ATTENTION, "attention beats state, cells differ"),
        (cells(lstm=(0.3, 0.8, 0.96)) | ATTENTION, "state beats attention, cells differ"),
        (cells(minlstm=(0.3, 0.5, 0.9)) | ATTENTION, "attention undecided, cells differ"),
    ],
)
def test_verdicts_of_planted_truths(truths, value):
    verdict = modern.score(rows(truths)).verdict
    assert verdict.value == value and not verdict.needs


def test_cells_that_scatter_are_undecided():
    noisy = modern.score(rows(cells() | ATTENTION, seeds=4, scatter=0.4)).verdict
    assert noisy.value.endswith("cells undecided")


def test_tasks_are_judged_together_and_one_that_nobody_learned_does_not_count():
    low = dict.fromkeys(cells() | ATTENTION, (0.2, 0.2, 0.2))
    data = rows(cells() | ATTENTION) + rows(low, "copy")
    score = modern.score(data)
    assert score.verdict.value == "attention beats state, cells alike" and "copy is not learned" in score.verdict.reason
    assert modern.score(rows(low, "copy")).verdict.failed == ("learned",)
    both = modern.score(rows(cells() | ATTENTION) + rows(cells(mingru=(0.1, 0.2, 0.3)) | ATTENTION, "copy"))
    assert both.verdict.value == "attention beats state, cells differ"
    assert [len(table.rows) for table in both.tables if "Holm" in table.title] == [2 * 5, 2 * 4 * len(SIZES)]


def test_references_have_frontiers_and_no_part_in_the_verdict():
    data = rows(cells() | ATTENTION)
    more = rows({("gru", "summary"): (0.95, 0.95, 0.95)}, encoder="self_attention") + rows(
        {("gru", "summary"): ALIKE}, optimizer="adadelta"
    )
    more += rows({("gru", "summary"): (0.1, 0.1, 0.1)}, layers=1)
    score = modern.score(data + more)
    assert score.verdict == modern.score(data).verdict
    names = [line[0] for line in next(table for table in score.tables if "3,200 updates" in table.title).rows]
    assert set(names) == {*modern.CELLS, "self_attention", "gru-adadelta", "gru-l1"}


def test_numbers_of_the_tables_are_those_of_the_rows():
    data = rows(cells(lstm=(0.4, 0.5, 0.6)) | ATTENTION)
    score = modern.score(data)
    share = {}
    for row in data:
        place = (row["cell"], row["attention"], row["state_size"], row["budget"], row.get("mode"))
        if row["role"] == "reported" and row["length"] in (6, 7, 8) and place[3:] == (3200, "forced"):
            share.setdefault(place[:3], {}).setdefault(row["seed"], []).append((row["symbols"] - row["symbol_errors"], row["symbols"]))
    of = {place: [sum(k for k, _ in each) / sum(n for _, n in each) for each in seeds.values()] for place, seeds in share.items()}
    a, b = (table for table in score.tables if "Holm" in table.title)
    tests = {cell: stats.ttest_rel(of["gru", "additive", 8], of[cell, "summary", 32]) for cell in modern.CELLS}
    ranks = sorted(tests, key=lambda cell: tests[cell].pvalue)
    for line, cell in zip(a.rows, modern.CELLS, strict=True):
        difference = np.subtract(of["gru", "additive", 8], of[cell, "summary", 32])
        low, high = tests[cell].confidence_interval()
        assert line[1] == f"{difference.mean():.3f} [{low:.3f}, {high:.3f}]"
    assert float(a.rows[modern.CELLS.index(ranks[0])][2]) == pytest.approx(5 * tests[ranks[0]].pvalue, rel=0.1)
    assert [line[0] for line in b.rows][:4] == [*(f"cued_recall: lstm − gru, n = {n}" for n in SIZES), "cued_recall: mingru − gru, n = 8"]
    table = next(table for table in score.tables if "3,200 updates" in table.title)
    assert table.rows[0][:5] == ("gru", "summary", "8", "256", "6,932") and "6 to 8" in table.header[6]


def test_what_is_missing_is_said():
    data = rows(cells() | ATTENTION)

    def reason(kept):
        verdict = modern.score(list(kept)).verdict
        assert verdict.value == "inconclusive" and verdict.needs
        return verdict.reason

    assert "no rate curve" in reason(row for row in data if row["role"] == "reported")
    assert "without it" in reason(row for row in data if row["attention"] == "additive")
    assert "1 seeds of gru, summary" in reason(
        row for row in data if row["role"] != "reported" or (row["cell"], row["attention"], row["seed"]) != ("gru", "summary", 7)
    )
    assert "2 seeds of" in reason(rows(cells() | ATTENTION, seeds=2))
    assert "at an edge" in reason(rows(cells() | ATTENTION, best=GRID[-1]))


def test_findings_are_means_over_tasks_by_seed():
    data = rows(cells(lstm=(0.4, 0.5, 0.8)) | ATTENTION) + rows(cells() | ATTENTION, "copy")
    gap, grown = modern.findings(data)
    assert gap.interval.mean == pytest.approx((0.9 - 0.8 + 0.9 - 0.7) / 2, abs=0.03) and gap.interval.n == 8
    assert grown.interval.mean == pytest.approx(0.4, abs=0.02) and grown.word(grown.p) == gap.word(gap.p) == "holds"
    assert modern.findings([row for row in data if row["role"] == "reported"]) == []


def test_figures_show_every_task():
    data = rows(cells() | ATTENTION) + rows(cells() | ATTENTION, "copy")
    figure = modern.figures(data)["frontiers"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["cued_recall after 3,200 updates", "copy after 1,600 updates"]
    assert all(len([text for text in axes.texts if "," in text.get_text()]) == 6 for axes in figure.axes)


@pytest.mark.parametrize("preset", modern.PRESETS)
def test_the_state_has_the_size_that_the_run_says(preset):
    runs = [planned.config for planned in sweep.plan(modern, preset)]
    for config in runs:
        assert f"-n{model.state_size(config.model)}-" in config.run
        assert config.model.decoder_cell == "gru" and config.model.direction == "forward"
    kinds = {config.run.split("-n")[0].partition("-")[2] for config in runs}
    for kind in kinds:  # both arms, the same sizes
        arms = [{c.run.partition("-")[2] for c in runs if c.run.startswith(f"{arm}-{kind}-n")} for arm in modern.ARMS]
        assert arms[0] == arms[1]
    plain = {kind for kind in kinds if kind.partition("-")[0] in modern.CELLS and kind.count("-") == 1}
    sizes = {kind: {c.run.split("-n")[1].split("-")[0] for c in runs if f"-{kind}-n" in c.run} for kind in plain}
    for task in {kind.partition("-")[2] for kind in plain}:
        assert len({frozenset(of_kind) for kind, of_kind in sizes.items() if kind.endswith(task)}) == 1


@pytest.mark.parametrize(("pairs", "values"), [(1, 3), (2, 3), (4, 3), (5, 2)])
def test_what_values_without_keys_are_worth_by_brute_force(pairs, values):
    counts = [max(Counter(drawn).values()) for drawn in product(range(values), repeat=pairs)]
    assert recall.without_keys(pairs, values) == pytest.approx(np.mean(counts) / pairs)


@given(keys=st.integers(0, 40), values=st.integers(0, 40))
def test_values_are_right_at_least_as_often_as_the_table_says(keys, values):
    """Of 40 keys and 40 values so many are right."""
    assert recall.of_values((keys + values) / 80) <= values / 40 + 1e-12
    assert recall.of_values((40 + values) / 80) == pytest.approx(values / 40)


def test_recall_says_what_it_is_of_the_values():
    score = modern.score(rows(cells() | ATTENTION))
    (table,) = [each for each in score.tables if each.title.startswith("Recall, largest budget: half of the symbols are keys")]
    for line in table.rows:
        assert float(line[3].split()[0]) == pytest.approx(max(0, 2 * float(line[2].split()[0]) - 1), abs=0.02)
