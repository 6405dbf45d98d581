"""The path through cuDNN against our loop: on a GPU the real one, elsewhere with a stand-in for cuDNN itself (conftest.py)."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from attention_jax import encoders, training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.encoders import cudnn
from attention_jax.layers import cells, precision, recurrence
from attention_jax.running.resolved import resolve
from attention_jax.system.errors import ConfigError
from attention_jax.training import compiled
from tests.built import built

B, T, E, H, R = 4, 6, 3, 5, 2
LENGTHS = jnp.array([6, 4, 1, 0])
MASK = jnp.arange(T)[None, :] < LENGTHS[:, None]


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def lstm_and_params(seed: int = 0):
    cell = cells.lstm(E, H)
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    return cell, jax.tree.map(lambda leaf: 0.5 * random(*leaf.shape, seed=leaf.size + seed), shapes)


def passes(run, cell, mask_BxT, reverse: bool = False):
    """(params, inputs) → (outputs, gradients of a random linear functional of them)."""

    def both(params, inputs_BxTxE):
        outputs, backward = jax.vjp(lambda *x: run(cell, *x, mask_BxT, reverse), params, inputs_BxTxE)
        return outputs, backward(jax.tree.map(lambda x: random(*x.shape, seed=7), outputs))

    return both


def assert_close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), a, b)


@pytest.mark.long
def test_values_are_those_of_our_loop(cudnn_anywhere, evidence):
    cell, params = lstm_and_params()
    ours, theirs = (run(cell, params, random(B, T, E, seed=1), MASK) for run in (recurrence.run, cudnn.run))
    evidence("cell=lstm", "jax.experimental.rnn: reference of cuDNN's LSTM, outputs", ours[0], theirs[0])
    assert not theirs[0][3].any() and not theirs[1][3].any(), "a row of length 0"


SHARED = [axes for axes in itertools.product((0, None), repeat=2) if 0 in axes]


@pytest.mark.long
@pytest.mark.parametrize("axes", SHARED, ids=["nothing is shared", "inputs are shared", "weights are shared"])
def test_seeds_are_seeds_one_by_one(axes, cudnn_anywhere):
    """Gradients within each seed, and of what the seeds share, summed over them."""
    cell, params = lstm_and_params()
    _, others = lstm_and_params(seed=1)
    params = params if axes[0] is None else jax.tree.map(lambda *seeds: jnp.stack(seeds), params, others)
    inputs = random(B, T, E, seed=1) if axes[1] is None else random(R, B, T, E, seed=1)
    ours, theirs = (jax.jit(jax.vmap(passes(run, cell, MASK), axes))(params, inputs) for run in (recurrence.run, cudnn.run))
    assert_close(ours, theirs)

    def total(run):
        def of(params, inputs):
            h, last = jax.vmap(lambda params, inputs: run(cell, params, inputs, MASK), axes)(params, inputs)
            return (h * random(*h.shape, seed=3)).sum() + (last**2).sum()

        return jax.jit(jax.grad(of, (0, 1)))(params, inputs)

    assert_close(total(recurrence.run), total(cudnn.run))


@pytest.mark.long
def test_masks_may_differ_from_seed_to_seed(cudnn_anywhere):
    cell, params = lstm_and_params()
    masks = jnp.stack([MASK, MASK[::-1, ::-1]])
    ours, theirs = (
        jax.vmap(lambda mask_BxT, run=run: passes(run, cell, mask_BxT, True)(params, random(B, T, E)))(masks)
        for run in (recurrence.run, cudnn.run)
    )
    assert_close(ours, theirs)


def tiny(loop: str, **updates) -> Config:
    return Config(
        model=ModelConfig(cell="lstm", loop=loop, hidden_size=4, embedding_size=3),
        data=DataConfig(longest=4, eval_lengths=(4,)),
        training=TrainingConfig(batch_size=2, precision="highest", **updates),
    )


@pytest.mark.long
def test_a_run_of_seeds_trains(cudnn_anywhere):
    """By the program that the loop of training calls: seeds side by side on devices, vectorised on each, four updates in one program."""

    def trained(loop: str):
        config = tiny(loop, seeds=R)
        states = compiled.start(resolve(config), list(range(R)), [1e-2] * R).states
        states, losses_UxR = compiled.advance(resolve(config), sources.build(config))(states, list(range(R)), 0, 4)
        return losses_UxR, jax.device_get(states.params)

    assert_close(trained("scan"), trained("cudnn"))


def operations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from operations(inner)


@pytest.mark.long
@pytest.mark.parametrize(("name", "tf32"), [("highest", False), ("tf32", True)])
def test_both_passes_have_the_precision_of_the_products_around_them(name, tf32, cudnn_anywhere):
    config = dataclasses.replace(tiny("cudnn"), training=TrainingConfig(batch_size=2, precision=name))
    state = training.init(*built(config), 0, 1e-3)
    batch = sources.build(config).sample(state.key, 0)
    jaxpr = jax.make_jaxpr(lambda state, batch: training.train_step(state, batch, *built(config)))(state, batch)
    found = [e for e in operations(jaxpr.jaxpr) if e.primitive.name in ("rnn_fwd", "rnn_bwd")]
    assert [e.primitive.name for e in found] == ["rnn_fwd", "rnn_fwd", "rnn_bwd", "rnn_bwd"], "both directions, both passes"
    assert {e.params["cudnn_allow_tf32"] for e in found} == {tf32}


def test_what_says_nothing_is_tf32_as_other_products_are(cudnn_anywhere):
    assert precision.current() == "tf32"
    cell, params = lstm_and_params()
    jaxpr = jax.make_jaxpr(passes(cudnn.run, cell, MASK))(params, random(B, T, E))
    assert {e.params["cudnn_allow_tf32"] for e in operations(jaxpr.jaxpr) if "cudnn_allow_tf32" in e.params} == {True}


def test_ones_and_zeros_are_no_mask():
    cell = cells.lstm(E, H)
    with pytest.raises(ConfigError, match=r"a mask is of bools.*give mask != 0"):
        cudnn.run(cell, cell.init(jax.random.key(0)), random(B, T, E), MASK.astype(jnp.int32))


def test_other_types_are_refused():
    cell, params = lstm_and_params()
    with pytest.raises(ConfigError, match=r"computes in float32, not in bfloat16: set model\.loop=scan"):
        cudnn.run(cell, jax.tree.map(lambda w: w.astype(jnp.bfloat16), params), random(B, T, E), MASK)


@pytest.mark.parametrize("change", [{"cell": "gru"}, {"transition": 2}])
def test_what_cudnn_lacks_is_refused(change, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(ConfigError, match=r"model\.cell=lstm alone"):
        encoders.build(dataclasses.replace(ModelConfig(cell="lstm", loop="cudnn"), **change), E)


def test_an_image_has_no_recurrence():
    with pytest.raises(ConfigError, match=r"model\.encoder=image has none"):
        encoders.build(ModelConfig(cell="lstm", loop="cudnn", encoder="image"), E)
