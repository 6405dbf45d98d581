"""What a vector can hold: decoder frozen, the vector of each example is optimised for its own target, and the encoder left out.

    v* = argmin over v ∈ [−1, 1]^d of Σ_t −log p(y_t | y_<t, v)        [−1, 1]: all that tanh gives

An encoder finds one vector a source in a single pass. How much further the same decoder can be driven is what its encoder loses: Kuratov
et al. 2025 (arXiv 2502.13063) asked so of transformers. The vector takes the place of `model.vector_size` numbers wherever these go: it
is what the decoder starts from, and in `summary` the context of every step as well. To the decoder it is the memory of an encoder of a
single position, so that no function of the model is written anew.

Adam (Kingma & Ba 2015), its rate annealed to 0 by a cosine, each step cut to the box. The first descent of an example begins at the
encoder's own vector, the others at vectors drawn uniformly from the box. Of all vectors met the best is kept: one whose outputs are all
right by teacher forcing comes first, then the one with the lower loss. At the end it decodes freely, beside the encoder's own, which is
taken where it alone is right: an oracle is never behind its encoder.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from attention_jax import attention, model
from attention_jax.attention import vector
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.layers import masks, predictions
from attention_jax.model import Stages, decoder, search
from attention_jax.system.errors import ConfigError
from attention_jax.types import BOS, Batch, Memory, Model, logits_of
from attention_jax.types.signatures import Array, Key, Params


class Descent(NamedTuple):
    """How a vector is optimised."""

    steps: int = 200
    rate: float = 0.05  # of Adam, the peak
    restarts: int = 4  # the first at the encoder's vector
    stops: bool = True  # once every example has a vector whose outputs are all right


DESCENT = Descent()
"""What is meant where nothing else is said."""


class Found(struct.PyTreeNode):
    """Holds the vectors of a batch. Losses are in nats, summed over the target; `own` is of the encoder's vectors."""

    vector_BxD: Array
    loss_B: Array
    exact_B: Array  # True where free running gives the target
    own_BxD: Array
    own_loss_B: Array
    own_exact_B: Array


def check(config: ModelConfig) -> None:
    """Raises `ConfigError` for a model whose decoder is not driven by one vector alone."""
    if config.attention not in attention.fixed_vectors():
        raise ConfigError(f"model.attention={config.attention}: a vector is optimised where it is all that the decoder sees")
    if config.vector_size == 0 or config.start != "bridge":
        given = f"model.vector_size={config.vector_size} and model.start={config.start}"
        raise ConfigError(f"{given}: a vector is optimised where model.vector_size is above 0 and model.start is bridge")


def driven(config: ModelConfig, vocabulary: int | tuple[int, int]) -> Stages:
    """Returns the model's parts behind the vector: they take the same parameters, and a memory that is the vector at one position.

    Raises `ConfigError` as `check` does.
    """
    check(config)
    whole, d = model.stages(config, vocabulary), config.vector_size
    plain = replace(config, vector_size=0, vector_bits=0)
    H = config.decoder_size or config.hidden_size
    mechanism = attention.build(plain, Sizes(d, H, config.attention_size or H, ("forward",), config.embedding_size))
    encoder = whole.encoder._replace(spread=None, memory_size=d, final_size=d)
    return whole._replace(encoder=encoder, attention=mechanism, decoder=decoder.build(plain, mechanism, d, d))


def own(config: ModelConfig, vocabulary: int | tuple[int, int], params: Params, source_BxS: Array, mask_BxS: Array) -> Array:
    """Returns the encoder's vectors, vector_BxD. Raises `ConfigError` as `check` does."""
    check(config)
    return model.handed_over(model.stages(config, vocabulary), params, source_BxS, mask_BxS)


def start(stages: Stages, params: Params, vector_BxD: Array):
    """Returns (prepared, state) of a decoder that has these vectors, before its first output; numbers are rounded to `vector_bits`."""
    vector_BxD = vector.rounded(jnp.asarray(vector_BxD), stages.config.vector_bits)
    mask_Bx1 = jnp.ones((vector_BxD.shape[0], 1), bool)
    prepared, state = stages.decoder.start(params["decoder"], Memory(vector_BxD[:, None], mask_Bx1, vector_BxD))
    return (prepared, jnp.zeros(mask_Bx1.shape, jnp.int32), mask_Bx1), state


def judged(stages: Stages, params: Params, vector_BxD: Array, target_BxT: Array, mask_BxT: Array):
    """Computes (loss_B in nats, exact_B) of vectors by teacher forcing: exact where every token is the likeliest."""
    previous_BxT = jnp.pad(target_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)
    embedded_BxTxE = jnp.asarray(params["target_embedding"])[previous_BxT if stages.config.feedback else jnp.full_like(previous_BxT, BOS)]
    prepared, state = start(stages, params, vector_BxD)
    steps = stages.decoder.unroll(params["decoder"], prepared[0], state, embedded_BxTxE)
    prediction, _, _ = model.predict(stages, params, prepared, steps, embedded_BxTxE)
    logits_BxTxV = logits_of(prediction)
    right_BxT = predictions.argmax(logits_BxTxV) == target_BxT
    return predictions.token_nll(logits_BxTxV, target_BxT, mask_BxT).sum(1), (right_BxT | ~mask_BxT).all(1)


def decoded(stages: Stages, params: Params, vector_BxD: Array, target_BxT: Array, mask_BxT: Array, stop: bool = True):
    """Returns exact_B: whether greedy free running from a vector gives its target, in as many positions as there are."""
    starts = partial(_starts, stages)
    driver = Model(partial(model.init, stages), partial(model.forced, stages), starts, partial(model.step, stages), looks=False)
    mask_Bx1 = jnp.ones((target_BxT.shape[0], 1), bool)
    tokens_BxT = search.decode(driver, params, vector_BxD, mask_Bx1, target_BxT.shape[1], stop=stop).tokens_BxNxT[:, 0]
    return ((tokens_BxT == target_BxT) | ~mask_BxT).all(1)


def _starts(stages: Stages, params: Params, source, mask_BxS: Array, keys_B: Key | None = None):
    return start(stages, params, source)


def found(
    config: ModelConfig,
    vocabulary: int | tuple[int, int],
    params: Params,
    batch: Batch,
    key: Key,
    descent: Descent = DESCENT,
    stop: bool = True,
) -> Found:
    """Finds the best vector of every example by gradient descent; `key` draws where restarts begin, `stop` says that outputs end with EOS.

    Raises `ConfigError` as `check` does.
    """
    stages, K = driven(config, vocabulary), descent.restarts
    target_BxT, mask_BxT = jnp.asarray(batch.target_BxT), masks.real(batch.target_mask_BxT)
    own_BxD = own(config, vocabulary, params, batch.source_BxS, batch.source_mask_BxS)
    B, D = own_BxD.shape
    drawn_NxD = jax.random.uniform(key, ((K - 1) * B, D), own_BxD.dtype, -1, 1)
    target_NxT, mask_NxT = (jnp.tile(x_BxT, (K, 1)) for x_BxT in (target_BxT, mask_BxT))

    def of(vector_NxD):
        loss_N, exact_N = judged(stages, params, vector_NxD, target_NxT, mask_NxT)
        return loss_N.sum(), (loss_N, exact_N)

    best_NxD, loss_N, exact_N = descended(jax.grad(of, has_aux=True), jnp.concatenate([own_BxD, drawn_NxD]), B, descent)
    restart_B = merit(loss_N, exact_N).reshape(K, B).argmin(0)
    row_B = restart_B * B + jnp.arange(B, dtype=restart_B.dtype)
    own_loss_B, _ = judged(stages, params, own_BxD, target_BxT, mask_BxT)
    best_BxD, loss_B = best_NxD[row_B], loss_N[row_B]
    exact_B, own_exact_B = (decoded(stages, params, v_BxD, target_BxT, mask_BxT, stop) for v_BxD in (best_BxD, own_BxD))
    keeps_B = own_exact_B & ~exact_B
    vector_BxD, loss_B = jnp.where(keeps_B[:, None], own_BxD, best_BxD), jnp.where(keeps_B, own_loss_B, loss_B)
    return Found(vector.rounded(vector_BxD, config.vector_bits), loss_B, exact_B | own_exact_B, own_BxD, own_loss_B, own_exact_B)


def merit(loss_N: Array, exact_N: Array):
    """Returns a number by which vectors are ordered, the best first: those that are exact, then by loss."""
    return jnp.where(exact_N, -1 / (1 + loss_N), loss_N)


def descended(gradient: Callable[[Array], tuple[Array, tuple[Array, Array]]], begin_NxD: Array, B: int, descent: Descent):
    """Descends from N vectors, restart by restart those of B examples: the best of each on its way, (vector_NxD, loss_N, exact_N).

    gradient(vector_NxD) → (gradient_NxD, (loss_N, exact_N)).
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(descent.rate, max(descent.steps, 1)))

    def unfinished(loop):
        i, *_, exact_N = loop
        return (i <= descent.steps) & ~(descent.stops & exact_N.reshape(-1, B).any(0).all())

    def body(loop):
        i, v_NxD, state, best_NxD, loss_N, exact_N = loop
        gradient_NxD, (now_N, right_N) = gradient(v_NxD)
        better_N = merit(now_N, right_N) < merit(loss_N, exact_N)
        best_NxD = jnp.where(better_N[:, None], v_NxD, best_NxD)
        loss_N, exact_N = jnp.where(better_N, now_N, loss_N), jnp.where(better_N, right_N, exact_N)
        moved_NxD, state = optimizer.update(gradient_NxD, state)
        return i + 1, jnp.clip(v_NxD + moved_NxD, -1, 1), state, best_NxD, loss_N, exact_N

    N = len(begin_NxD)
    worst_N = jnp.full(N, jnp.inf, begin_NxD.dtype)
    begin = jnp.int32(0), begin_NxD, optimizer.init(begin_NxD), begin_NxD, worst_N, jnp.zeros(N, bool)
    *_, best_NxD, loss_N, exact_N = jax.lax.while_loop(unfinished, body, begin)
    return best_NxD, loss_N, exact_N
