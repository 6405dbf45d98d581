"""Whole models: one variant for every row of every table, one compiled function each, and the properties all must have."""

import dataclasses
import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from attention_jax import attention, encoders, model
from attention_jax.config import ModelConfig, SearchConfig, TrainingConfig
from attention_jax.encoders import recurrent
from attention_jax.layers import cells
from attention_jax.model import search
from attention_jax.system.errors import ConfigError
from attention_jax.training import losses, scheduled
from attention_jax.types import BOS, Batch, Model

B, S, T, V, H, E = 3, 5, 4, 9, 6, 4
SOURCE_LENGTHS, TARGET_LENGTHS = (5, 3, 0), (2, 4, 3)
EXTRA = 2  # columns of padding beyond the longest row
BASE = ModelConfig(hidden_size=H, embedding_size=E, decoder_size=2 * H, attention_size=5)
TABLES = {
    "attention": list(attention.TABLE),
    "cell": list(cells.TABLE),
    "direction": list(recurrent.DIRECTIONS),
    "start": ["zero", "bridge", "backward"],  # in step with the directions: forward has no backward state
    "timing": ["before", "after", "between"],
    "encoder": [name for name, row in encoders.TABLE.items() if not row(dataclasses.replace(BASE, layers=1 + (name == "gnmt")), E).squares],
}


def variant(number: int) -> ModelConfig:
    """Row `number` of every table, tables that are shorter from the start again; the decoder as wide as the memory, as `dot` wants it."""
    rows = {name: table[number % len(table)] for name, table in TABLES.items()}
    if rows["encoder"] in ("pyramidal", "gnmt"):  # their directions are their own
        rows |= {"direction": "both", "start": "bridge", "layers": 2}
    encoder = encoders.build(dataclasses.replace(BASE, **rows), E)
    memory_size, rows["start"] = encoder.memory_size, rows["start"] if encoder.recurs else "bridge"
    return dataclasses.replace(BASE, **rows, decoder_size=memory_size)


VARIANTS = {
    "stacked": dataclasses.replace(BASE, layers=2, residual=True, cell="lstm"),
    "no feedback": dataclasses.replace(BASE, feedback=False, timing="after"),
    "feeding": dataclasses.replace(BASE, feeding=True, timing="after", readout="maxout"),
    "gnmt": dataclasses.replace(BASE, decoder="gnmt", decoder_layers=2, context_gate="both"),
    "copy": dataclasses.replace(BASE, copy=True, tied="all", context_gate="source"),
    "slots": dataclasses.replace(BASE, slots=2, heads=2, attention_size=6, tied="output"),
    "vector": dataclasses.replace(BASE, vector_size=3, attention="summary", cell="lstm", layers=2),
    "slots of a vector": dataclasses.replace(BASE, vector_size=3, slots=2),
    "a cell of its own": dataclasses.replace(BASE, cell="mingru", decoder_cell="lstm"),
} | {" ".join(table[i % len(table)] for table in TABLES.values()): variant(i) for i in range(max(map(len, TABLES.values())))}
SEARCHES = SearchConfig(), SearchConfig("sample", top_k=3, top_p=0.9), SearchConfig("beam", beam_size=3, coverage_penalty=0.1)
EVERY = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def make_batch(extra: int = EXTRA) -> Batch:
    rng = np.random.default_rng(0)
    source_BxS, target_BxT = rng.integers(4, V, (B, S)), rng.integers(4, V, (B, T))
    source_mask_BxS = np.arange(S + extra) < np.array(SOURCE_LENGTHS)[:, None]
    target_mask_BxT = np.arange(T + extra) < np.array(TARGET_LENGTHS)[:, None]
    pad = ((0, 0), (0, extra))
    return jax.tree.map(
        jnp.asarray,
        Batch(
            np.where(source_mask_BxS, np.pad(source_BxS, pad), 0),
            source_mask_BxS,
            np.where(target_mask_BxT, np.pad(target_BxT, pad), 0),
            target_mask_BxT,
            np.full((B, T + extra), -1),
            np.array(SOURCE_LENGTHS),
            np.arange(B),
        ),
    )


def with_garbage(batch: Batch) -> Batch:
    """Tokens where nothing is."""
    return batch.replace(
        source_BxS=jnp.where(batch.source_mask_BxS, batch.source_BxS, V - 1),
        target_BxT=jnp.where(batch.target_mask_BxT, batch.target_BxT, V - 2),
    )


@cache
def built(config: ModelConfig):
    made = model.build(config, V)
    return made, parameters_of(made)


def parameters_of(made: Model, seed: int = 0):
    """Random parameters of a model's shapes, biases included, made without compiling `init`."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(made.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.4, leaf.shape), leaf.dtype), shapes)


@cache
def with_gradients(config: ModelConfig):
    """Jitted: (params, batch) → (outputs, gradient of the sum of losses)."""

    def objective(params, batch):
        outputs = built(config)[0].forced(params, batch)
        return losses.sums(outputs, batch, TrainingConfig(smoothing=0.1)).objective, outputs

    return jax.jit(lambda params, batch: jax.grad(objective, has_aux=True)(params, batch)[::-1])


def assert_equal(a, b):
    assert jax.tree.all(jax.tree.map(np.array_equal, a, b))


def assert_close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=atol), a, b)


def real(outputs, batch: Batch):
    """Logits and weights of real target positions, zero elsewhere."""
    mask_BxTx1 = np.asarray(batch.target_mask_BxT)[:, :, None]
    return np.where(mask_BxTx1, outputs.logits_BxTxV, 0), np.where(mask_BxTx1, outputs.weights_BxTxS, 0)


def per_example(outputs):
    """Its arrays that lead with B."""
    return outputs.logits_BxTxV, outputs.weights_BxTxS, outputs.extra_B


@pytest.mark.long
@pytest.mark.once
@pytest.mark.parametrize("cell", cells.TABLE)
def test_nothing_is_empty(cell):
    """No parameter and nothing that is carried has size 0: jaxlib 0.11.2 ends on such with a segmentation fault, Orbax refuses them."""
    batch = make_batch()
    depths = (1,) if cells.TABLE[cell](E, H).gates else (1, 2)
    axes = (("none", "summary", "additive"), TABLES["timing"], ("stacked", "gnmt"), (False, True), depths)
    for attention_row, timing, decoder, feeding, transition in itertools.product(*axes):
        config = dataclasses.replace(BASE, attention=attention_row, timing=timing, decoder=decoder, feeding=feeding)
        config = dataclasses.replace(config, cell=cell, transition=transition, decoder_layers=2)
        made = model.build(config, V)
        params = jax.eval_shape(made.init, jax.random.key(0))
        _, state = jax.eval_shape(made.start, params, batch.source_BxS, batch.source_mask_BxS)
        assert [path for path, leaf in jax.tree.leaves_with_path((params, state)) if not leaf.size] == [], config


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_parameters_type_is_that_of_all_that_is_computed(config, dtype):
    """With jax_enable_x64, where what is not said is float64: drawn, sampled, forced and searched, forward and backward."""
    with jax.enable_x64(True):
        made, batch = model.build(config, V), make_batch()
        params = jax.eval_shape(made.init, jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params)

        def objective(params, batch, key, share):
            heard_BxT = scheduled.inputs(made, params, batch, key, share)
            outputs = made.forced(params, batch, key, heard_BxT, share)
            return losses.sums(outputs, batch, TrainingConfig(smoothing=0.1, sampling="scheduled")).objective, outputs

        def searched(params, batch):
            source = batch.source_BxS, batch.source_mask_BxS
            return [search.decode(made, params, *source, 5, settings) for settings in SEARCHES]

        share = jax.ShapeDtypeStruct((), jnp.float32)
        traced = [
            jax.make_jaxpr(jax.grad(objective, has_aux=True))(params, batch, jax.random.key(0), share),
            jax.make_jaxpr(searched)(params, batch),
        ]
        results = {aval.dtype.name for one in traced for aval in one.out_avals if jnp.issubdtype(aval.dtype, jnp.inexact)}
        assert results == {dtype}
        if dtype == "float32":
            wide = [equation for one in traced for equation in equations(one.jaxpr) if is_wide(equation)]
            assert not wide, wide[0]


def is_wide(equation) -> bool:
    return any(getattr(v.aval, "dtype", None) == jnp.float64 for v in equation.outvars)


def equations(jaxpr):
    """All of them, those of inner jaxprs too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


@EVERY
def test_a_model_may_be_built_while_something_is_traced(config):
    """Models are kept once they are built: none may hold numbers of a trace that is over."""
    kept = []

    def traced(x):
        kept.append(model.build(config, V))
        return x

    with jax.checking_leaks():
        jax.lax.scan(lambda carry, x: (carry, traced(x)), 0.0, np.zeros(2, np.float32))
    jax.eval_shape(lambda key: kept[0].forced(kept[0].init(key), make_batch()), jax.random.key(0))


@pytest.mark.long
@EVERY
def test_padding_changes_nothing_bit_for_bit(config):
    _, params = built(config)
    batch = make_batch()
    outputs, gradients = with_gradients(config)(params, batch)
    dirty_outputs, dirty_gradients = with_gradients(config)(params, with_garbage(batch))
    assert_equal((real(outputs, batch), outputs.extra_B), (real(dirty_outputs, batch), dirty_outputs.extra_B))
    assert_equal(gradients, dirty_gradients)
    assert not np.where(batch.source_mask_BxS[:, None, :], 0, outputs.weights_BxTxS).any()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((outputs, gradients)))


def with_holes(batch: Batch) -> tuple[Batch, np.ndarray]:
    """(the batch with padding before, between and behind real source positions, tokens in it; where each position went)."""
    rng, width = np.random.default_rng(3), batch.source_BxS.shape[1]
    source_BxS, mask_BxS = np.full((B, width), V - 1), np.zeros((B, width), bool)
    went_BxS = np.zeros((B, width), int)
    for b, n in enumerate(SOURCE_LENGTHS):
        real = np.sort(rng.choice(np.arange(1, width), n, replace=False))
        source_BxS[b, real], mask_BxS[b, real] = batch.source_BxS[b, :n], True
        went_BxS[b] = [*real, *np.flatnonzero(~mask_BxS[b])]
    return batch.replace(source_BxS=jnp.asarray(source_BxS), source_mask_BxS=jnp.asarray(mask_BxS)), went_BxS


@EVERY
def test_padding_may_stand_anywhere_in_a_source(config):
    _, params = built(config)
    batch, went_BxS = with_holes(make_batch())
    outputs, gradients = with_gradients(config)(params, make_batch())
    holes_outputs, holes_gradients = with_gradients(config)(params, batch)
    back = holes_outputs.replace(weights_BxTxS=np.take_along_axis(np.asarray(holes_outputs.weights_BxTxS), went_BxS[:, None], axis=2))
    assert_close((real(back, batch), back.extra_B), (real(outputs, batch), outputs.extra_B))
    assert_close(holes_gradients, gradients)


SETTINGS = {"greedy": SearchConfig(), "beam": SearchConfig("beam", beam_size=2, coverage_penalty=0.1, replace_unknown=True)}


@pytest.mark.long
@pytest.mark.parametrize("method", SETTINGS)
def test_padding_may_stand_anywhere_in_a_search_and_numpy_s_arrays_are_arrays(method):
    config = dataclasses.replace(BASE, encoder="pyramidal", layers=2, window="local_m", window_size=1, copy=True, timing="after")
    made, params = built(config)
    (holes, went_BxS), batch = with_holes(make_batch()), make_batch()
    found = search.decode(made, params, batch.source_BxS, batch.source_mask_BxS, T, SETTINGS[method])
    arguments = jax.tree.map(np.asarray, (params, holes.source_BxS, holes.source_mask_BxS))
    in_holes = search.decode(made, *arguments, T, SETTINGS[method])
    np.testing.assert_array_equal(in_holes.tokens_BxNxT, found.tokens_BxNxT)
    assert_close((in_holes.scores_BxN, in_holes.log_p_BxN), (found.scores_BxN, found.log_p_BxN))
    back_BxNxTxS = np.take_along_axis(np.asarray(in_holes.weights_BxNxTxS), went_BxS[:, None, None], axis=3)
    np.testing.assert_allclose(back_BxNxTxS, found.weights_BxNxTxS, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", ["stacked", "slots"])
def test_numpy_s_arrays_are_arrays(name):
    made, params = built(VARIANTS[name])
    arguments = params, make_batch()
    assert_close(made.forced(*jax.tree.map(np.asarray, arguments)), made.forced(*arguments))


@EVERY
def test_jitted_and_padded_is_eager_and_trimmed(config):
    made, params = built(config)
    (logits_BxTxV, weights_BxTxS), batch = real(with_gradients(config)(params, make_batch())[0], make_batch()), make_batch(extra=0)
    assert_close((logits_BxTxV[:, :T], weights_BxTxS[:, :T, :S]), real(made.forced(params, batch), batch))


@EVERY
def test_forced_is_step_by_step(config):
    made, params = built(config)
    batch = make_batch()
    outputs = jax.device_get(with_gradients(config)(params, batch)[0])
    prepared, state = jax.jit(made.start)(params, batch.source_BxS, batch.source_mask_BxS)
    token_B, step = jnp.full(B, BOS), jax.jit(made.step)
    for t in range(T):
        logits_BxV, weights_BxS, state = step(params, prepared, state, token_B)
        assert_close((logits_BxV, weights_BxS), (outputs.logits_BxTxV[:, t], outputs.weights_BxTxS[:, t]))
        token_B = batch.target_BxT[:, t]


@EVERY
def test_logits_do_not_depend_on_the_present_or_later_targets(config):
    _, params = built(config)
    batch = make_batch()
    outputs = jax.device_get(with_gradients(config)(params, batch)[0])
    for t in (0, 2):
        other = batch.replace(target_BxT=batch.target_BxT.at[:, t:].set((batch.target_BxT[:, t:] + 1) % V))
        changed = jax.device_get(with_gradients(config)(params, other)[0])
        assert_equal(outputs.logits_BxTxV[:, : t + 1], changed.logits_BxTxV[:, : t + 1])
        later_moved = not np.array_equal(outputs.logits_BxTxV[:, t + 1], changed.logits_BxTxV[:, t + 1])
        assert later_moved == config.feedback


@EVERY
def test_examples_do_not_see_each_other(config):
    _, params = built(config)
    order = np.array([2, 0, 1])
    batch = jax.device_get(make_batch())
    outputs, gradients = jax.device_get(with_gradients(config)(params, batch))
    shuffled, other_gradients = with_gradients(config)(params, jax.tree.map(lambda x: x[order], batch))
    assert_close(tuple(x[order] for x in per_example(outputs)), per_example(shuffled))
    assert_close(gradients, other_gradients, atol=1e-4)


@EVERY
def test_large_parameters_give_finite_gradients(config):
    _, params = built(config)
    results = with_gradients(config)(jax.tree.map(lambda p: 1e4 * np.asarray(p), params), make_batch())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))


@EVERY
def test_every_parameter_is_used(config):
    """A gradient for every leaf; with no context and a zero start, none for anything of the source."""
    _, gradients = with_gradients(config)(built(config)[1], make_batch())
    blind = config.attention == "none" and config.start == "zero"
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        of_source = path[0].key in ("source_embedding", "encoder")
        assert np.any(gradient) == (not (blind and of_source) and gradient.size > 0), jax.tree_util.keystr(path)


def test_without_feedback_only_the_first_embedding_is_read():
    config = VARIANTS["no feedback"]
    _, gradients = with_gradients(config)(built(config)[1], make_batch())
    rows_read = np.flatnonzero(np.asarray(gradients["target_embedding"]).any(1))
    np.testing.assert_array_equal(rows_read, [BOS])


@pytest.mark.long
def test_seeds_side_by_side_are_seeds_one_by_one():
    config = variant(1)
    made, params = built(config)
    other = parameters_of(made, seed=1)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, other)
    together = jax.jit(jax.vmap(with_gradients(config), in_axes=(0, None)))(both, make_batch())
    alone = [with_gradients(config)(p, make_batch()) for p in (params, other)]
    assert_close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone), atol=1e-4)


@EVERY
def test_parameters_are_counted_without_being_made(config):
    made, params = built(config)
    assert model.parameters(config, V) == sum(leaf.size for leaf in jax.tree.leaves(params))
    expected = {"source_embedding", "encoder", "decoder", "target_embedding", "logits"}
    assert set(params) == expected - ({"source_embedding"} if config.tied == "all" else set()) | ({"generate"} if config.copy else set())
    assert ("weight" in params["logits"]) == (config.tied == "none")


def test_initialisation_is_a_function_of_its_key():
    made = model.build(dataclasses.replace(BASE, cell="rnn", direction="forward"), V)
    one, same, other = (made.init(jax.random.key(seed)) for seed in (0, 0, 1))
    assert_equal(one, same)
    for (path, p), moved in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
        constant = path[-1].key == "bias"
        assert np.array_equal(p, moved) == constant, jax.tree_util.keystr(path)


def test_names_and_sizes_are_checked_when_the_model_is_built():
    for change, message in [
        ({"cell": "lstmm"}, "did you mean 'lstm'"),
        ({"attention": "adittive"}, "did you mean 'additive'"),
        ({"attention": "dot", "decoder_size": 5}, r"M=12 and H=5.*model\.decoder_size=12"),
    ]:
        with pytest.raises(ConfigError, match=message):
            model.build(dataclasses.replace(BASE, **change), V)
