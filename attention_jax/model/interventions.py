"""What a model predicts where its looks are changed: a place is taken away, or weights are dealt to other places.

    removed     at each step the place that `choose` names is masked, and the mechanism looks again, at the others alone
    permuted    at each step the weights change places at random, and the context is summed anew       Jain & Wallace 2019, §4.2.1

A change is a function Attention → Attention. Both want a context that enters the readout alone (timing = after, no feeding): then a
changed look changes the prediction of its own step and nothing else.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from attention_jax import attention, model
from attention_jax.attention.mechanism import weigh
from attention_jax.config import ModelConfig
from attention_jax.layers import masks
from attention_jax.model import Stages
from attention_jax.system.errors import ConfigError
from attention_jax.types import BOS, Attended, Attention, Batch, Model
from attention_jax.types.signatures import Array, Key, Params

Choose = Callable[[Array, Array], Array]
"""(weights_BxTxS, mask_BxS) → place_BxT."""


def intervened(config: ModelConfig, vocabulary: int | tuple[int, int], change: Callable[[Attention], Attention]) -> Model:
    """Returns the model of a config whose `forced` looks as `change` says; its parameters, `start` and `step` are the model's own.

    Raises `ConfigError` for settings by which a look reaches more than its own prediction, or is more than a sum of memory vectors.
    """
    check(config)
    return model.build(config, vocabulary)._replace(forced=partial(model.forced, model.stages(config, vocabulary, change)))


def check(config: ModelConfig) -> None:
    """Raises `ConfigError` for a model whose looks cannot be changed one by one."""
    wanted = {"timing": "after", "feeding": False, "decoder": "stacked", "heads": 1, "slots": 0, "estimator": "soft", "copy": False}
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise ConfigError(f"model.{name}={getattr(config, name)}: looks are changed one by one where it is {value}")
    mechanism = model.parts(config)[1]
    if config.attention not in attention.SCORES or mechanism.block is None or mechanism.knows_places:
        raise ConfigError(f"model.attention={config.attention}: looks are changed of scores that read vectors alone and carry nothing")


def looks(stages: Stages, params: Params, batch: Batch) -> tuple[Array, Array, Attended]:
    """Returns (memory_BxSxM, query_BxTxH, what is attended to) of every step by teacher forcing, of models that `check` lets pass."""
    mask_BxS = masks.real(batch.source_mask_BxS)
    previous_BxT = jnp.pad(batch.target_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)
    embedded_BxTxE = jnp.asarray(params["target_embedding"])[previous_BxT if stages.config.feedback else jnp.full_like(previous_BxT, BOS)]
    (prepared, _, _), state = model.start(stages, params, batch.source_BxS, mask_BxS)
    steps = stages.decoder.unroll(params["decoder"], prepared, state, embedded_BxTxE)
    return prepared[1], steps.query, Attended(steps.context, steps.weights, steps.terms)


def removed(choose: Choose) -> Callable[[Attention], Attention]:
    """Returns the change that masks one place of each step; where it was the only one, weights and context are zero."""

    def change(mechanism: Attention) -> Attention:
        look = mechanism.block
        assert look is not None  # as `check` says

        def block(params, prepared, state, query_BxTxH, keys_BxT=None):
            keys, memory_BxSxM, mask_BxS = prepared
            place_BxT = choose(look(params, prepared, state, query_BxTxH, keys_BxT).weights_BxTxS, mask_BxS)
            places_S = jnp.arange(mask_BxS.shape[1], dtype=jnp.int32)

            def one(query_BxH, place_B):
                others_BxS = mask_BxS & (places_S[None, :] != place_B[:, None])
                return look(params, (keys, memory_BxSxM, others_BxS), state, query_BxH[:, None], None)

            return jax.tree.map(lambda x: x[:, :, 0], jax.vmap(one, 1, 1)(query_BxTxH, place_BxT))

        return mechanism._replace(block=block)

    return change


def permuted(key: Key) -> Callable[[Attention], Attention]:
    """Returns the change that deals the weights of each step to its real places in a random order, drawn from `key`."""

    def change(mechanism: Attention) -> Attention:
        look = mechanism.block
        assert look is not None  # as `check` says

        def block(params, prepared, state, query_BxTxH, keys_BxT=None):
            attended = look(params, prepared, state, query_BxTxH, keys_BxT)
            _, memory_BxSxM, mask_BxS = prepared
            weights_BxTxS = dealt(key, attended.weights_BxTxS, mask_BxS)
            return attended.replace(context_BxTxC=weigh(weights_BxTxS, memory_BxSxM), weights_BxTxS=weights_BxTxS)

        return mechanism._replace(block=block)

    return change


def dealt(key: Key, weights_BxTxS: Array, mask_BxS: Array):
    """Returns the weights of each row in a random order of the real places, every order being as likely; zeros elsewhere."""
    mask_BxTxS = jnp.broadcast_to(mask_BxS[:, None], weights_BxTxS.shape)
    drawn_BxTxS = jnp.where(mask_BxTxS, jax.random.uniform(key, weights_BxTxS.shape, jnp.float32), 2)
    taken_BxTxS = jnp.take_along_axis(weights_BxTxS, jnp.argsort(drawn_BxTxS, axis=2), axis=2)  # from real places in a random order, first
    return jnp.where(mask_BxTxS, masks.moved(taken_BxTxS, masks.rank(mask_BxS), axis=2), 0)


def most_attended(weights_BxTxS: Array, mask_BxS: Array):
    """Chooses the place with the largest weight, the first of equals."""
    return jnp.argmax(jnp.where(mask_BxS[:, None], weights_BxTxS, -1), axis=2)


def another(key: Key) -> Choose:
    """Returns what chooses any real place but the most attended one, each as likely, drawn from `key`."""

    def choose(weights_BxTxS, mask_BxS):
        places_S = jnp.arange(weights_BxTxS.shape[2], dtype=jnp.int32)
        possible_BxTxS = mask_BxS[:, None] & (places_S[None, None] != most_attended(weights_BxTxS, mask_BxS)[:, :, None])
        return jnp.argmax(jnp.where(possible_BxTxS, jax.random.uniform(key, weights_BxTxS.shape, jnp.float32), -1), axis=2)

    return choose
