"""Sources of fewer bits a symbol: the chain against its transition matrix, its entropy rate from counts, held-out strings of it."""

import dataclasses
import math
from itertools import pairwise, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from attention_jax.config import DataConfig
from attention_jax.data import sources, tasks
from attention_jax.data.tasks import chain, held_out
from attention_jax.system.errors import ConfigError
from attention_jax.types import FIRST_SYMBOL

ASKED = [(16, 0.25), (16, 1.0), (16, 2.0), (16, 3.0), (16, 4.0), (5, 1.7), (2, 0.5), (2, 1.0), (256, 7.9)]
SETTINGS = DataConfig(symbols=4, longest=6, eval_lengths=(3, 6), source_entropy=1.0)


def transitions(share: float, V: int) -> np.ndarray:
    """P[a, b], the probability of b after a, written out."""
    return np.array([[(b == (a + 1) % V) * (1 - share) + share / V for b in range(V)] for a in range(V)])


def drawn(V: int, bits: float, S: int, N: int = 1, key: int = 0) -> np.ndarray:
    keys = jax.random.split(jax.random.key(key), N)
    return np.asarray(jax.jit(jax.vmap(lambda key: chain.draw(key, S, V, chain.share_of(bits, V))))(keys))


@pytest.mark.parametrize(("V", "bits"), ASKED)
def test_the_entropy_rate_is_what_is_asked_for(V, bits):
    """H = Σ_a π_a Σ_b −P_ab log₂ P_ab of the transition matrix, whose stationary distribution π is uniform."""
    P_VxV = transitions(chain.share_of(bits, V), V)
    np.testing.assert_allclose(P_VxV.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.full(V, 1 / V) @ P_VxV, 1 / V, rtol=1e-12)
    assert stats.entropy(P_VxV, base=2, axis=1) == pytest.approx(np.full(V, bits), abs=1e-9)


@pytest.mark.parametrize(("V", "bits"), [(16, 1.0), (16, 3.0), (5, 1.7), (2, 0.5)])
def test_symbols_are_uniform_and_pairs_as_the_chain_has_them(V, bits):
    """Counts of 200,000 symbols and pairs; the conditional entropy of the pairs, with the bias of Miller (1955) taken off."""
    x_S = drawn(V, bits, 200_000)[0]
    P_VxV = transitions(chain.share_of(bits, V), V)
    count_VxV = np.zeros((V, V), int)
    np.add.at(count_VxV, (x_S[:-1], x_S[1:]), 1)
    of_a_V = count_VxV.sum(1)
    assert stats.chisquare(count_VxV.ravel(), (of_a_V[:, None] * P_VxV).ravel()).pvalue > 1e-3
    assert np.abs(np.bincount(x_S, minlength=V) / len(x_S) - 1 / V).max() < 0.02  # symbols of a chain are not independent
    found = (of_a_V / of_a_V.sum()) @ stats.entropy(count_VxV, base=2, axis=1) + V * (V - 1) / (2 * len(x_S) * math.log(2))
    assert found == pytest.approx(bits, abs=0.02)


def test_first_symbols_are_uniform_and_longer_draws_only_append():
    first = drawn(8, 0.5, 5, N=4000)
    assert stats.chisquare(np.bincount(first[:, 0])).pvalue > 1e-3 and stats.chisquare(np.bincount(first[:, 4])).pvalue > 1e-3
    np.testing.assert_array_equal(drawn(8, 0.5, 90, N=4000)[:, :5], first)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_strings_that_count_are_as_many_as_a_flat_source_of_that_entropy_has(length):
    """The entropy of all strings of a length by their probabilities, one by one; a flat source counts all of them."""
    V, bits = 4, 1.3
    P_VxV = transitions(chain.share_of(bits, V), V)
    p = [math.prod([1 / V, *(P_VxV[a, b] for a, b in pairwise(x))]) for x in product(range(V), repeat=length)]
    assert chain.strings(length, V, bits) == math.floor(2 ** stats.entropy(p, base=2) + 1e-9)
    assert chain.strings(length, V, 2.0) == V**length
    assert chain.strings(10**6, 2**20, 20.0) == 2**1000


@pytest.mark.parametrize("name", ["copy", "reverse", "sort", "echo"])
def test_tasks_of_a_chain_are_solved_as_others_are(name):
    data = dataclasses.replace(SETTINGS, task=name)
    task = tasks.build(data)
    sizes = task.source_positions(6), task.target_positions(6)
    batch = tasks.batch(task, jax.random.key(1), jnp.arange(64) % 6 + 1, jnp.arange(64), *sizes)
    for source_S, mask_S, target_T, real_T in zip(
        *jax.device_get((batch.source_BxS, batch.source_mask_BxS)), *jax.device_get((batch.target_BxT, batch.target_mask_BxT)), strict=True
    ):
        assert target_T[real_T].tolist() == task.solve(source_S[mask_S].tolist())
    assert task.vocabulary_size == tasks.build(dataclasses.replace(data, source_entropy=0.0)).vocabulary_size


@pytest.mark.long
def test_held_out_strings_of_a_chain_are_a_sample_of_it():
    """4⁴ strings by their probability, given that the hash holds them out: counts of 4,000 draws."""
    task = held_out.only(tasks.build(SETTINGS), 4, True)
    batch = jax.jit(tasks.batch, static_argnums=(0, 4, 5))(task, jax.random.key(2), jnp.full(4000, 4), jnp.arange(4000), 7, 7)
    found = [tuple(row) for row in (np.asarray(batch.source_BxS)[:, :4] - FIRST_SYMBOL).tolist()]
    every = list(product(range(4), repeat=4))
    sources_NxS = np.pad(np.array(every) + FIRST_SYMBOL, ((0, 0), (0, 1)), constant_values=2)
    held_N = np.asarray(jax.vmap(held_out.hashed)(jnp.asarray(sources_NxS, jnp.int32))) % 4 == 0
    P_VxV = transitions(chain.share_of(1.0, 4), 4)
    p_N = np.array([math.prod([1 / 4, *(P_VxV[a, b] for a, b in pairwise(x))]) for x in every]) * held_N
    expected_N, count_N = 4000 * p_N / p_N.sum(), np.array([found.count(x) for x in every])
    assert not count_N[~held_N].any()
    often = expected_N >= 5
    rest = [[count_N[held_N & ~often].sum()], [expected_N[held_N & ~often].sum()]]
    assert stats.chisquare(*(np.append(x[often], more) for x, more in zip((count_N, expected_N), rest, strict=True))).pvalue > 1e-3


def test_lengths_of_few_likely_strings_are_not_tested():
    """Of 16 symbols and 1 bit each there are 16 · 2ⁿ⁻¹ that count, and 192 are needed: from 5 symbols on, where 2 are enough of 4 bits."""
    data = DataConfig(symbols=16, longest=8, eval_lengths=tuple(range(1, 9)), held_out=4, source_entropy=1.0)
    assert sources.tested_lengths(data) == (5, 6, 7, 8)
    assert sources.tested_lengths(dataclasses.replace(data, source_entropy=4.0)) == (2, 3, 4, 5, 6, 7, 8)
    assert sources.tested_lengths(dataclasses.replace(data, source_entropy=0.0)) == (2, 3, 4, 5, 6, 7, 8)


def test_without_an_entropy_sources_are_what_they_were():
    """The first strings of a key, as they were before there was a chain."""
    task = tasks.build(dataclasses.replace(SETTINGS, source_entropy=0.0))
    key = jax.random.key(5)
    source_S, *_ = task.sample(key, 6, 7, 7)
    np.testing.assert_array_equal(source_S[:6], jax.random.randint(key, (7,), FIRST_SYMBOL, FIRST_SYMBOL + 4, jnp.int32)[:6])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source_entropy": 2.1}, r"data\.source_entropy=2\.1 is impossible: data\.symbols=4 have at most 2 bits each"),
        ({"task": "recall"}, "data.source_entropy=1.0 belongs to data.task='copy', 'reverse', 'sort', 'echo', not to 'recall'"),
        ({"task": "spot"}, "not to 'spot'"),
    ],
)
def test_what_has_no_chain_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        tasks.build(dataclasses.replace(SETTINGS, **changes))
