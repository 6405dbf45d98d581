"""Optimised vectors: against the model that they are taken from, L-BFGS of SciPy, and a decoder whose best vector is known."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from attention_jax import model, training
from attention_jax.config import Config, ModelConfig, override_all
from attention_jax.data import sources
from attention_jax.model import oracle
from attention_jax.model.oracle import Descent
from attention_jax.system.errors import ConfigError
from attention_jax.types import EOS, Batch

V, B, T, S, D = 9, 5, 4, 6, 3
CONFIG = ModelConfig(attention="summary", hidden_size=4, decoder_size=6, embedding_size=3, vector_size=D)
CASES = {
    "summary": {},
    "none": {"attention": "none"},
    "after": {"timing": "after", "cell": "lstm", "decoder_layers": 2},
    "between": {"timing": "between", "feeding": True, "readout": "maxout", "direction": "forward"},
    "blind": {"feedback": False, "tied": "output", "context_gate": "both"},
    "pyramidal": {"encoder": "pyramidal", "layers": 2},
    "gnmt": {"decoder": "gnmt", "decoder_layers": 3},
    "8 bits": {"vector_bits": 8},
}
EVERY = pytest.mark.parametrize("case", CASES)
DESCENT = Descent(steps=60, restarts=2, stops=False)


def batch(seed: int = 0) -> Batch:
    draw = np.random.default_rng(seed).integers
    source_mask_BxS = np.arange(S) < np.array([6, 5, 3, 2, 1])[:, None]
    mask_BxT = np.arange(T) < np.array([4, 4, 3, 2, 1])[:, None]
    source_BxS = np.where(source_mask_BxS, draw(EOS, V, (B, S)), 0).astype(np.int32)
    target_BxT = np.where(mask_BxT, draw(EOS + 1, V, (B, T)), 0).astype(np.int32)
    target_BxT[np.arange(B), mask_BxT.sum(1) - 1] = EOS
    return Batch(source_BxS, source_mask_BxS, target_BxT, mask_BxT, np.full((B, T), -1, np.int32), mask_BxT.sum(1) - 1, np.arange(B))


@cache
def made(case: str):
    """(config, parameters that are far from their start)."""
    config = replace(CONFIG, **CASES[case])
    params = model.build(config, V).init(jax.random.key(1))
    return config, jax.tree.map(lambda x: 3 * x, params)


@cache
def search(case: str):
    config, params = made(case)
    return jax.jit(lambda params, key: oracle.found(config, V, params, batch(), key, DESCENT))(params, jax.random.key(2))


@pytest.mark.long
@EVERY
def test_at_the_encoder_s_own_vector_the_decoder_does_what_the_model_does(case, evidence):
    """Losses, likeliest tokens and free running: start and context are both the vector that is given."""
    config, params = made(case)
    scores, _, _ = training.eval_forced(params, batch(), model.build(config, V))
    free, _, _ = training.eval_free(params, batch(), model.build(config, V))
    stages, own_BxD = oracle.driven(config, V), oracle.own(config, V, params, batch().source_BxS, batch().source_mask_BxS)
    target = batch().target_BxT, batch().target_mask_BxT
    loss_B, exact_B = oracle.judged(stages, params, own_BxD, *target)
    evidence("oracle", f"the model itself, {case}: loss at the encoder's vector", loss_B, scores.nll_B)
    np.testing.assert_array_equal(exact_B, np.asarray(scores.exact_B) == 1)
    np.testing.assert_array_equal(oracle.decoded(stages, params, own_BxD, *target), np.asarray(free.exact_B) == 1)
    assert own_BxD.shape == (B, D) and np.abs(own_BxD).max() <= 1 + 1e-6


@pytest.mark.long
@EVERY
def test_what_is_found_is_in_the_box_and_no_worse_than_the_encoder_s(case):
    config, params = made(case)
    found = search(case)
    assert np.abs(found.vector_BxD).max() <= 1 + 1e-6
    assert (np.asarray(found.exact_B) >= np.asarray(found.own_exact_B)).all()
    alike = np.asarray(found.exact_B) == np.asarray(found.own_exact_B)
    assert (np.asarray(found.loss_B) <= np.asarray(found.own_loss_B) + 1e-6)[alike].all()
    assert (np.asarray(found.loss_B) < 0.99 * np.asarray(found.own_loss_B)).sum() >= 4
    loss_B, _ = oracle.judged(oracle.driven(config, V), params, found.vector_BxD, batch().target_BxT, batch().target_mask_BxT)
    np.testing.assert_allclose(loss_B, found.loss_B, rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_an_example_s_vector_does_not_depend_on_its_neighbours():
    config, params = made("summary")
    once = Descent(steps=20, restarts=1, stops=False)
    whole = oracle.found(config, V, params, batch(), jax.random.key(2), once)
    alone = oracle.found(config, V, params, jax.tree.map(lambda x: x[1:2], batch()), jax.random.key(2), once)
    np.testing.assert_allclose(whole.vector_BxD[1:2], alone.vector_BxD, rtol=1e-3, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("case", ["summary", "none", "after"])
def test_losses_are_those_of_l_bfgs_or_lower(case):
    """SciPy, in the same box, in float64, from the same vectors: the encoder's and seven others."""
    with jax.enable_x64(True):
        config, params = made(case)
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        stages, given = oracle.driven(config, V), batch()
        ours = oracle.found(config, V, params, given, jax.random.key(0), Descent(steps=400, restarts=8, stops=False))
        loss_of = jax.jit(
            jax.value_and_grad(lambda v_D, target_1xT, mask_1xT: oracle.judged(stages, params, v_D[None], target_1xT, mask_1xT)[0][0])
        )
        drawn_KxBxD = np.asarray(jax.random.uniform(jax.random.key(0), (7 * B, D), jnp.float64, -1, 1)).reshape(7, B, D)
        for b in range(3):
            target = jnp.asarray(given.target_BxT[b : b + 1]), jnp.asarray(given.target_mask_BxT[b : b + 1])
            begin_KxD = [np.asarray(ours.own_BxD[b]), *drawn_KxBxD[:, b]]
            solved = [
                optimize.minimize(
                    lambda v_D, target=target: [np.asarray(x) for x in loss_of(v_D, *target)],
                    v_D,
                    jac=True,
                    method="L-BFGS-B",
                    bounds=[(-1, 1)] * D,
                )
                for v_D in begin_KxD
            ]
            assert float(ours.loss_B[b]) <= 1.01 * min(each.fun for each in solved) + 1e-3, b


def planted(slope: float):
    """A decoder that says token c at every step, however long, where v_c is the largest number: (config, parameters)."""
    config = replace(CONFIG, vector_size=V, decoder_size=V, timing="after")
    params = jax.tree.map(jnp.zeros_like, model.build(config, V).init(jax.random.key(0)))
    read = params["decoder"]["readout"]
    read["weight"] = read["weight"].at[V : 2 * V].set(jnp.eye(V))  # of the context
    params["logits"]["weight"] = slope * jnp.eye(V)
    return config, params


@pytest.mark.long
def test_the_best_vector_of_a_planted_decoder_is_found():
    """Logits are slope · tanh v: the best corner of the box has 1 at the target and −1 elsewhere, with a loss that is known."""
    config, params = planted(3.0)
    target_BxT = np.repeat(np.array([4, 6, 8]), T).reshape(3, T)
    given = jax.tree.map(lambda x: x[:3], batch()).replace(target_BxT=target_BxT, target_mask_BxT=np.ones((3, T), bool))
    found = oracle.found(config, V, params, given, jax.random.key(1), Descent(stops=False), stop=False)
    np.testing.assert_allclose(found.vector_BxD, 2 * np.eye(V)[[4, 6, 8]] - 1, atol=1e-3)
    np.testing.assert_allclose(found.loss_B, T * np.log1p((V - 1) * np.exp(-6 * np.tanh(1.0))), rtol=1e-4)
    assert found.exact_B.all() and not found.own_exact_B.any()


@pytest.mark.long
def test_a_descent_may_end_where_all_are_right():
    """It stops early: the vectors are right, and the loss is not yet the lowest."""
    config, params = planted(3.0)
    given = jax.tree.map(lambda x: x[:1], batch()).replace(target_BxT=np.full((1, T), 5), target_mask_BxT=np.ones((1, T), bool))
    early, late = (oracle.found(config, V, params, given, jax.random.key(1), Descent(stops=stops), stop=False) for stops in (True, False))
    assert early.exact_B.all() and late.exact_B.all() and float(early.loss_B[0]) > 2 * float(late.loss_B[0])


@pytest.mark.long
def test_more_restarts_and_steps_are_no_worse():
    config, params = made("summary")
    losses = [
        oracle.found(config, V, params, batch(), jax.random.key(2), Descent(steps=steps, restarts=restarts, stops=False)).loss_B
        for steps, restarts in ((0, 1), (20, 1), (60, 1))
    ]
    assert (np.diff(np.array(losses), axis=0) <= 1e-3).all()
    own = oracle.found(config, V, params, batch(), jax.random.key(2), Descent(steps=0, restarts=1))
    np.testing.assert_array_equal(own.vector_BxD, own.own_BxD)
    np.testing.assert_array_equal(own.exact_B, own.own_exact_B)


def test_exact_vectors_come_first_then_low_losses():
    loss_N, exact_N = jnp.array([0.1, 5.0, 2.0, jnp.inf, 0.2]), jnp.array([False, True, True, False, False])
    assert np.argsort(oracle.merit(loss_N, exact_N)).tolist() == [2, 1, 0, 4, 3]


@pytest.mark.long
def test_of_a_trained_model_the_oracle_copies_what_the_encoder_does_and_more():
    """A model that is trained too little: of every length the oracle has as many right outputs, and more of some."""
    settings = "data.symbols=4 data.longest=6 data.eval_lengths=2,4,6 data.eval_examples=64 training.updates=250 training.batch_size=32"
    config = override_all(Config(model=ModelConfig("summary", vector_size=4, hidden_size=12, embedding_size=8)), settings.split())
    config = replace(config, training=replace(config.training, schedule="cosine", learning_rates=(1e-2,)))
    source, made = sources.build(config), model.build(config.model, 8)
    state = training.init(made, config.training, 0, 1e-2)

    def update(state, _):
        return training.train_step(state, source.sample(state.key, state.step), made, config.training)[0], None

    state, _ = jax.jit(lambda state: jax.lax.scan(update, state, None, length=250))(state)
    find = jax.jit(lambda batch: oracle.found(config.model, 8, state.params, batch, jax.random.key(0), Descent(steps=100)))
    gained = []
    for batch_Rx in source.evaluation("test", [0]):
        given = jax.tree.map(lambda x: x[0], batch_Rx)
        found = find(given)
        free, _, _ = training.eval_free(state.params, given, made)
        np.testing.assert_array_equal(found.own_exact_B, np.asarray(free.exact_B) == 1)
        gained.append(int(found.exact_B.sum()) - int(found.own_exact_B.sum()))
    assert min(gained) >= 0 and max(gained) > 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attention": "additive"}, "model.attention=additive: a vector is optimised where it is all that the decoder sees"),
        ({"vector_size": 0}, "model.vector_size=0 and model.start=bridge"),
        ({"start": "zero"}, "model.vector_size=3 and model.start=zero: a vector is optimised where"),
    ],
)
def test_decoders_that_see_more_than_a_vector_are_refused(changes, said):
    config, params = replace(CONFIG, **changes), {}
    with pytest.raises(ConfigError, match=said):
        oracle.driven(config, V)
    with pytest.raises(ConfigError, match=said):
        oracle.found(config, V, params, batch(), jax.random.key(0))
