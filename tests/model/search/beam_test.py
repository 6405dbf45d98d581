"""Beam search against exhaustive search, against a plain beam in float64 that never stops early, and against teacher forcing."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax import model
from attention_jax.config import ModelConfig, SearchConfig
from attention_jax.model import search
from attention_jax.model.search import beam, top_k
from attention_jax.types import BOS, EOS, PAD, Batch, Model
from tests.model.search import small

T = 4
FULL = small.V**T
ROWS = [[4, 5, 2], [6, 2], []]


@cache
def decode(config: SearchConfig, positions: int = T, stop: bool = True):
    return jax.jit(lambda params, source_BxS, mask_BxS: search.decode(small.MODEL, params, source_BxS, mask_BxS, positions, config, stop))


def score(log_p: float, weights_TxS, length: int, config: SearchConfig) -> float:
    """Wu 2016, eq. 14, as it stands there."""
    lp = (5 + length) ** config.length_penalty / (5 + 1) ** config.length_penalty
    coverage = sum(np.log(min(max(seen, 1e-10), 1.0)) for seen in np.sum(weights_TxS, axis=0))
    return log_p / lp + config.coverage_penalty * coverage


def exhaustive(params, source, config: SearchConfig, stop: bool = True):
    """(score, tokens, log p, weights) of the n best of everything that can be said; what is cut off comes after what ends."""
    found = [
        (ended, score(log_p, weights, len(tokens), config), tokens, log_p, weights)
        for tokens, log_p, weights, ended in small.outputs(params, source, T, config.min_length, stop)
    ]
    return [output[1:] for output in sorted(found, key=lambda output: output[:2], reverse=True)[: config.n_best]]


def plain(params, source, config: SearchConfig):
    """The same of a beam that goes on to the last position: lists, one hypothesis after the other."""
    live, ended = [([], 0.0, [], *small.begin(source))], []
    for i in range(T):
        grown = []
        for tokens, log_p, weights, h_H, seen_S, token in live:
            log_p_V, weights_S, h_H, seen_S = small.numpy_step(params, source, h_H, seen_S, token)
            grown += [
                ([*tokens, v], log_p + log_p_V[v], [*weights, weights_S], h_H, seen_S, v)
                for v in range(small.V)
                if v != EOS or i >= config.min_length
            ]
        grown = sorted(grown, key=lambda hypothesis: -hypothesis[1])[: config.beam_size]
        ended += [hypothesis for hypothesis in grown if hypothesis[-1] == EOS]
        live = [hypothesis for hypothesis in grown if hypothesis[-1] != EOS]

    def ranked(hypotheses):
        scored = [
            (score(log_p, weights, len(tokens), config), tokens, log_p, np.array(weights)) for tokens, log_p, weights, *_ in hypotheses
        ]
        return sorted(scored, key=lambda output: -output[0])

    return [*ranked(ended), *ranked(live)][: config.n_best]


def check(evidence, reference: str, found, expected, row: str = "search=beam"):
    """Same outputs in the same order, with the same scores and weights."""
    scores, log_ps, weights = (np.full(np.shape(x), -1.0) for x in (found.scores_BxN, found.log_p_BxN, found.weights_BxNxTxS))
    tokens = np.full(found.tokens_BxNxT.shape, PAD)
    weights[:] = 0
    for b, outputs in enumerate(expected):
        for n, (value, said, log_p, looked) in enumerate(outputs):
            tokens[b, n, : len(said)], scores[b, n], log_ps[b, n] = said, value, log_p
            weights[b, n, : len(said), : looked.shape[1]] = looked
    np.testing.assert_array_equal(found.tokens_BxNxT, tokens)
    np.testing.assert_allclose(found.weights_BxNxTxS, weights, atol=1e-5)
    evidence(row, reference, np.stack([found.scores_BxN, found.log_p_BxN]), np.stack([scores, log_ps]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("α", "β", "stop"), [(0.0, 0.0, True), (1.0, 0.0, True), (0.7, 0.4, True), (0.7, 0.4, False)])
def test_full_width_is_exhaustive_search(evidence, α, β, stop):
    config = SearchConfig("beam", beam_size=FULL, n_best=5, length_penalty=α, coverage_penalty=β, min_length=2 if α else 0)
    for seed in range(3):
        params = small.draw(seed)
        found = decode(config, stop=stop)(params, *small.batch(ROWS))
        expected = [exhaustive(params, row, config, stop) for row in ROWS]
        check(evidence, "exhaustive search in float64: every output enumerated", found, expected)


@pytest.mark.parametrize(("width", "α", "β"), [(1, 0.0, 0.0), (2, 1.0, 0.0), (3, 0.7, 0.4), (6, 0.7, 0.4)])
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.5, 1.0, 2.0]))
def test_stopping_early_changes_nothing(evidence, width, α, β, seed, scale):
    config = SearchConfig("beam", beam_size=width, n_best=min(width, 3), length_penalty=α, coverage_penalty=β, min_length=int(width == 6))
    params = small.draw(seed, scale)
    found = decode(config)(params, *small.batch(ROWS))
    check(evidence, "a plain Python beam in float64, run to the last position", found, [plain(params, row, config) for row in ROWS])


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.5, 1.0, 2.0]))
def test_width_one_is_greedy(seed, scale):
    params, inputs = small.draw(seed, scale), small.batch(ROWS)
    found = decode(SearchConfig("beam", beam_size=1, length_penalty=0.6))(params, *inputs)
    alone = decode(SearchConfig())(params, *inputs)
    np.testing.assert_array_equal(found.tokens_BxNxT, alone.tokens_BxNxT)
    np.testing.assert_allclose(found.weights_BxNxTxS, alone.weights_BxNxTxS, atol=1e-6)
    np.testing.assert_allclose(found.log_p_BxN, alone.log_p_BxN, rtol=1e-5)


@given(seed=st.integers(0, 10_000))
def test_outputs_are_sorted_different_and_end_once(seed):
    found = decode(SearchConfig("beam", beam_size=6, n_best=5, length_penalty=0.6))(small.draw(seed), *small.batch(ROWS))
    for tokens_NxT, scores_N in zip(np.asarray(found.tokens_BxNxT), np.asarray(found.scores_BxN), strict=True):
        ends_N = (tokens_NxT == EOS).any(1)
        assert len({tuple(tokens) for tokens in tokens_NxT}) == 5
        assert (np.diff(scores_N[ends_N]) <= 0).all() and (np.diff(scores_N[~ends_N]) <= 0).all()
        assert (np.diff(ends_N.astype(int)) <= 0).all(), "what was cut off comes after what ends"
        assert all((row[list(row).index(EOS) + 1 :] == PAD).all() for row in tokens_NxT[ends_N])


@pytest.mark.long
@given(seed=st.integers(0, 10_000))
def test_neighbours_and_padding_change_nothing(seed):
    config, params = SearchConfig("beam", beam_size=3, n_best=2, length_penalty=0.6, coverage_penalty=0.3), small.draw(seed)
    together = decode(config)(params, *small.batch(ROWS))
    others = decode(config)(params, *small.batch([ROWS[0], [5, 2], [4, 4, 2]]))
    source_BxS, mask_BxS = small.batch(ROWS, small.S + 2)
    wider = decode(config)(params, np.where(mask_BxS, source_BxS, 7), mask_BxS)
    first = jax.tree.map(lambda x: x[0], together)
    jax.tree.map(np.testing.assert_array_equal, first, jax.tree.map(lambda x: x[0], others))
    np.testing.assert_array_equal(wider.tokens_BxNxT, together.tokens_BxNxT)
    np.testing.assert_allclose(wider.scores_BxN, together.scores_BxN, rtol=1e-5)
    np.testing.assert_allclose(wider.weights_BxNxTxS[..., : small.S], together.weights_BxNxTxS, atol=1e-6)
    assert not wider.weights_BxNxTxS[..., small.S :].any()


def test_penalties_by_hand():
    """lp(7) = (12 / 6)^α; a position seen half costs log ½, one seen more than once nothing, one in the padding nothing."""
    config = SearchConfig("beam", length_penalty=1.0, coverage_penalty=0.2)
    covered_3, mask_3 = jnp.array([0.5, 2.5, 0.0]), jnp.array([True, True, False])
    assert beam.penalised(jnp.float32(-3.0), 7, covered_3, mask_3, config) == pytest.approx(-1.5 + 0.2 * np.log(0.5))
    assert beam.length_penalty(1, 0.6) == 1 and beam.length_penalty(13, 0.5) == pytest.approx(3**0.5)
    unseen = beam.penalised(jnp.float32(-3.0), 7, jnp.zeros(3), mask_3, config)
    assert unseen == pytest.approx(-1.5 + 0.2 * 2 * np.log(1e-10)), "finite, so that outputs that miss a place can be compared"


def scripted(log_p_BxTxV, settings: SearchConfig):
    """(found, steps taken) with a model whose log p depend on the row and the position, whatever it hears."""
    (B, T, _), steps = log_p_BxTxV.shape, []

    def step(params, prepared, state, token_R, keys_R=None):
        jax.debug.callback(lambda: steps.append(1))
        row_R = jnp.arange(state.shape[0]) * B // state.shape[0]
        return jnp.asarray(log_p_BxTxV)[row_R, state], jnp.ones((state.shape[0], 1)), state + 1

    says = Model(None, None, lambda params, source_BxS, mask_BxS: (None, jnp.zeros(B, jnp.int32)), step)
    found = jax.jit(lambda: beam.beam(small.steps_of(says, None, jnp.ones((B, 1), int), jnp.ones((B, 1), bool)), T, settings))()
    jax.effects_barrier()
    return found, len(steps)


@pytest.mark.parametrize(("α", "expected"), [(0.0, 2), (2.0, 5)])
def test_the_loop_ends_when_nothing_better_can_come(α, expected):
    """EOS has p = 0.9 at the first two positions. Without a penalty the two best end there; with one a longer output may be better."""
    probable_TxV = [[0.025, 0.025, 0.9, 0.05]] * 2 + [[0.01, 0.01, 0.01, 0.97]] * 3
    found, steps = scripted(np.log([probable_TxV] * 2), SearchConfig("beam", beam_size=3, n_best=2, length_penalty=α))
    assert steps == expected
    if not α:
        np.testing.assert_array_equal(found.tokens_BxNxT[0], [[EOS, PAD, PAD, PAD, PAD], [3, EOS, PAD, PAD, PAD]])


def test_fewer_outputs_than_asked_for():
    """With three tokens and one position there are three outputs: the one that ends, then those that are cut, then none."""
    found, _ = scripted(np.array([[[*np.log([0.5, 0.3, 0.2]), -np.inf]]]), SearchConfig("beam", beam_size=4, n_best=4))
    np.testing.assert_array_equal(found.tokens_BxNxT[0, :, 0], [EOS, PAD, BOS, PAD])
    np.testing.assert_allclose(found.scores_BxN[0], [*np.log([0.2, 0.5, 0.3]), -np.inf], rtol=1e-6)
    assert not found.weights_BxNxTxS[0, 3].any()


REAL = {
    "heads, two layers, feeding": ModelConfig(
        hidden_size=6, embedding_size=4, cell="lstm", heads=2, decoder_layers=2, feeding=True, timing="after"
    ),
    "previous weights, two cells, copies": ModelConfig(
        hidden_size=6, embedding_size=4, attention="location_aware", timing="between", copy=True
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", REAL)
def test_teacher_forcing_says_the_same_of_what_was_found(evidence, name):
    """Every state is carried along with its output: log p and weights are those of the output heard from the beginning."""
    V, N = 7, 3
    built = model.build(REAL[name], V)
    shapes, rng = jax.eval_shape(built.init, jax.random.key(0)), np.random.default_rng(4)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.7, leaf.shape), leaf.dtype), shapes)
    source_BxS, mask_BxS = small.batch([[4, 5, 6, 2], [6, 5, 2], []], 4)
    config = SearchConfig("beam", beam_size=4, n_best=N, length_penalty=0.6)
    found = jax.jit(lambda: search.decode(built, params, source_BxS, mask_BxS, 5, config))()
    tokens_RxT = found.tokens_BxNxT.reshape(-1, 5)
    row_R = np.repeat(np.arange(3), N)
    inside_RxT = np.cumsum(np.pad(tokens_RxT[:, :-1] == EOS, ((0, 0), (1, 0))), axis=1) == 0
    batch = Batch(source_BxS[row_R], mask_BxS[row_R], tokens_RxT, inside_RxT, jnp.full((9, 5), -1), jnp.zeros(9, int), jnp.arange(9))
    outputs = jax.jit(lambda batch: built.forced(params, batch))(batch)
    log_p_RxT = jnp.take_along_axis(jax.nn.log_softmax(outputs.logits_BxTxV), tokens_RxT[:, :, None], axis=2)[:, :, 0]
    evidence("search=beam", f"teacher forcing of its outputs ({name})", found.log_p_BxN.ravel(), np.where(inside_RxT, log_p_RxT, 0).sum(1))
    forced = np.where(inside_RxT[:, :, None], outputs.weights_BxTxS, 0)
    np.testing.assert_allclose(found.weights_BxNxTxS.reshape(forced.shape), forced, atol=1e-5)


@pytest.mark.long
def test_seeds_side_by_side():
    config, inputs = SearchConfig("beam", beam_size=3, n_best=2, length_penalty=0.6), small.batch(ROWS)
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[small.draw(seed, 2.0) for seed in range(3)])
    found = jax.jit(jax.vmap(lambda params: search.decode(small.MODEL, params, *inputs, T, config)))(together)
    for seed in range(3):
        alone = decode(config)(small.draw(seed, 2.0), *inputs)
        jax.tree.map(lambda x, y, seed=seed: np.testing.assert_allclose(x[seed], y, rtol=1e-5, atol=1e-6), found, alone)


@pytest.mark.parametrize(
    "settings", [SearchConfig(min_length=2), SearchConfig("beam", beam_size=3, n_best=3, min_length=2)], ids=["greedy", "beam"]
)
def test_a_large_vocabulary_is_searched_as_by_one_sort(settings, monkeypatch):
    """Logits are whole numbers, so that several tokens are equally likely."""
    V, B, T_ = 5 * top_k.BLOCK + 7, 3, 4
    table_VxV = jnp.asarray(np.random.default_rng(0).integers(0, 100, (V, V)), jnp.float32)

    def step(params, prepared, state, token_R, keys_R=None):
        return table_VxV[(token_R + state) % V], jnp.ones((token_R.shape[0], 1)), state + 1

    says = Model(None, None, lambda params, source_BxS, mask_BxS: (None, jnp.arange(B)), step)

    def find():
        return jax.jit(lambda: search.decode(says, None, jnp.ones((B, 1), int), jnp.ones((B, 1), bool), T_, settings))()

    fast = find()
    monkeypatch.setattr(top_k, "largest", top_k.plain)
    jax.tree.map(np.testing.assert_array_equal, fast, find())
    assert len(set(np.asarray(fast.tokens_BxNxT).ravel())) > 4
