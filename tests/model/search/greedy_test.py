"""Greedy decoding against a plain Python loop, with a scripted model whose outputs are known and with real ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax import model
from attention_jax.config import ModelConfig, SearchConfig
from attention_jax.model import search
from attention_jax.model.search.greedy import greedy
from attention_jax.types import BOS, EOS, PAD, Model
from tests.model.search import small

B, S, T, V = 3, 5, 6, 6


def scripted_step(script_BxT, prepared, state_B, token_B, keys_B=None):
    """Says script[i] at step i, whatever it hears, and looks at source position i."""
    return jax.nn.one_hot(script_BxT[jnp.arange(B), state_B], V), jax.nn.one_hot(state_B, S), state_B + 1


SCRIPTED = Model(None, None, lambda params, source_BxS, mask_BxS: (None, jnp.zeros(B, jnp.int32)), scripted_step)
SOURCE_BxS = jnp.full((B, S), 4)
decode = jax.jit(lambda script_BxT, stop: greedy(small.steps_of(SCRIPTED, script_BxT, SOURCE_BxS, SOURCE_BxS > 0), T, stop))


@given(st.lists(st.lists(st.integers(0, V - 1), min_size=T, max_size=T), min_size=B, max_size=B), st.booleans())
def test_a_row_ends_with_its_first_end_of_sequence(script, stop):
    tokens_BxT, weights_BxTxS, log_p_B = decode(jnp.array(script), stop)
    for b, row in enumerate(script):
        length = row.index(EOS) + 1 if stop and EOS in row else T
        np.testing.assert_array_equal(tokens_BxT[b], row[:length] + [PAD] * (T - length))
        np.testing.assert_array_equal(weights_BxTxS[b, :length], np.eye(T, S)[:length])
        assert not weights_BxTxS[b, length:].any()
        assert log_p_B[b] == pytest.approx(length * (1 - np.log(np.e + V - 1)), rel=1e-5)


@pytest.mark.parametrize("script, expected", [([4, 4, EOS, 4, 4, 4], 3), ([4, 4, 4, 4, 4, 4], T), ([EOS] * T, 1)])
def test_the_loop_ends_when_every_row_has(script, expected):
    steps = []

    def counted_step(*arguments):
        jax.debug.callback(lambda: steps.append(1))
        return scripted_step(*arguments)

    greedy(small.steps_of(SCRIPTED._replace(step=counted_step), jnp.array([script] * B), SOURCE_BxS, SOURCE_BxS > 0), T)
    jax.effects_barrier()
    assert len(steps) == expected


@pytest.mark.parametrize("min_length", [1, 3, T])
def test_no_end_before_the_least_length(min_length):
    script_BxT = jnp.array([[EOS] * T, [4, EOS, 4, EOS, 5, EOS], [4] * T])
    tokens_BxT, _, _ = greedy(small.steps_of(SCRIPTED, script_BxT, SOURCE_BxS, SOURCE_BxS > 0), T, min_length=min_length)
    for said, row in zip(np.asarray(tokens_BxT), np.asarray(script_BxT), strict=True):
        first = next((t for t in range(min_length, T) if row[t] == EOS), T - 1)
        # where EOS may not be said, all other tokens are equally likely and the first of them is
        wanted = [PAD if token == EOS and t < min_length else token for t, token in enumerate(row)]
        np.testing.assert_array_equal(said, wanted[: first + 1] + [PAD] * (T - 1 - first))


def source():
    rng = np.random.default_rng(0)
    mask_BxS = np.arange(S) < np.array([5, 3, 0])[:, None]
    return jnp.asarray(np.where(mask_BxS, rng.integers(4, V, (B, S)), PAD)), jnp.asarray(mask_BxS)


def python_loop(start, step, params, stop: bool):
    """Example by example, one step at a time, as one would explain it."""
    tokens, weights, log_p = np.full((B, T), PAD), np.zeros((B, T, S)), np.zeros(B)
    source_BxS, mask_BxS = source()
    for b in range(B):
        prepared, state = start(params, source_BxS[b : b + 1], mask_BxS[b : b + 1])
        token = BOS
        for t in range(T):
            logits_1xV, weights_1xS, state = step(params, prepared, state, jnp.array([token]))
            logits_V = np.asarray(logits_1xV, np.float64)[0]
            token = int(logits_V.argmax())
            tokens[b, t], weights[b, t] = token, np.asarray(weights_1xS)[0]
            log_p[b] += logits_V[token] - np.log(np.exp(logits_V).sum())
            if stop and token == EOS:
                break
    return tokens, weights, log_p


@pytest.mark.long
def test_greedy_is_a_loop_over_steps_for_seeds_side_by_side(evidence):
    built = model.build(ModelConfig(hidden_size=6, embedding_size=4), V)
    shapes, rng = jax.eval_shape(built.init, jax.random.key(0)), np.random.default_rng(1)
    params = [jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.7, leaf.shape), leaf.dtype), shapes) for _ in range(3)]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    decode = jax.jit(jax.vmap(lambda params, stop: greedy(small.steps_of(built, params, *source()), T, stop), in_axes=(0, None)))
    start, step = jax.jit(built.start), jax.jit(built.step)
    for stop in (True, False):
        tokens_RxBxT, weights_RxBxTxS, log_p_RxB = decode(together, stop)
        expected = [python_loop(start, step, p, stop) for p in params]
        np.testing.assert_array_equal(tokens_RxBxT, [tokens for tokens, _, _ in expected])
        np.testing.assert_allclose(weights_RxBxTxS, [weights for _, weights, _ in expected], atol=1e-5)
        evidence("search=greedy", "a Python loop over steps, log p in float64", log_p_RxB, [log_p for *_, log_p in expected])
        rows_that_end = (tokens_RxBxT == EOS).any(2)
        assert rows_that_end.any() and not rows_that_end.all(), "the example shows both kinds of row"


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_seeds_side_by_side_go_on_while_any_does_and_select_nothing(method):
    """A condition of each seed's own would have every step choose, by a select over all weights, between what is old and what is new."""
    built = model.build(ModelConfig(hidden_size=6, embedding_size=4), V)
    shapes = jax.eval_shape(lambda keys: jax.vmap(built.init)(keys), jax.random.split(jax.random.key(0), 3))
    settings = SearchConfig(method=method)
    traced = jax.make_jaxpr(jax.vmap(lambda params: search.decode(built, params, *source(), T, settings).tokens_BxNxT))(shapes)
    (loop,) = (equation for equation in traced.eqns if equation.primitive.name == "while")
    condition = loop.params["cond_jaxpr"]
    assert [out.aval.shape for out in condition.jaxpr.outvars] == [()]
    reductions = [equation.invars[0].aval.shape for equation in condition.jaxpr.eqns if equation.primitive.name == "reduce_or"]
    assert [shape[0] for shape in reductions] == [3], "of all seeds at once"
    counts = [v.aval for v in loop.outvars if v.aval.shape == () and v.aval.dtype == jnp.int32]
    assert len(counts) == 1, "the position is the same for all seeds"
