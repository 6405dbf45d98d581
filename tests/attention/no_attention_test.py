"""The fixed-vector arms against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention
from attention_jax.attention import no_attention
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.encoders.recurrent import DIRECTIONS
from attention_jax.system.errors import ConfigError

B, S, M = 3, 5, 6
LENGTHS = (5, 3, 0)
SIZES = Sizes(memory=M, query=M, score=4, directions=("forward", "reversed"))
MASK_BxS = jnp.arange(S)[None, :] < jnp.array(LENGTHS)[:, None]
MEMORY_BxSxM = jnp.asarray(np.random.default_rng(1).normal(size=(B, S, M)), jnp.float32)


def look(name: str, query_BxH):
    mechanism = attention.build(ModelConfig(attention=name), SIZES)
    prepared = mechanism.prepare({}, MEMORY_BxSxM, MASK_BxS)
    return mechanism, mechanism.attend({}, prepared, mechanism.initial(prepared), query_BxH)


def test_no_context_has_no_width():
    mechanism, (context_BxC, _, _, _) = look("none", jnp.ones((B, M)))
    assert mechanism.context_size == 0 and context_BxC.shape == (B, 0) and mechanism.init(jax.random.key(0)) == {}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_summary_is_each_direction_s_last_state(direction, evidence):
    directions = DIRECTIONS[direction]
    width = M // len(directions)
    expected_BxM = np.zeros((B, M))
    for b, length in enumerate(LENGTHS):
        for d, name in enumerate(directions):
            if length:
                columns = slice(d * width, (d + 1) * width)
                expected_BxM[b, columns] = MEMORY_BxSxM[b, length - 1 if name == "forward" else 0, columns]
    summary_BxM = no_attention.summarise(SIZES._replace(directions=directions), MEMORY_BxSxM, MASK_BxS)
    evidence("attention=summary", "numpy: h_Tx of each direction (Cho 2014, §2.2)", summary_BxM, expected_BxM, rtol=0, atol=0)


def test_the_summary_of_places_without_an_order_is_their_mean():
    summary_BxM = no_attention.summarise(SIZES._replace(directions=("mean",)), MEMORY_BxSxM, MASK_BxS)
    means = [np.asarray(MEMORY_BxSxM[b, :n], np.float64).mean(0) if n else np.zeros(M) for b, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(summary_BxM, means, atol=1e-6)
    holes_BxS = np.array([[c == "#" for c in row] for row in (".#.##", "##..#", ".....")])
    summary_BxM = no_attention.summarise(SIZES._replace(directions=("mean",)), MEMORY_BxSxM, holes_BxS)
    means = [np.asarray(MEMORY_BxSxM[b, real], np.float64).mean(0) if real.any() else np.zeros(M) for b, real in enumerate(holes_BxS)]
    np.testing.assert_allclose(summary_BxM, means, atol=1e-6)


MEMORY_1x5x1, HOLES_1x5 = np.float32([[[9], [9], [1], [2], [3]]]), np.array([[False, False, True, True, True]])


@pytest.mark.parametrize(("direction", "expected"), [("forward", [3]), ("reversed", [1]), ("both", [3, 1])])
@pytest.mark.parametrize("settings", [{"attention": "summary"}, {"slots": 1}], ids=["summary", "slots=1"])
def test_a_pass_ends_at_the_last_or_first_real_position_wherever_padding_stands(settings, direction, expected):
    """And one slot is the summary there, too."""
    H = len(expected)
    mechanism = attention.build(ModelConfig(**settings), Sizes(memory=H, query=H, score=1, directions=DIRECTIONS[direction]))
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), jax.eval_shape(mechanism.init, jax.random.key(0)))
    prepared = mechanism.prepare(params, np.repeat(MEMORY_1x5x1, H, axis=2), HOLES_1x5)
    context_1xH, *_ = mechanism.attend(params, prepared, mechanism.initial(prepared), np.zeros((1, H), np.float32))
    assert context_1xH.tolist() == [expected]


def test_the_summary_is_the_same_whatever_is_asked():
    first, second = (look("summary", query_BxH)[1][0] for query_BxH in (jnp.ones((B, M)), jnp.zeros((B, M))))
    np.testing.assert_array_equal(first, second)
    assert first[:2].any()


@pytest.mark.parametrize(
    ("changes", "nearest"),
    [
        ({"attention": "aditive"}, "additive"),
        ({"normaliser": "softmx"}, "softmax"),
        ({"window": "al"}, "all"),
        ({"estimator": "sof"}, "soft"),
    ],
)
def test_unknown_names_are_refused_with_the_valid_ones(changes, nearest):
    tables = {
        "attention": attention.TABLE,
        "normaliser": attention.NORMALISERS,
        "window": attention.WINDOWS,
        "estimator": attention.ESTIMATORS,
    }
    (axis,) = changes
    with pytest.raises(ConfigError, match=f"model.{axis}=.*did you mean '{nearest}'") as error:
        attention.build(ModelConfig(**changes), SIZES)
    assert all(name in str(error.value) for name in tables[axis])
