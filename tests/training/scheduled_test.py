"""Scheduled sampling: how often the true token is heard, what is heard instead, and how the share falls."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from attention_jax.config import TrainingConfig
from attention_jax.system.errors import ConfigError
from attention_jax.training import scheduled
from attention_jax.types import BOS, Batch
from tests.model.search import small

T, TRUE = 12, 3


def batch(B: int, size: int = small.S, first: int = 0) -> Batch:
    """Targets of TRUE alone, as long as there is room."""
    source_BxS, mask_BxS = small.batch([[4, 5, 2], [6, 2]] * (B // 2), size)
    target_BxT = np.full((B, T), TRUE, np.int32)
    return Batch(source_BxS, mask_BxS, target_BxT, target_BxT > 0, -np.ones_like(target_BxT), np.full(B, T), first + np.arange(B))


inputs = jax.jit(lambda params, batch, seed, share: scheduled.inputs(small.MODEL, params, batch, jax.random.key(seed), share))


def never_true(seed: int = 0) -> dict:
    """A model that never says TRUE, so that what is drawn can be told from what is true."""
    params = small.draw(seed)
    params["W"][:, TRUE] = -1e4
    return params


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_share_of_true_inputs(evidence, share):
    B = 400
    previous_BxT = np.asarray(inputs(never_true(), batch(B), 5, share))
    assert (previous_BxT[:, 0] == BOS).all()
    true_BxT = previous_BxT[:, 1:] == TRUE
    deviation = np.sqrt(share * (1 - share) / true_BxT.size)
    reference = "the share asked for, within four standard errors"
    evidence("sampling=scheduled", reference, true_BxT.mean(), share, rtol=0, atol=4 * deviation)
    by_position_T = true_BxT.mean(0)
    assert (np.abs(by_position_T - share) <= 5 * np.sqrt(share * (1 - share) / B)).all()


def test_what_is_heard_instead_is_the_models_own():
    """Free running: the first two drawn tokens of 3000 examples follow the model's distribution."""
    B, source, params = 3000, [4, 5, 2], small.draw(2)
    data = batch(2 * B)
    previous_BxT = np.asarray(inputs(params, data, 1, 0.0))[::2]  # every second example has this source
    first_V, _, h_H, seen_S = small.numpy_step(params, source, *small.begin(source))
    second_VxV = np.stack([small.numpy_step(params, source, h_H, seen_S, v)[0] for v in range(small.V)])
    expected_VxV = np.exp(first_V[:, None] + second_VxV)
    counts = np.zeros_like(expected_VxV)
    np.add.at(counts, (previous_BxT[:, 1], previous_BxT[:, 2]), 1)
    assert stats.chisquare(counts.ravel(), B * expected_VxV.ravel()).pvalue > 1e-4


@pytest.mark.long
def test_draws_depend_on_the_example_and_the_key_alone():
    whole = inputs(never_true(), batch(8), 1, 0.5)
    half = jax.tree.map(lambda x: x[4:], batch(8))
    np.testing.assert_array_equal(inputs(never_true(), half, 1, 0.5), whole[4:])
    padded = batch(8, small.S + 2)
    np.testing.assert_array_equal(inputs(never_true(), padded, 1, 0.5), whole)
    short = jax.tree.map(lambda x: x[:, :7] if x.ndim == 2 and x.shape[1] == T else x, batch(8))
    np.testing.assert_array_equal(inputs(never_true(), short, 1, 0.5), whole[:, :7])
    for other in (inputs(never_true(), batch(8), 2, 0.5), inputs(never_true(), batch(8, first=8), 1, 0.5)):
        assert (other != whole).any()


def test_teacher_forcing_and_one_position():
    data = batch(4)
    forced_BxT = np.pad(data.target_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)
    found_BxT = inputs(small.draw(0), data, 0, 1.0)
    np.testing.assert_array_equal(found_BxT, forced_BxT)
    assert found_BxT.dtype == data.target_BxT.dtype
    one = data.replace(target_BxT=data.target_BxT[:, :1])
    np.testing.assert_array_equal(inputs(small.draw(0), one, 0, 0.5), np.full((4, 1), BOS))


def test_no_gradient_flows_through_what_is_drawn():
    """The gradient of what is made of the drawn tokens is that with the tokens as constants: here, how often each was drawn."""
    data, params = batch(4), jax.tree.map(jnp.asarray, small.draw(0))

    def objective(params):
        previous_BxT = scheduled.inputs(small.MODEL, params, data, jax.random.key(1), 0.3)
        return params["E"][previous_BxT].sum(), previous_BxT

    gradient, previous_BxT = jax.jit(jax.grad(objective, has_aux=True))(params)
    np.testing.assert_array_equal(gradient["E"][:, 0], np.bincount(np.asarray(previous_BxT).ravel(), minlength=small.V))
    assert all(not gradient[name].any() for name in params if name != "E")
    assert (np.asarray(previous_BxT[:, 1:]) != TRUE).any()


@cache
def shares(decay: str, rate: float, updates: int = 2000):
    config = TrainingConfig(sampling="scheduled", sampling_decay=decay, sampling_rate=rate, updates=updates)
    return np.asarray(jax.jit(jax.vmap(lambda step: scheduled.share(config, step)))(jnp.arange(updates + 1)))


@pytest.mark.parametrize("decay", ["linear", "exponential", "inverse_sigmoid"])
@pytest.mark.parametrize(("rate", "updates"), [(0.25, 2000), (0.9, 100), (0.01, 3), (1.0, 10)])
def test_the_share_falls_from_one_to_its_rate(decay, rate, updates):
    found = shares(decay, rate, updates)
    assert found[0] == pytest.approx(1, abs=1e-6) and found[-1] == pytest.approx(rate, rel=1e-4)
    assert (np.diff(found) <= 1e-7).all() and (found >= 0).all() and (found <= 1 + 1e-6).all()


def test_the_share_is_bengios():
    """§2.4: k^i and k / (k + exp(i / k)), the k that end at a quarter after 2000 updates worked out here by search."""
    i = np.arange(2001)
    np.testing.assert_allclose(shares("linear", 0.25), 1 - 0.75 * i / 2000, rtol=1e-5)
    np.testing.assert_allclose(shares("exponential", 0.25), (0.25 ** (1 / 2000)) ** i, rtol=1e-4)
    ks = np.linspace(100, 1000, 900_001)
    k = ks[np.abs((ks + 1) / (ks + np.exp(2000 / ks)) - 0.25).argmin()]
    np.testing.assert_allclose(shares("inverse_sigmoid", 0.25), k / (k + np.exp(i / k)) * (k + 1) / k, rtol=2e-3)
    np.testing.assert_allclose(shares("inverse_sigmoid", 0.25), k / (k + np.exp(i / k)), atol=5e-3)  # the scale is next to 1


def test_forced_free_and_what_cannot_be():
    assert scheduled.share(TrainingConfig(), 5) == 1
    assert scheduled.share(TrainingConfig(sampling="free"), jnp.int32(0)) == 0
    assert shares("linear", 0.0)[-1] == 0
    for decay in ("exponential", "inverse_sigmoid"):
        with pytest.raises(ConfigError, match=rf"training\.sampling_rate=0 is never reached by training\.sampling_decay={decay}"):
            shares(decay, 0.0)
