"""The verdict on rows whose reach is planted, what is measured of an arm, and what the presets are."""

import numpy as np
import pytest

from attention_jax import config as settings
from attention_jax import model
from attention_jax.report import report
from attention_jax.running.resolved import resolve
from attention_jax.statistics import intervals
from attention_jax.sweeps import sweep
from attention_jax.system.errors import ConfigError
from experiments import extrapolation
from tests.experiments import planted

LENGTHS, N, SEEDS = (3, 4, 5, 6, 7, 8, 16, 40, 80), 512, 6
CARRIES, FAILS = dict.fromkeys(LENGTHS, 1.0), {length: 1.0 if length <= 8 else 0.3 if length == 16 else 0.0 for length in LENGTHS}
CLOSE = {length: 1.0 if length <= 40 else 0.55 for length in LENGTHS}
NOT_LEARNED = dict.fromkeys(LENGTHS, 0.2)


def rows(shares: dict, scatter: float = 0.02, seeds: int = SEEDS, best: float = 0.016, failing: dict | None = None) -> list[dict]:
    """What a sweep leaves: {arm: {length: exact match}}; of `failing` arms so many seeds do nothing beyond L."""
    random, found = np.random.default_rng(2), []
    for arm, of_length in shares.items():
        named = {"attention": "additive", "normaliser": "softmax", "forward_window": -1} | extrapolation.settings(arm)
        named["forward_window"] = 3 if arm.endswith("_window") else -1
        shared = {"task": "copy", "cell": "gru", "hidden_size": 16, "state_size": 32, "parameters": 9, "longest": 8, "seconds": 2.0}
        for budget in (800, 1600):
            run = named | shared | {"run": f"{arm}-u{budget}", "budget": budget}
            for seed in range(seeds):
                for length, share in of_length.items():
                    if length > 8 and seed < (failing or {}).get(arm, 0):
                        share = 0.0
                    exact = int(np.clip(round(N * share + N * scatter * random.standard_normal() * (0 < share < 1)), 0, N))
                    place = run | {"role": "reported", "seed": seed, "learning_rate": 0.016, "length": length, "seen": length <= 8}
                    place |= {"examples": N, "symbols": N * length, "symbol_errors": (N - exact) * length // 2}
                    found += [place | {"mode": "free", "exact": exact}, place | {"mode": "forced", "exact": N}]
            found += planted.curve(run, best)
    return found


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ({"additive": FAILS, "gmm_v2": CARRIES, "stepwise": CARRIES}, "carries to 10 L: gmm_v2, stepwise"),
        ({"additive": FAILS, "gmm_v2": CARRIES, "stepwise": CLOSE}, "carries to 10 L: gmm_v2"),
        ({"summary": NOT_LEARNED, "additive": FAILS, "gmm_v2": FAILS}, "none carries"),
        ({"additive": FAILS, "gmm_v2": CLOSE}, "inconclusive"),
        ({"summary": NOT_LEARNED, "additive": NOT_LEARNED}, "inconclusive"),
    ],
)
def test_planted_truths(shares, word):
    verdict = extrapolation.score(rows(shares, scatter=0.2)).verdict
    assert str(verdict) == word and verdict.reason
    for arm, of_length in shares.items():
        said = {id(CARRIES): "carries: ", id(FAILS): "fails: ", id(CLOSE): "undecided: ", id(NOT_LEARNED): "not learned: "}[id(of_length)]
        part = next(part for part in verdict.reason.split("; ") if part.startswith(said))
        assert arm in part


def test_seeds_of_two_kinds_leave_an_arm_undecided():
    data = rows({"additive": FAILS, "gmm_v2": CARRIES}, failing={"gmm_v2": 3})
    score = extrapolation.score(data)
    assert score.verdict.value == "inconclusive" and "undecided: gmm_v2" in score.verdict.reason
    assert [(need.arm, need.seeds) for need in score.verdict.needs] == [("gmm_v2", SEEDS)]
    line = next(line for line in score.tables[-2].rows if line[0] == "gmm_v2")
    low, high = intervals.clopper_pearson(3, 6)[1:3]
    assert line[7] == f"3 of 6 [{low:.2f}, {high:.2f}]"


def test_p_are_corrected_for_the_arms_that_have_learned():
    group = extrapolation.groups(rows({"summary": NOT_LEARNED, "additive": FAILS, "gmm_v2": CARRIES, "stepwise": CLOSE}, scatter=0.05))[0]
    found = {arm: extrapolation.reached(group, arm, 1600) for arm in group.arms}
    words, p = extrapolation.words_of(found)
    assert set(p) == {"additive", "gmm_v2", "stepwise"} and words["summary"] == "not learned"
    assert p == intervals.holm({arm: found[arm].p for arm in p})
    tested = group.tested("stepwise", 1600).at((80,))
    logits = np.log((tested.count_RxL[:, 0] + 0.5) / (N - tested.count_RxL[:, 0] + 0.5))
    assert found["stepwise"].p >= intervals.student_p(logits) - 1e-9  # the interval is united with that of pooled counts


def test_findings_are_of_arms_of_which_something_is_said():
    shares = {"summary": NOT_LEARNED, "additive": FAILS, "location_aware": NOT_LEARNED, "gmm_v2": FAILS, "dynamic_convolution": CARRIES}
    found = extrapolation.findings(rows(shares))
    assert [finding.word(finding.p) for finding in found] == ["does not hold", "undecided", "does not hold", "holds"]
    assert found[0].interval.mean < 0.01 and found[1].left_open and "10 L, gmm_v2, its densities through a softmax" in found[2].number
    assert len({finding.claim for finding in found}) == len(found)  # of two of one paper, each has its own line


def test_reach_stops_at_the_first_length_that_fails():
    shares = {"additive": FAILS, "gmm_v2": {**CARRIES, 16: 0.1}, "stepwise": {**CARRIES, 80: 0.1}, "summary": NOT_LEARNED}
    group = extrapolation.groups(rows(shares))[0]
    reach = {arm: extrapolation.reached(group, arm, 1600).reach for arm in shares}
    assert reach == {"additive": 1, "gmm_v2": 1, "stepwise": 5, "summary": 0}
    lines = {line[0]: line for line in extrapolation.reach_table(group, 1).rows}
    assert lines["stepwise"][5] == "5 L" and lines["summary"][5] == "below L" and lines["summary"][8] == "–"
    assert float(lines["additive"][6].split()[0]) == pytest.approx(14, abs=3)  # 1 at 8, 0.3 at 16


def test_wrong_symbols_are_counts_of_free_running():
    group = extrapolation.groups(rows({"additive": FAILS, "gmm_v2": CARRIES}))[0]
    found = extrapolation.wrong(group, "additive", 1600)
    assert found[8].mean == 0 and found[80].mean == 0.5 and found[80].n == SEEDS
    table = extrapolation.wrong_table(group)
    assert [line[:2] for line in table.rows] == [("1 L", "8"), ("2 L", "16"), ("5 L", "40"), ("10 L", "80")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: [row for row in data if row["role"] != "selection"], "there is no rate curve"),
        (lambda data: rows({"additive": FAILS, "gmm_v2": CARRIES}, best=0.064), "lies at an edge"),
    ],
)
def test_what_is_missing_is_named(change, said):
    verdict = extrapolation.score(change(rows({"additive": FAILS, "gmm_v2": CARRIES}))).verdict
    assert verdict.value == "inconclusive" and said in verdict.reason and verdict.failed == ("missing",) and verdict.needs


def test_arms_come_back_from_their_settings_and_can_be_built():
    for arm in extrapolation.CHOICES:
        config = extrapolation.sweep("tiny", [arm])[0]
        assert extrapolation.arm_of(config.model.attention, config.model.normaliser, config.search.forward_window) == arm
    for arm in (*extrapolation.ARMS, *extrapolation.MORE):
        run = resolve(settings.validate(extrapolation.sweep("tiny", [arm])[0]))
        assert model.parameters(run.config.model, run.sizes) > 0
    assert extrapolation.arm_of("dot", "stepwise", -1) == "dot_stepwise"


@pytest.mark.parametrize(("preset", "arms"), [("tiny", 5), ("small", 14), ("full", 14)])
def test_presets(preset, arms):
    runs = sweep.plan(extrapolation, preset)
    assert len(runs) == 2 * arms
    for each in runs:
        data = each.config.data
        assert data.eval_lengths[-1] == 10 * data.longest <= each.config.model.location_size
        assert {"normaliser", "forward_window", "longest"} <= each.fields.keys()
    with pytest.raises(ConfigError, match="--arms='softmax' is unknown"):
        sweep.plan(extrapolation, preset, arms=["softmax"])


def test_tables_and_figures():
    data = rows({"summary": NOT_LEARNED, "additive": FAILS, "additive_window": FAILS, "stepwise": CARRIES})
    for table in extrapolation.score(data).tables:
        assert all(len(row) == len(table.header) for row in table.rows) and report.text_table(table.header, table.rows)
    assert {name.split("_")[0] for name in extrapolation.figures(data)} == {"lengths", "wrong", "rates"}
