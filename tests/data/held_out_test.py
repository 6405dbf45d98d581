"""Held-out sources: the hash against plain Python, one in k of every length, and no source in both training and test."""

import dataclasses
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import DataConfig
from attention_jax.data import tasks
from attention_jax.data.tasks import held_out
from attention_jax.types import EOS, FIRST_SYMBOL, PAD

SHARE = 8
SETTINGS = DataConfig(symbols=4, shortest=1, longest=6, eval_lengths=(3, 6))


def plain_hash(tokens: list[int]) -> int:
    h = sum(token * pow(held_out.MULTIPLIER, s, 2**32) for s, token in enumerate(tokens, start=1)) % 2**32
    h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    return h ^ h >> 16


def batches(name: str, test: bool, length: int = 4, examples: int = 400):
    data = dataclasses.replace(SETTINGS, task=name)
    task = held_out.only(tasks.build(data), SHARE, test)
    sizes = task.source_positions(6), task.target_positions(6)
    number_B = jnp.arange(examples)
    return jax.jit(tasks.batch, static_argnums=(0, 4, 5))(task, jax.random.key(1), jnp.full(examples, length), number_B, *sizes)


def test_the_hash_is_that_of_plain_python_whatever_the_padding():
    for tokens in ([5, 4, 7, EOS], [EOS], [4] * 11, []):
        for padding in (0, 1, 5):
            source_S = jnp.array(tokens + [PAD] * padding, jnp.int32)
            assert int(held_out.hashed(source_S)) == plain_hash(tokens)


@pytest.mark.parametrize("length", [4, 5, 6])
def test_one_in_k_of_the_sources_of_each_length(length):
    """Of 4ⁿ strings; the standard deviation is √(4ⁿ · 7) / 8."""
    strings = np.array(list(product(range(FIRST_SYMBOL, FIRST_SYMBOL + 4), repeat=length)))
    sources_NxS = jnp.asarray(np.concatenate([strings, np.full((len(strings), 1), EOS)], axis=1), jnp.int32)
    count = int((jax.vmap(held_out.hashed)(sources_NxS) % SHARE == 0).sum())
    assert abs(count - len(strings) / SHARE) < 4 * np.sqrt(len(strings) * 7) / SHARE


@pytest.mark.parametrize("name", tasks.TABLE)
@pytest.mark.parametrize("test", [False, True])
def test_sources_are_of_the_kind_that_is_asked_for(name, test):
    batch = batches(name, test)
    assert {plain_hash(row) % SHARE == 0 for row in np.asarray(batch.source_BxS).tolist()} == {test}


def test_what_is_drawn_is_uniform_over_its_kind():
    """4⁴ = 256 strings, about 32 of them held out: each is met, none much more often than others."""
    found, counts = np.unique(np.asarray(batches("copy", True, examples=4000).source_BxS), axis=0, return_counts=True)
    kind = [s for s in product(range(4, 8), repeat=4) if plain_hash([*s, EOS]) % SHARE == 0]
    assert len(found) == len(kind)
    assert ((counts - 4000 / len(kind)) ** 2).sum() * len(kind) / 4000 < len(kind) + 5 * np.sqrt(2 * len(kind))


def test_lengths_with_few_held_out_sources_are_not_tested():
    task = tasks.build(dataclasses.replace(SETTINGS, symbols=8))
    assert [length for length in range(1, 8) if held_out.is_tested(task, SHARE, length)] == [3, 4, 5, 6, 7]
    task = tasks.build(dataclasses.replace(SETTINGS, symbols=2))
    assert [length for length in range(1, 12) if held_out.is_tested(task, SHARE, length)] == [9, 10, 11]
    assert held_out.is_tested(task, 0, 1)


@pytest.mark.parametrize("name", tasks.TABLE)
def test_how_many_sources_there_are(name):
    """By drawing until nothing new comes: 4 symbols (2 of a field or of pairs), one payload token or two."""
    data = dataclasses.replace(SETTINGS, task=name, symbols=2, longest=2, eval_lengths=(2,))
    task = tasks.build(data)
    for length in (1, 2):
        sample = jax.jit(
            jax.vmap(lambda key, length=length: task.sample(key, length, task.source_positions(2), task.target_positions(2))[0])
        )
        assert len(np.unique(sample(jax.random.split(jax.random.key(0), 6000)), axis=0)) == task.sources(length)


@pytest.mark.parametrize("name", tasks.TABLE)
def test_sources_of_a_million_places_are_not_counted(name):
    """Of a task whose count raises beyond the length that is enough."""
    task = tasks.build(DataConfig(task=name, longest=1000, eval_lengths=(1000,)))
    counted = []
    most = 1 << 20
    assert held_out.is_tested(task._replace(sources=lambda length: counted.append(length) or task.sources(length)), most, 1000)
    assert counted == [held_out.COUNTED]
    assert task.sources(held_out.COUNTED) <= task.sources(held_out.COUNTED + 1)
