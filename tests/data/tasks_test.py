"""Every row of tasks.TABLE, through the same few compiled shapes, against plain Python that reads only the drawn source."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attention_jax.config import DataConfig
from attention_jax.data import tasks
from attention_jax.system.errors import ConfigError
from attention_jax.types import BOS, EOS, FIRST_SYMBOL, PAD, UNK

SYMBOLS, LONGEST, OUTPUTS, EXAMPLES = 5, 7, 3, 512
KEY = jax.random.key(7)
SETTINGS = DataConfig(symbols=SYMBOLS, shortest=1, longest=LONGEST, eval_lengths=(2, LONGEST), outputs=OUTPUTS)
CASES = {name: dataclasses.replace(SETTINGS, task=name) for name in tasks.TABLE}
CASES["echo, padded"] = dataclasses.replace(SETTINGS, task="echo", padded_output=True)

COPYING = {*"copy reverse sort echo recall cued_recall spot".split(), "echo, padded"}
"""Cases of which every output stands in the source; of a task that computes some, `gold` is -1 there."""

every_case = pytest.mark.parametrize("case", CASES)


def drawn(case, extra_S=0, extra_T=0, examples=EXAMPLES):
    """(task, batch as numpy) with lengths 1 … LONGEST in turn, at the smallest shapes plus `extra`."""
    task = tasks.build(CASES[case])
    example_B = jnp.arange(examples)
    S, T = task.source_positions(LONGEST) + extra_S, task.target_positions(LONGEST) + extra_T
    make = jax.jit(partial(tasks.batch, task, S=S, T=T))
    return task, jax.device_get(make(KEY, example_B % LONGEST + 1, example_B))


@pytest.fixture(scope="module")
def batches():
    return {case: drawn(case) for case in CASES}


BACKGROUND = FIRST_SYMBOL + SYMBOLS  # of spot


@pytest.mark.long
@every_case
def test_targets_are_what_plain_python_makes_of_the_source(batches, case):
    task, batch = batches[case]
    for source_S, mask_S, target_T, mask_T in zip(
        batch.source_BxS, batch.source_mask_BxS, batch.target_BxT, batch.target_mask_BxT, strict=True
    ):
        source = source_S[mask_S].tolist()
        assert source.count(EOS) == task.ends and (not task.ends or source[-1] == EOS)
        assert target_T[mask_T].tolist() == task.solve(source)


@pytest.mark.long
@every_case
def test_counts_are_those_announced_and_padding_is_pad(batches, case):
    task, batch = batches[case]
    for tokens_BxP, mask_BxP, positions in (
        (batch.source_BxS, batch.source_mask_BxS, task.source_positions),
        (batch.target_BxT, batch.target_mask_BxT, task.target_positions),
    ):
        assert mask_BxP.sum(1).tolist() == [positions(int(length)) for length in batch.length_B]
        assert (mask_BxP == (np.arange(mask_BxP.shape[1]) < mask_BxP.sum(1, keepdims=True))).all()
        assert (tokens_BxP[~mask_BxP] == PAD).all()
        assert mask_BxP.shape[1] == mask_BxP.sum(1).max()


@pytest.mark.long
@every_case
def test_gold_points_at_the_token_it_copies(batches, case):
    task, batch = batches[case]
    copied_BxT = ~np.isin(batch.target_BxT, (PAD,) if task.ends else (PAD, EOS))
    gold_BxT, real = batch.gold_BxT, batch.target_mask_BxT & copied_BxT
    assert not ((gold_BxT >= 0) & ~real).any()
    rows, columns = np.nonzero(gold_BxT >= 0)
    positions = gold_BxT[rows, columns]
    assert (batch.source_BxS[rows, positions] == batch.target_BxT[rows, columns]).all()
    assert batch.source_mask_BxS[rows, positions].all()
    if case in COPYING:
        assert ((gold_BxT >= 0) == real).all()
        assert all(len(set(gold_T[gold_T >= 0])) == (gold_T >= 0).sum() for gold_T in gold_BxT), "no source position is copied twice"


@pytest.mark.long
@every_case
def test_symbols_stay_in_the_vocabulary_and_all_occur(batches, case):
    task, batch = batches[case]
    found = set(np.unique(batch.source_BxS[batch.source_mask_BxS]))
    assert found == {*([EOS] * task.ends), *range(FIRST_SYMBOL, task.vocabulary_size)}
    assert not {BOS, UNK} & set(np.unique(batch.target_BxT))
    assert set(range(FIRST_SYMBOL, FIRST_SYMBOL + SYMBOLS)) <= set(np.unique(batch.target_BxT))


@pytest.mark.long
@every_case
def test_padding_changes_nothing(batches, case):
    _, batch = batches[case]
    _, wider = drawn(case, extra_S=9, extra_T=4)
    S, T = batch.source_BxS.shape[1], batch.target_BxT.shape[1]
    for name in ("source_BxS", "source_mask_BxS"):
        np.testing.assert_array_equal(getattr(wider, name)[:, :S], getattr(batch, name))
        assert not getattr(wider, name)[:, S:].any()
    for name in ("target_BxT", "target_mask_BxT", "gold_BxT"):
        np.testing.assert_array_equal(getattr(wider, name)[:, :T], getattr(batch, name))
        np.testing.assert_array_equal(getattr(wider, name)[:, T:], -1 if name == "gold_BxT" else 0)


@pytest.mark.long
@every_case
def test_an_example_depends_on_its_number_only_and_jit_changes_nothing(batches, case):
    task, batch = batches[case]
    some = np.array([3, 11, 200])
    eager = tasks.batch(task, KEY, batch.length_B[some], jnp.asarray(some), batch.source_BxS.shape[1], batch.target_BxT.shape[1])
    jax.tree.map(lambda alone, whole: np.testing.assert_array_equal(alone, whole[some]), eager, batch)


@pytest.mark.long
def test_sorting_is_stable(batches):
    _, batch = batches["sort"]
    for source_S, gold_T, length in zip(batch.source_BxS, batch.gold_BxT, batch.length_B, strict=True):
        assert gold_T[:length].tolist() == sorted(range(length), key=lambda position, source_S=source_S: source_S[position])


@pytest.mark.long
def test_recall_draws_keys_without_replacement_from_their_own_alphabet(batches):
    task, batch = batches["recall"]
    first_key = FIRST_SYMBOL + SYMBOLS
    assert task.vocabulary_size == first_key + LONGEST
    for source_S, length in zip(batch.source_BxS, batch.length_B, strict=True):
        keys, values = source_S[: 2 * length : 2].tolist(), source_S[1 : 2 * length : 2]
        queries = source_S[2 * length : 2 * length + min(OUTPUTS, length)].tolist()
        assert len(set(keys)) == length and min(keys) >= first_key
        assert len(set(queries)) == len(queries) and set(queries) <= set(keys)
        assert values.min() >= FIRST_SYMBOL and values.max() < first_key


@pytest.mark.long
def test_recall_asks_for_every_pair_equally_often(batches):
    _, batch = batches["recall"]
    longest = batch.length_B == LONGEST
    pairs = (batch.gold_BxT[longest, :OUTPUTS] - 1) // 2
    assert stats.chisquare(np.bincount(pairs.ravel(), minlength=LONGEST)).pvalue > 1e-3


@pytest.mark.long
def test_cued_recall_is_recall_with_each_key_before_its_value(batches):
    (_, plain), (_, cued) = batches["recall"], batches["cued_recall"]
    assert cued.source_BxS.tolist() == plain.source_BxS.tolist()
    for target_T, plain_T, source_S, length in zip(cued.target_BxT, plain.target_BxT, plain.source_BxS, plain.length_B, strict=True):
        asked = min(OUTPUTS, length)
        assert target_T[1 : 2 * asked : 2].tolist() == plain_T[:asked].tolist()
        assert target_T[: 2 * asked : 2].tolist() == source_S[2 * length : 2 * length + asked].tolist()


def test_recall_has_a_key_for_every_pair_of_the_longest_evaluated_length():
    task = tasks.build(dataclasses.replace(CASES["recall"], eval_lengths=(2, 30)))
    assert task.vocabulary_size == FIRST_SYMBOL + SYMBOLS + 30


@pytest.mark.long
def test_symbols_are_uniform_and_the_tasks_share_their_sources(batches):
    _, batch = batches["copy"]
    symbols = batch.source_BxS[batch.source_BxS >= FIRST_SYMBOL] - FIRST_SYMBOL
    assert stats.chisquare(np.bincount(symbols)).pvalue > 1e-3
    for name in ("reverse", "sort", "echo", "echo, padded"):
        np.testing.assert_array_equal(batches[name][1].source_BxS, batch.source_BxS)


@pytest.mark.long
def test_echo_pads_with_zeros_that_count(batches):
    _, batch = batches["echo, padded"]
    last = batch.length_B.argmax()
    assert batch.target_mask_BxT[last].all()
    assert batch.target_BxT[last].tolist() == [*batch.source_BxS[last, :OUTPUTS], *[PAD] * (LONGEST - OUTPUTS)]
    assert batch.gold_BxT[last].tolist() == [*range(OUTPUTS), *[-1] * (LONGEST - OUTPUTS)]
    assert not (batch.target_BxT == EOS).any()


@pytest.mark.long
def test_spot_s_field_is_a_square_that_the_longest_evaluated_length_fixes(batches):
    task, batch = batches["spot"]
    assert batch.source_BxS.shape[1] == 6**2 and batch.source_mask_BxS.all()  # ⌈√28⌉ = 6
    assert ((batch.source_BxS != BACKGROUND).sum(1) == batch.length_B).all()
    for longest, side in ((4, 4), (5, 5), (9, 6), (16, 8), (17, 9)):
        data = dataclasses.replace(CASES["spot"], shortest=1, longest=2, eval_lengths=(1, longest))
        assert {tasks.build(data).source_positions(length) for length in (1, longest)} == {side**2}


@pytest.mark.long
def test_spot_covers_every_place_equally_often_with_every_symbol(batches):
    _, batch = batches["spot"]
    covered = batch.source_BxS != BACKGROUND
    assert stats.chisquare(covered.sum(0)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(batch.source_BxS[covered] - FIRST_SYMBOL)).pvalue > 1e-3


def test_lengths_are_uniform_between_shortest_and_longest():
    data = DataConfig(shortest=3, longest=6)
    length_B = np.asarray(tasks.training_lengths(KEY, data, 0, 400))
    assert sorted(set(length_B)) == [3, 4, 5, 6]
    assert stats.chisquare(np.bincount(length_B)[3:]).pvalue > 1e-3
    np.testing.assert_array_equal(tasks.training_lengths(KEY, data, 0, 50), length_B[:50])


GROWING = DataConfig(shortest=2, longest=9, curriculum=10)
growing_lengths = jax.jit(lambda step: tasks.training_lengths(jax.random.fold_in(KEY, step), GROWING, step, 256))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_the_curriculum_lets_the_longest_grow_in_proportion_to_the_step(step):
    longest = 2 + 7 * min(step, 10) // 10
    assert sorted(set(np.asarray(growing_lengths(step)))) == list(range(2, longest + 1))


def test_the_curriculum_begins_at_the_shortest_and_ends_at_the_longest():
    assert [int(growing_lengths(step).max()) for step in (0, 1, 2, 5, 9, 10, 11, 10**6)] == [2, 2, 3, 5, 8, 9, 9, 9]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"task": "copyy"}, "did you mean 'copy'"),
        ({"task": ""}, "copy, reverse, sort, echo, recall, cued_recall, spot"),
        ({"task": "copy", "padded_output": True}, "belongs to data.task='echo'"),
        ({"task": "copy", "curriculum": 10**9}, "at most 357913941"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        tasks.build(dataclasses.replace(SETTINGS, **changes))
