"""The verdict on rows whose truth is planted, what is measured of a small run, and what the presets are."""

import math

import numpy as np
import pytest

from attention_jax import config as settings
from attention_jax import model
from attention_jax.data.signals import fsdd
from attention_jax.report import report
from attention_jax.running import results
from attention_jax.running.resolved import resolve
from attention_jax.sweeps import sweep
from experiments import spoken_digits
from tests.data.signals.conftest import small_fsdd  # noqa: F401  # a fixture
from tests.experiments import planted
from tests.experiments.command import call

LENGTHS, N, SEEDS = (1, 2, 3, 4, 8, 20, 40), 64, 6
CARRIES, COLLAPSES = dict.fromkeys(LENGTHS, 0.05), {length: 0.05 if length <= 4 else 0.9 for length in LENGTHS}
LOSES, CLOSE, NOTHING = COLLAPSES | {40: 0.3}, COLLAPSES | {40: 0.07}, dict.fromkeys(LENGTHS, 0.8)


def rows(rates: dict[str, dict[int, float]], best: float = 0.008, seeds: int = SEEDS, scatter: float = 0.003) -> list[dict]:
    """What a sweep leaves: {arm: WER by length at every budget}, which scatters by seed; the held-out speaker has 0.1 more."""
    random, found = np.random.default_rng(1), []
    for arm, of_length in rates.items():
        named = {"attention": "additive", "normaliser": "softmax", "forward_window": -1, "dark": arm == "dark"} | spoken_digits.settings(
            arm
        )
        named["forward_window"] = 8 if arm.endswith("_window") else -1
        shared = {
            "task": "spoken_digits",
            "cell": "gru",
            "hidden_size": 32,
            "state_size": 32,
            "parameters": 9,
            "longest": 4,
            "seconds": 2.0,
        }
        for budget in (100, 200):
            run = named | shared | {"run": f"{arm}-u{budget}", "budget": budget}
            for seed in range(seeds):
                for length, rate in of_length.items():
                    for role, test, more in (("reported", "known speakers", 0.0), ("further", fsdd.HELD_OUT, 0.1)):
                        wrong = rate + more + scatter * random.standard_normal()
                        place = run | {"role": role, "test": test, "seed": seed, "length": length, "seen": length <= 4, "examples": N}
                        place |= {"learning_rate": best, "symbols": N * length, "symbol_errors": round(N * length * rate)}
                        exact = round(N * (1 - rate) ** length)
                        counts = {"error_rate": wrong, "edits": round(N * length * wrong), "reference_symbols": N * length}
                        found += [place | {"mode": "free", "exact": exact} | counts, place | {"mode": "forced", "exact": exact}]
            found += planted.curve(run, best, rates=(0.002, 0.004, 0.008, 0.016, 0.032)) if arm != "dark" else []
    return found


@pytest.mark.parametrize(
    ("place", "content", "word"),
    [
        (CARRIES, COLLAPSES, "holds"),
        (CARRIES, CARRIES, "holds in part"),
        (LOSES, COLLAPSES, "holds in part"),
        (LOSES, LOSES, "does not hold"),
        (COLLAPSES, CARRIES, "does not hold"),
        (CLOSE, COLLAPSES, "inconclusive"),
        (CARRIES, NOTHING, "inconclusive"),
    ],
)
def test_planted_truths(place, content, word):
    verdict = spoken_digits.score(rows({"summary": NOTHING, "location_aware": place, "additive": content})).verdict
    assert str(verdict) == word and "summary not learned: 0.80" in verdict.reason
    of_word = {id(CARRIES): "carries", id(COLLAPSES): "collapses", id(LOSES): "loses", id(CLOSE): "undecided", id(NOTHING): "not learned"}
    assert f"location_aware {of_word[id(place)]}: " in verdict.reason and f"additive {of_word[id(content)]}: " in verdict.reason
    assert word != "inconclusive" or verdict.needs


def test_a_difference_is_paired_by_seed_and_tested_against_two_points():
    group, _, apart, _ = spoken_digits.parts(rows({"location_aware": CARRIES, "additive": LOSES}))[0]
    each = spoken_digits.reached(group, "additive", apart)
    found = spoken_digits.wer(group.rows, "additive", 200)
    lost = np.array([found[40][seed] - found[4][seed] for seed in range(SEEDS)])
    t = (lost.mean() - 0.02) / (lost.std(ddof=1) / math.sqrt(SEEDS))
    assert each.lost.mean == pytest.approx(lost.mean()) and t > 4 and each.p < 0.01
    (speaker,) = each.apart
    assert speaker is not None and speaker.mean == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize(("place", "word"), [(CARRIES, "yes"), (NOTHING, "no"), (None, "not measured")])
def test_the_target_is_judged(place, word):
    arms = {"summary": NOTHING, "additive": COLLAPSES} | ({"location_aware": place} if place else {})
    (found,) = [table for table in spoken_digits.score(rows(arms)).tables if table.title.startswith("Targets")]
    ((what, bar, _, reached),) = found.rows
    assert (what, bar, reached) == ("location_aware, WER at L = 4", "at most 0.1", word)


def own(data: list[dict], tests: tuple[str, ...], lengths=LENGTHS) -> list[dict]:
    """The rows as those of one's own recordings, with these test sets, of these lengths."""
    found = []
    for row in data:
        if row.get("length") in (*lengths, None) and row["role"] != "further":
            named = {"test": tests[0]} if len(tests) > 1 and row["role"] == "reported" else {}
            bare = {name: value for name, value in row.items() if name != "test"} | {"task": "own_speech"}
            found.append(bare | named)
            found += [bare | {"role": "further", "test": test} for test in tests[1:] if row["role"] == "reported"]
    baseline = {"role": "measured", "baseline": "unigram", "seed": 0, "error_rate": 0.625}
    of_run = next(row for row in found if row["role"] == "reported")
    return found + [of_run | baseline | {"test": test, "length": length} for test in tests for length in lengths]


@pytest.mark.parametrize("tests", [("test",), ("test", "test_loud", "test_quiet")])
def test_every_further_test_set_of_recordings_of_one_s_own_stands_apart(tests):
    data = own(rows({"location_aware": CARRIES, "additive": COLLAPSES}), tests)
    score = spoken_digits.score(data)
    assert str(score.verdict) == "holds"
    titles = [table.title for table in score.tables if table.title.startswith("Word error rate, ")]
    assert [title.split(", ")[1] for title in titles] == [*(tests if len(tests) > 1 else ("the test set",))]
    assert not any(word in table.title or word in table.header for table in score.tables for word in ("speaker", "digits", "Targets"))
    for table in score.tables:
        assert all(len(row) == len(table.header) for row in table.rows)
        assert table.header[-1] != "unigram" or {row[-1] for row in table.rows} == {"0.62"}
    assert len([name for name in spoken_digits.figures(data) if name.startswith("wer_")]) == len(tests)


@pytest.mark.parametrize(("lengths", "longest"), [((1, 2, 3, 4), 4), ((2, 4, 8, 20), 20)])
def test_without_lengths_ten_times_those_of_training_there_is_no_verdict(lengths, longest):
    """Nothing is lost where nothing longer is tested: that is no finding, of no arm."""
    score = spoken_digits.score(own(rows({"summary": CARRIES, "location_aware": CARRIES, "additive": CARRIES}), ("test",), lengths))
    said = f"nothing is tested that is 10 times as long as L = 4, the longest is {longest}; WER at L: summary: 0.05"
    assert score.verdict.value == "inconclusive" and score.verdict.reason.startswith(said) and "carries" not in score.verdict.reason
    assert any("What is lost" in table.title for table in score.tables) == (longest > 4)


def test_an_arm_that_is_missing_is_named():
    verdict = spoken_digits.score(rows({"summary": NOTHING, "location_aware": CARRIES})).verdict
    assert verdict.value == "inconclusive" and verdict.reason.startswith("additive is no arm of these runs")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: [row for row in data if row["role"] != "selection"], "there is no rate curve"),
        (lambda data: rows({"location_aware": CARRIES, "additive": COLLAPSES}, best=0.032), "lies at an edge"),
    ],
)
def test_what_is_missing_is_named(change, said):
    verdict = spoken_digits.score(change(rows({"location_aware": CARRIES, "additive": COLLAPSES}))).verdict
    assert verdict.value == "inconclusive" and said in verdict.reason and verdict.failed == ("missing",) and verdict.needs


@pytest.mark.long
def test_tables_figures_and_findings():
    arms = {"summary": NOTHING, "location_aware": CARRIES, "additive": COLLAPSES, "additive_window": LOSES, "dark": NOTHING}
    data = rows(arms)
    score = spoken_digits.score(data)
    for table in score.tables:
        assert all(len(row) == len(table.header) for row in table.rows) and report.text_table(table.header, table.rows)
    known, apart = (next(table for table in score.tables if who in table.title) for who in ("known speakers", "speaker held out, "))
    assert known.header == ("multiple", "symbols", *arms, "unigram") and [row[:2] for row in known.rows][-1] == ("10 L", "40")
    assert float(apart.rows[0][3].split()[0]) == pytest.approx(float(known.rows[0][3].split()[0]) + 0.1, abs=0.02)
    assert {name.split("_task")[0].split("_spoken")[0] for name in spoken_digits.figures(data)} == {
        "wer",
        f"wer_{fsdd.HELD_OUT}",
        "lengths",
        "rates",
    }
    words = [finding.word(finding.p) for finding in spoken_digits.findings(data)]
    assert words == ["holds", "holds"]
    swapped = rows({"location_aware": LOSES, "additive": NOTHING})
    assert [finding.word(finding.p) for finding in spoken_digits.findings(swapped)] == ["does not hold", "undecided"]


def test_arms_come_back_from_their_settings_and_can_be_built():
    for arm in spoken_digits.CHOICES:
        config = spoken_digits.sweep("tiny", [arm])[0]
        assert spoken_digits.name(config).startswith(f"{arm}-l")
    for arm in (*spoken_digits.ARMS, *spoken_digits.MORE):
        run = resolve(settings.validate(spoken_digits.sweep("small", [arm])[0]))
        assert model.parameters(run.config.model, run.sizes) > 0


@pytest.mark.parametrize("preset", spoken_digits.PRESETS)
def test_presets(preset):
    runs = sweep.plan(spoken_digits, preset)
    for each in runs:
        data = each.config.data
        assert {m * data.longest for m in (1, 2, 5, 10)} <= set(data.eval_lengths) and data.eval_lengths[-1] == 10 * data.longest
        assert each.config.training.seeds == 8 and {"normaliser", "forward_window", "longest", "dark"} <= each.fields.keys()
    arms = {each.config.run.split("-")[0] for each in runs}
    assert arms == {*spoken_digits.ARMS, *(spoken_digits.MORE if preset != "tiny" else ())}


@pytest.mark.long
def test_a_small_run_has_error_rates_of_both_test_sets(small_fsdd, tmp_path, monkeypatch):  # noqa: F811
    folder, sha256 = small_fsdd
    monkeypatch.setattr(fsdd, "SHA256", sha256)
    changes = (
        "model.hidden_size=4 model.embedding_size=4 model.decoder_size=4 model.attention_size=4 data.longest=1 data.eval_lengths=1,2 "
        "data.eval_examples=4 signal.mels=8 training.updates=2 training.batch_size=4 training.seeds=2 training.learning_rates=0.01 "
        "training.warmup=1 training.chunk=2"
    ).split()
    command = ["--experiment=spoken_digits", "--arms=summary,location_aware", f"--workdir={tmp_path}", f"--data_dir={folder}"]
    assert call(*command, f"--cache_dir={tmp_path / 'cache'}", *(f"--set={each}" for each in changes)) == 0
    found = [row for path in tmp_path.glob("spoken_digits/location_aware-*/rows.jsonl") for row in results.read(path)]
    free = [row for row in found if row["mode"] == "free"]
    assert {(row["test"], row["length"]) for row in free} == {
        (test, length) for test in ("known speakers", fsdd.HELD_OUT) for length in (1, 2)
    }
    for row in free:
        assert row["reference_symbols"] == 4 * row["length"] and row["error_rate"] == row["edits"] / row["reference_symbols"]
        assert row["examples"] - row["exact"] <= row["edits"] <= row["reference_symbols"] + 4 * 3
    assert (tmp_path / "spoken_digits" / "report.html").exists()
