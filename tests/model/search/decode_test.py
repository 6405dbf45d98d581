"""One entry for all methods: what each leaves, what no method may do, and unknown words that the source can name."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.config import SearchConfig
from attention_jax.model import search
from attention_jax.model.search import unknown
from attention_jax.model.search.greedy import greedy
from attention_jax.model.search.one_output import Special
from attention_jax.system.errors import ConfigError
from attention_jax.types import BOS, EOS, PAD, UNK
from tests.model.search import small

ROWS = [[4, 5, 2], [6, 2], []]
T = 5
SETTINGS = {
    "greedy": SearchConfig(),
    "sample": SearchConfig("sample", top_k=3),
    "beam": SearchConfig("beam", beam_size=3, n_best=2),
}


@cache
def decode(config: SearchConfig):
    return jax.jit(lambda params, source_BxS, mask_BxS: search.decode(small.MODEL, params, source_BxS, mask_BxS, T, config))


@pytest.mark.parametrize("method", SETTINGS)
@pytest.mark.parametrize(("least", "most"), [(0, 0), (2, 3)])
def test_lengths(method, least, most):
    """EOS after `least` tokens at the earliest; `most` tokens, EOS included; 0: as many as there is room for."""
    config = SearchConfig(**{**vars(SETTINGS[method]), "min_length": least, "max_length": most})
    params = small.draw(0)
    params["W"][:, EOS] += 2  # it likes to end
    found = decode(config)(params, *small.batch(ROWS))
    N, T_ = config.n_best, most or T
    assert found.tokens_BxNxT.shape == (3, N, T_) and found.weights_BxNxTxS.shape == (3, N, T_, small.S)
    assert found.scores_BxN.shape == found.log_p_BxN.shape == (3, N)
    assert (found.log_p_BxN < 0).all() and (found.scores_BxN == found.log_p_BxN).all()
    for tokens, weights in zip(found.tokens_BxNxT.reshape(-1, T_), found.weights_BxNxTxS.reshape(-1, T_, small.S), strict=True):
        tokens = list(np.asarray(tokens))
        length = tokens.index(EOS) + 1 if EOS in tokens else T_
        assert length > least
        assert tokens[length:] == [PAD] * (T_ - length) and not weights[length:].any()


def test_greedy_is_one_of_the_methods():
    params, inputs = small.draw(0), small.batch(ROWS)
    alone = jax.jit(lambda params, source_BxS, mask_BxS: greedy(small.steps_of(small.MODEL, params, source_BxS, mask_BxS), T))
    tokens_BxT, weights_BxTxS, log_p_B = alone(params, *inputs)
    found = decode(SearchConfig())(params, *inputs)
    np.testing.assert_array_equal(found.tokens_BxNxT[:, 0], tokens_BxT)
    np.testing.assert_array_equal(found.weights_BxNxTxS[:, 0], weights_BxTxS)
    np.testing.assert_array_equal(found.scores_BxN[:, 0], log_p_B)


def test_what_cannot_be():
    with pytest.raises(ConfigError, match=r"search\.method='bean' is unknown \(did you mean 'beam'\?\); valid: greedy, sample, beam"):
        search.decode(small.MODEL, {}, *small.batch(ROWS), T, SearchConfig("bean"))
    with pytest.raises(ConfigError, match=r"search\.n_best=2 needs search\.method=beam: greedy finds one output"):
        search.decode(small.MODEL, {}, *small.batch(ROWS), T, SearchConfig(n_best=2))


def test_unknown_words_are_named_by_the_source():
    source_1xS, mask_1xS = jnp.array([[7, 8, EOS, 9]]), jnp.array([[True, True, True, False]])
    weights_TxS = jnp.array([[0.4, 0.6, 0, 0], [0.3, 0.2, 0.5, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0.1, 0.2, 0, 0.7]])
    tokens_T = jnp.array([UNK, UNK, 5, UNK, UNK])
    found = unknown.replaced(tokens_T[None, None], weights_TxS[None, None], source_1xS, mask_1xS)
    np.testing.assert_array_equal(found[0, 0], [8, 7, 5, UNK, 8])  # never EOS, never padding; what looks at nothing stays


def test_unknown_words_of_a_search():
    params = small.draw(0) | {"W": np.float32([[0, 0, 0, 9]] * 9)}  # says UNK
    plain = decode(SearchConfig())(params, *small.batch(ROWS[:2]))
    named = decode(SearchConfig(replace_unknown=True))(params, *small.batch(ROWS[:2]))
    assert (plain.tokens_BxNxT == UNK).all() and set(np.asarray(named.tokens_BxNxT).ravel().tolist()) <= {4, 5, 6}
    np.testing.assert_array_equal(named.tokens_BxNxT[1], 6)
    np.testing.assert_array_equal(named.log_p_BxN, plain.log_p_BxN)


@pytest.mark.parametrize("method", SETTINGS)
def test_a_source_is_whatever_the_model_reads(method):
    """Fields of places, in a record: outputs are those of the same places in a row."""

    def start(params, source, mask_BxS):
        return small.start(params, source["field_BxYxX"].reshape(mask_BxS.shape).astype(int), mask_BxS)

    source_BxS, mask_BxS = small.batch(ROWS, size=4)
    field = {"field_BxYxX": source_BxS.reshape(3, 2, 2).astype(np.float32)}
    params, settings = small.draw(1), SearchConfig(**{**vars(SETTINGS[method]), "coverage_penalty": 0.2})
    expected = search.decode(small.MODEL, params, source_BxS, mask_BxS, T, settings)
    found = search.decode(small.MODEL._replace(start=start), params, field, mask_BxS, T, settings)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert found.weights_BxNxTxS.shape[3] == 4
    with pytest.raises(ConfigError, match=r"search\.replace_unknown=True names source tokens, and this source has none"):
        named = SearchConfig(**{**vars(settings), "replace_unknown": True})
        search.decode(small.MODEL._replace(start=start), params, field, mask_BxS, T, named)


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_other_vocabularies_have_their_special_tokens_elsewhere(method):
    """The same model with its output tokens in another order says the same in that order."""
    new_of_old = np.array([3, 2, 0, 1])
    special = Special(*(int(new_of_old[old]) for old in (PAD, BOS, EOS, UNK)))
    params = small.draw(2)
    params["W"][:, EOS] += 1
    other = params | {"E": np.zeros_like(params["E"]), "O": np.zeros_like(params["O"]), "W": np.zeros_like(params["W"])}
    other["E"][new_of_old], other["O"][:, new_of_old], other["W"][:, new_of_old] = params["E"], params["O"], params["W"]
    settings = SearchConfig(**{**vars(SETTINGS[method]), "min_length": 1})
    expected = search.decode(small.MODEL, params, *small.batch(ROWS), T, settings)
    found = search.decode(small.MODEL, other, *small.batch(ROWS), T, settings, special=special)
    assert (expected.tokens_BxNxT == EOS).any() and (expected.tokens_BxNxT == PAD).any()
    np.testing.assert_array_equal(found.tokens_BxNxT, new_of_old[expected.tokens_BxNxT])
    np.testing.assert_allclose(found.scores_BxN, expected.scores_BxN, rtol=1e-6)
