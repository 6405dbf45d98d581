"""One update: schedules, optimizers and gradients against formulas, optax and `jax.grad`; evaluation on cases made by hand."""

import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax import training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.layers import keys
from attention_jax.model import readout
from attention_jax.running.resolved import resolve
from attention_jax.system import machine
from attention_jax.system.errors import ConfigError
from attention_jax.training import losses, scheduled
from attention_jax.types import EOS, FIRST_SYMBOL, Batch, Model, Outputs
from tests.built import built

RATE, SMOOTHING = 0.03, 0.1
CONFIG = Config(
    model=ModelConfig(hidden_size=6, embedding_size=4, direction="forward"),
    data=DataConfig(symbols=5),
    training=TrainingConfig(schedule="linear", warmup=2, updates=100, clip=0.1, smoothing=SMOOTHING),
)
NOISY = replace(CONFIG, model=replace(CONFIG.model, dropout=0.4))


def hand_made(source_counts, target_counts, S=5, T=4) -> Batch:
    """Random symbols, as many as the counts say."""
    rng = np.random.default_rng(0)
    counts = np.array(source_counts, np.int32), np.array(target_counts, np.int32)
    source_mask_BxS, target_mask_BxT = (np.arange(size) < count[:, None] for size, count in zip((S, T), counts, strict=True))
    source_BxS, target_BxT = (rng.integers(FIRST_SYMBOL, 9, mask.shape) for mask in (source_mask_BxS, target_mask_BxT))
    return Batch(
        source_BxS=np.where(source_mask_BxS, source_BxS, 0).astype(np.int32),
        source_mask_BxS=source_mask_BxS,
        target_BxT=np.where(target_mask_BxT, target_BxT, 0).astype(np.int32),
        target_mask_BxT=target_mask_BxT,
        gold_BxT=np.full(target_BxT.shape, -1, np.int32),
        length_B=counts[0],
        example_B=np.arange(len(source_counts), dtype=np.int32),
    )


BATCH = hand_made([1, 5, 2, 4, 3, 5, 0, 1], [1, 4, 2, 4, 3, 2, 0, 1])

init = jax.jit(training.init, static_argnums=(0, 1))
gradients = jax.jit(training.gradients, static_argnums=(2, 3))
train_step = jax.jit(training.train_step, static_argnums=(2, 3))


@pytest.fixture(scope="module")
def state():
    return init(*built(CONFIG), 3, RATE)


def mean_objective(params):
    """(smoothed loss per target token, summed nll), written without the library's losses."""
    model = resolve(CONFIG).model
    log_p_BxTxV = jax.nn.log_softmax(model.forced(params, BATCH, None).logits_BxTxV)
    wanted_BxTxV = jax.nn.one_hot(BATCH.target_BxT, log_p_BxTxV.shape[2]) * BATCH.target_mask_BxT[:, :, None]
    nll = -(wanted_BxTxV * log_p_BxTxV).sum()
    uniform = -(log_p_BxTxV * BATCH.target_mask_BxT[:, :, None]).sum() / log_p_BxTxV.shape[2]
    return ((1 - SMOOTHING) * nll + SMOOTHING * uniform) / BATCH.target_mask_BxT.sum(), nll


independent = jax.jit(jax.value_and_grad(mean_objective, has_aux=True))


def assert_close(actual, expected, rtol=1e-5, atol=1e-6):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


def differs(a, b) -> bool:
    return any(bool((x != y).any()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


# Budget 120, warm-up 10; no step lies on the edge of a halving.
FORMULAS = {
    "constant": lambda step: 1.0,
    "linear": lambda step: 1 - step / 120,
    "cosine": lambda step: math.cos(math.pi * step / 240) ** 2,
    "inverse_sqrt": lambda step: math.sqrt(10 / step) if step > 10 else 1.0,
    "luong": lambda step: 0.5 ** sum(step >= edge for edge in (90, 100, 110)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_schedule_follows_its_formula(name):
    config = TrainingConfig(schedule=name, updates=120, warmup=10)
    steps = np.array([0, 1, 8, 9, 15, 37, 62, 79, 84, 95, 105, 119])
    factors = jax.vmap(partial(training.schedule, config))(steps)
    expected = [min((step + 1) / 10, 1) * FORMULAS[name](int(step)) for step in steps]
    np.testing.assert_allclose(factors, expected, rtol=1e-5, atol=1e-6)


def test_schedule_without_warmup_starts_whole_and_never_leaves_0_to_1():
    for name in FORMULAS:
        config = TrainingConfig(schedule=name, updates=120, warmup=0)
        factors = jax.vmap(partial(training.schedule, config))(jnp.arange(200))
        assert factors[0] == 1
        assert bool(((factors >= 0) & (factors <= 1)).all())


PEERS = {
    "adam": lambda: optax.adam(RATE),
    "adadelta": lambda: optax.adadelta(RATE, rho=0.95, eps=1e-6),
    "sgd": lambda: optax.sgd(RATE),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_optimizer_is_optax_times_the_rate(name, clip):
    own = training.optimizer(TrainingConfig(optimizer=name, clip=clip))
    peer = optax.chain(optax.clip_by_global_norm(clip), PEERS[name]()) if clip else PEERS[name]()
    start = {"w": jnp.ones(3), "b": jnp.zeros(2)}
    ours, theirs, state, peer_state = start, start, own.init(start), peer.init(start)
    for i in range(4):
        grads = {"w": jnp.array([0.3, -2.0, 0.01]) * (i + 1), "b": jnp.array([1.0, -0.5]) / (i + 1)}
        directions, state = own.update(grads, state, ours)
        ours = jax.tree.map(lambda p, d: p - RATE * d, ours, directions)
        updates, peer_state = peer.update(grads, peer_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    assert_close(ours, theirs)


@pytest.mark.parametrize("vectorises", [False, True])
def test_clipping_shortens_long_gradients_only(vectorises, monkeypatch):
    monkeypatch.setattr(machine, "vectorises", lambda: vectorises)
    clip = training.optimizer(TrainingConfig(optimizer="sgd", clip=5.0))
    grads = {"w": jnp.array([6.0, 0.0]), "b": jnp.array([8.0])}  # norm 10
    clipped, _ = clip.update(grads, clip.init(grads))
    assert_close(clipped, {"w": np.array([3.0, 0.0]), "b": np.array([4.0])})
    short = {"w": jnp.array([0.6, 0.0]), "b": jnp.array([0.8])}
    assert_close(clip.update(short, clip.init(short))[0], short, rtol=0, atol=0)


@pytest.mark.long
def test_gradient_is_that_of_the_mean_over_tokens(state):
    grads, sums = gradients(state, BATCH, *built(CONFIG))
    (objective, nll), expected = independent(state.params)
    assert_close(grads, expected)
    assert sums.tokens == BATCH.target_mask_BxT.sum() == 17
    np.testing.assert_allclose(sums.objective / sums.tokens, objective, rtol=1e-5)
    np.testing.assert_allclose(sums.nll, nll, rtol=1e-5)  # smoothing is in the objective alone
    assert abs(sums.objective - sums.nll) > 1e-3


@pytest.mark.long
def test_gradient_agrees_with_finite_differences(state):
    grads, _ = gradients(state, BATCH, *built(CONFIG))
    norm = optax.tree.norm(grads)
    along = jax.tree.map(lambda g: g / norm, grads)  # uphill the slope is the norm of the gradient

    def value(h):
        return independent(jax.tree.map(lambda p, a: p + h * a, state.params, along))[0][0]

    np.testing.assert_allclose((value(0.02) - value(-0.02)) / 0.04, norm, rtol=2e-3)


@pytest.mark.long
@pytest.mark.parametrize("gate", ["none", "both"])
@pytest.mark.parametrize("name", readout.TABLE)
def test_gradients_are_finite_however_a_compiler_rounds(name, gate):
    """Without optimisation, as here, what is computed twice is not always rounded alike: a reduction's maximum was not found."""
    config = replace(CONFIG, model=replace(CONFIG.model, readout=name, context_gate=gate))
    state = training.init(*built(config), 0, RATE)
    gradients, _ = jax.jit(lambda state: training.gradients(state, BATCH, *built(config)))(state)
    assert jax.tree.all(jax.tree.map(lambda g: np.isfinite(g).all(), gradients))


def test_means_of_halves_would_be_another_gradient(state):
    """What makes "sum, then divide" matter: halves of a batch hold different numbers of tokens."""
    halves = [replace_masks(slice(0, 4)), replace_masks(slice(4, 8))]
    parts = [gradients(state, half, *built(CONFIG)) for half in halves]
    whole, _ = gradients(state, BATCH, *built(CONFIG))
    tokens = [int(sums.tokens) for _, sums in parts]
    assert tokens == [11, 6]
    assert_close(jax.tree.map(lambda a, b: (a * tokens[0] + b * tokens[1]) / 17, *(grads for grads, _ in parts)), whole)
    with pytest.raises(AssertionError):
        assert_close(jax.tree.map(lambda a, b: (a + b) / 2, *(grads for grads, _ in parts)), whole)


def replace_masks(kept: slice) -> Batch:
    """BATCH with the targets of all other rows masked."""
    mask_BxT = np.zeros_like(BATCH.target_mask_BxT)
    mask_BxT[kept] = BATCH.target_mask_BxT[kept]
    return BATCH.replace(target_mask_BxT=mask_BxT)


def test_batch_without_a_token_has_no_gradient(state):
    grads, sums = gradients(state, replace_masks(slice(0, 0)), *built(CONFIG))
    assert sums.tokens == 0
    assert_close(grads, jax.tree.map(jnp.zeros_like, grads), atol=0)


@pytest.mark.long
def test_training_is_adam_on_the_mean_and_lowers_it(state):
    trained, params = state, state.params
    peer = optax.chain(optax.clip_by_global_norm(0.1), optax.adam(lambda step: RATE * jnp.minimum((step + 1) / 2, 1) * (1 - step / 100)))
    peer_state = peer.init(params)
    for _ in range(3):
        trained, first = train_step(trained, BATCH, *built(CONFIG))
        updates, peer_state = peer.update(independent(params)[1], peer_state, params)
        params = optax.apply_updates(params, updates)
    assert_close(trained.params, params, rtol=1e-3, atol=1e-5)
    assert trained.step == 3
    for _ in range(40):
        trained, last = train_step(trained, BATCH, *built(CONFIG))
    assert last.nll < 0.5 * first.nll
    assert trained.learning_rate == state.learning_rate


@pytest.mark.long
def test_everything_random_follows_from_seed_and_step():
    state, again, other = (init(*built(CONFIG), seed, RATE) for seed in (3, 3, 4))
    assert not differs(state.params, again.params)
    assert differs(state.params, other.params)
    grads, sums = gradients(state, BATCH, *built(NOISY))
    assert not differs((grads, sums), gradients(again, BATCH, *built(NOISY)))
    assert differs(grads, gradients(state.replace(step=state.step + 1), BATCH, *built(NOISY))[0])
    assert differs(grads, gradients(state.replace(key=other.key), BATCH, *built(NOISY))[0])
    assert differs(grads, gradients(state, BATCH.replace(example_B=BATCH.example_B + 1), *built(NOISY))[0])


def test_the_vocabulary_of_a_task_is_its_own_and_that_of_a_corpus_is_known_with_its_text():
    assert sources.own_sizes(CONFIG) == (FIRST_SYMBOL + 5, FIRST_SYMBOL + 5)
    text = replace(CONFIG, data=DataConfig(task="multi30k"))
    assert sources.own_sizes(text) is None and sources.most_sizes(text) == (2000, 2000)
    with pytest.raises(ConfigError, match=r"data\.task=multi30k has as many tokens as its text gives"):
        resolve(text)


A, B, C = FIRST_SYMBOL, FIRST_SYMBOL + 1, FIRST_SYMBOL + 2
TARGET_BxT = np.array([[A, B, EOS, 0], [A, B, EOS, 0], [C, EOS, 0, 0], [A, B, C, EOS]], np.int32)
SAID_BxT = np.array([[A, B, EOS, C], [A, A, EOS, 0], [C, C, EOS, 0], [A, EOS, C, EOS]], np.int32)
LESSON = Batch(
    source_BxS=SAID_BxT,
    source_mask_BxS=SAID_BxT > 0,
    target_BxT=TARGET_BxT,
    target_mask_BxT=TARGET_BxT > 0,
    gold_BxT=np.full((4, 4), -1, np.int32),
    length_B=np.array([2, 2, 1, 3], np.int32),
    example_B=np.arange(4, dtype=np.int32),
)


def parrot() -> Model:
    """Says its source token for token, with probability e / (e + V - 1) each, V = 9, and looks where it reads."""

    def forced(params, batch, key):
        assert key is None, "evaluation draws nothing"
        return Outputs(jax.nn.one_hot(batch.source_BxS, 9), jnp.broadcast_to(jnp.eye(4), (4, 4, 4)), jnp.zeros(4))

    def step(params, prepared, i_B, token_B, keys_B=None):
        return jax.nn.one_hot(prepared[jnp.arange(4), i_B], 9), jax.nn.one_hot(i_B, 4), i_B + 1

    return Model(None, forced, lambda params, source_BxS, mask_BxS: (source_BxS, jnp.zeros(4, int)), step)


def test_eval_forced_on_a_case_made_by_hand():
    scores, tokens_BxT, weights_BxTxS = training.eval_forced({}, LESSON, parrot())
    np.testing.assert_array_equal(tokens_BxT, SAID_BxT)
    np.testing.assert_array_equal(weights_BxTxS[0], np.eye(4))
    np.testing.assert_array_equal(scores.tokens_B, [3, 3, 2, 4])
    np.testing.assert_array_equal(scores.correct_B, [3, 2, 1, 3])
    np.testing.assert_array_equal(scores.exact_B, [1, 0, 0, 0])  # what is said after the target's EOS does not count
    right, wrong = math.log(math.e + 8) - 1, math.log(math.e + 8)
    np.testing.assert_allclose(scores.nll_B, [3 * right, 2 * right + wrong, right + wrong, 3 * right + wrong], rtol=1e-6)


def test_the_average_of_log_p_follows_xu():
    """b_1 = log p per token, b_k = 0.9 b_{k-1} + 0.1 log p."""
    state, average = init(*built(CONFIG), 3, RATE), None
    for _ in range(3):
        state, sums = train_step(state, BATCH, *built(CONFIG))
        reward = -float(sums.nll) / int(sums.tokens)
        average = reward if average is None else 0.9 * average + 0.1 * reward
        assert float(state.average) == pytest.approx(average, rel=1e-6)


@pytest.mark.long
def test_the_average_is_a_baseline_and_nothing_else():
    """It shifts the gradient of the score alone, in expectation not at all; without REINFORCE it changes nothing."""
    hard = replace(CONFIG, model=replace(CONFIG.model, estimator="reinforce", timing="after"))
    for config, matters in ((CONFIG, False), (hard, True)):
        state = init(*built(config), 3, RATE)
        one, _ = gradients(state, BATCH, *built(config))
        other, _ = gradients(state.replace(average=jnp.asarray(-2.0)), BATCH, *built(config))
        assert differs(one["decoder"]["attention"]["score"], other["decoder"]["attention"]["score"]) == matters
        assert_close(one["decoder"]["readout"], other["decoder"]["readout"])


@pytest.mark.long
@pytest.mark.parametrize("sampling", ["scheduled", "free"])
def test_sampled_inputs_reach_the_decoder(sampling):
    """The gradient is that of teacher forcing on the tokens that were drawn, which is not that of the true tokens."""
    config = replace(CONFIG, training=replace(CONFIG.training, sampling=sampling, sampling_rate=0.1))
    state = init(*built(config), 3, RATE).replace(step=jnp.asarray(95))
    grads, sums = gradients(state, BATCH, *built(config))
    forced, forced_sums = gradients(state, BATCH, *built(CONFIG))
    assert differs(grads, forced) and float(sums.nll) != float(forced_sums.nll) and int(sums.tokens) == int(forced_sums.tokens)
    model = resolve(config).model
    key = keys.fold(state.key, keys.OfSeed.UPDATES, state.step, keys.OfUpdate.SAMPLED_INPUTS)
    previous_BxT = scheduled.inputs(model, state.params, BATCH, key, scheduled.share(config.training, state.step))
    nll = losses.sums(model.forced(state.params, BATCH, None, previous_BxT), BATCH, config.training).nll
    assert float(sums.nll) == pytest.approx(float(nll), rel=1e-5)


def test_eval_free_on_a_case_made_by_hand():
    scores, tokens_BxT, weights_BxTxS = training.eval_free({}, jax.tree.map(jnp.asarray, LESSON), parrot())
    np.testing.assert_array_equal(tokens_BxT, [[A, B, EOS, 0], [A, A, EOS, 0], [C, C, EOS, 0], [A, EOS, 0, 0]])
    np.testing.assert_array_equal(weights_BxTxS[0], np.diag([1, 1, 1, 0]))  # nothing is looked at after EOS
    np.testing.assert_array_equal(scores.correct_B, [3, 2, 1, 1])
    np.testing.assert_array_equal(scores.exact_B, [1, 0, 0, 0])
    np.testing.assert_array_equal(scores.nll_B, np.zeros(4))


def test_eval_free_is_not_cut_at_the_size_of_the_target():
    batch = jax.tree.map(jnp.asarray, LESSON)
    scores, tokens_BxT, weights_BxTxS = training.eval_free({}, batch, parrot())
    longer, tokens_BxL, weights_BxLxS = training.eval_free({}, batch, parrot(), longest=9)
    T = batch.target_BxT.shape[1]
    assert tokens_BxL.shape[1] == weights_BxLxS.shape[1] == 9 > T
    np.testing.assert_array_equal(tokens_BxL[:, :T], tokens_BxT)
    jax.tree.map(np.testing.assert_array_equal, longer, scores)
    unending = training.eval_free({}, batch, parrot(), stop=False, longest=9)[1]
    assert (np.asarray(unending[:, T:]) != 0).any()


def test_eval_free_goes_on_where_outputs_carry_no_end():
    scores, tokens_BxT, _ = training.eval_free({}, jax.tree.map(jnp.asarray, LESSON), parrot(), stop=False)
    np.testing.assert_array_equal(tokens_BxT, SAID_BxT)
    np.testing.assert_array_equal(scores.correct_B, [3, 2, 1, 3])


@pytest.mark.parametrize("small", [0, 4, 100])
def test_sums_over_devices_whatever_travels_together(small, monkeypatch):
    monkeypatch.setattr(training, "SMALL", small)
    parts = {
        "count": jnp.arange(3),
        "gradient": {"a": jnp.arange(12.0).reshape(3, 4), "b": jnp.arange(30.0).reshape(3, 5, 2)},
        "loss": jnp.ones(3),
    }
    total = jax.vmap(lambda tree: training.added(tree, "devices"), axis_name="devices")(parts)
    jax.tree.map(
        lambda x, part: np.testing.assert_array_equal(x[1], part.sum(0, dtype=part.dtype), strict=True),
        jax.device_get(total),
        jax.device_get(parts),
    )
    assert total["count"].dtype == jnp.int32


def test_a_nudge_moves_every_parameter_by_units_in_the_last_place():
    plain, up, down = (
        training.init(*built(replace(CONFIG, training=replace(CONFIG.training, nudge=nudge))), 0, 1e-3).params for nudge in (0, 1, -2)
    )
    for one, more, less in zip(*map(jax.tree.leaves, (plain, up, down)), strict=True):
        one, more, less = (np.asarray(x) for x in (one, more, less))
        if one.any():
            assert np.abs(more - one).max() > 0 and np.abs(less - one).max() > 0
            assert (np.abs(more - one) <= 3 * np.spacing(np.abs(one))).all() and (np.abs(less - one) <= 5 * np.spacing(np.abs(one))).all()
