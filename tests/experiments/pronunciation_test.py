"""The verdict on phone errors whose truth is planted, what the presets hold equal, the chance level on a small dictionary."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from attention_jax.config import override_all
from attention_jax.data import sources
from attention_jax.statistics import verdicts
from attention_jax.statistics.sentences import Sentences
from attention_jax.sweeps import sweep
from experiments import pronunciation
from tests.experiments import planted

LENGTHS, BUDGETS, WORDS, SEEDS = (5, 6, 7, 8, 10, 14), (500, 1000, 2000), 1200, 8
SHARED = {"task": "cmudict", "cell": "gru", "hidden_size": 32, "state_size": 64, "parameters": 9, "seconds": 2.0, "step": 0}


def words_of(rate_of_length, seeds: range, random: np.random.Generator) -> Sentences:
    """Words of 4 to 14 letters and as many phones, each wrong with the probability of its length; seeds scatter by a tenth."""
    length_N = np.tile(np.arange(4, 15, dtype=np.int32), WORDS // 11 + 1)[:WORDS]
    scale_Rx1 = np.exp(0.1 * random.standard_normal((len(seeds), 1)))
    edits_RxN = random.binomial(length_N, np.minimum(rate_of_length(length_N) * scale_Rx1, 1)).astype(np.int32)
    count_N = np.arange(WORDS, dtype=np.int32)
    exact_RxN = (edits_RxN == 0).astype(np.int32)
    return Sentences(tuple(seeds), edits_RxN * 1.0, length_N + 1, length_N, count_N, count_N * 0 + 1, exact_RxN, edits_RxN, length_N)


def rows_of(place: dict, found: Sentences) -> list[dict]:
    """Rows of free running and of forcing by bucket and seed, as a run leaves them."""
    rows, below = [], 0
    for length in LENGTHS:
        is_in_N = (found.length_N > below) & (found.length_N <= length)
        below = length
        for r, seed in enumerate(found.seeds):
            edits, exact = (int(counts[r, is_in_N].sum()) for counts in (found.edits_RxN, found.exact_RxN))
            symbols, examples = int(found.symbols_N[is_in_N].sum()), int(is_in_N.sum())
            row = place | {"seed": seed, "length": length, "seen": True, "examples": examples, "symbols": symbols}
            free = {"edits": edits, "reference_symbols": symbols, "error_rate": edits / symbols, "exact": exact}
            rows.append(row | free | {"mode": "free", "exact_match": exact / examples, "loss": None})
            rows.append(row | {"mode": "forced", "loss": 0.3, "alignment_entropy": 0.5})
    return rows


def sweep_of(arms: dict) -> tuple[list[dict], dict]:
    """Rows and sentences of {arm: error rate by length}: the control "blind", and rate curves, among them."""
    random, rows, kept = np.random.default_rng(0), [], {}
    for arm, rate in arms.items():
        blind, named = arm == "blind", {"attention": "additive", "normaliser": "softmax", "estimator": "soft"}
        named |= {} if blind else pronunciation.settings(arm)
        for budget in BUDGETS if arm == "summary" else BUDGETS[:2]:
            own = SHARED | named | {"blind": blind, "run": f"{arm}-{budget}", "budget": budget}
            rows += planted.curve(own, 0.016)
            for candidate in planted.RATES:
                off = abs(np.log2(candidate / 0.016))
                trial = words_of(lambda n, off=off, rate=rate: rate(n) * (1 + 0.05 * off), range(2_000_000_000, 2_000_000_004), random)
                rows += rows_of(own | {"role": "selection", "learning_rate": candidate, "grown": False}, trial)
            kept[own["run"]] = words_of(rate, range(SEEDS), random)
            rows += rows_of(own | {"role": "reported", "learning_rate": 0.016}, kept[own["run"]])
    return rows, kept


def even(rate: float):
    """The same error rate at every length."""
    return lambda n: rate + 0.0 * n


GROWING = {"summary": lambda n: 0.1 + 0.03 * np.maximum(n - 6, 0), "additive": even(0.1), "blind": even(0.9)}


@pytest.fixture(scope="module")
def growing():
    return sweep_of(GROWING | {"marginal": even(0.05), "monotonic": even(0.1)})


@pytest.mark.long
def test_a_vector_that_loses_long_words_is_a_bottleneck(growing):
    score = pronunciation.score(*growing)
    assert score.verdict.value == "bottleneck" and score.verdict.k == 4
    title = {table.title.split(",")[0]: table for table in score.tables}
    table = title["Phone error rate by letters"]
    assert table.header[3:8] == ("summary", "additive", "blind", "marginal", "monotonic") and [line[0] for line in table.rows][-1] == "14"
    overall = title["Error rates over all test words"]
    assert [line[:2] for line in overall.rows[:3]] == [("summary", f"{budget:,}") for budget in BUDGETS]
    targets = {line[0]: line for line in title["Targets"].rows}
    assert list(targets) == ["additive, PER", "marginal, PER", "monotonic, PER"] and {line[1] for line in targets.values()} == {
        "at most 0.12"
    }
    assert {line[3] for line in targets.values()} == {"yes"} and targets["marginal, PER"][2].startswith("0.049 [")
    assert title["Phone error rate"].rows[0][:2] == ("marginal", "additive")
    assert [line[4] for line in title["Phone error rate"].rows] == ["fewer errors", "no difference", "more errors"]
    conditions = title["Conditions"]
    assert "8 to 14 letters" in " ".join(line[2] for line in conditions.rows) and "errors per phone" in conditions.rows[0][2]


def test_equal_arms_and_untrained_ones():
    equal = pronunciation.score(*sweep_of({"summary": even(0.1), "additive": even(0.1), "blind": even(0.9)})).verdict
    assert equal.value == "no bottleneck"
    untrained = pronunciation.score(*sweep_of({"summary": even(0.9), "additive": even(0.85), "blind": even(0.9)})).verdict
    assert untrained.value == "inconclusive" and "additive at 2000 updates" in untrained.reason  # until it has learned


@pytest.mark.long
def test_what_is_missing_is_said(growing):
    rows, kept = growing
    assert pronunciation.score(rows, {}).verdict.failed == ("missing",)
    alone = [row for row in rows if row["run"].startswith("summary")]
    assert pronunciation.score(alone, kept).verdict == verdicts.NOTHING_TO_COMPARE


@pytest.mark.long
def test_findings_and_figures(growing):
    found = {each.claim: each for each in pronunciation.findings(*growing)}
    assert len(found) == 4 and all(each.p < 0.01 for each in found.values())
    exact = found["Exact hard attention makes fewer errors than soft attention"]
    assert exact.interval.low > 0.03 and exact.word(0.01) == "holds"
    assert found["Attention that only moves on makes fewer errors still"].word(0.01) == "does not hold"
    drawn = pronunciation.figures(growing[0])
    assert [name.partition("_cmudict")[0] for name in drawn] == ["error_rate", "word_error_rate", "budgets", "rates"]


@pytest.mark.parametrize(("preset", "arms"), [("tiny", 2), ("small", 5), ("full", 5)])
def test_only_mechanism_budget_and_source_differ(preset, arms):
    configs = pronunciation.sweep(preset)
    assert len(configs) == 3 + 2 * arms and len({pronunciation.name(config) for config in configs}) == len(configs)
    plain = {"attention": "", "normaliser": "softmax", "estimator": "soft"}
    alike = {
        replace(
            config,
            model=replace(config.model, **plain),
            text=replace(config.text, blind=False),
            training=replace(config.training, updates=1),
        )
        for config in configs
    }
    assert len(alike) == 1
    assert all(run.measure for run in sweep.plan(pronunciation, preset) if run.config.model.attention != "summary")


def test_arms_come_back_from_their_settings():
    for arm in ("summary", "additive", "general", "marginal", "monotonic", "location_aware"):
        plain = {"attention": "additive", "normaliser": "softmax", "estimator": "soft"} | pronunciation.settings(arm)
        assert pronunciation.arm_of(*plain.values()) == arm


DICTIONARY = "".join(
    f"{a}{b}{c} {a.upper()}{b.upper()} {c.upper()}1\n" + (f"{a}{b}{c}(2) {b.upper()} {c.upper()}0\n" if c == "e" else "")
    for a in "bcdfg"
    for b in "aeiou"
    for c in "klmne"
)
CHANGES = (
    "model.hidden_size=4 model.embedding_size=4 data.eval_lengths=2,3 text.max_words=3 text.buckets=6 text.cut=8 training.seeds=1 "
    "training.updates=4 training.batch_size=8 training.learning_rates=0.01 training.checkpoint_every=4 training.chunk=2"
).split()


@pytest.mark.usefixtures("tfds")
def test_the_chance_level_knows_letters_one_by_one(tmp_path, monkeypatch):
    """A letter meets the phone of its place: of bae it writes BA, BA and E where that is most frequent."""
    from attention_jax.data.corpora import cmudict

    (tmp_path / "cmudict.dict").write_text(DICTIONARY)
    monkeypatch.setattr(cmudict, "SHA256", hashlib.sha256(DICTIONARY.encode()).hexdigest())
    config = override_all(pronunciation.TINY, CHANGES)
    rows = pronunciation.chance(sources.build(config, None, tmp_path, tmp_path / "cache"))
    assert [row["length"] for row in rows] == [3] and rows[0]["baseline"] == "unigram"
    assert 0 < rows[0]["error_rate"] <= 1.5 and rows[0]["exact_match"] == rows[0]["exact"] / rows[0]["examples"]
