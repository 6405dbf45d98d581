"""Rows against a plain loop over examples: nothing is counted twice, padding rows count for nothing, no seed sees another's numbers."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.data.signals import fsdd
from attention_jax.model.search.greedy import greedy
from attention_jax.running import evaluation, replays
from attention_jax.running.resolved import resolve
from attention_jax.statistics import hypotheses
from attention_jax.training import losses
from attention_jax.types import EOS, PAD, Batch
from tests.built import started
from tests.data.signals.conftest import small_fsdd  # noqa: F401  # a fixture
from tests.model.search import small
from tests.statistics.edits_test import by_definition

TINY = Config(
    model=ModelConfig(hidden_size=6, embedding_size=4),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2, 4), eval_examples=4),
    training=TrainingConfig(seeds=2, batch_size=4),
)
SEEDS = [0, 1]


forced = jax.jit(lambda params, batch: resolve(TINY).model.forced(params, batch, None))


@jax.jit
def free(params, batch):
    steps = small.steps_of(resolve(TINY).model, params, batch.source_BxS, batch.source_mask_BxS)
    return greedy(steps, batch.target_BxT.shape[1])


@pytest.fixture(scope="module")
def evaluated():
    """(source, evaluator, parameters of both seeds, rows, example)."""
    source = sources.build(TINY)
    evaluator = evaluation.Evaluator(resolve(TINY), source)
    params = started(TINY, SEEDS, [0.0, 0.0]).params
    return source, evaluator, params, *evaluator.tested(params, SEEDS)[:2]


@pytest.mark.long
def test_kept_examples_are_the_first_of_each_length_of_every_seed(evaluated):
    """Their weights are those of free running, whose tokens the likeliest ones are."""
    source, evaluator, params, _, _ = evaluated
    kept = {(seed, length): example for seed, length, example in evaluator.tested(params, SEEDS).examples}
    assert set(kept) == {(seed, length) for seed in SEEDS for length in source.lengths}
    for batch in source.evaluation("test", SEEDS):
        for r, seed in enumerate(SEEDS):
            own, alone = jax.tree.map(lambda x, r=r: x[r], batch), jax.tree.map(lambda x, r=r: x[r], params)
            tokens_BxT, weights_BxTxS, _ = free(alone, own)
            example, length = kept[seed, int(own.length_B[0])], int(own.length_B[0])
            T = evaluation.end(tokens_BxT[0], length + 1)
            assert example.source == evaluation.spelled(own.source_BxS[0][: length + 1], None) == example.target
            assert example.output == evaluation.spelled(tokens_BxT[0, :T], None) == [likely[0] for likely in example.likely]
            found = np.frombuffer(example.weights, np.uint8).reshape(T, length + 1) / 255
            np.testing.assert_allclose(found, weights_BxTxS[0, :T, : length + 1], atol=0.003)
            assert len(example.norm) == T and all(0 < norm < TINY.model.hidden_size**0.5 for norm in example.norm)


def test_which_lengths_are_kept():
    assert replays.chosen([3]) == {3} and replays.chosen([200]) == set() and replays.chosen([]) == set()
    assert replays.chosen(range(1, 101)) == {1, 21, 41, 60, 80, 100}
    assert replays.chosen([4, 8, 16, 101, 500]) == {4, 8, 16}


@pytest.mark.long
@pytest.mark.parametrize("replica", [0, 1])
def test_rows_are_those_of_one_seed_alone(evaluated, replica):
    source, _, params, rows, _ = evaluated
    alone = jax.tree.map(lambda x: x[replica], params)
    for batch in source.evaluation("test", SEEDS):
        batch = jax.tree.map(lambda x: x[replica], batch)
        target_BxT, mask_BxT = jax.device_get((batch.target_BxT, batch.target_mask_BxT))
        logits_BxTxV = np.asarray(forced(alone, batch).logits_BxTxV, np.float64)
        log_BxTxV = logits_BxTxV - np.log(np.exp(logits_BxTxV).sum(2, keepdims=True))
        nll = -sum(log_BxTxV[b, t, target_BxT[b, t]] for b, t in zip(*np.nonzero(mask_BxT), strict=True))
        for mode, tokens_BxT in (("free", np.asarray(free(alone, batch)[0])), ("forced", logits_BxTxV.argmax(2))):
            right_BxT = (tokens_BxT == target_BxT) & mask_BxT
            (row,) = [r for r in rows if (r["seed"], r["mode"], r["length"]) == (replica, mode, int(batch.length_B[0]))]
            assert row["examples"] == TINY.data.eval_examples
            assert row["token_accuracy"] == pytest.approx(right_BxT.sum() / mask_BxT.sum())
            assert row["exact_match"] == pytest.approx((right_BxT.sum(1) == mask_BxT.sum(1)).mean())
            assert row["loss"] is None if mode == "free" else row["loss"] == pytest.approx(nll / mask_BxT.sum(), rel=1e-5)


@pytest.mark.long
def test_validation_loss_is_nats_per_token_of_each_seed(evaluated):
    source, evaluator, params, _, _ = evaluated
    found_R = evaluator.validation_loss(params, SEEDS)
    for r in range(2):
        nll = tokens = 0.0
        for batch in source.evaluation("validation", SEEDS):
            batch = jax.tree.map(lambda x, r=r: x[r], batch)
            sums = losses.sums(forced(jax.tree.map(lambda x, r=r: x[r], params), batch), batch, TINY.training)
            nll, tokens = nll + float(sums.nll), tokens + float(sums.tokens)
        assert found_R[r] == pytest.approx(nll / tokens, rel=1e-5)
    assert found_R[0] != found_R[1]


@pytest.mark.long
def test_rows_that_only_fill_a_batch_count_for_nothing(evaluated):
    source, evaluator, params, rows, _ = evaluated

    def padded(split, seeds):
        for batch in source.evaluation(split, seeds):
            filler = jax.tree.map(lambda x: np.zeros_like(x), batch).replace(example_B=np.full((2, 4), -1), length_B=np.full((2, 4), 2))
            yield jax.tree.map(lambda a, b: np.concatenate([a, b], 1), batch, filler)

    found, *_ = evaluation.Evaluator(resolve(TINY), source._replace(evaluation=padded)).tested(params, SEEDS)
    near = [{name: pytest.approx(value, rel=1e-6) if isinstance(value, float) else value for name, value in row.items()} for row in rows]
    assert found == near


@pytest.mark.long
def test_the_example_is_of_the_first_seed_and_the_longest_source_here(evaluated):
    source, _, params, _, example = evaluated
    *_, last = source.evaluation("test", SEEDS)
    first = jax.tree.map(lambda x: x[0], (params, last))
    tokens_BxT, weights_BxTxS, _ = free(*first)
    T = evaluation.end(tokens_BxT[0], 5)
    assert example["source"] == evaluation.spelled(first[1].source_BxS[0], None) == example["target"]
    assert example["output"] == evaluation.spelled(tokens_BxT[0, :T], None)
    np.testing.assert_allclose(example["weights"], weights_BxTxS[0, :T], atol=1e-4)
    np.testing.assert_allclose(np.sum(example["weights"], 1), 1, atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("replica", [0, 1])
def test_alignments_of_forced_rows_by_loops(evaluated, replica):
    source, _, params, rows, _ = evaluated
    alone = jax.tree.map(lambda x: x[replica], params)
    for batch in source.evaluation("test", SEEDS):
        batch = jax.device_get(jax.tree.map(lambda x: x[replica], batch))
        weights_BxTxS = np.asarray(forced(alone, batch).weights_BxTxS, np.float64)
        looks = list(zip(*np.nonzero(batch.target_mask_BxT), strict=True))
        entropy = -sum(w * np.log(w) for b, t in looks for w in weights_BxTxS[b, t] if w > 0)
        at_gold = [weights_BxTxS[b, t, batch.gold_BxT[b, t]] for b, t in looks]
        agreed = [weights_BxTxS[b, t].argmax() == batch.gold_BxT[b, t] for b, t in looks]
        (row,) = [r for r in rows if (r["seed"], r["mode"], r["length"]) == (replica, "forced", int(batch.length_B[0]))]
        assert (batch.gold_BxT[batch.target_mask_BxT] >= 0).all()
        assert row["alignment_entropy"] == pytest.approx(entropy / len(looks), rel=1e-5)
        assert row["alignment_agreement"] == pytest.approx(np.mean(agreed))
        assert row["alignment_mass"] == pytest.approx(np.mean(at_gold), rel=1e-5)
    assert not [row for row in rows if row["mode"] == "free" and "alignment_entropy" in row]


@pytest.mark.long
def test_runs_that_ask_for_the_same_share_their_programs(evaluated):
    source, evaluator, _, _, _ = evaluated
    other = replace(TINY, run="other", training=replace(TINY.training, updates=7, learning_rates=(0.5,)))
    assert evaluation.Evaluator(resolve(other), source).functions(2) is evaluator.functions(2)
    assert evaluation.Evaluator(resolve(replace(TINY, model=replace(TINY.model, start="zero"))), source).functions(
        2
    ) is not evaluator.functions(2)


@pytest.mark.long
def test_a_mechanism_that_looks_at_nothing_has_no_weights():
    config = replace(TINY, model=replace(TINY.model, attention="none"), data=replace(TINY.data, eval_lengths=(2,)))
    rows, example, *_ = evaluation.Evaluator(resolve(config), sources.build(config)).tested(started(config, [3], [0.0]).params, [3])
    assert example["weights"] is None and len(example["source"]) == 3
    assert [row["alignment_entropy"] for row in rows if row["mode"] == "forced"] == [None]


def test_the_example_of_a_field_has_a_target_of_middle_length():
    field, short, long = np.full((1, 1, 36), 7), np.full((1, 1, 40), 5), np.full((1, 1, 40), 6)

    def batch(target_RxBxT, length):
        mask_RxBxT = np.arange(40)[None, None, :] < length
        return Batch(field, field > 0, target_RxBxT, mask_RxBxT, target_RxBxT, np.array([[length]]), np.zeros((1, 1)))

    example = None
    for target, length in ((short, 2), (long, 13), (short, 30)):
        example = evaluation.closer(example, batch(target, length), target[0, 0], np.zeros((40, 36)))
    assert example is not None
    _, source, _, target, weights_TxS = example
    assert len(source) == 36 and target.tolist() == [6] * 13 and weights_TxS.shape == (13, 36)


def test_spelling_and_ends():
    assert evaluation.spelled([4, 5, 14, EOS, PAD, 3, 1], None) == ["0", "1", "10", "⏎", "·", "<unk>", "⇤"]
    assert evaluation.end(np.array([4, PAD, EOS, PAD, EOS]), 9) == 3  # a PAD that the model says is an output like others
    assert evaluation.end(np.array([4, 5]), 9) == 9


@pytest.mark.long
def test_error_rates_of_drawn_signals_are_edits_of_their_words(small_fsdd, tmp_path, monkeypatch):  # noqa: F811
    folder, sha256 = small_fsdd
    monkeypatch.setattr(fsdd, "SHA256", sha256)
    data = DataConfig(task="spoken_digits", longest=2, eval_lengths=(1, 2, 4), eval_examples=4)
    config = replace(TINY, model=replace(TINY.model, encoder="pyramidal", layers=2), data=data)
    source, run = sources.build(config, None, folder, tmp_path), resolve(config)
    evaluator = evaluation.Evaluator(run, source)
    params = started(config, SEEDS, [0.0, 0.0]).params
    tested = evaluator.tested(params, SEEDS)
    for split, rows in (("test", tested.rows), ("test_speaker", tested.further)):
        for batch in source.evaluation(split, SEEDS):
            _, tokens_RxBxT, _ = evaluator.functions(2).free(params, batch)
            for r in range(2):
                pairs = [[spoken_of(tokens_T) for tokens_T in of] for of in zip(tokens_RxBxT[r], batch.target_BxT[r], strict=True)]
                made, words = sum(by_definition(*pair) for pair in pairs), sum(len(target) for _, target in pairs)
                (row,) = [x for x in rows if (x["seed"], x["mode"], x["length"]) == (r, "free", int(batch.length_B[r, 0]))]
                assert (row["edits"], row["reference_symbols"]) == (made, words) and row["error_rate"] == pytest.approx(made / words)
    assert not any("error_rate" in row for row in tested.rows if row["mode"] == "forced")
    assert_files_have_the_error_rates_of_rows(tested, tmp_path)


def assert_files_have_the_error_rates_of_rows(tested, folder):
    """What was written is kept in a file a test set, each seed's own strings, of which anyone can count the errors again."""
    assert list(tested.written) == ["known speakers", fsdd.HELD_OUT]
    for written, rows in zip(tested.written.values(), (tested.rows, tested.further), strict=True):
        hypotheses.write(folder / "hypotheses.gz", written)
        kept = hypotheses.read(folder / "hypotheses.gz")
        assert kept.seeds == ("each its own",) and len(kept.sources) == 2 * 3 * 4 == len(set(kept.sources))
        for row in (row for row in rows if row["mode"] == "free"):
            place = f"seed {row['seed']}, length {row['length']}, example "
            chosen = [i for i, source in enumerate(kept.sources) if source.startswith(place)]
            assert len(chosen) == row["examples"]
            pairs = [(kept.hypotheses[0][i].split(), kept.references[i][0].split()) for i in chosen]
            assert all(len(reference) == row["length"] and set(reference) <= set(fsdd.WORDS) for _, reference in pairs)
            assert sum(by_definition(*map(tuple, pair)) for pair in pairs) == row["edits"]


def spoken_of(tokens_T) -> str:
    """The words of an output as one letter each, up to the first EOS."""
    tokens = [int(token) for token in tokens_T]
    return "".join(chr(ord("a") + token) for token in tokens[: tokens.index(EOS) if EOS in tokens else len(tokens)])
