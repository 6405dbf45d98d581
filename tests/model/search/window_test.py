"""A window of the search: free running attends around the last attended position, in every method; nothing else does."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention, model, training
from attention_jax.attention.sizes import Sizes
from attention_jax.config import Config, ModelConfig, SearchConfig, override_all
from attention_jax.model import search
from attention_jax.model.search import window
from attention_jax.running.resolved import resolve
from attention_jax.system.errors import ConfigError
from attention_jax.types import BOS, Batch
from tests.model.search import small

V, S, T = 9, 8, 6
BASE = ModelConfig(hidden_size=6, embedding_size=5)
MODELS = {
    "additive": {},
    "after": {"timing": "after", "attention": "general"},
    "location_aware": {"attention": "location_aware", "normaliser": "sparsemax", "filter_width": 3},
    "dynamic_convolution": {"attention": "dynamic_convolution", "filter_width": 3},
    "marginal": {"estimator": "marginal", "timing": "after"},
    "gumbel": {"estimator": "gumbel"},
}
METHODS = {
    "greedy": SearchConfig(),
    "sample": SearchConfig("sample", temperature=2.0),
    "beam": SearchConfig("beam", beam_size=3, n_best=2, min_length=3),
}
LIMITS = ((1, 2), (0, 1), (-1, 1), (2, -1), (0, 0))
MASK_BxS = np.array([[True] * S, [False, True, True, False, True, True, False, True], [True] * 2 + [False] * 6, [False] * S])
SOURCE_BxS = np.random.default_rng(0).integers(4, V, MASK_BxS.shape, np.int32) * MASK_BxS


@cache
def parameters(name: str):
    """Large random ones, so that weights are sharp and move about."""
    shapes = jax.eval_shape(model.build(replace(BASE, **MODELS[name]), V).init, jax.random.key(0))
    draw = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0, 1.5, leaf.shape), jnp.float32), shapes)


@cache
def decode(name: str, settings: SearchConfig):
    built = model.build(replace(BASE, **MODELS[name]), V)
    return jax.jit(lambda params: search.decode(built, params, SOURCE_BxS, MASK_BxS, T, settings))(parameters(name))


def inside(last: int, backward: int, forward: int, n: int) -> slice:
    """The window around the `last` of n positions."""
    return slice(0 if backward < 0 else max(0, last - backward), n if forward < 0 else last + forward + 1)


def strays(tokens_T, weights_TxN, backward: int, forward: int) -> bool:
    """Whether an output of one source attends outside its window, up to its end."""
    last = 0
    for weights in weights_TxN[: np.count_nonzero(tokens_T)]:
        if not np.isclose(weights[inside(last, backward, forward, len(weights))].sum(), weights.sum(), rtol=1e-6):
            return True
        np.testing.assert_allclose(weights.sum(), 1, atol=1e-5)
        last = int(weights.argmax())
    return False


CASES = [*((name, "greedy") for name in MODELS), ("additive", "sample"), ("location_aware", "beam")]


@pytest.mark.long
@pytest.mark.parametrize(("name", "method"), CASES)
def test_weights_stay_inside(name, method):
    """Of every output, around its own last position among real ones; without a window they leave it."""
    stray = []
    for backward, forward in LIMITS[:3] if method == "greedy" else LIMITS[:1]:
        settings = replace(METHODS[method], backward_window=backward, forward_window=forward)
        for found, kept in ((decode(name, METHODS[method]), stray), (decode(name, settings), limited := [])):
            assert not found.weights_BxNxTxS[3].any()
            for b in range(3):
                weights_NxTxR = np.asarray(found.weights_BxNxTxS[b])[:, :, MASK_BxS[b]]
                pairs = zip(np.asarray(found.tokens_BxNxT[b]), weights_NxTxR, strict=True)
                kept += [strays(tokens_T, weights_TxR, backward, forward) for tokens_T, weights_TxR in pairs]
        assert not any(limited)
    assert any(stray)


@pytest.mark.parametrize("limits", LIMITS)
def test_weights_are_those_of_all_positions_renormalised(limits, evidence):
    """Additive scores do not depend on the past: a float64 loop cuts and divides the softmax over all of them."""
    config, sizes, (backward, forward) = ModelConfig(score_temperature=0.3), Sizes(6, 4, 5), limits
    full, cut = attention.build(config, sizes), attention.build(config, sizes, limits)
    draw = np.random.default_rng(2)
    shapes = jax.eval_shape(full.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: draw.normal(0, 1, leaf.shape).astype(np.float32), shapes)
    memory_BxSxM, query_BxTxH = (draw.normal(size=shape).astype(np.float32) for shape in ((4, S, 6), (4, T, 4)))

    def weights(mechanism):
        prepared = mechanism.prepare(params, memory_BxSxM, MASK_BxS)
        state, rows = mechanism.initial(prepared), []
        for t in range(T):
            context_BxC, weights_BxS, state, _ = mechanism.attend(params, prepared, state, query_BxTxH[:, t])
            np.testing.assert_allclose(context_BxC, np.einsum("bs,bsm->bm", weights_BxS, memory_BxSxM), atol=1e-5)
            rows.append(weights_BxS)
        return np.stack(rows, 1)

    all_BxTxS, expected_BxTxS = np.float64(weights(full)), np.zeros((4, T, S))
    for b in range(3):
        real, last = np.flatnonzero(MASK_BxS[b]), 0
        for t in range(T):
            near = [j for j in range(len(real)) if (backward < 0 or j >= last - backward) and (forward < 0 or j <= last + forward)]
            for j in near:
                expected_BxTxS[b, t, real[j]] = all_BxTxS[b, t, real[j]] / sum(all_BxTxS[b, t, real[i]] for i in near)
            last = int(expected_BxTxS[b, t, real].argmax())
    evidence("search window", "float64 loop: a softmax, cut and divided by its sum", weights(cut), expected_BxTxS, 1e-4)


@pytest.mark.long
def test_greedy_is_its_own_steps():
    """By hand: the limited model, token after token."""
    limited = model.build(BASE, V).within(1, 2)
    params, token_B, tokens = parameters("additive"), jnp.full(4, BOS), []
    prepared, state = limited.start(params, SOURCE_BxS, MASK_BxS)
    for _ in range(3):
        logits_BxV, _, state = limited.step(params, prepared, state, token_B)
        token_B = logits_BxV.argmax(1)
        tokens.append(token_B)
    settings = SearchConfig(backward_window=1, forward_window=2)
    found = search.decode(model.build(BASE, V), params, SOURCE_BxS, MASK_BxS, 3, settings, stop=False)
    np.testing.assert_array_equal(found.tokens_BxNxT[:, 0], np.stack(tokens, 1))
    assert (found.tokens_BxNxT != decode("additive", SearchConfig()).tokens_BxNxT[:, :, :3]).any()


@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
def test_a_window_over_everything_changes_nothing(method):
    wide = decode("location_aware", replace(METHODS[method], backward_window=S, forward_window=S))
    plain = decode("location_aware", METHODS[method])
    np.testing.assert_array_equal(wide.tokens_BxNxT, plain.tokens_BxNxT)
    np.testing.assert_allclose(wide.weights_BxNxTxS, plain.weights_BxNxTxS, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("heads", [2])
def test_every_head_has_its_own_window(heads):
    """Weights shown are their mean: after one step with no step forward they are all at the first real position, after that within one."""
    built = model.build(replace(BASE, heads=heads), V)
    params = built.init(jax.random.key(0))
    found = search.decode(built, params, SOURCE_BxS, MASK_BxS, 3, SearchConfig(backward_window=0, forward_window=0), stop=False)
    first_BxS = np.eye(S)[MASK_BxS.argmax(1)] * MASK_BxS.any(1)[:, None]
    np.testing.assert_allclose(found.weights_BxNxTxS[:, 0], np.repeat(first_BxS[:, None], 3, 1), atol=1e-6)


@pytest.mark.long
def test_training_and_teacher_forcing_have_no_window():
    """A settings' window reaches `eval_free` alone; parameters are the same."""
    built = model.build(BASE, V)
    limited = built.within(0, 0)
    assert jax.tree.map(jnp.shape, limited.init(jax.random.key(0))) == jax.tree.map(jnp.shape, built.init(jax.random.key(0)))
    assert window.limited(built, SearchConfig()) is built and window.limited(built, SearchConfig(forward_window=0)) is built.within(-1, 0)
    target_BxT = np.full((4, T), 4, np.int32)
    batch = Batch(SOURCE_BxS, MASK_BxS, target_BxT, target_BxT > 0, target_BxT, np.arange(4), np.arange(4))
    settings = SearchConfig(backward_window=0, forward_window=0)
    _, _, free_BxTxS = training.eval_free(parameters("additive"), batch, built, stop=False, settings=settings)
    _, _, forced_BxTxS = training.eval_forced(parameters("additive"), batch, built)
    assert not free_BxTxS[0, :, 1:].any() and forced_BxTxS[0, :, 1:].any()


REFUSED = {
    "attention=none looks nothing up": {"attention": "none"},
    "attention=summary looks nothing up": {"attention": "summary"},
    "normaliser=monotonic moves along the source by itself": {"normaliser": "monotonic"},
    "normaliser=forward moves along the source by itself": {"normaliser": "forward"},
    "window=local_m does so already": {"window": "local_m"},
    "slots=2 leaves segments": {"slots": 2},
    "encoder=image leaves positions without an order": {"encoder": "image"},
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_limited_is_refused(said):
    built = model.build(replace(BASE, **REFUSED[said]), V)
    for settings in (SearchConfig(forward_window=2), SearchConfig("sample", backward_window=0), SearchConfig("beam", forward_window=0)):
        with pytest.raises(
            ConfigError, match=rf"search\.forward_window limit where attention looks, and {said}.*leave both at -1"
        ) as error:
            search.decode(built, {}, SOURCE_BxS, MASK_BxS, T, settings)
        assert "\n" not in str(error.value)


def test_every_reason_is_given_above():
    assert len(attention.combinations.LIMITS) == len({said.partition("=")[0] for said in REFUSED})


def test_a_run_is_refused_before_it_starts():
    asked = override_all(Config(), ["model.attention=summary", "search.forward_window=2"])
    with pytest.raises(ConfigError, match="attention=summary looks nothing up"):
        resolve(asked)
    resolve(override_all(asked, ["model.attention=additive"]))


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match=r"search\.backward_window=-1 and search\.forward_window=3 need a model of `model\.build`"):
        search.decode(small.MODEL, {}, *small.batch([[4]]), T, SearchConfig(forward_window=3))
