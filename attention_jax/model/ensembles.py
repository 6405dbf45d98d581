"""Several models of one config as one: a token's probability is the mean of its probabilities under each of R sets of parameters.

    p(y | y_<i) = 1/R Σ_r p_r(y | y_<i)

The logits of an ensemble are the log of this mean, so they sum to 1 as probabilities. Weights are the mean over the members. Every member
reads the same outputs so far, and moves its own state. Parameters have a leading axis R, as those of a run's seeds do.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp

from attention_jax.types import Batch, Model, Outputs
from attention_jax.types.signatures import Array, Key, Params, Tree


@cache
def ensemble(model: Model) -> Model:
    """Returns the ensemble of a model, the same one for the same model; its parameters are those of R members along a leading axis.

    `init` draws the parameters of one member.
    """
    functions = partial(init, model), partial(forced, model), partial(start, model), partial(step, model)
    limited = None if model.within is None else partial(within, model)
    return Model(*functions, model.looks, limited, None if model.norm is None else partial(norm, model))


def init(model: Model, key: Key) -> Params:
    """Draws the parameters of an ensemble of one member."""
    return jax.tree.map(lambda x: x[None], model.init(key))


def within(model: Model, backward: int, forward: int) -> Model:
    """Returns the ensemble of a model that is limited to positions around the last attended one, each member around its own."""
    assert model.within is not None
    return ensemble(model.within(backward, forward))


def forced(
    model: Model,
    params: Params,
    batch: Batch,
    key: Key | None = None,
    previous_BxT: Array | None = None,
    average: Array | float = 0.0,
) -> Outputs:
    """Predicts as every member does, with the same tokens before each position: log-probabilities of the mean, and mean weights."""

    def one(params):
        outputs = model.forced(params, batch, key, previous_BxT, average)
        return outputs.logits_BxTxV, outputs.weights_BxTxS, outputs.extra_B

    logits_RxBxTxV, weights_RxBxTxS, extra_RxB = jax.vmap(one)(params)
    return Outputs(mean_log_probability(logits_RxBxTxV), weights_RxBxTxS.mean(0), extra_RxB.mean(0))


def start(model: Model, params: Params, source: Tree, mask_BxS: Array, keys_B: Key | None = None) -> tuple[Tree, Tree]:
    """Encodes sources by every member; in what comes out R is the second axis, behind B."""
    return jax.vmap(lambda params: model.start(params, source, mask_BxS, keys_B), out_axes=1)(params)


def step(model: Model, params: Params, prepared: Tree, state: Tree, token_B: Array, keys_B: Key | None = None) -> tuple[Array, Array, Tree]:
    """Predicts the token after `token_B`: (log-probabilities of the mean_BxV, mean weights_BxS, state)."""
    every = jax.vmap(lambda params, prepared, state: model.step(params, prepared, state, token_B, keys_B), (0, 1, 1), (0, 0, 1))
    logits_RxBxV, weights_RxBxS, state = every(params, prepared, state)
    return mean_log_probability(logits_RxBxV), weights_RxBxS.mean(0), state


def norm(model: Model, state: Tree) -> Array:
    """Computes the mean over the members of the norms of their decoders' states, norm_B."""
    assert model.norm is not None
    return jax.vmap(model.norm, in_axes=1)(state).mean(0)


def mean_log_probability(logits_RxV: Array) -> Array:
    """Computes the log of the mean over R of softmax(logits), over the last axis, in float32 at least."""
    exact = jnp.promote_types(logits_RxV.dtype, jnp.float32)
    log_p_RxV = jax.nn.log_softmax(logits_RxV.astype(exact), axis=-1)
    return jax.nn.logsumexp(log_p_RxV, axis=0) - jnp.log(jnp.asarray(logits_RxV.shape[0], exact))
