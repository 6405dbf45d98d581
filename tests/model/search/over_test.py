"""Searches over steps of other people: every way to write one, against an enumeration of all outputs in plain Python."""

import itertools
from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attention_jax import model
from attention_jax.config import ModelConfig, SearchConfig
from attention_jax.model import search
from attention_jax.model.search import top_k
from attention_jax.model.search.one_output import Special
from attention_jax.system.errors import ConfigError
from attention_jax.types import BOS, EOS, PAD
from tests.model.search import small

B, V, T, H = 2, 4, 3, 3
FULL = V**T
METHODS = {"greedy": SearchConfig(), "sample": SearchConfig("sample"), "beam": SearchConfig("beam", beam_size=3, n_best=2)}


def table(seed: int = 0) -> np.ndarray:
    """Logits of row b at position i after token v: no two of them alike."""
    return np.random.default_rng(seed).normal(0, 2, (B, T, V, V)).astype(np.float32)


class Linen(nn.Module):
    """A recurrent step whose carry is a dict."""

    @nn.compact
    def __call__(self, state, token_B):
        h_BxH = nn.tanh(nn.Dense(H)(jnp.concatenate([state["h"], nn.Embed(V, H)(token_B)], axis=1)))
        return nn.Dense(V)(h_BxH) * 3, {"h": h_BxH, "i": state["i"] + 1}


class NNX(nnx.Module):
    """The same in NNX, with a GRU of Flax's."""

    def __init__(self, rngs: nnx.Rngs):
        self.embed, self.cell, self.out = nnx.Embed(V, H, rngs=rngs), nnx.GRUCell(H, H, rngs=rngs), nnx.Linear(H, V, rngs=rngs)

    def __call__(self, carry_BxH, token_B):
        carry_BxH, h_BxH = self.cell(carry_BxH, self.embed(token_B))
        return self.out(h_BxH) * 3, carry_BxH


def of_a_table():
    logits_BxTxVxV = jnp.asarray(table())

    def step(i_B, token_B):
        return logits_BxTxVxV[jnp.arange(B), i_B, token_B], i_B + 1

    return step, jnp.zeros(B, jnp.int32)


def of_linen():
    module, state = Linen(), {"h": jnp.ones((B, H)) * jnp.array([[0.3], [-1.0]]), "i": jnp.zeros(B, jnp.int32)}
    variables = module.init(jax.random.key(0), state, jnp.zeros(B, jnp.int32))
    return lambda state, token_B: module.apply(variables, state, token_B), state


def of_nnx():
    return NNX(nnx.Rngs(1)), jnp.ones((B, H)) * jnp.array([[0.3], [-1.0]])


def of_numpy():
    """A step that JAX cannot trace."""
    logits_BxTxVxV = table(5)

    def host(i_B, token_B):
        return logits_BxTxVxV[np.arange(B), np.asarray(i_B), np.asarray(token_B)], np.asarray(i_B) + 1

    shapes = jax.ShapeDtypeStruct((B, V), jnp.float32), jax.ShapeDtypeStruct((B,), jnp.int32)
    return lambda i_B, token_B: jax.pure_callback(host, shapes, i_B, token_B, vmap_method="sequential"), jnp.zeros(B, jnp.int32)


FOREIGN = {"a table": of_a_table, "Linen": of_linen, "NNX": of_nnx, "NumPy": of_numpy}


@cache
def enumerated(name: str) -> list[list[tuple[float, list[int]]]]:
    """All outputs of each row, best first: (log p, tokens), with log p made of the step's logits in float64, one prefix at a time."""
    step, start = FOREIGN[name]()
    step = jax.jit(step)
    found = [{} for _ in range(B)]
    for sentence in itertools.product(range(V), repeat=T):
        state, token_B, log_p_B = start, jnp.full(B, BOS, jnp.int32), np.zeros(B)
        said = list(sentence[: sentence.index(EOS) + 1] if EOS in sentence else sentence)
        for token in said:
            logits_BxV, state = step(state, token_B)
            logits = np.asarray(logits_BxV, np.float64)
            log_p_B = log_p_B + logits[:, token] - np.log(np.exp(logits).sum(1))
            token_B = jnp.full(B, token, jnp.int32)
        for b in range(B):
            found[b][tuple(said)] = log_p_B[b]
    return [sorted(((log_p, list(said)) for said, log_p in row.items()), reverse=True) for row in found]


def ended_first(row):
    """What ends, then what the last position cuts off, each best first."""
    return [each for each in row if EOS in each[1]] + [each for each in row if EOS not in each[1]]


@pytest.mark.long
@pytest.mark.parametrize("name", FOREIGN)
def test_a_beam_of_full_width_finds_what_an_enumeration_finds(name, evidence):
    step, state = FOREIGN[name]()
    settings = SearchConfig("beam", beam_size=FULL, n_best=20)
    found = jax.jit(lambda state: search.over(step, state, T, settings))(state)
    assert found.tokens_BxNxT.shape == (B, 20, T) and found.weights_BxNxTxS.shape == (B, 20, T, 0)
    for b, row in enumerate(enumerated(name)):
        expected = ended_first(row)[:20]
        padded = [said + [PAD] * (T - len(said)) for _, said in expected]
        np.testing.assert_array_equal(found.tokens_BxNxT[b], padded)
        evidence(
            "search=beam", f"enumeration of all outputs of a foreign step ({name})", found.log_p_BxN[b], [log_p for log_p, _ in expected]
        )
    total = sum(np.exp(log_p) for log_p, _ in enumerated(name)[0])
    assert total == pytest.approx(1, abs=1e-5), "the enumeration is of all there is"


@pytest.mark.long
@pytest.mark.parametrize("name", FOREIGN)
def test_greedy_and_drawn_outputs_are_scored_as_the_enumeration_says(name):
    step, state = FOREIGN[name]()
    for settings in (SearchConfig(), SearchConfig("sample", draw_seed=3), SearchConfig("beam", beam_size=1)):
        found = jax.jit(lambda state, settings=settings: search.over(step, state, T, settings))(state)
        for b, row in enumerate(enumerated(name)):
            tokens = np.asarray(found.tokens_BxNxT[b, 0]).tolist()
            said = tokens[: tokens.index(EOS) + 1] if EOS in tokens else tokens
            assert found.log_p_BxN[b, 0] == pytest.approx({tuple(each): log_p for log_p, each in row}[tuple(said)], abs=1e-4)


@pytest.mark.long
def test_states_of_any_structure_follow_their_outputs():
    """A state that keeps all it has heard, in several arrays of several types and ranks, is that of the output beside it."""

    def step(state, token_B):
        heard_BxT = state["heard"].at[jnp.arange(B), state["i"]].set(token_B)
        logits_BxV = jnp.asarray(table()[:, 0, 0]) * (1 + (heard_BxT * jnp.arange(1, T + 2)[None]).sum(1, keepdims=True) % 5)
        same = (state["more"][0] + 1, {"flag": ~state["more"][1]["flag"]})
        return logits_BxV, {"heard": heard_BxT, "i": state["i"] + 1, "more": same}

    heard_BxT = jnp.zeros((B, T + 1), jnp.int32)
    state = {"heard": heard_BxT, "i": jnp.zeros(B, jnp.int32), "more": (jnp.zeros((B, 2, 1), jnp.bfloat16), {"flag": jnp.zeros(B, bool)})}
    found = search.over(step, state, T, SearchConfig("beam", beam_size=FULL, n_best=4), stop=False)
    step = jax.jit(step)
    for b in range(B):
        best = sorted(((alone(step, state, b, said), said) for said in itertools.product(range(V), repeat=T)), reverse=True)[:4]
        np.testing.assert_allclose(found.log_p_BxN[b], [log_p for log_p, _ in best], rtol=1e-5)
        np.testing.assert_array_equal(found.tokens_BxNxT[b], [said for _, said in best])


def alone(step, state, b: int, said) -> float:
    """log p of one output, the step called in order."""
    token_B, log_p = jnp.full(B, BOS, jnp.int32), 0.0
    for token in said:
        logits_BxV, state = step(state, token_B)
        logits_V = np.asarray(logits_BxV, np.float64)[b]
        log_p += logits_V[token] - np.log(np.exp(logits_V).sum())
        token_B = jnp.full(B, token, jnp.int32)
    return float(log_p)


@pytest.mark.parametrize("method", METHODS)
def test_weights_come_back_where_there_is_a_mask(method):
    """A model of the tables' kind, handed over as a step: what `decode` finds, weights included."""
    params, inputs, settings = jax.tree.map(jnp.asarray, small.draw(1)), small.batch([[4, 5, 2], [6, 2], []]), METHODS[method]
    if method == "beam":
        settings = SearchConfig("beam", beam_size=3, n_best=2, coverage_penalty=0.2, length_penalty=0.6)
    prepared, state = small.start(params, *map(jnp.asarray, inputs))
    found = search.over(
        lambda state, token_B: small.step(params, prepared, state, token_B), state, T, settings, mask_BxS=jnp.asarray(inputs[1])
    )
    jax.tree.map(np.testing.assert_array_equal, found, search.decode(small.MODEL, params, *inputs, T, settings))


@pytest.mark.parametrize("method", METHODS)
def test_our_own_models_go_the_same_way(method):
    """Equation for equation: `decode` adds nothing to what `over` traces of a model's own step."""
    built, (source_BxS, mask_BxS) = model.build(ModelConfig(hidden_size=4, embedding_size=3), 9), small.batch([[4, 5, 2], [6, 2]])
    shapes = jax.eval_shape(built.init, jax.random.key(0))
    source_BxS, mask_BxS = jnp.asarray(source_BxS), jnp.asarray(mask_BxS)

    def by_hand(params):
        prepared, state = built.start(params, source_BxS, mask_BxS)
        return search.over(lambda *here: built.step(params, prepared, *here), state, T, METHODS[method], mask_BxS=mask_BxS)

    ours = jax.make_jaxpr(lambda params: search.decode(built, params, source_BxS, mask_BxS, T, METHODS[method]))(shapes)
    assert str(ours) == str(jax.make_jaxpr(by_hand)(shapes))


def test_a_beam_repeats_and_reorders_the_state_alone():
    """What a step closes over is not there K times: no array of the loop has both K and the size of the memory."""
    K, S, M = 5, 7, 11
    memory_BxSxM = jnp.ones((B, S, M))

    def step(state_BxH, token_B):
        logits_BxV = jnp.einsum("bsm->bm", memory_BxSxM)[:, :V] + state_BxH[:, :1]
        return logits_BxV, state_BxH + token_B[:, None]

    traced = jax.make_jaxpr(lambda: search.over(step, jnp.zeros((B, H)), T, SearchConfig("beam", beam_size=K)))()
    (loop,) = (equation for equation in traced.eqns if equation.primitive.name == "while")
    carried = [v.aval.shape for v in loop.outvars]
    assert (B, K, H) in carried and not any(M in shape for shape in carried)


@pytest.mark.long
def test_a_vocabulary_that_is_sorted_in_blocks():
    """Of 700 tokens each row prefers one after the other, wherever these stand among the blocks."""
    wide, T_ = 10 * top_k.BLOCK + 60, 4
    order = np.array([[9, 333, 650, EOS], [699, 5, 64, 128]])

    def step(i_B, token_B):
        return 9 * jax.nn.one_hot(jnp.asarray(order)[jnp.arange(B), i_B], wide), i_B + 1

    for settings in (SearchConfig(), SearchConfig("beam")):
        found = search.over(step, jnp.zeros(B, jnp.int32), T_, settings, stop=False)
        np.testing.assert_array_equal(found.tokens_BxNxT[:, 0], order)


def test_lengths_and_special_tokens_are_settings():
    step, state = of_a_table()
    settings = SearchConfig("beam", beam_size=FULL, n_best=1, min_length=2, max_length=2)
    found = search.over(step, state, 50, settings, special=Special(pad=9, bos=0, eos=3))
    assert found.tokens_BxNxT.shape == (B, 1, 2) and not (np.asarray(found.tokens_BxNxT) == 3).any()
    with pytest.raises(ConfigError, match=r"special\.eos=4 is no token: the logits are of V=4 tokens, 0 and up"):
        search.over(step, state, T, special=Special(eos=4))
    assert search.over(step, state, T, stop=False, special=Special(eos=-1)).tokens_BxNxT.shape == (B, 1, T)


LOGITS, STATE = jnp.zeros((B, V)), {"h": jnp.zeros((B, H))}
WRONG = {
    "the state has no array that leads with the batch, so B is unknown": (lambda s, t: (LOGITS, s), {}),
    r"every array of the state must lead with B=2, and state\['i'\] is of shape \(\)": (lambda s, t: (LOGITS, s), {"h": LOGITS, "i": 0}),
    r"every array of the state must lead with B=2, and state\['w'\] is of shape \(3, 3\)": (
        lambda s, t: (LOGITS, s),
        {"h": LOGITS, "w": jnp.ones((3, 3))},
    ),
    r"step must return \(logits_BxV, state\), or with a mask also weights_BxS between them; it returns float..\[2, 4\]": (
        lambda s, t: LOGITS,
        STATE,
    ),
    r"step must return floating logits of shape BxV first, with B=2; it returns float..\[2, 1, 4\]": (
        lambda s, t: (LOGITS[:, None], s),
        STATE,
    ),
    r"step must return floating logits of shape BxV first, with B=2; it returns int32\[2, 4\]": (
        lambda s, t: (LOGITS.astype(jnp.int32), s),
        STATE,
    ),
    r"step takes state\['h'\] as float..\[2, 3\] and returns it as bfloat16\[2, 3\]: shapes and types must stay": (
        lambda s, t: (LOGITS, {"h": s["h"].astype(jnp.bfloat16)}),
        STATE,
    ),
    "step must return a state of the structure that it takes": (lambda s, t: (LOGITS, s["h"]), STATE),
}


@pytest.mark.parametrize("said", WRONG)
def test_a_wrong_step_gets_one_clear_line(said):
    step, state = WRONG[said]
    for settings in METHODS.values():
        with pytest.raises(ConfigError, match=said) as error:
            search.over(step, state, T, settings)
        assert "\n" not in str(error.value)


def test_wrong_weights_and_settings_that_a_step_cannot_serve():
    def step(state, token_B):
        return LOGITS, jnp.zeros((B, 5)), state

    mask_BxS = jnp.ones((B, 4), bool)
    with pytest.raises(ConfigError, match=r"step must return weights of the mask's shape \(2, 4\) second; it returns float..\[2, 5\]"):
        search.over(step, STATE, T, mask_BxS=mask_BxS)
    with pytest.raises(ConfigError, match=r"with a mask, step must return \(logits_BxV, weights_BxS, state\)"):
        search.over(lambda s, t: (LOGITS, s), STATE, T, mask_BxS=mask_BxS)
    with pytest.raises(ConfigError, match=r"search\.coverage_penalty=0\.2 needs weights: give mask_BxS"):
        search.over(step, STATE, T, SearchConfig("beam", coverage_penalty=0.2))
    with pytest.raises(ConfigError, match=r"search\.forward_window=3 need a model of `model\.build`"):
        search.over(step, STATE, T, SearchConfig(forward_window=3))
    with pytest.raises(ConfigError, match=r"search\.replace_unknown=True needs source tokens: `decode` has them"):
        search.over(step, STATE, T, SearchConfig(replace_unknown=True))
