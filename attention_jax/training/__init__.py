"""One update and one evaluation, pure: the same functions run under jit, pmap, shard_map, on a mesh, and vmapped over seeds."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from attention_jax.config import SearchConfig, TrainingConfig, check
from attention_jax.layers import keys, precision, predictions
from attention_jax.layers.keys import OfSeed, OfUpdate
from attention_jax.model import search
from attention_jax.system import machine
from attention_jax.system.errors import ConfigError
from attention_jax.training import losses, scheduled
from attention_jax.types import PAD, Batch, Model, Sums, TrainState
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Params, Tree

SMALL = 2**16  # numbers of an array that is not added over devices by itself


def optimizer(config: TrainingConfig) -> optax.GradientTransformation:
    """Makes the chain of clipping and the optimizer's direction; `train_step` multiplies by the learning rate, which is part of the state.

    adam: β = 0.9, 0.999, ε = 1e-8 (Kingma & Ba 2015); adadelta: ρ = 0.95, ε = 1e-6 (Bahdanau 2015, B.2); sgd: no momentum.
    Raises `ConfigError` for settings that cannot be.
    """
    check(config)
    clip = clipping(config.clip) if config.clip else optax.identity()
    return optax.chain(clip, OPTIMIZERS[config.optimizer]())


@cites("kingma2015")
def adam() -> optax.GradientTransformation:
    """Makes `optax.scale_by_adam` with its count as a float within an update.

    β to the power of an integer count has JAX's default type, which may be float64.
    """
    plain = optax.scale_by_adam()

    def update(updates, state, params=None):
        dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(updates))
        moved: Any
        directions, moved = plain.update(updates, state._replace(count=state.count.astype(dtype)), params)
        return directions, moved._replace(count=optax.safe_increment(state.count))

    return optax.GradientTransformation(plain.init, update)


@cites("zeiler2012")
def adadelta() -> optax.GradientTransformation:
    """Makes `optax.scale_by_adadelta` with the constants of Bahdanau 2015, B.2."""
    return optax.scale_by_adadelta(rho=0.95, eps=1e-6)


OPTIMIZERS = {"adam": adam, "adadelta": adadelta, "sgd": optax.identity}
"""Row: row() → what turns gradients to directions, before the learning rate."""


def clipping(limit: float) -> optax.GradientTransformation:
    """Makes the map g → g · min(1, limit / ‖g‖), the norm being over all parameters, as in `optax.clip_by_global_norm`.

    It multiplies by one factor, which costs no further pass over the parameters. Where every kernel launch costs, the norm is that of one
    vector rather than a sum over arrays.
    """

    def clipped(gradients, params):
        vector = ravel_pytree(gradients)[0] if machine.vectorises() else gradients
        factor = jnp.minimum(1, limit / optax.tree.norm(vector))
        return jax.tree.map(lambda g: g * factor.astype(g.dtype), gradients)

    return optax.stateless(clipped)


def schedule(config: TrainingConfig, step: Array | int, budget: Array | int | None = None):
    """Computes the factor, in [0, 1], on the learning rate at update `step` (from 0): linear warm-up, times

    constant 1;  linear 1 → 0;  cosine ½(1 + cos πx), x = share of the budget;  inverse_sqrt √(warmup / step);
    luong: 1 for two thirds of the budget, then halved at the end of every twelfth of it ("luong234" in tensorflow/nmt).
    `budget` in updates may be traced, so that budgets share a compiled program; None: `config.updates`.
    Raises `ConfigError` for settings that cannot be.
    """
    check(config)
    warmup, step = max(config.warmup, 1), jnp.asarray(step, jnp.int32)
    budget = jnp.asarray(config.updates if budget is None else budget, jnp.int32)
    now = step.astype(jnp.float32)
    x = jnp.clip(now / budget.astype(jnp.float32), 0, 1)
    factors = {
        "constant": lambda: jnp.ones_like(x),
        "linear": lambda: 1 - x,
        "cosine": lambda: 0.5 * (1 + jnp.cos(jnp.pi * x)),
        "inverse_sqrt": lambda: jnp.sqrt(warmup / jnp.maximum(now, warmup)),
        "luong": lambda: jnp.float32(0.5) ** jnp.maximum((12 * step - 8 * budget) // budget, 0),
    }
    return jnp.minimum((step + 1).astype(jnp.float32) / warmup, 1) * factors[config.schedule]()


def init(model: Model, config: TrainingConfig, seed: Array | int, learning_rate: Array | float) -> TrainState:
    """Makes the state before the first update; everything random in a run follows from `seed`.

    `learning_rate` is the peak, before the schedule's factor. Raises `ConfigError` for settings that cannot be.
    """
    checked(model, config)
    key = jax.random.key(seed)
    params = model.init(keys.fold(key, OfSeed.PARAMETERS))
    if config.nudge:
        params = jax.tree.map(lambda p: p * (1 + config.nudge * jnp.finfo(p.dtype).eps).astype(p.dtype), params)
    opt_state = optimizer(config).init(params)
    first, rate, average = jnp.zeros((), jnp.int32), jnp.asarray(learning_rate, jnp.float32), jnp.zeros((), jnp.float32)
    return TrainState(params, opt_state, first, key, rate, average)


def checked(model: Model, config: TrainingConfig) -> TrainingConfig:
    """Returns `config` if its settings can be and go with the model. Raises `ConfigError` otherwise."""
    check(config)
    for name in ("coverage", "doubly_stochastic", "guided"):
        if (weight := getattr(config, name)) and not model.looks:
            raise ConfigError(f"training.{name}={weight} weighs where a mechanism looks, and that of model.attention looks nowhere")
    return config


def forward(params: Params, state: TrainState, batch: Batch, model: Model, config: TrainingConfig) -> Sums:
    """Computes the losses of a batch at `params`, summed; random draws are those of the update `state.step`."""
    key, previous_BxT = keys.fold(state.key, OfSeed.UPDATES, state.step), None
    if config.sampling != "forced":
        share = scheduled.share(config, state.step)
        previous_BxT = scheduled.inputs(model, params, batch, keys.fold(key, OfUpdate.SAMPLED_INPUTS), share)
    return losses.sums(model.forced(params, batch, key, previous_BxT, state.average), batch, config)


def gradients(state: TrainState, batch: Batch, model: Model, config: TrainingConfig, axis_name: str | None = None):
    """Computes (the gradient of the mean loss per target token, `Sums` over all devices).

    The gradient of the summed loss is added over devices and divided once: a mean over devices of per-device means would be wrong where
    lengths vary. `axis_name` is the axis of devices under `pmap` or `shard_map`. Raises `ConfigError` for settings that cannot be.
    """
    checked(model, config)

    def objective(params):
        sums = forward(params, state, batch, model, config)
        return sums.objective, sums

    params = state.params
    if axis_name:  # gradients stay per device, whatever shard_map checks
        params = jax.tree.map(lambda p: jax.lax.pcast(p, axis_name, to="varying"), params)
    grads, sums = precision.applied(jax.grad(objective, has_aux=True), config.precision)(params)
    if axis_name:
        grads, sums = added((grads, sums), axis_name)
    return jax.tree.map(lambda g: g / jnp.maximum(sums.tokens, 1), grads), sums


def added(tree: Tree, axis_name: str):
    """Sums a tree over the devices along `axis_name`, in one reduction.

    On CPUs devices meet once per array, so small arrays travel as one.

    Integers travel as float32, exact up to 2²⁴: a reduction has one type.
    """
    leaves, treedef = jax.tree.flatten(tree)
    wide = [x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.float32) for x in leaves]
    small = [i for i, x in enumerate(wide) if x.size <= SMALL and x.dtype == jnp.float32]
    packed, unpack = ravel_pytree([wide[i] for i in small])
    packed, totals = jax.lax.psum((packed, [x for i, x in enumerate(wide) if i not in small]), axis_name)
    for i, total in zip(small, unpack(packed), strict=True):
        totals.insert(i, total)
    return jax.tree.unflatten(treedef, [total.astype(x.dtype) for total, x in zip(totals, leaves, strict=True)])


def train_step(
    state: TrainState,
    batch: Batch,
    model: Model,
    config: TrainingConfig,
    axis_name: str | None = None,
    budget: Array | int | None = None,
) -> tuple[TrainState, Sums]:
    """Makes one update, θ ← θ - η · schedule(step) · direction(gradient), and returns (the next state, `Sums` before the update).

    `axis_name` is as in `gradients`, `budget` as in `schedule`. The moving average of log p per token, b ← 0.9 b + 0.1 log p
    (Xu 2015, §4.2), starts at the first update's own.
    """
    grads, sums = gradients(state, batch, model, config, axis_name)
    directions, opt_state = optimizer(config).update(grads, state.opt_state, state.params)
    rate = state.learning_rate * schedule(config, state.step, budget)
    params = jax.tree.map(lambda p, d: p - rate * d, state.params, directions)
    reward = -sums.nll / jnp.maximum(sums.tokens, 1)
    average = jnp.where(state.step == 0, reward, 0.9 * state.average + 0.1 * reward).astype(state.average.dtype)
    return state.replace(params=params, opt_state=opt_state, step=state.step + 1, average=average), sums


def eval_forced(params: Params, batch: Batch, model: Model):
    """Evaluates with teacher forcing, each position seeing the true tokens before it: (Counted, tokens_BxT, weights_BxTxS)."""
    outputs = model.forced(params, batch, None)
    nll_BxT, tokens_BxT = predictions.judged(outputs.prediction, batch.target_BxT, batch.target_mask_BxT)
    return losses.counted(tokens_BxT, nll_BxT, batch), tokens_BxT, outputs.weights_BxTxS


def eval_free(
    params: Params,
    batch: Batch,
    model: Model,
    stop: bool = True,
    longest: int = 0,
    settings: SearchConfig = search.GREEDY,
    is_given: bool = False,
):
    """Evaluates in free running, by the best output of the search: (Counted, tokens_BxT, weights_BxTxS). The nll is 0 throughout.

    Outputs have `longest` positions, at least as many as the padded target: a padded size that was chosen to fit the reference must not be
    what ends an output. `settings.max_length`, where it is set, ends them; with `stop=False` EOS does not. With `is_given` outputs
    begin with the target's tokens before the first one that its mask holds.
    """
    T = batch.target_BxT.shape[1]
    source, positions = (batch.source_BxS, batch.source_mask_BxS), max(T, longest)
    given = search.first_tokens.of_targets(batch) if is_given else None
    found = search.decode(model, params, *source, positions, settings, stop, batch.example_B, given=given)
    tokens_BxT, weights_BxTxS = found.tokens_BxNxT[:, 0], found.weights_BxNxTxS[:, 0]
    compared_BxT = jnp.pad(tokens_BxT[:, :T], ((0, 0), (0, max(0, T - tokens_BxT.shape[1]))), constant_values=PAD)
    return losses.counted(compared_BxT, jnp.zeros(batch.target_BxT.shape, jnp.float32), batch), tokens_BxT, weights_BxTxS
