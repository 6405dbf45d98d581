"""Outputs beside references: BLEU and chrF are sacreBLEU's, the loss is that of evaluation, means and intervals are by hand."""

import jax
import numpy as np
import pytest
import sacrebleu

from attention_jax import trained
from attention_jax.config import SearchConfig
from attention_jax.data import sources
from attention_jax.report import references
from attention_jax.running import results
from attention_jax.running.evaluation import spelled
from attention_jax.statistics import hypotheses
from attention_jax.system.errors import DataError
from tests.built import SMALL, TEXT, untrained

LINES = [*TEXT, "Hund"]
FIRST = ["DER ALTE HUND SAH .", "EIN HUND SAH DEN MANN", "DER MANN GING", "HUND"]
SECOND = ["DER HUND SAH DAS MEER", "EIN  HUND", "ER GING FORT , DER MANN", "EIN HUND"]
OUTPUTS = ["DER ALTE HUND SAH .", "EIN HUND", "DER MANN SAH", "MANN"]


@pytest.fixture(scope="module")
def stored():
    return untrained(SMALL, {"unit": "word", "vocabularies": "separate"})


@pytest.fixture(scope="module")
def rows(stored):
    """Of two seeds that wrote the same."""
    pair = references.paired("in.de", LINES, {"a.en": FIRST, "b.en": SECOND})
    return [row for seed in stored.seeds for row in references.scored(trained.chosen(stored, seed), pair, OUTPUTS, SearchConfig())]


@pytest.mark.long
def test_scores_are_those_of_sacrebleu(rows):
    (whole,) = [row for row in rows if row["seed"] == 7 and row["length"] is None]
    assert whole["bleu"] == pytest.approx(sacrebleu.corpus_bleu(OUTPUTS, [FIRST, SECOND]).score)
    assert whole["chrf"] == pytest.approx(sacrebleu.corpus_chrf(OUTPUTS, [FIRST, SECOND]).score)
    assert whole["bleu_signature"].startswith("nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert whole["examples"] == 4 and whole["exact_match"] == 0.5
    assert whole["references"] == ["a.en", "b.en"] and whole["input"] == "in.de" and whole["search"]["method"] == "greedy"


@pytest.mark.long
def test_rows_of_a_length_are_of_its_lines(rows):
    """Edges are 1, 2 and 4 words: the sources have 6, 6, 3 and 1."""
    by_length = {row["length"]: row for row in rows if row["seed"] == 7}
    assert {length: (row["examples"], row["open"]) for length, row in by_length.items()} == {
        None: (4, False),
        1: (1, False),
        4: (1, False),
        5: (2, True),
    }
    assert by_length[5]["bleu"] == pytest.approx(sacrebleu.corpus_bleu(OUTPUTS[:2], [FIRST[:2], SECOND[:2]]).score)
    assert by_length[5]["exact_match"] == 1.0 and by_length[4]["exact_match"] == by_length[1]["exact_match"] == 0.0


@pytest.mark.long
def test_the_loss_is_of_all_tokens_of_all_references(stored, rows):
    run = trained.chosen(stored, 8)
    nll, tokens, start, step = 0.0, 0, jax.jit(run.model.start), jax.jit(run.model.step)
    for line, targets in zip(LINES, zip(FIRST, SECOND, strict=True), strict=True):
        prepared, state0 = start(run.params, np.array([run._encode(line, 1)]), np.ones((1, len(line.split()) + 1), bool))
        for target in targets:
            state, before = state0, 1
            for token in [*run.vocabularies.target.encode(target), 2]:
                logits_1xV, _, state = step(run.params, prepared, state, np.array([before]))
                logits_V = np.asarray(logits_1xV[0], np.float64)
                nll, tokens, before = nll + np.log(np.exp(logits_V).sum()) - logits_V[token], tokens + 1, token
    (whole,) = [row for row in rows if row["seed"] == 8 and row["length"] is None]
    assert whole["loss"] == pytest.approx(nll / tokens, rel=1e-4)


def test_the_loss_is_that_of_evaluation():
    """On the validation split, whose sources and targets go in as text."""
    found = untrained(SMALL)
    wanted_R = found.validation_loss()
    for place, seed in enumerate(found.seeds):
        lines, targets = [], []
        for batch in sources.build(found.config).evaluation("validation", list(found.seeds)):
            for source_S, target_T in zip(np.asarray(batch.source_BxS)[place], np.asarray(batch.target_BxT)[place], strict=True):
                lines.append(" ".join(spelled(source_S[: np.argmax(source_S == 2)], None)))
                targets.append(" ".join(spelled(target_T[: np.argmax(target_T == 2)], None)))
        nll_N, tokens_N = trained.chosen(found, seed).losses(lines, targets)
        assert nll_N.sum() / tokens_N.sum() == pytest.approx(wanted_R[place], rel=1e-5)


@pytest.mark.long
def test_means_have_students_interval(rows):
    found = [row for row in references.with_means(rows) if row["role"] == "mean" and row["length"] is None]
    (mean,) = found
    losses = [row["loss"] for row in rows if row["length"] is None]
    half = 12.706204736 * np.std(losses, ddof=1) / np.sqrt(2)  # Student's t with one degree of freedom
    assert mean["seed"] is None and mean["seeds"] == [7, 8] and mean["loss"] == pytest.approx(np.mean(losses))
    assert (mean["loss_low"], mean["loss_high"]) == pytest.approx((np.mean(losses) - half, np.mean(losses) + half))
    whole = [row for row in rows if row["length"] is None]
    apart = [row | {"bleu": score, "exact_match": score / 100} for row, score in zip(whole, (2.0, 99.0), strict=True)]
    wide = references.with_means(apart)[-1]
    ends = {name: wide[name] for name in ("bleu_low", "bleu_high", "exact_match_low", "exact_match_high")}
    assert ends == {"bleu_low": 0, "bleu_high": 100, "exact_match_low": 0, "exact_match_high": 1}, "no further than the number can be"
    alone = [row for row in references.with_means([row for row in rows if row["seed"] == 7]) if row["role"] == "mean"]
    assert all(row["bleu_low"] is None and row["bleu_high"] is None for row in alone)


@pytest.mark.long
def test_tables_and_files(rows, tmp_path):
    text = references.text(rows)
    assert "in.de against a.en, b.en, by words of the source; mean of 2 seeds and 95 % interval" in text
    assert "in.de against a.en, b.en, by seed" in text and "from 5" in text and "bleu: nrefs:2|" in text and "chrf: nrefs:2|" in text
    pair = references.paired("in.de", LINES, {"a.en": FIRST, "b.en": SECOND})
    paths = references.write(tmp_path / "scores.jsonl", rows, [pair], {7: [OUTPUTS], 8: [OUTPUTS[::-1]]})
    assert [path.name for path in paths] == ["scores.jsonl", "scores.hypotheses.gz"]
    assert results.read(paths[0], ours=True) == references.with_means(rows)
    kept = hypotheses.read(paths[1])
    assert kept.seeds == (7, 8) and kept.hypotheses == [OUTPUTS, OUTPUTS[::-1]] and kept.references[1] == [FIRST[1], SECOND[1]]


def test_references_that_do_not_fit():
    with pytest.raises(DataError, match=r"--references=b\.en has 3 lines, and --input=in\.de has 4: give one for each"):
        references.paired("in.de", LINES, {"a.en": FIRST, "b.en": SECOND[:3]})
    with pytest.raises(DataError, match=r"--input=in\.de is empty"):
        references.paired("in.de", [], {"a.en": []})
