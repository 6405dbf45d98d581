"""Batches are a function of (seed, step) alone, whatever the arm and the grouping; streams differ; tasks and texts look the same."""

import os
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from attention_jax import trained
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.data.corpora import subwords
from attention_jax.running import evaluation, loop, results, selection
from attention_jax.running.resolved import resolve
from attention_jax.statistics import sentences
from attention_jax.system.errors import ConfigError, DataError, RunError
from attention_jax.types import EOS, PAD
from tests.built import started

SYNTHETIC = Config(
    model=ModelConfig(hidden_size=6, embedding_size=4),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2, 4), eval_examples=4),
    training=TrainingConfig(batch_size=4),
)


def text_config(folder: Path, lines: int = 60) -> Config:
    """A corpus of so many lines of 1 to 6 words, written to `folder`; fewer subwords are used than are asked for."""
    words = "ein zwei drei vier fünf sechs".split()
    source = [" ".join([*words[: 1 + i % 6], f"{i}"]) for i in range(lines)]
    (folder / "a.de").write_text("\n".join(source) + "\n")
    (folder / "a.nl").write_text("\n".join(line.replace("ei", "e") for line in source) + "\n")
    return Config(
        experiment="translation_length",
        run="tiny",
        model=ModelConfig(hidden_size=6, embedding_size=4),
        data=DataConfig(task="parallel_text", eval_lengths=(2, 4, 6)),
        text=TextConfig(source_file=str(folder / "a.de"), target_file=str(folder / "a.nl"), vocabulary_size=64, buckets=(24,), cut=24),
        training=TrainingConfig(seeds=2, updates=4, batch_size=4, chunk=2, checkpoint_every=4, learning_rates=(1e-2,), evaluate="best"),
    )


@pytest.fixture(scope="module")
def text_run(tmp_path_factory, tfds):
    """(config, directory, rows, source) of a run on text."""
    folder = tmp_path_factory.mktemp("text")
    config = text_config(folder)
    rows = loop.run(config, folder / "run", {"attention": "additive"}, cache_dir=folder / "cache")
    return config, folder / "run", rows, sources.build(config, folder / "run", cache_dir=folder / "cache")


@cache
def jitted(function):
    return jax.jit(jax.vmap(function, (0, None)))


def sample(source, seeds, step):
    """The training batches of these seeds, as the loop asks for them."""
    if source.read is not None:
        return source.read(seeds, step)
    return jitted(source.sample)(jax.vmap(jax.random.key)(np.array(seeds)), step)


@pytest.fixture(params=["synthetic", "text"])
def source(request):
    return sources.build(SYNTHETIC) if request.param == "synthetic" else request.getfixturevalue("text_run")[3]


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def differ(a, b) -> bool:
    return a.source_BxS.shape != b.source_BxS.shape or bool((np.asarray(a.source_BxS) != np.asarray(b.source_BxS)).any())


@pytest.mark.long
def test_one_interface_for_both(source):
    assert (source.sample is None) != (source.read is None)
    assert (source.vocabularies is None) == (source.texts is None) == (source.read is None)
    for batch in (sample(source, [0, 1], 0), next(source.evaluation("validation", [0, 1])), next(source.evaluation("test", [0, 1]))):
        sides = (batch.source_BxS, batch.source_mask_BxS), (batch.target_BxT, batch.target_mask_BxT)
        for (tokens, mask), size in zip(sides, source.sizes, strict=True):
            tokens, mask = np.asarray(tokens), np.asarray(mask)
            assert tokens.shape == mask.shape and tokens.shape[0] == 2 and tokens.max() < size
            assert (tokens[~mask] == PAD).all()
            ends = mask & ~np.pad(mask, ((0, 0), (0, 0), (0, 1)))[..., 1:]
            assert (tokens[ends] == EOS).all() and ends.any()


def test_batches_depend_on_seed_and_step_only(source):
    together = jax.device_get(sample(source, [0, 1, 2], 3))
    alone = sample(source, [1], 3)
    assert_equal(jax.tree.map(lambda x: x[1:2], together), alone)
    assert_equal(sample(source, [1], 3), alone)
    assert differ(sample(source, [2], 3), alone) and differ(sample(source, [1], 4), alone)
    for split in ("validation", "test"):
        for grouped, single in zip(source.evaluation(split, [0, 1]), source.evaluation(split, [1]), strict=True):
            grouped, single = jax.device_get((grouped, single))
            assert_equal(jax.tree.map(lambda x: x[1:2], grouped), single)


def test_arms_see_the_same_data(text_run):
    config, directory, _, text = text_run
    changes = {"attention": "none", "hidden_size": 9, "cell": "lstm", "start": "zero"}
    assert_equal(
        sample(sources.build(SYNTHETIC), [5], 7),
        sample(sources.build(replace(SYNTHETIC, model=replace(SYNTHETIC.model, **changes))), [5], 7),
    )
    other = sources.build(replace(config, model=replace(config.model, **changes)), None, cache_dir=directory.parent / "cache")
    assert_equal(sample(text, [5], 7), sample(other, [5], 7))
    assert other.vocabularies.source.stored() == (directory / "vocabulary.model").read_bytes()


def test_synthetic_streams_differ():
    config = replace(SYNTHETIC, data=replace(SYNTHETIC.data, symbols=50, longest=8, eval_lengths=(8,), eval_examples=256))
    source = sources.build(config)
    drawn = {
        "train": [np.asarray(sample(source, [0], step).source_BxS)[0] for step in range(64)],
        "validation": [np.asarray(batch.source_BxS)[0] for batch in source.evaluation("validation", [0])],
        "test": [np.asarray(batch.source_BxS)[0] for batch in source.evaluation("test", [0])],
    }
    long = {split: {tuple(row) for rows in found for row in rows if row[6] > EOS} for split, found in drawn.items()}
    assert all(len(found) > 20 for found in long.values())
    assert not (long["train"] & long["validation"] or long["train"] & long["test"] or long["validation"] & long["test"])


def test_synthetic_lengths():
    source = sources.build(SYNTHETIC)
    trained_on = np.concatenate([np.asarray(sample(source, [0, 1], step).length_B).ravel() for step in range(20)])
    assert set(trained_on) == {1, 2, 3}
    batches = list(source.evaluation("test", [0, 1]))
    assert [np.unique(batch.length_B).tolist() for batch in batches] == [[1], [2], [4]]
    assert [batch.source_BxS.shape for batch in batches] == [(2, 4, 4), (2, 4, 4), (2, 4, 5)]  # two padded sizes: seen and unseen
    validation = list(source.evaluation("validation", [0]))
    assert {batch.source_BxS.shape for batch in validation} == {(1, 4, 4)}  # the shape of a test batch, for less to compile
    numbers, lengths = (np.concatenate([np.asarray(getattr(batch, name))[0] for batch in validation]) for name in ("example_B", "length_B"))
    assert numbers.tolist() == list(range(sources.VALIDATION_EXAMPLES))
    assert lengths.tolist() == [1 + number % 3 for number in numbers]
    assert (source.lengths, source.longest, source.stop) == ((1, 2, 4), 3, True)
    padded = replace(SYNTHETIC, data=replace(SYNTHETIC.data, task="echo", padded_output=True))
    assert not sources.build(padded).stop


HELD_OUT = replace(SYNTHETIC, data=replace(SYNTHETIC.data, symbols=4, longest=6, eval_lengths=(1, 3, 4, 6), held_out=3, eval_examples=64))


def strings(batch) -> set[tuple]:
    return {tuple(token for token in row if token != PAD) for row in np.asarray(batch.source_BxS).reshape(-1, batch.source_BxS.shape[-1])}


@pytest.mark.long
def test_what_is_tested_is_never_trained_on():
    """Nor chosen by; and 4 symbols have 48 held-out strings, of 64, from a length of 4 on: shorter ones are not tested."""
    source = sources.build(HELD_OUT)
    assert source.lengths == (4, 6)
    tested = {string for batch in source.evaluation("test", range(3)) for string in strings(batch)}
    chosen_by = {string for batch in source.evaluation("validation", range(3)) for string in strings(batch)}
    trained = {string for step in range(300) for string in strings(sample(source, [0], step))}
    assert len(trained) > 500 and not tested & trained and not tested & chosen_by
    assert {len(string) - 1 for string in tested} == {4, 6} and {len(string) - 1 for string in trained} == set(range(1, 7))


def test_examples_of_one_length_are_no_beginnings_of_another():
    one, other = (np.asarray(batch.source_BxS)[0] for batch in sources.build(HELD_OUT).evaluation("test", [0]))
    assert (one[:, :4] != other[:, :4]).any(1).mean() > 0.9


def test_lengths_without_held_out_sources_are_refused():
    with pytest.raises(ConfigError, match="fewer than 48 sources to test on"):
        sources.check(replace(HELD_OUT, data=replace(HELD_OUT.data, eval_lengths=(1, 2, 3))))
    with pytest.raises(ConfigError, match="leaves nothing to train on"):
        sources.build(replace(HELD_OUT, data=replace(HELD_OUT.data, held_out=1)))


def test_examples_do_not_depend_on_the_batches_they_come_in():
    found = []
    for size in (4, 32):
        source = sources.build(replace(SYNTHETIC, data=replace(SYNTHETIC.data, eval_examples=size)))
        found.append(np.concatenate([np.asarray(batch.source_BxS) for batch in source.evaluation("validation", [0, 1])], axis=1))
    assert_equal(*found)


def test_a_reader_reads_ahead_what_it_would_have_read_anyway():
    seen = []

    def read(seeds, step):
        seen.append((seeds, step))
        return seeds, step

    reader = sources.Reader(read)
    assert [reader([1, 2], step) for step in (5, 6, 7)] == [((1, 2), step) for step in (5, 6, 7)]
    assert reader([3], 0) == ((3,), 0) and reader([1, 2], 5) == ((1, 2), 5)  # the pilot gives way to the run; a stopped run goes on
    assert reader.waited > 0
    reader.thread.shutdown()
    assert seen[:5] == [((1, 2), step) for step in range(5, 10)]


def test_what_goes_wrong_while_reading_ahead_is_told_to_who_asks():
    def read(seeds, step):
        if step == 2:
            raise ConfigError("no such step")
        return step

    reader = sources.Reader(read)
    assert [reader([0], step) for step in (0, 1)] == [0, 1]
    with pytest.raises(ConfigError, match="no such step"):
        reader([0], 2)


def test_text_splits_share_no_source(text_run):
    splits = {split: set(text_run[3].texts(split).sources) for split in ("train", "validation", "test")}
    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == 60


def test_a_run_on_text_counts_every_example_once(text_run):
    config, directory, rows, source = text_run
    test = source.texts("test")
    numbers = np.concatenate([np.asarray(batch.example_B)[0] for batch in source.evaluation("test", [0, 1])])
    assert sorted(numbers[numbers >= 0]) == list(range(len(test.sources)))
    words = np.array([len(line.split()) for line in test.sources])
    expected = {edge: int(((words > low) & (words <= edge)).sum()) for low, edge in ((0, 2), (2, 4), (4, 6), (6, 99))}
    for seed in (0, 1):
        for mode in ("free", "forced"):
            found = {r["length"]: r for r in rows if (r["budget"], r["seed"], r["mode"]) == (4, seed, mode)}
            counts = {edge if edge <= 6 else 99: row["examples"] for edge, row in found.items()}
            assert counts == {edge: count for edge, count in expected.items() if count}
            for edge, row in found.items():
                assert row["seen"] == ((edge if edge <= 6 else words.max()) <= source.longest)
                assert ("open" in row) == (edge == 7) == (edge > 6) and row.get("open", True) is True
                named = {"bleu", "chrf", "bleu_signature", "chrf_signature"} & set(row)
                assert len(named) == (4 if mode == "free" else 0)
                if mode == "free":
                    assert 0 <= row["bleu"] <= 100 and 0 <= row["chrf"] <= 100 and "version" in row["bleu_signature"]
                else:
                    assert row["loss"] > 0
    assert loop.run(config, directory, {"attention": "additive"}, cache_dir=directory.parent / "cache") == rows


@pytest.mark.long
def test_a_run_on_text_can_be_used(text_run):
    config, directory, _, source = text_run
    loaded = trained.load(directory)
    assert loaded.sizes == source.sizes and max(source.sizes) <= config.text.vocabulary_size
    decoded = loaded.decode(["ein zwei drei", "", "漢字 ein", "vier " * 40])
    assert [output.text == "" and output.source_tokens == [] for output in decoded] == [False, True, False, False]
    assert "".join(decoded[0].source_tokens[:-1]).replace("▁", " ").strip() == "ein zwei drei"
    assert "<unk>" in decoded[2].source_tokens
    for output in decoded:
        assert output.weights_TxS.shape == (len(output.output_tokens), len(output.source_tokens))
    example = results.read_json(directory / "example.json")
    assert example["source"][-1] == example["target"][-1] == "⏎"


def test_another_vocabulary_than_it_was_trained_with(text_run, tmp_path):
    shutil.copytree(text_run[1], tmp_path / "run")
    (tmp_path / "run" / "vocabulary.model").write_bytes(subwords.train(["ein zwei drei vier"], 40))
    with pytest.raises(RunError, match=r"vocabulary\.model is not what the run was trained with"):
        trained.load(tmp_path / "run")
    (tmp_path / "run" / "vocabulary.model").unlink()
    with pytest.raises(RunError, match=r"vocabulary\.model is missing"):
        trained.load(tmp_path / "run")


def test_ids_without_a_subword_are_unknown(text_run):
    """A model of an older format may have more logits than its vocabulary has tokens."""
    vocabulary = text_run[3].vocabularies.target
    tokens = [4, vocabulary.size, 63, EOS, 5]
    assert evaluation.spelled(tokens, vocabulary)[1:4] == ["<unk>", "<unk>", "⏎"]
    assert vocabulary.decode(tokens) == vocabulary.decode([4, 3, 3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_words": 24}, r"text\.max_words=24 does not fit the longest bucket, 24 tokens"),
        ({"cut": 23}, r"text\.cut=23 is below the longest bucket"),
    ],
)
def test_lengths_over_the_longest_bucket_are_refused(text_run, change, message):
    config = text_run[0]
    with pytest.raises(ConfigError, match=message):
        sources.check(replace(config, text=replace(config.text, **change)))
    sources.check(replace(SYNTHETIC, text=replace(config.text, **change)))  # a task does not care


@pytest.mark.parametrize("function", [sources.own_sizes, sources.build])
def test_an_unknown_task_is_refused(function):
    with pytest.raises(ConfigError, match=r"data\.task='copi' is unknown \(did you mean 'copy'\?\); valid: copy, .*multi30k"):
        function(replace(SYNTHETIC, data=replace(SYNTHETIC.data, task="copi")))


@pytest.mark.usefixtures("tfds")
def test_a_killed_run_leaves_no_half_vocabulary(tmp_path, monkeypatch):
    def killed(file):
        os.ftruncate(file, 100)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            sources.build(text_config(tmp_path), tmp_path, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "vocabulary.model").exists()
    sources.build(text_config(tmp_path), tmp_path, cache_dir=tmp_path / "cache")
    assert (tmp_path / "vocabulary.model").exists()


@pytest.mark.usefixtures("tfds")
@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"x"), lambda file: [file.unlink(), file.mkdir()]])
def test_a_damaged_vocabulary_is_named(tmp_path, damage):
    sources.build(text_config(tmp_path), tmp_path, cache_dir=tmp_path / "cache")
    damage(tmp_path / "vocabulary.model")
    with pytest.raises(DataError, match=rf"cannot read {tmp_path}/vocabulary\.model: .*; remove it"):
        sources.build(text_config(tmp_path), tmp_path, cache_dir=tmp_path / "cache")


@pytest.mark.usefixtures("tfds")
def test_a_blind_source_tells_nothing(tmp_path):
    config = text_config(tmp_path)
    plain, blind = (sources.build(replace(config, text=replace(config.text, blind=b)), cache_dir=tmp_path / "cache") for b in (False, True))
    for step in range(3):
        ours, theirs = blind.read([0, 1], step), plain.read([0, 1], step)
        assert_equal(ours.target_BxT, theirs.target_BxT)
        assert (ours.source_BxS == ours.source_BxS[:1, :1]).all() and ours.source_mask_BxS.sum() == ours.length_B.size
    for split in ("validation", "test"):
        for ours, theirs in zip(blind.evaluation(split, [0]), plain.evaluation(split, [0]), strict=True):
            assert_equal((ours.target_BxT, ours.length_B, ours.example_B), (theirs.target_BxT, theirs.length_B, theirs.example_B))
            real = ours.example_B >= 0
            assert (ours.source_BxS[real] == np.eye(1, ours.source_BxS.shape[-1], dtype=int) * EOS).all()
            assert not ours.source_mask_BxS[~real].any()
    with pytest.raises(ConfigError, match=r"text\.blind=True leaves no words to link"):
        sources.build(replace(config, text=replace(config.text, blind=True, alignment_file="x")), cache_dir=tmp_path / "cache")


@pytest.mark.long
@pytest.mark.usefixtures("tfds")
def test_sentences_of_an_evaluation_are_those_of_its_rows_in_the_order_of_the_corpus(tmp_path):
    """Every line's nll, tokens, words and place, against the batches and the rows; evaluated once, seeds apart."""
    config = text_config(tmp_path, lines=600)
    text = replace(config.text, join_max=2, buckets=(16, 32), cut=32)
    joined = replace(config, text=text, training=replace(config.training, batch_size=3))
    source = sources.build(joined, cache_dir=tmp_path / "cache")
    evaluator = evaluation.Evaluator(resolve(joined, source.sizes), source)
    params = started(joined, [5, 6], [0.0, 0.0], source.sizes).params
    rows, _, found, *_ = evaluator.tested(params, [5, 6])
    assert found.seeds == (5, 6)
    texts, functions = source.texts("test"), evaluator.functions(2)
    single = [text for text, k in zip(texts.sources, found.joined_N, strict=True) if k == 1]
    assert len(found.tokens_N) == len(texts.sources) > len(single) > 2
    for text, words, first, k in zip(texts.sources, found.length_N, found.first_N, found.joined_N, strict=True):
        assert text == " ".join(single[first : first + k]) and len(text.split()) == words
    for batch in source.evaluation("test", [5, 6]):
        scores, _ = functions.forced(params, jax.device_get(batch))
        for b, i in enumerate(np.asarray(batch.example_B)[0]):
            if i >= 0:
                assert np.array_equal(found.nll_RxN[:, i], scores.nll_B[:, b]) and found.tokens_N[i] == batch.target_mask_BxT[0, b].sum()
    for row in rows:
        if row["mode"] == "forced" and not row.get("open"):
            below = max([length for length in (0, 2, 4, 6) if length < row["length"]])
            is_in_N = (found.length_N > below) & (found.length_N <= row["length"])
            loss = found.nll_RxN[row["seed"] - 5, is_in_N].sum(dtype=float) / found.tokens_N[is_in_N].sum()
            assert row["loss"] == pytest.approx(loss, rel=1e-6) and row["examples"] == is_in_N.sum()
            assert row["symbols"] == found.tokens_N[is_in_N].sum() - is_in_N.sum()
    sentences.write(tmp_path / sentences.FILE, found)
    assert np.array_equal(sentences.read(tmp_path / sentences.FILE).nll_RxN, found.nll_RxN)
    assert (
        evaluation.Evaluator(resolve(SYNTHETIC), sources.build(SYNTHETIC)).tested(started(SYNTHETIC, [3], [0.0]).params, [3]).sentences
        is None
    )
    first, second = evaluator.trials(params, [5, 6])
    assert all({"loss", "symbols", "examples"} <= set(row) for row in first) and first != second
    assert evaluator.trials(params, [5, 5]) == [first, second], "trials of one seed at two rates are two trials"


@pytest.mark.usefixtures("tfds")
def test_a_kept_curve_has_all_that_was_tested(tmp_path):
    """Of words, whose trials have losses and error rates, both modes at each length."""
    config = text_config(tmp_path)
    worded = replace(config, text=replace(config.text, unit="word", given=""))
    source = sources.build(worded, cache_dir=tmp_path / "cache")
    evaluator = evaluation.Evaluator(resolve(worded, source.sizes), source)
    tested = evaluator.trials(started(worded, [5, 6], [0.0, 0.0], source.sizes).params, [5, 5])
    assert {row["mode"] for row in tested[0]} == {"forced", "free"} and tested[0][0]["error_rate"] is None
    rows = selection.rows(worded, {}, selection.Trials([5, 5], [0.1, 0.2]), [1.0, 2.0], tested)
    selection.keep(tmp_path, rows)
    assert selection.read(tmp_path) == rows
    assert selection.adopted(selection.shipped(rows, worded), worded, {}) == [row | {"kept": True} for row in rows]
