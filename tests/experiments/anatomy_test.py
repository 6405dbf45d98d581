"""The claim's verdict, tables and figures on rows whose truth is planted."""

from dataclasses import replace

import numpy as np
import pytest

from attention_jax.config import validate
from attention_jax.report import findings
from attention_jax.statistics import positions
from attention_jax.statistics.intervals import Interval
from attention_jax.sweeps import sweep
from experiments import anatomy
from tests.experiments import planted

LENGTHS, LONGEST = (3, 4, 5, 6, 7, 8, 9, 10, 12), 12
GRID = anatomy.TINY.training.learning_rates
EXAMPLES = 512
SHARED = {"task": "copy", "cell": "gru", "hidden_size": 16, "vector_size": 8, "state_size": 8, "parameters": 6_932, "seconds": 9.0}
LATE, EARLY, MIDDLE, EVEN = (0.1, 0.2, 0.5), (0.5, 0.2, 0.1), (0.1, 0.5, 0.1), (0.3, 0.3, 0.3)


def rows(
    wrong=LATE,
    probe: float = 0.8,
    control: float = 0.15,
    l50: dict | None = None,
    seeds: int = 8,
    scatter: float = 0.2,
    direction: str = "forward",
    best: float = GRID[2],
) -> list[dict]:
    """What a sweep leaves: shares of wrong symbols by third of `summary`, right ones of a probe, {arm: L50}; seeds scatter in log-odds."""
    random, found = np.random.default_rng(7), []
    for arm, middle in ({"summary": 7.2, "additive": 60.0} if l50 is None else l50).items():
        for budget in (800, 3200):
            own = SHARED | {
                "run": f"{arm}-{direction}-u{budget}",
                "attention": arm,
                "direction": direction,
                "budget": budget,
                "alphabet": 16,
            }
            found += planted.curve(own, best, GRID, random)
            for seed in range(seeds):
                level = scatter * random.standard_normal()
                shares = [1 / (1 + np.exp(-np.log(p / (1 - p)) - level)) for p in (wrong if arm == "summary" else (0.01, 0.01, 0.01))]
                for length in LENGTHS:
                    found += [
                        own | {"seed": seed, "learning_rate": best, "length": length} | row
                        for row in of_seed(middle, length, shares, (probe, control), random)
                    ]
    return found


def of_seed(l50: float, length: int, wrong, read, random: np.random.Generator) -> list[dict]:
    """Rows of one seed at one length: exact match falls to ½ at l50."""
    exact = int(random.binomial(EXAMPLES, 1 / (1 + np.exp(-8 * (np.log(l50) - np.log(length))))))
    place = {"role": "reported", "seen": True, "examples": EXAMPLES, "symbols": EXAMPLES * length, "symbol_errors": 9}
    found = [place | {"mode": mode, "exact": exact} for mode in ("free", "forced")]
    share_T = np.zeros(length)
    for share, places in zip(wrong, positions.thirds(length).values(), strict=True):
        share_T[places] = share
    forced_T = random.binomial(EXAMPLES, share_T)
    counts = {"forced": forced_T, "free": forced_T, "moved": forced_T // 2, "absent": forced_T // 4, "absent_by_chance": 0.6 * forced_T}
    counts |= {"probe": random.binomial(EXAMPLES, read[0], length), "control": random.binomial(EXAMPLES, read[1], length)}
    measured = {"role": "measured", "examples": EXAMPLES, "strings": 2048}
    return found + [measured | {"position": t + 1} | {name: values[t].item() for name, values in counts.items()} for t in range(length)]


@pytest.mark.parametrize(
    ("wrong", "probe", "word"),
    [
        (LATE, 0.8, f"the last symbols go first, {anatomy.MORE}"),
        (EARLY, 0.3, f"the first symbols go first, {anatomy.NO_MORE}"),
        (MIDDLE, 0.8, f"the middle symbols go first, {anatomy.MORE}"),
        ((0.1, 0.5, 0.5), 0.6, f"all but the first symbols go first, {anatomy.MORE}"),
        (EVEN, 0.6, f"no order, {anatomy.NO_MORE}"),
        (EVEN, 0.8, f"no order, {anatomy.MORE}"),
        (EVEN, 0.72, f"no order, {anatomy.UNDECIDED}"),
    ],
)
def test_planted_truths(wrong, probe, word):
    """Half of right symbols are 0.9 … 0.5; in the last case a probe is about as good as the decoder, whose seeds scatter."""
    scatter = 0.6 if word.endswith(anatomy.UNDECIDED) else 0.1
    verdict = anatomy.score(rows(wrong, probe, scatter=scatter)).verdict
    assert verdict.value == word and "at length 7 the shares of wrong symbols are first" in verdict.reason and not verdict.failed


def test_a_probe_that_only_memorises_says_nothing_of_the_vector():
    verdict = anatomy.score(rows(LATE, 0.8, control=0.8)).verdict
    assert verdict.value == f"the last symbols go first, {anatomy.UNDECIDED}"


@pytest.mark.parametrize(
    ("data", "failed", "said"),
    [
        (rows(seeds=4), "missing", "summary at 3,200 updates has 4 seeds, needed are 8"),
        ([row for row in rows() if row["role"] != "selection"], "missing", "there is no rate curve"),
        (rows(best=GRID[0]), "missing", "edge"),
        ([row for row in rows() if row["role"] != "measured"], "bounds", "or nothing was measured there"),
        ([row for row in rows() if (row["role"], row["seed"]) != ("measured", 5)], "missing", "summary is not measured for every seed"),
        (rows(l50={"summary": 60.0, "additive": 60.0}), "bounds", "L* of summary at 3,200 updates is >= 12.0"),
        (rows(l50={"summary": 7.2, "additive": 6.0}), "learned", "errors may be the task's"),
        (rows(l50={"additive": 60.0}), "missing", "do not have both"),
        (rows(l50={"summary": 7.2}), "missing", "do not have both"),
        (rows((0.3, 0.36, 0.42), scatter=0.1), "order", "not told apart"),
    ],
)
def test_what_is_missing_is_named(data, failed, said):
    if failed == "order":  # ends that differ, each seed by itself
        random = np.random.default_rng(1)
        ends = random.integers(50, 350, (8, 2)).tolist()
        for row in data:
            if row["role"] == "measured" and row["position"] not in range(3, row["length"] - 1):
                row["forced"] = ends[row["seed"]][row["position"] > 2]
    verdict = anatomy.score(data).verdict
    assert verdict.value == "inconclusive" and verdict.failed == (failed,) and said in verdict.reason
    assert bool(verdict.needs) == (failed == "missing" and "measured" not in said and "both" not in said)


def test_groups_are_judged_apart():
    score = anatomy.score(rows() + rows(EARLY, direction="both"))
    assert [line[:2] for line in score.tables[-1].rows] == [
        ("gru h16 d8 forward", f"the last symbols go first, {anatomy.MORE}"),
        ("gru h16 d8 both", f"the first symbols go first, {anatomy.MORE}"),
    ]
    assert score.verdict.value.startswith("the last")


def test_numbers_of_the_tables_are_those_of_the_rows():
    data = rows()
    tables = {table.title.partition(",")[0]: table for table in anatomy.score(data).tables}
    assert len(tables["Shares by position"].rows) == 7  # the length nearest to L*
    wrong = tables["Wrong symbols"].rows
    assert [line[1:4] for line in wrong] == [(arm, "3,200", length) for length in ("7", "12") for arm in anatomy.ARMS]
    own = [row for row in data if (row["role"], row["attention"], row["budget"], row.get("length")) == ("measured", "summary", 3200, 7)]
    last, probe, control = (
        np.mean([row[field] for row in own if row["position"] > 5]) / EXAMPLES for field in ("forced", "probe", "control")
    )
    assert wrong[0][6].startswith(f"{last:.2f} [")
    line = tables["Right symbols that a linear probe reads from the vector of held-out strings"].rows[2]
    assert line[4] == "last" and [cell.split(" ")[0] for cell in line[5:9]] == [
        f"{each:.2f}" for each in (probe, control, probe - control, probe - (1 - last))
    ]


@pytest.mark.parametrize(
    ("beyond", "word"),
    [((0.01, 0.003, 0.02), anatomy.NO_MORE), ((0.06, 0.055, 0.065), anatomy.MORE), ((0.04, 0.02, 0.06), anatomy.UNDECIDED)],
)
def test_what_a_line_reads_more_is_at_least_a_twentieth(beyond, word):
    half = Interval(0.5, 0.45, 0.55, 8)
    assert anatomy.knows({"first": anatomy.Probed(half, half, half, Interval(*beyond, 8), 0.001)}) == word


@pytest.mark.parametrize(("wrong", "word"), [(EARLY, "holds"), (LATE, "does not hold"), (EVEN, "undecided")])
def test_whether_the_first_part_is_forgotten(wrong, word):
    near, longest = findings.together(anatomy.findings(rows(wrong)))
    assert "first − last third of 7 symbols" in near[0].number and "the longest trained" in longest[0].number
    for _, p, found in (near, longest):
        assert found == word and (p <= 0.05) == (word != "undecided")
    assert anatomy.findings([row for row in rows() if row["role"] != "measured"]) == []


@pytest.mark.long
def test_the_picture_has_errors_of_both_arms_and_a_probe_beside_its_control():
    drawn = anatomy.figures(rows() + rows(direction="both"))
    assert list(drawn) == [f"{kind}_gru_h16_d8_{each}" for each in ("forward", "both") for kind in ("positions", "lengths", "rates")]
    left, right = drawn["positions_gru_h16_d8_forward"].axes
    assert [len(line.get_xdata()) for line in left.lines] == [7, 7] and len(right.lines) == 1 + 5
    decoder, error = right.lines[-1].get_ydata(), left.lines[0].get_ydata()
    np.testing.assert_allclose(np.add(decoder, error), 1)


@pytest.mark.parametrize(("preset", "runs"), [("tiny", 8), ("small", 12), ("full", 12)])
def test_presets_are_valid_and_measured(preset, runs):
    planned = sweep.plan(anatomy, preset)
    assert len(planned) == runs and all(run.measure is anatomy.measure and run.fields["alphabet"] == 16 for run in planned)
    assert [anatomy.name(validate(config)) for config in anatomy.sweep(preset)] == [run.config.run for run in planned]
    by_arm = {}
    for config in anatomy.sweep(preset):
        assert config.model.start == "bridge" and config.training.seeds >= anatomy.SEEDS
        by_arm.setdefault(config.model.attention, []).append(replace(config, model=replace(config.model, attention="")))
    assert by_arm["summary"] == by_arm["additive"]
