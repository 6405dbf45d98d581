"""Two folders: what is compared, what is named, what is said, and how often that is wrong under planted truths."""

import itertools
import json

import numpy as np
import pytest
from scipy import special, stats

from attention_jax.report import figures
from attention_jax.statistics import intervals
from attention_jax.statistics.verdicts import Verdict
from attention_jax.sweeps import agreement
from attention_jax.sweeps.agreement import Place, Side
from attention_jax.system.errors import ConfigError, DataError

EXAMPLES = 512
LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20)
BUDGETS = (400, 800, 1600)
ARMS = ("summary", "additive")
SEEDS = 8
YES, NO = Verdict("bottleneck", "a to d hold", "still closing", 4.0), Verdict("no bottleneck", "the gap is small")
STORED = {
    "format": 2,
    "config": {"experiment": "bottleneck", "training": {"precision": "highest", "seeds": 8}, "data": {"task": "copy"}},
    "environment": {"jax": "0.10.2", "device_kind": "cpu", "device_count": 2},
}


def row(arm, budget, length, seed, exact, **fields) -> dict:
    """A reported row of `exact` right outputs."""
    of_run = {
        "attention": arm,
        "task": "copy",
        "cell": "gru",
        "hidden_size": 64,
        "vector_size": 0,
        "learning_rate": 0.008,
        "budget": budget,
    }
    found = {"role": "reported", "mode": "free", "seen": length <= 16, "length": length, "seed": seed, "exact": exact, "examples": EXAMPLES}
    return of_run | found | fields


def rows(counts_ABLR, **fields) -> list[dict]:
    """Rows from counts by arm, budget, length and seed."""
    places = itertools.product(ARMS, BUDGETS, LENGTHS)
    of_places = np.asarray(counts_ABLR).reshape(-1, np.shape(counts_ABLR)[-1]).tolist()
    return [row(*place, seed, k, **fields) for place, of_place in zip(places, of_places, strict=True) for seed, k in enumerate(of_place)]


def drawn(random: np.random.Generator, p_ABL: np.ndarray, scatter: float) -> np.ndarray:
    """Counts of seeds that scatter around typical ones, half of it theirs at all lengths of a run, half at one."""
    own, here = random.standard_normal((*p_ABL.shape[:2], 1, SEEDS)), random.standard_normal((*p_ABL.shape, SEEDS))
    return random.binomial(EXAMPLES, special.expit(special.logit(p_ABL)[..., None] + scatter * (own + here) / np.sqrt(2)))


def truth(middle: float = 0.5) -> np.ndarray:
    """One arm falls from 0.999 to 0.001 over the lengths, the other from 0.999 to 0.95; `middle` at length 6 of the first."""
    falls, stays = special.expit(np.linspace(7, -7, len(LENGTHS))), special.expit(np.linspace(7, 3, len(LENGTHS)))
    p_ABL = np.stack([np.tile(falls, (len(BUDGETS), 1)), np.tile(stays, (len(BUDGETS), 1))])
    p_ABL[0, 1, 5] = middle
    return p_ABL


def side(of_rows, name="A", verdict=YES, stored=STORED) -> Side:
    """One run called "run"."""
    return Side(name, of_rows, {"run": stored}, verdict)


def compared(a, b, **options) -> agreement.Agreement:
    """Two folders of the same making."""
    return agreement.between(side(a, "first"), side(b, "second"), **options)


def changed(**changes) -> dict:
    """STORED with other values, by dotted path with double underscores."""
    stored = json.loads(json.dumps(STORED))
    for path, value in changes.items():
        *folders, leaf = path.split("__")
        at = stored
        for folder in folders:
            at = at[folder]
        at[leaf] = value
    return stored


PLAIN = rows(drawn(np.random.default_rng(0), truth(), 0.3))
AGAIN = rows(drawn(np.random.default_rng(2), truth(), 0.3))


def test_arms_of_one_score_are_told_apart_by_normaliser_and_estimator():
    named = [{"normaliser": "softmax", "estimator": "marginal"}, {"normaliser": "sparsemax", "estimator": "soft"}]
    found = compared(*[[row | settings for settings in named for row in of_side] for of_side in (PLAIN, AGAIN)])
    places = {each.place.group for each in found.differences}
    assert places == {"copy gru h64 d0 softmax marginal", "copy gru h64 d0 sparsemax soft"}


@pytest.mark.long
@pytest.mark.once
def test_the_same_truth_exceeds_anywhere_in_at_most_five_percent():
    """400 pairs of folders, exact match from 0.001 to 0.999, 2 arms x 3 budgets x 12 lengths, both scatters; 1 % in 4,000 of each."""
    random = np.random.default_rng(0)
    found = []
    for scatter in (0.3, 0.8) * 200:
        a, b = (rows(drawn(random, truth(), scatter)) for _ in "ab")
        found.append(compared(a, b).outcome)
    assert set(found) <= {"same", "differs"}
    assert found.count("differs") / len(found) <= 0.05


@pytest.mark.once
@pytest.mark.parametrize(("scatter", "p"), [(0.3, (0.65, 0.35)), (0.3, (0.31, 0.01)), (0.8, (0.99, 0.69)), (0.8, (0.01, 0.31))])
def test_a_planted_difference_of_three_tenths_is_found_where_it_is(scatter, p):
    random, place, draws = np.random.default_rng(3), Place("copy gru h64 d0", "summary", 800, 6), 40
    hits = 0
    for _ in range(draws):
        a, b = (rows(drawn(random, truth(middle), scatter)) for middle in p)
        found = compared(a, b)
        exceeding = [each for each in found.differences if each.exceeds]
        hits += place in [each.place for each in exceeding] and found.outcome == "differs"
        assert all(np.sign(each.difference.mean) == np.sign(p[0] - p[1]) for each in exceeding if each.place == place)
    assert hits / draws >= 0.95


def test_intervals_are_bonferronis_of_the_typical_seed():
    found = compared(PLAIN, AGAIN)
    assert len(found.differences) == 72
    by_place = {each.place: each for each in found.differences}
    for place in (Place("copy gru h64 d0", "summary", 800, 6), Place("copy gru h64 d0", "additive", 1600, 20)):
        k_a, k_b = (
            [r["exact"] for r in of if (r["attention"], r["budget"], r["length"]) == (place.arm, place.budget, place.length)]
            for of in (PLAIN, AGAIN)
        )
        a, b = (intervals.typical(k, [EXAMPLES] * SEEDS) for k in (k_a, k_b))
        each = by_place[place]
        assert (each.a, each.b) == (a.interval(), b.interval()) and each.seen == (place.length <= 16)
        assert each.difference == intervals.typical_difference(a, b, 1 - 0.05 / 72)
        assert (each.seeds, each.same) == (SEEDS, sum(x == y for x, y in zip(k_a, k_b, strict=True)))


def test_a_folder_agrees_with_itself_to_the_last_digit():
    found = compared(PLAIN, PLAIN)
    assert found.outcome == "same" and not found.settings and not found.only
    assert all(each.same == each.seeds == SEEDS and each.difference.mean == 0 for each in found.differences)
    text = agreement.text(found)
    assert text.endswith(
        "settings, versions and devices: the same\n"
        "measurements of the same seed that are the same to the last digit: 576 of 576\n"
        "same verdict: bottleneck up to 4 ×, still closing\n"
        "lengths whose difference exceeds its simultaneous 95 % interval: none"
    )


def test_exchanging_the_sides_turns_the_signs():
    there, back = compared(PLAIN, AGAIN), compared(AGAIN, PLAIN)
    for one, other in zip(there.differences, back.differences, strict=True):
        assert (one.place, one.a, one.b) == (other.place, other.b, other.a)
        turned = (-other.difference.mean, -other.difference.high, -other.difference.low)
        np.testing.assert_allclose(one.difference[:3], turned, rtol=1e-12)


def test_every_other_row_and_their_order_do_not_count():
    others = [
        *(r | {"role": "selection", "seed": 1000} for r in PLAIN[:50]),
        *(r | {"mode": "forced", "exact": None} for r in PLAIN[:50]),
        {"role": "reported", "attention": "summary", "validation_loss": 1.0},
    ]
    assert compared([*others, *PLAIN[::-1]], AGAIN) == compared(PLAIN, AGAIN)
    without = [{name: value for name, value in r.items() if name != "role"} for r in PLAIN]
    assert compared(without, AGAIN) == compared(PLAIN, AGAIN)


def test_rows_of_earlier_versions_count_what_their_share_says():
    old = [{name: x for name, x in r.items() if name not in ("exact", "vector_size", "role")} for r in PLAIN]
    old = [r | {"exact_match": float(np.float32(of["exact"] / EXAMPLES))} for r, of in zip(old, PLAIN, strict=True)]
    assert compared(old, AGAIN) == compared(PLAIN, AGAIN)


def test_what_one_side_lacks_is_named():
    less = [r for r in PLAIN if not (r["attention"] == "additive" and r["budget"] == 1600) and r["length"] != 20]
    more = AGAIN + [row("dot", 400, 3, seed, 500) for seed in range(8)]
    found = compared(less, more)
    assert found.outcome == "undecided" and len(found.differences) == 55
    group = "copy gru h64 d0"
    assert found.only == (
        f"only B has {group}: additive at 400 updates, length 20",
        f"only B has {group}: additive at 800 updates, length 20",
        f"only B has {group}: additive at 1600 updates, lengths 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20",
        f"only B has {group}: dot at 400 updates, length 3",
        f"only B has {group}: summary at 400 updates, length 20",
        f"only B has {group}: summary at 800 updates, length 20",
        f"only B has {group}: summary at 1600 updates, length 20",
    )
    assert all(line in agreement.text(found) for line in found.only)
    assert compared(more, less).only[0].startswith("only A has ")


def test_settings_of_a_row_make_groups_and_precision_does_not():
    other = [r | {"hidden_size": 128, "precision": "tf32"} for r in PLAIN] + [r | {"precision": "tf32"} for r in AGAIN]
    found = compared([r | {"precision": "highest"} for r in PLAIN], other)
    assert len(found.differences) == 72 and {line.split(":")[0] for line in found.only} == {"only B has copy gru h128 d0"}
    assert len(compared(other, other).differences) == 144


def test_a_single_seed_decides_only_where_it_is_the_same():
    one, other = ([r for r in of if r["seed"] == 0] for of in (PLAIN, AGAIN))
    assert compared(one, one).outcome == "same"
    found = compared(one, other)
    assert found.outcome == "undecided" and not any(each.exceeds for each in found.differences)
    assert "no interval, for want of a second seed: copy gru h64 d0: " in agreement.text(found)
    assert {cells[-1] for cells in agreement.table(found).rows} == {"one seed", "no"}


def test_verdicts_are_the_same_by_their_value():
    a = side(PLAIN)
    same = agreement.between(a, side(AGAIN, verdict=YES._replace(detail="levelling off")))
    assert same.outcome == "same"
    assert "same verdict: bottleneck up to 4 ×, still closing / bottleneck up to 4 ×, levelling off" in agreement.text(same)
    other = agreement.between(a, side(AGAIN, verdict=NO))
    assert other.outcome == "differs"
    says = "verdicts differ: bottleneck up to 4 ×, still closing / no bottleneck\n  A: a to d hold\n  B: the gap is small\n"
    assert says in agreement.text(other)


def test_exit_statuses_are_distinct_and_none_of_those_in_use():
    assert agreement.EXIT["same"] == 0 and sorted(agreement.EXIT) == ["differs", "same", "undecided"]
    assert len({*agreement.EXIT.values(), 1, 2, 70, 75}) == 7


def test_lengths_that_exceed_are_listed_by_arm_and_budget():
    moved = [
        r | {"exact": EXAMPLES - r["exact"]} if (r["attention"], r["budget"], r["length"] < 4) == ("summary", 800, True) else r
        for r in AGAIN
    ]
    found = compared(PLAIN, moved)
    assert agreement.text(found).endswith("95 % interval: copy gru h64 d0: summary at 800 updates, lengths 1, 2, 3")
    shown = agreement.table(found)
    assert [cells[1:4] for cells in shown.rows if cells[-1] == "yes"] == [("summary", "800", str(length)) for length in (1, 2, 3)]
    assert all(len(cells) == len(shown.header) for cells in shown.rows)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"environment__jax": "0.11.2"}, 'jax: "0.10.2" in A, "0.11.2" in B'),
        ({"environment__device_count": 1}, "device_count: 2 in A, 1 in B"),
        ({"format": 1}, "format: 2 in A, 1 in B"),
        ({"command": "make bottleneck"}, 'command: absent in A, "make bottleneck" in B'),
        ({"config__training__precision": "tf32"}, 'training.precision: "highest" in A, "tf32" in B'),
        ({"config__data__held_out": 8}, "data.held_out: 0 in A, 8 in B"),
        ({"config__training__first_seed": 100}, "training.first_seed: absent in A, 100 in B"),
    ],
)
def test_what_differs_is_a_line_each(changes, line):
    assert agreement.differing({"run": STORED}, {"run": changed(**changes)}) == [line]
    found = agreement.between(side(PLAIN), side(PLAIN, stored=changed(**changes)))
    assert found.settings == (line,) and line in agreement.text(found) and found.outcome == "same"


def test_a_setting_that_did_not_exist_is_as_it_was():
    assert agreement.differing({"run": STORED}, {"run": changed(config__data__held_out=0, config__model={"vector_size": 0})}) == []


def test_runs_are_matched_by_name():
    a = {"x": STORED, "y": changed(config__training__seeds=4), "z": STORED}
    b = {"x": changed(config__training__seeds=4, environment__jax="0.11.2"), "y": STORED, "w": STORED}
    assert agreement.differing(a, b) == [
        'jax: "0.10.2" in A, "0.10.2", "0.11.2" in B',
        "training.seeds: 8 in A, 4 in B (x)",
        "training.seeds: 4 in A, 8 in B (y)",
        "runs that only A has: z",
        "runs that only B has: w",
    ]
    assert agreement.differing(a, {}) == [
        "format: 2 in A, nothing in B",
        'jax: "0.10.2" in A, nothing in B',
        'device_kind: "cpu" in A, nothing in B',
        "device_count: 2 in A, nothing in B",
        "runs that only A has: x, y, z",
    ]


def test_a_rate_that_was_chosen_otherwise_is_named():
    other = [r | {"learning_rate": 0.016} if r["attention"] == "additive" and r["budget"] == 800 else r for r in AGAIN]
    assert compared(PLAIN, other).settings == ("learning_rate: 0.008 in A, 0.016 in B (copy gru h64 d0, additive at 800 updates)",)
    assert compared(PLAIN, [r | {"learning_rate": 0.016} for r in AGAIN]).settings == ("learning_rate: 0.008 in A, 0.016 in B",)


def test_losses_are_compared_by_welchs_interval_of_their_means():
    random = np.random.default_rng(5)
    a, b = (
        [r | {"mode": "forced", "loss": float(x)} for r, x in zip(of, random.normal(2, 0.1, len(of)), strict=True)] for of in (PLAIN, AGAIN)
    )
    found = compared(a, b, value="loss")
    assert len(found.differences) == 72
    each = found.differences[7]
    l_a, l_b = ([r["loss"] for r in of if (r["attention"], r["budget"], r["length"]) == each.place[1:]] for of in (a, b))
    low, high = stats.ttest_ind(l_a, l_b, equal_var=False).confidence_interval(1 - 0.05 / 72)
    np.testing.assert_allclose(each.difference[:3], (np.mean(l_a) - np.mean(l_b), low, high), rtol=1e-9)
    assert found.outcome == "same"
    assert compared(a, [r | {"loss": r["loss"] + 1} for r in b], value="loss").outcome == "differs"
    assert agreement.figures(found)


def test_pictures_have_both_sides_and_are_the_same_every_time():
    found = compared(PLAIN, AGAIN)
    once, again = (agreement.figures(found) for _ in range(2))
    assert list(once) == [f"agreement_copy_gru_h64_d0_{budget}" for budget in BUDGETS]
    assert [figures.svg_text(x) for x in once.values()] == [figures.svg_text(x) for x in again.values()]
    axes = once["agreement_copy_gru_h64_d0_800"].axes[0]
    lines = {
        (line.get_color(), line.get_linestyle()): line.get_ydata() for line in axes.get_lines() if len(line.get_xdata()) == len(LENGTHS)
    }
    assert {style for _, style in lines} == {"-", "--"} and len({colour for colour, _ in lines}) == 2 and len(lines) == 4
    for arm, colour in (("summary", "#d55e00"), ("additive", "#0072b2")):
        here = [each for each in found.differences if each.place[1:3] == (arm, 800)]
        np.testing.assert_array_equal(lines[colour, "-"], [each.a.mean for each in here])
        np.testing.assert_array_equal(lines[colour, "--"], [each.b.mean for each in here])
    words = [text.get_text() for text in once["agreement_copy_gru_h64_d0_800"].legends[0].get_texts()]
    assert "A: first" in words and "B: second" in words
    assert axes.get_title("left") == "copy gru h64 d0: nowhere apart"


def test_long_names_keep_their_ends_in_pictures():
    found = agreement.between(side(PLAIN, "/a/" + "b" * 100 + "/mine"), side(AGAIN, "/a/" + "c" * 100 + "/yours"))
    words = [text.get_text() for text in next(iter(agreement.figures(found).values())).legends[0].get_texts()]
    assert [word[-5:] for word in words if word[:3] in ("A: ", "B: ")] == ["/mine", "yours"] and max(map(len, words)) <= 35


@pytest.mark.parametrize(
    ("b", "says"),
    [
        (
            side([r | {"task": "reverse"} for r in AGAIN], "B"),
            "nothing to compare: no exact_match of the same settings, arm, budget and length; A",
        ),
        (side([], "B"), "B has no rows of it"),
        (side(AGAIN, "B", stored=changed(config__experiment="echoes")), "nothing to compare: A is of bottleneck, B of echoes"),
        (
            side([*AGAIN, AGAIN[0] | {"precision": "tf32"}], "B"),
            "B: two rows of copy gru h64 d0, 'summary' at 400 updates, length 1, seed 0",
        ),
        (side([AGAIN[0] | {"exact": EXAMPLES + 1}], "B"), "B: exact_match is not measured in the row of copy gru h64 d0, 'summary' at 400"),
        (side([AGAIN[0] | {"exact": None}], "B"), "B: exact_match is not measured"),
        (side([AGAIN[0] | {"budget": "all"}], "B"), "B: in a row budget is 'all'; needed are attention, budget"),
        (side([AGAIN[0] | {"learning_rate": None}], "B"), "B: in a row learning_rate is None"),
    ],
    ids=["other task", "empty", "other claim", "mixed", "too many", "not counted", "no budget", "no rate"],
)
def test_folders_that_cannot_be_compared_are_one_clear_line(b, says):
    with pytest.raises(DataError) as error:
        agreement.between(side(PLAIN), b)
    assert str(error.value).startswith(says.split("; A")[0]) or says in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_value_is_refused():
    with pytest.raises(ConfigError, match="value='bleu' cannot be compared; valid: exact_match, loss"):
        compared(PLAIN, AGAIN, value="bleu")
