"""Scores → weights that only ever move on along the source: monotonic attention, chunks before where it stands, and single steps.

At each step, from where the last one stopped (at first the first real position), positions are tried in order; j is chosen with
probability p_ij, else the next one is tried. Past the end nothing is chosen, at this step and at all later ones.

    monotonic    α_ij = p_ij q_ij                             the probability that step i stops at j    Raffel 2017, eq. 14
                 q_ij = (1 - p_i,j-1) q_i,j-1 + α_{i-1,j}     that it tries j at all                    Raffel 2017, eq. 13
                 p_ij = σ(e_ij + r + noise · ε)               ε ~ N(0, 1) in training                   Raffel 2017, §2.4 and §2.5
    mocha        β_ij = Σ_{k=j}^{j+w-1} α_ik exp(u_ij) / Σ_{l=k-w+1}^{k} exp(u_il)    α of monotonic    Chiu & Raffel 2018, §2.3
    stepwise     α_ij = α_{i-1,j} p_ij + α_{i-1,j-1} (1 - p_i,j-1)                    p of monotonic    He, Deng & He 2019

α_0 is 1 at the first real position; r is learned, and -1 at first.
`stepwise` (arXiv 1906.00672) stays where it is with probability p, or else moves on by one position: none is passed over.

With keys (training) α_i is this expectation. Without, p_ij is 1 where e_ij + r > 0, else 0, and the same equations say which
position is chosen: weights are one position (mocha: one chunk) or, past the end, none. Weights sum to at most 1: what is missing passed
the end. Masked positions have p_ij = 0: they are passed over. The state is α_i, in float32; one step at a time (T = 1).

The recurrence is a product of factors in [0, 1], never a quotient, so it is exact for any p: `recursive` takes it position by position,
`parallel` all positions at once. Raffel's parallel form q = cumprod(1 - p) · cumsum(α / cumprod(1 - p)) divides by what may be 0.
"""

from typing import cast

import jax
import jax.numpy as jnp

from attention_jax.attention.normalisers import softmax
from attention_jax.config import ModelConfig
from attention_jax.layers import masks
from attention_jax.types import Normaliser
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Key, Params

OFFSET = -1.0
"""r at the start of training; below zero, so that looks stop late rather than early while the scores mean nothing (Raffel 2017, §2.4)."""


@cites("raffel2017")
def monotonic_row(config: ModelConfig) -> Normaliser:
    """Makes monotonic attention: in training weights are the expected alignment, otherwise one chosen position.

    `config.noise` is the standard deviation of the noise on the scores in training. Weights sum to at most 1 (Raffel 2017).

    Use it where outputs keep the order of the source and are wanted while the source still comes in, with `direction=forward`: a step
    reads nothing after the position that it stops at. It cannot reorder, and may pass positions over.
    """

    def normalise(params, α_BxS, scores, mask_Bx1xS, keys_Bx1):
        α_BxS = advance(params, α_BxS, scores[0], mask_Bx1xS, keys_Bx1, config.noise)
        return α_BxS[:, None].astype(scores[0].dtype), α_BxS

    return Normaliser(normalise, init, first_place, mass="at most 1", knows_places=True, moves=True)


@cites("chiu2018")
def mocha_row(config: ModelConfig) -> Normaliser:
    """Makes MoChA: `monotonic_row`, then a softmax of second scores over the `config.chunk_size` positions that end where it stands.

    Source: Chiu & Raffel 2018, §2.3.

    Use it as monotonic, where an output needs some positions before the one that its step stops at as well.
    """

    def normalise(params, α_BxS, scores, mask_Bx1xS, keys_Bx1):
        α_BxS = advance(params, α_BxS, scores[0], mask_Bx1xS, keys_Bx1, config.noise)
        weights_BxS = chunkwise(α_BxS, scores[1].squeeze(1), mask_Bx1xS.squeeze(1), config.chunk_size)
        return weights_BxS[:, None].astype(scores[0].dtype), α_BxS

    return Normaliser(normalise, init, first_place, scores=2, mass="at most 1", knows_places=True, moves=True)


@cites("he2019")
def stepwise_row(config: ModelConfig) -> Normaliser:
    """Makes the row that stays or moves on by one position, in expectation in training, and by the likelier of both otherwise.

    `config.noise` is the standard deviation of the noise on the scores. r is learned as that of `monotonic_row`, and -1 at first: then it
    moves on more often than it stays, as one target token for one source token asks for. Speech has many frames for one sound, and the
    authors start with it staying.

    Use it where outputs keep the order of the source, no position is passed over, and sources are longer than those of training. Its
    copies were right at ten times the trained lengths here, with every seed.

    Unlike the authors', who start with it staying, since speech has many frames for one sound, it moves on more often than it stays at
    first.
    """

    def normalise(params, α_BxS, scores, mask_Bx1xS, keys_Bx1):
        p_BxS, rest_BxS = chances(params, α_BxS.dtype, scores[0], mask_Bx1xS, keys_Bx1, config.noise)
        moved_BxS = jnp.pad((α_BxS * rest_BxS)[:, :-1], ((0, 0), (1, 0)))
        α_BxS = jnp.where(mask_Bx1xS.squeeze(1), α_BxS * p_BxS + moved_BxS, 0)
        return α_BxS[:, None].astype(scores[0].dtype), α_BxS

    return Normaliser(normalise, init, first_place, mass="at most 1", knows_places=True, moves=True)


def init(key: Key):
    """Returns {"offset": r}, with r = `OFFSET`; nothing is drawn."""
    return {"offset": jnp.array(OFFSET, jnp.float32)}


def first_place(mask_BxS: Array):
    """Returns α_0, which is 1 at the first real position and 0 elsewhere, in float32; zeros in rows without a real position."""
    return masks.first_alone(mask_BxS).astype(jnp.float32)


def advance(params: Params, α_BxS: Array, scores_Bx1xS: Array, mask_Bx1xS: Array, keys_Bx1: Key | None, noise: float):
    """Computes α_i from α_{i-1}, α_BxS in and out: with keys the expected alignment, without them the chosen position.

    `noise` is the standard deviation of what is added to the scores, with keys only.
    """
    p_BxS, rest_BxS = chances(params, α_BxS.dtype, scores_Bx1xS, mask_Bx1xS, keys_Bx1, noise)
    return parallel(p_BxS, α_BxS, rest_BxS)


def chances(
    params: Params, dtype: jax.typing.DTypeLike, scores_Bx1xS: Array, mask_Bx1xS: Array, keys_Bx1: Key | None, noise: float
) -> tuple[jax.Array, jax.Array]:
    """Computes (p_i, 1 - p_i), the latter as σ(-e) where there are keys; without keys p is 0 or 1. At padding p is 0."""
    mask_BxS = mask_Bx1xS.squeeze(1)
    e_BxS = jnp.where(mask_BxS, scores_Bx1xS.squeeze(1).astype(dtype), 0) + params["offset"].astype(dtype)
    if keys_Bx1 is None:
        p_BxS = (mask_BxS & (e_BxS > 0)).astype(dtype)
        return p_BxS, 1 - p_BxS
    draw = jax.vmap(lambda key: jax.random.normal(key, e_BxS.shape[1:], e_BxS.dtype))  # place j's does not depend on places after it
    e_BxS = e_BxS + noise * draw(keys_Bx1.squeeze(1))
    return jnp.where(mask_BxS, jax.nn.sigmoid(e_BxS), 0), jnp.where(mask_BxS, jax.nn.sigmoid(-e_BxS), 1)


def parallel(p_BxS: Array, α_BxS: Array, rest_BxS: Array | None = None):
    """Computes α_i from p_i and α_{i-1}, as a scan of the maps q → (1 - p) q + α in log₂ S rounds.

    `rest_BxS` is 1 - p where it is known more exactly than p says: a p that rounds to 1 still leaves something, whose log may be taken.
    """
    rest_BxS = 1 - p_BxS if rest_BxS is None else rest_BxS

    def after(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    stays_BxS = jnp.pad(rest_BxS[:, :-1], ((0, 0), (1, 0)))
    return p_BxS * jax.lax.associative_scan(after, (stays_BxS, α_BxS), axis=1)[1]


def recursive(p_BxS: Array, α_BxS: Array):
    """Computes α_i from p_i and α_{i-1}, position by position (Raffel 2017, eq. 13 and 14); equals `parallel`."""

    def step(passed_B, inputs):
        p_B, α_B = inputs
        q_B = passed_B + α_B
        return (1 - p_B) * q_B, p_B * q_B

    return jax.lax.scan(step, jnp.zeros_like(p_BxS[:, 0]), (p_BxS.T, α_BxS.T))[1].T


def chunkwise(α_BxS: Array, u_BxS: Array, mask_BxS: Array, width: int):
    """Computes the weights_BxS of MoChA: a softmax of u shares out each α_k over the chunk of `width` positions that ends at k.

    β_j = Σ_{k=j}^{j+w-1} α_k exp(u_j) / Σ_{l=k-w+1}^{k} exp(u_l)        w = `width`; l real (Chiu & Raffel 2018, §2.3)
    """
    S = u_BxS.shape[1]

    def ending(x_BxS):
        """The w places that end at each place, the last of them first; zeros before the source begins."""
        padded_BxL = jnp.pad(x_BxS, ((0, 0), (width - 1, 0)))
        return jnp.stack([padded_BxL[:, width - 1 - back : width - 1 - back + S] for back in range(width)], axis=2)

    shares_BxSxW = softmax(ending(u_BxS.astype(α_BxS.dtype)), ending(mask_BxS))
    given_BxLxW = jnp.pad(α_BxS[:, :, None] * shares_BxSxW, ((0, 0), (0, width - 1), (0, 0)))
    return cast(jax.Array, sum(given_BxLxW[:, back : back + S, back] for back in range(width)))
