"""Launchers change where an update runs, never what comes out: parameters, gradients and sums on eight simulated devices."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from attention_jax import training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.system.errors import ConfigError
from attention_jax.training import parallel
from attention_jax.types import FIRST_SYMBOL, Batch, Sums
from benchmarks import devices
from tests.built import built, started

CONFIG = Config(
    model=ModelConfig(hidden_size=6, embedding_size=4, direction="forward", dropout=0.3),
    data=DataConfig(symbols=5),
    training=TrainingConfig(optimizer="sgd", clip=0, warmup=0),
)
"""SGD without clipping, since Adam and clipping forgive gradients that are n times too large."""

pytestmark = pytest.mark.of_cpus("eight devices")

LAUNCHERS = {
    "pmap": parallel.pmapped,
    "shard_map": lambda step: parallel.sharded(step, parallel.data_mesh()),
    "mesh": lambda step: parallel.on_mesh(step, parallel.data_mesh()),
}


def hand_made(seed: int, B: int = 8, S: int = 5, T: int = 4) -> Batch:
    """Random symbols; on eight devices one row each, from nothing to full length."""
    rng = np.random.default_rng(seed)
    count_B = np.array([1, 4, 2, 4, 3, 2, 0, 1] * (B // 8), np.int32)
    source_mask_BxS, target_mask_BxT = (np.arange(size) < count_B[:, None] + size - T for size in (S, T))
    source_mask_BxS[6] = False
    return Batch(
        source_BxS=np.where(source_mask_BxS, rng.integers(FIRST_SYMBOL, 9, (B, S)), 0).astype(np.int32),
        source_mask_BxS=source_mask_BxS,
        target_BxT=np.where(target_mask_BxT, rng.integers(FIRST_SYMBOL, 9, (B, T)), 0).astype(np.int32),
        target_mask_BxT=target_mask_BxT,
        gold_BxT=np.full((B, T), -1, np.int32),
        length_B=count_B,
        example_B=np.arange(B, dtype=np.int32),
    )


BATCHES = [hand_made(seed) for seed in range(3)]


UPDATE = partial(training.train_step, model=built(CONFIG)[0], config=CONFIG.training)


def step_and_gradients(state, batch, axis_name=None):
    """Both in one compilation."""
    grads, _ = training.gradients(state, batch, *built(CONFIG), axis_name)
    state, sums = UPDATE(state, batch, axis_name=axis_name)
    return state, (sums, grads)


def three_steps(launch, state):
    """(parameters after three updates, [(sums, gradients) of each]) on the host."""
    outputs = []
    for batch in BATCHES:
        state, output = launch(state, batch)
        outputs.append(output)
    return jax.device_get((state.params, outputs))


def assert_close(actual, expected):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-6), actual, expected)


@pytest.fixture(scope="module")
def states():
    return started(CONFIG, [7, 0], [0.5, 0.25])


@pytest.fixture(scope="module")
def expected(states):
    """Each seed alone on one device."""
    launch = parallel.jitted(step_and_gradients)
    return [three_steps(launch, parallel.replica(states, r)) for r in range(2)]


def test_eight_devices_are_simulated():
    assert jax.device_count() == parallel.data_mesh().size == 8
    assert parallel.data_mesh(jax.devices()[:2]).size == 2


@pytest.mark.long
def test_what_is_compared_moves(states, expected):
    before, (after, outputs) = jax.device_get(parallel.replica(states, 0).params), expected[0]
    moved = [np.abs(a - b).max() for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)]
    assert min(moved) > 1e-4
    assert {int(sums.tokens) for sums, _ in outputs} == {17}


@pytest.mark.long
@pytest.mark.parametrize("name", LAUNCHERS)
def test_same_parameters_gradients_and_sums(name, states, expected):
    launch = LAUNCHERS[name](step_and_gradients)
    assert_close(three_steps(launch, parallel.replica(states, 0)), expected[0])


@pytest.mark.long
def test_devices_meet_once_in_an_update_and_send_every_parameter_once(states):
    state = parallel.replica(states, 0)
    sent = devices.collectives(parallel.sharded(UPDATE, parallel.data_mesh()).lower(state, BATCHES[0]).compile().as_text())
    numbers = sum(x.size for x in jax.tree.leaves(state.params)) + len(dataclasses.fields(Sums))
    assert sent == {"all-reduce": [4 * numbers]}


@pytest.mark.long
def test_same_side_by_side_with_other_seeds(states, expected):
    launch = jax.jit(parallel.over_seeds(step_and_gradients))
    together = three_steps(lambda states, batch: launch(states, jax.tree.map(lambda x: np.stack([x, x]), batch)), states)
    for r in range(2):
        assert_close(parallel.replica(together, r), expected[r])


@pytest.mark.long
def test_seeds_start_as_they_would_alone(states):
    alone = jax.jit(training.init, static_argnums=(0, 1))(*built(CONFIG), 0, 0.25)
    second = parallel.replica(states, 1)
    assert jax.random.key_data(second.key).tolist() == jax.random.key_data(jax.random.key(0)).tolist()
    jax.tree.map(np.testing.assert_array_equal, (second.params, second.learning_rate), (alone.params, alone.learning_rate))
    assert states.step.shape == (2,)


@pytest.mark.long
def test_seeds_side_by_side_train_as_alone(states, expected):
    mesh = parallel.run_mesh(2)
    states = parallel.spread(states, mesh)
    assert {len(leaf.devices()) for leaf in jax.tree.leaves(states)} == {2}
    launch = parallel.side_by_side(jax.vmap(step_and_gradients), mesh)
    together = three_steps(lambda states, batch: launch(states, jax.tree.map(lambda x: np.stack([x, x]), batch)), states)
    for r in range(2):
        assert_close(parallel.replica(together, r), expected[r])


def test_side_by_side_shares_what_is_not_of_a_seed_and_no_device_talks_to_another():
    def scaled(x_R, factor):
        return factor * x_R

    launch = parallel.side_by_side(scaled, parallel.run_mesh(6), shared=1)
    compiled = launch.lower(np.arange(6.0, dtype=np.float32), np.float32(3)).compile()
    result = compiled(np.arange(6.0, dtype=np.float32), np.float32(3))
    assert result.tolist() == [0, 3, 6, 9, 12, 15] and len(result.devices()) == 6
    assert "jit_scaled" in compiled.as_text().splitlines()[0]  # the name that JAX's log shows
    assert not [name for name in ("all-reduce", "all-gather", "all-to-all", "collective-permute") if name in compiled.as_text()]


@pytest.mark.parametrize("seeds, devices", [(1, 1), (3, 3), (6, 6), (7, 7), (9, 3), (11, 1), (16, 8)])
def test_as_many_devices_as_share_the_seeds_evenly(seeds, devices):
    assert len(parallel.spread(np.zeros((seeds, 2)), parallel.run_mesh(seeds)).devices()) == devices


@pytest.mark.long
@pytest.mark.parametrize("name", LAUNCHERS)
def test_batch_that_devices_cannot_share(name, states):
    batch = jax.tree.map(lambda x: x[:6], BATCHES[0])
    with pytest.raises(ConfigError, match=r"batch_size=6 .* 8 devices"):
        LAUNCHERS[name](UPDATE)(parallel.replica(states, 0), batch)


@pytest.mark.parametrize(("seeds", "hidden_size", "shape"), [(1, 767, (1, 4)), (1, 768, (1, 1)), (2, 768, (2, 1)), (3, 64, (3, 2))])
def test_large_weights_are_read_by_one_device(seeds, hidden_size, shape):
    assert parallel.run_mesh(seeds, 4, hidden_size).devices.shape == shape
