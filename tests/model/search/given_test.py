"""Outputs that begin with given tokens, by every method, against a search of the rest alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import SearchConfig
from attention_jax.model import search
from attention_jax.model.search.given import Given, of_targets
from attention_jax.types import BOS, EOS, Batch
from tests.model.search import small

ROWS, T = [[4, 5, 2], [6, 2], [5, 2]], 6
GIVEN = Given(np.array([[3, 0, 3], [3, 3, 0], [0, 0, 0]], np.int32), np.array([3, 1, 0], np.int32))
SETTINGS = {"greedy": SearchConfig(), "sample": SearchConfig("sample", top_k=3), "beam": SearchConfig("beam", beam_size=3, n_best=2)}


def replayed(params, source: list[int], tokens: list[int]):
    """log p of every token after those before it, by the model in NumPy."""
    h_H, seen_S, token = small.begin(source)
    found = []
    for said in tokens:
        log_p_V, _, h_H, seen_S = small.numpy_step(params, source, h_H, seen_S, token)
        found.append(log_p_V)
        token = said
    return found


@pytest.mark.parametrize("method", SETTINGS)
def test_outputs_begin_as_given_and_go_on_from_there(method):
    params = small.draw(1)
    decode = jax.jit(lambda source, mask: search.decode(small.MODEL, params, source, mask, T, SETTINGS[method], given=GIVEN))
    found = decode(*small.batch(ROWS))
    for b, source in enumerate(ROWS):
        count = int(GIVEN.count_B[b])
        for n in range(found.tokens_BxNxT.shape[1]):
            tokens = found.tokens_BxNxT[b, n].tolist()
            assert tokens[:count] == GIVEN.tokens_BxG[b, :count].tolist()
            length = tokens.index(EOS) + 1 if EOS in tokens else T
            log_p = replayed(params, source, tokens[:length])
            own = sum(log_p[t][tokens[t]] for t in range(count, length))
            np.testing.assert_allclose(found.log_p_BxN[b, n], own, rtol=1e-5)  # given tokens cost nothing
            if method == "greedy":
                assert all(log_p[t].argmax() == tokens[t] for t in range(count, length))


@pytest.mark.long
def test_a_beam_as_wide_as_all_outputs_finds_the_best_that_begins_so():
    params, source = small.draw(2), ROWS[0]
    settings = SearchConfig("beam", beam_size=64)
    given = Given(np.array([[3, 0]], np.int32), np.array([2], np.int32))
    found = search.decode(small.MODEL, params, *small.batch([source]), 4, settings, given=given)
    first = replayed(params, source, [3, 0])
    cost = first[0][3] + first[1][0]
    best = max(((log_p, tokens) for tokens, log_p, _, _ in small.outputs(params, source, 4) if tokens[:2] == [3, 0]), key=lambda x: x[0])
    tokens = found.tokens_BxNxT[0, 0].tolist()
    assert tokens[: len(best[1])] == best[1] and not any(tokens[len(best[1]) :])
    np.testing.assert_allclose(found.log_p_BxN[0, 0], best[0] - cost, rtol=1e-5)


def test_what_is_given_of_targets_is_what_comes_before_their_mask():
    target_BxT = np.array([[7, 8, 5, 2], [5, 2, 0, 0], [0, 0, 0, 0]], np.int32)
    mask_BxT = np.array([[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    source = jnp.zeros((3, 1), jnp.int32)
    batch = Batch(source, source > 0, target_BxT, mask_BxT, target_BxT, jnp.ones(3), jnp.arange(3))
    assert of_targets(batch).count_B.tolist() == [2, 0, 0] and BOS not in target_BxT
