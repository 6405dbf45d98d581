"""Every stream is drawn from once: what a run draws, of every row of every table, recorded by a generator that tells its keys.

The generator derives keys as JAX does, split(key)[n] being fold_in(key, n), but by few operations: JAX's own take long to compile.
"""

import dataclasses
import math
from collections import Counter

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention, config, encoders, training
from attention_jax.adapters.linen.attention import Attention
from attention_jax.adapters.linen.encoder import Encoder
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, TrainingConfig
from attention_jax.data import sources, tasks
from attention_jax.data.corpora import buckets
from attention_jax.layers import cells, keys
from attention_jax.model import search
from attention_jax.running.resolved import resolve
from tests.built import built

B, S, H, DEEP = 2, 4, 4, 22  # DEEP: layers enough for numbers of streams to meet, were they added up
DATA = DataConfig(longest=S - 1, eval_lengths=(S - 1,), eval_examples=128)
FIELD = dataclasses.replace(DATA, task="spot", longest=1, eval_lengths=(1,))
BASE = Config(data=DATA, training=TrainingConfig(batch_size=B, updates=4, sampling="free"))
SMALL = ModelConfig(hidden_size=H, embedding_size=2, dropout=0.5)
AFTER = {"timing": "after", "start": "zero"}
TABLES = {
    "encoder": encoders.TABLE,
    "cell": cells.TABLE,
    "attention": attention.SCORES,
    "normaliser": attention.NORMALISERS,
    "window": attention.WINDOWS,
    "estimator": attention.ESTIMATORS,
}
CASES = {
    "recurrent": {"layers": 3, "cell": "rnn", "decoder_layers": 3, "heads": 2, "estimator": "reinforce", "mixing": 0.5},
    "gnmt": {"layers": 3, "cell": "lstm", "attention": "gaussian", "normaliser": "exponential", "feeding": True},
    "pyramidal": {"layers": 2, "cell": "gru_before", "attention": "coverage", "fertility": 2.0, "estimator": "gumbel", "heads": 2},
    "convolutional": {"layers": DEEP, "convolutions": 3, "cell": "rnn", "direction": "forward", "window": "local_m"},
    "image": {"convolutions": 3, "attention": "cosine", "normaliser": "sparsemax", "estimator": "straight_through", "copy": True},
    "mingru": {"cell": "mingru", "attention": "location", "normaliser": "monotonic", "heads": 2, "timing": "between"},
    "minlstm": {"cell": "minlstm", "attention": "general", "normaliser": "mocha"},
    "diagonal": {"cell": "diagonal", "attention": "scaled_dot", "normaliser": "entmax15", "estimator": "marginal", "decoder_size": 2 * H}
    | AFTER,
    "variational": {"attention": "weight_normalised", "normaliser": "entmax", "estimator": "variational", "transition": 2} | AFTER,
    "location_aware": {"attention": "location_aware", "normaliser": "smoothing", "window": "local_p", "context_gate": "both"},
    "slots": {"attention": "dot", "slots": 2, "decoder_size": 2 * H, "estimator": "reinforce", "baseline": "learned"},
    "concat": {"attention": "concat", "cell": "gru", "readout": "maxout", "tied": "all"},
}
"""Rows of every table, and several of what there can be several of."""


def model_of(name: str) -> ModelConfig:
    encoder = name if name in encoders.TABLE else "recurrent"
    return dataclasses.replace(SMALL, **{"encoder": encoder} | CASES[name])


def new_rows() -> dict[str, dict]:
    """A case for each row that is in none of `CASES`."""
    models = [model_of(name) for name in CASES]
    used = {axis: {getattr(model, axis) for model in models} for axis in TABLES}
    new = [(axis, row) for axis, table in TABLES.items() for row in table if row not in used[axis]]
    return {f"{axis}={row}": {axis: row, "decoder_size": 2 * H} for axis, row in new}


CASES |= new_rows()


@pytest.fixture
def drawn(monkeypatch):
    """() → {key: how often bits were drawn from it} so far. A draw counts when it is made, not when it is traced."""
    found, new_key = [], jax.random.key

    def below(key, number):
        first = mixed(key[0] + number)
        second = mixed(key[1] ^ first)
        return jnp.stack([first ^ mixed(second), second])

    def split(key, shape):
        return jax.vmap(below, (None, 0))(key, jnp.arange(math.prod(shape), dtype=jnp.uint32)).reshape(*shape, 2)

    def bits(key, width, shape):
        jax.debug.callback(lambda words: found.append(tuple(words.tolist())), key)
        return mixed(key[0] + jnp.arange(math.prod(shape), dtype=f"uint{width}")).reshape(shape)

    telling = jax.extend.random.define_prng_impl(
        key_shape=(2,),
        seed=lambda seed: below(jnp.zeros(2, jnp.uint32), seed.astype(jnp.uint32)),
        split=split,
        random_bits=bits,
        fold_in=lambda key, number: below(key, number.astype(jnp.uint32)),
    )
    monkeypatch.setattr(jax.random, "key", lambda seed: new_key(seed, impl=telling))
    sources._validation.cache_clear()
    sources._test.cache_clear()

    def counted():
        jax.effects_barrier()
        return Counter(found)

    yield counted
    sources._validation.cache_clear()
    sources._test.cache_clear()


def mixed(x_uint32):
    """Other bits, one for one: two steps of MurmurHash3's finaliser."""
    x_uint32 = x_uint32 + np.uint32(0x9E3779B9)  # 0 is not to stay 0
    x_uint32 = (x_uint32 ^ (x_uint32 >> 16)) * np.uint32(0x85EBCA6B)
    return (x_uint32 ^ (x_uint32 >> 13)) * np.uint32(0xC2B2AE35)


def twice(counts: Counter) -> set:
    return {key for key, count in counts.items() if count > 1}


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_no_stream_of_a_run_is_drawn_from_twice(name, drawn):
    """Parameters, and two updates with dropout and sampled inputs; of the first case also all data, and sampled outputs with its seed.

    Of marginal and variational, all places that are tried for a look are read with the same dropout: one readout, many contexts.
    """
    made = dataclasses.replace(BASE, model=model_of(name), data=FIELD if encoders.build(model_of(name), H).squares else DATA)
    source, model = sources.build(made), resolve(made).model
    state = jax.jit(lambda: training.init(*built(made), 0, 0.1))()

    @jax.jit
    def update(state):
        batch = source.sample(state.key, state.step)
        return training.forward(state.params, state, batch, *built(made)), batch

    parameters = sum(drawn().values())
    for step in range(2):
        _, batch = update(state.replace(step=jnp.asarray(step)))
    if name == "recurrent":
        for split in ("validation", "test"):
            list(source.evaluation(split, [0]))
        sampled = SearchConfig(method="sample", draw_seed=0)
        search.decode(model, state.params, batch.source_BxS, batch.source_mask_BxS, 2, sampled, stop=False)
    meant = set()
    if made.model.estimator in ("marginal", "variational"):
        examples = [keys.each(keys.fold(state.key, keys.OfSeed.UPDATES, step), jnp.arange(B)) for step in range(2)]
        readout = np.concatenate([jax.random.key_data(keys.fold(keys_B, keys.OfExample.READOUT)) for keys_B in examples])
        meant = set(map(tuple, readout.tolist()))
    counts = drawn()
    assert parameters and sum(counts.values()) > parameters + 2 * (B + 3 * B + (S - 1) * B), "not all was recorded"
    assert twice(counts) == meant


def test_every_row_is_among_the_cases():
    models = [model_of(name) for name in CASES]
    for name, table in TABLES.items():
        assert {getattr(model, name) for model in models} == set(table)


@pytest.mark.long
@pytest.mark.parametrize("task", tasks.TABLE)
def test_no_stream_of_a_tasks_data_is_drawn_from_twice(task, drawn):
    """Of two runs' seeds and a pilot's; test examples share their draws with those of other lengths, so there is one length."""
    made = dataclasses.replace(BASE, data=dataclasses.replace(DATA, task=task, eval_examples=8))
    source, seeds = sources.build(made), [0, 1, config.PILOT_SEED]
    sample = jax.jit(source.sample)
    for seed in seeds:
        for step in range(3):
            sample(jax.random.key(seed), step)
    for split in ("validation", "test"):
        list(source.evaluation(split, seeds))
    counts = drawn()
    assert sum(counts.values()) >= 3 * (2 + 256 + 8) and not twice(counts)


@pytest.mark.long
def test_a_module_draws_from_no_stream_twice(drawn):
    """Two calls of each module, with the streams that Flax numbers."""
    inputs_BxSxE = jnp.ones((B, S, H))
    encoder = Encoder(hidden_size=H, layers=3, dropout=0.5, encoder="convolutional", convolutions=3)
    look = Attention(normaliser="monotonic", heads=2)
    for module, arguments, stream in ((encoder, (inputs_BxSxE,), "dropout"), (look, (inputs_BxSxE, inputs_BxSxE), "attention")):
        variables = module.init(jax.random.key(0), *arguments)
        run = jax.jit(
            lambda key, module=module, variables=variables, arguments=arguments, stream=stream: module.apply(
                variables, *arguments, deterministic=False, rngs={stream: key}
            )
        )
        for seed in (1, 2):
            run(jax.random.key(seed))
    counts = drawn()
    assert sum(counts.values()) > 2 * B * (5 + S) and not twice(counts)


def test_orders_of_a_corpus_are_drawn_from_numbers_of_their_own(monkeypatch):
    """Of buckets and of the examples in them, seeds and epochs apart."""
    made = Counter()
    generator = np.random.default_rng

    def telling(entropy):
        made[tuple(np.random.SeedSequence(entropy).generate_state(4).tolist())] += 1
        return generator(entropy)

    monkeypatch.setattr(np.random, "default_rng", telling)
    sizes, ends = (4, 8), np.arange(40, dtype=np.int32) % 8 + 1
    start = np.cumsum(ends) - ends
    members = buckets._members(ends, ends, sizes)
    encoded = buckets.Encoded(np.ones(ends.sum(), np.int32), start, ends, np.ones(ends.sum(), np.int32), start, ends, ends, members)
    buckets._permutation.cache_clear()
    epochs, seeds = 3, [0, 1, 2]
    for step in range(epochs * buckets.batches_per_epoch(encoded, B)):
        buckets.train_batch(encoded, sizes, B, seeds, step)
    assert len(made) == epochs * (1 + len(seeds) * len(sizes)) and not twice(made)


def test_runs_begun_before_streams_had_names_go_on():
    """The numbers of what every run draws from, folds and all."""
    key, fold = jax.random.key(3), jax.random.fold_in
    update = fold(fold(key, 1), 7)
    example = fold(update, 5)
    old = {
        (keys.OfSeed.PARAMETERS,): fold(key, 0),
        (keys.OfSeed.UPDATES, 7): update,
        (keys.OfSeed.TRAINING_DATA, 7): fold(fold(key, 2), 7),
        (keys.OfSeed.TEST_DATA,): fold(key, 3),
        (keys.OfSeed.VALIDATION_DATA,): fold(key, 4),
        (keys.OfSeed.UPDATES, 7, keys.OfUpdate.SAMPLED_INPUTS): fold(update, 10**9),
        (keys.OfSeed.UPDATES, 7, 5, keys.OfExample.SOURCE_EMBEDDINGS): fold(example, 1),
        (keys.OfSeed.UPDATES, 7, 5, keys.OfExample.TARGET_EMBEDDINGS): fold(example, 2),
        (keys.OfSeed.UPDATES, 7, 5, keys.OfExample.READOUT): fold(example, 3),
        (keys.OfSeed.UPDATES, 7, 5, keys.OfExample.START): fold(example, 4),
        (keys.OfSeed.UPDATES, 7, 5, keys.OfExample.POSITIONS, 2, keys.OfLook.DRAW): fold(fold(fold(example, 0), 2), 1),
        (keys.OfSeed.UPDATES, 7, 5, keys.OfExample.POSITIONS, 2, keys.OfLook.NOISE): fold(fold(fold(example, 0), 2), 0),
    }
    assert all(keys.fold(key, *places) == expected for places, expected in old.items())


def test_keys_of_any_shape():
    keys_2x3 = jax.random.split(jax.random.key(0), (2, 3))
    each_2x3x4, fold = keys.each(keys_2x3, jnp.arange(4)), jax.random.fold_in
    assert each_2x3x4.shape == (2, 3, 4) and each_2x3x4[1, 2, 3] == fold(keys_2x3[1, 2], 3)
    assert keys.fold(keys_2x3, 5, 6)[1, 2] == fold(fold(keys_2x3[1, 2], 5), 6) and keys.fold(None, 5) is None
    old = jax.random.PRNGKey(1)
    assert (keys.each(old, jnp.arange(2)) == keys.each(jax.random.key(1), jnp.arange(2))).all()
