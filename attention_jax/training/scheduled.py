"""Scheduled sampling: the decoder's inputs in training are true tokens less and less often (Bengio 2015).

    input_0 = BOS        input_t = y_{t-1} with probability `share`, else a token drawn from p(· | input_≤t-1)

One coin per position, as in Bengio (§2.4). `share` falls from 1 at the first update to r = `sampling_rate` at the end of a budget of U
updates, x = step / U:

    linear            1 - (1 - r) x
    exponential       r^x: Bengio's k^i, k = r^(1/U)
    inverse_sigmoid   (k + 1) / (k + exp(i / k)): Bengio's k / (k + exp(i / k)), scaled to start at 1; k solves share(U) = r

Free running is a share of 0, teacher forcing of 1. The tokens are the model's as it is used: nothing is dropped and no attention is
drawn while they are sampled, and no gradient flows through them.
"""

import math
from functools import cache

import jax
import jax.numpy as jnp

from attention_jax.config import TrainingConfig, check
from attention_jax.layers import keys
from attention_jax.types import BOS, Batch, Model
from attention_jax.types.signatures import Array, Key, Params


def inputs(model: Model, params: Params, batch: Batch, key: Key, share: Array | float):
    """Draws previous_BxT, the decoder's input before each target position: the true token with probability `share`, else a sampled one.

    `share` in [0, 1] may be traced. Draws depend on `key`, the example's number and the position: padding and sharding do not change them.
    """
    params = jax.lax.stop_gradient(params)
    T = batch.target_BxT.shape[1]
    keys_B = keys.each(key, batch.example_B)
    prepared, state = model.start(params, batch.source_BxS, batch.source_mask_BxS)
    start_B = jnp.full_like(batch.target_BxT[:, 0], BOS)

    def choose(key, true, logits_V):
        coin_key, draw_key = jax.random.split(key)
        drawn = jax.random.categorical(draw_key, logits_V).astype(true.dtype)
        return jnp.where(jax.random.uniform(coin_key, dtype=jnp.float32) < share, true, drawn)

    def body(loop, x):
        state, token_B = loop
        t, true_B = x
        logits_BxV, _, state = model.step(params, prepared, state, token_B)
        token_B = jax.vmap(choose)(keys.fold(keys_B, t), true_B, logits_BxV)
        return (state, token_B), token_B

    _, later_LxB = jax.lax.scan(body, (state, start_B), (jnp.arange(T - 1, dtype=jnp.int32), batch.target_BxT[:, :-1].T))
    return jnp.concatenate([start_B[:, None], later_LxB.T], axis=1)


def share(config: TrainingConfig, step: Array | int):
    """Computes the share of true inputs, in [0, 1], at update `step` (from 0); 1 where `config.sampling` is forced, 0 where it is free.

    Raises `ConfigError` for settings that cannot be: of the decays only the linear one reaches a `sampling_rate` of 0.
    """
    check(config)
    if config.sampling != "scheduled":
        return jnp.full(jnp.shape(step), 0 if config.sampling == "free" else 1, jnp.float32)
    rate, x = config.sampling_rate, jnp.clip(jnp.asarray(step, jnp.float32) / config.updates, 0, 1)
    if rate == 1 or config.sampling_decay == "linear":
        return 1 - (1 - rate) * x
    if config.sampling_decay == "exponential":
        return rate**x
    k = steepness(rate, config.updates)
    return (k + 1) / (k + jnp.exp(x * config.updates / k))


@cache
def steepness(rate: float, updates: int) -> float:
    """Solves (k + 1) / (k + exp(U / k)) = r for k: the inverse sigmoid that ends at r = `rate` in (0, 1) after U = `updates`."""
    low, high = -30.0, 60.0  # of log k; the left side rises with k

    for _ in range(200):
        middle = (low + high) / 2
        k = math.exp(middle)
        low, high = (middle, high) if updates / k > math.log((k + 1) / rate - k) else (low, middle)
    return math.exp(low)
