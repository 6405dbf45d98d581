"""Scores e_ij of position j for query i, from these two alone. A row is `row(config, sizes) → Score`; with state: stateful_scores.py.

    additive            e_ij = v · tanh(W q_i + U h_j)                  Bahdanau 2015, appendix A.1.2
    weight_normalised   e_ij = g v/‖v‖ · tanh(W q_i + U h_j + b)        additive, with v as in Salimans & Kingma 2016, eq. 2
    concat              e_ij = v · tanh(W [q_i; h_j])                    Luong 2015, §3.1
    dot                 e_ij = q_i · h_j                                 Luong 2015, §3.1
    scaled_dot          e_ij = q_i · h_j / √M                            Vaswani 2017, eq. 1
    general             e_ij = q_i · W h_j                               Luong 2015, §3.1
    cosine              e_ij = β (W q_i) · h_j / (‖W q_i‖ ‖h_j‖)         Graves 2014 (Neural Turing Machines), eq. 5 and 6
    location            e_ij = (W q_i)_j                                 Luong 2015, §3.1: whatever is at position j

Keys are projected once per source. All rows here are stateless and draw nothing: T queries are scored as one block. Where there is a
tanh between query and key, `blockwise.through_tanh` does it.
To add one: write a function like those below, here or in a file of its own, and name it in `attention.SCORES`.
"""

import jax
import jax.numpy as jnp

from attention_jax.attention.blockwise import through_tanh
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.layers.affine import glorot, product
from attention_jax.system.errors import ConfigError
from attention_jax.types import Score
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Key, Params, Tree

NOWHERE = -1e30
"""The score of a place that can never be chosen: its weight is exactly 0."""


@cites("bahdanau2015")
def additive(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes Bahdanau's score, without biases as in the paper; A = sizes.score.

    Use it first: query and memory may be of any widths, and on copying it is right after far fewer updates than a fixed vector. Its
    weights are no similarities.
    """

    def score(params, keys_BxSxA, state, query_BxTxH):
        return through_tanh(params["v"], keys_BxSxA, product(query_BxTxH, params["query"]))

    return Score(lambda key: new_additive(key, sizes), projected, score)


@cites("bahdanau2015", "salimans2016")
def weight_normalised(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes the additive score with a bias and with v = g times a unit vector; g starts at 1/√A and b at 0, as in tensorflow/nmt.

    Use it to follow a system that was trained with it, as tensorflow/nmt offers it. Whether it learns faster than additive has not been
    measured here.
    """

    def init(key):
        return new_additive(key, sizes) | {
            "bias": jnp.zeros(sizes.score, jnp.float32),
            "gain": jnp.float32(1) / sizes.score**0.5,
        }

    def project(params, memory_BxSxM, mask_BxS):
        return projected(params, memory_BxSxM, mask_BxS) + params["bias"][None, None, :]

    def score(params, keys_BxSxA, state, query_BxTxH):
        return through_tanh(params["gain"] * unit(params["v"], axis=0), keys_BxSxA, product(query_BxTxH, params["query"]))

    return Score(init, project, score)


@cites("luong2015")
def concat(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes Luong's third score with all of its parts: he found a simplified one to do badly.

    W is one matrix, initialised as one; its first H rows multiply the query and the other M the memory, which is projected once per source.
    So it is additive with W and U stacked, from another start.

    Use it to follow Luong 2015 to the letter; else additive, which computes the same from another start.
    """
    H = sizes.query

    def init(key):
        both_key, v_key = jax.random.split(key)
        return {"query_and_memory": glorot(both_key, (H + sizes.memory, sizes.score)), "v": glorot(v_key, (sizes.score, 1))}

    def project(params, memory_BxSxM, mask_BxS):
        return product(memory_BxSxM, params["query_and_memory"][H:])

    def score(params, keys_BxSxA, state, query_BxTxH):
        return through_tanh(params["v"], keys_BxSxA, product(query_BxTxH, params["query_and_memory"][:H]))

    return Score(init, project, score)


@cites("luong2015")
def dot(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes the inner product. Raises `ConfigError` unless the memory vector is as wide as the decoder state.

    Use it where decoder states and memory vectors are equally wide and time is short: it has no parameters, and all pairs are one product
    of matrices.
    """
    if sizes.memory != sizes.query:
        raise ConfigError(
            f"attention={config.attention} needs memory vectors as wide as the decoder state, but M={sizes.memory} and H={sizes.query}: "
            f"set model.decoder_size={sizes.memory}, or use attention=general"
        )
    return Score(lambda key: {}, lambda params, memory_BxSxM, mask_BxS: memory_BxSxM, inner)


@cites("vaswani2017")
def scaled_dot(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes the inner product over √M: of variance 1 where the parts of both vectors are. Raises `ConfigError` as `dot` does.

    Use it in place of dot where vectors are wide, as in Vaswani 2017: the variance of its scores does not grow with M.
    """

    def score(params, keys_BxSxM, state, query_BxTxM):
        return inner(params, keys_BxSxM, state, query_BxTxM / sizes.memory**0.5)

    return dot(config, sizes)._replace(score=score)


@cites("luong2015")
def general(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes the inner product after a linear map of the memory.

    Use it where sources are long and a tanh for each pair of query and position takes too long: all pairs are one product of matrices,
    and widths may differ.
    """

    def init(key):
        return {"memory": glorot(key, (sizes.memory, sizes.query))}

    def formula(params, query_H, vector_M, place):
        return sum(query_H[a] * params["memory"][m, a] * vector_M[m] for a in range(sizes.query) for m in range(sizes.memory))

    return Score(init, projected, inner, formula=formula)


@cites("graves2014")
def cosine(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes the cosine of a memory vector and the projected query, times a learned sharpness: |e| ≤ β.

    β = √M softplus(sharpness) starts near √M, where scores of random directions have variance near 1; unlike the original's it is the same
    for every query. Vectors shorter than 1e-6 count as that long, so that zero vectors score 0 with a finite gradient.

    Use it where weights are to be similarities: they depend on the angle between two vectors alone, and not on their lengths.

    Unlike the paper's, which its controller says anew at each step, the sharpness β is learned and the same for every query.
    """

    def init(key):
        return {"query": glorot(key, (sizes.query, sizes.memory)), "sharpness": jnp.zeros((), jnp.float32)}

    def score(params, keys_BxSxM, state, query_BxTxH):
        β = sizes.memory**0.5 * jax.nn.softplus(params["sharpness"])
        return β * inner(params, keys_BxSxM, state, unit(product(query_BxTxH, params["query"])))

    return Score(init, lambda params, memory_BxSxM, mask_BxS: unit(memory_BxSxM), score)


@cites("luong2015")
def location(config: ModelConfig, sizes: Sizes) -> Score:
    """Makes a score of each position from the query alone: position j has column j of W.

    W has L = config.location_size columns. Positions from L on score -1e30: their weights are exactly 0 under every normaliser, unless a
    window leaves nothing else.

    Use it to see how far positions alone carry: it reads no content, and knows no source longer than L.
    """
    L = config.location_size

    def score(params, mask_BxS, state, query_BxTxH):
        S = mask_BxS.shape[1]
        known_BxTxL = query_BxTxH @ params["places"][:, :S]
        return jnp.pad(known_BxTxL, ((0, 0), (0, 0), (0, max(S - L, 0))), constant_values=NOWHERE)

    def init(key):
        return {"places": glorot(key, (sizes.query, L))}

    return Score(init, lambda params, memory_BxSxM, mask_BxS: mask_BxS, score, knows_places=True)


def new_additive(key: Key, sizes: Sizes) -> dict:
    """Draws the parameters of v · tanh(W q + U h): {"query", "memory", "v"}."""
    query_key, memory_key, v_key = jax.random.split(key, 3)
    return {
        "query": glorot(query_key, (sizes.query, sizes.score)),
        "memory": glorot(memory_key, (sizes.memory, sizes.score)),
        "v": glorot(v_key, (sizes.score, 1)),
    }


def projected(params: Params, memory_BxSxM: Array, mask_BxS: Array):
    """Computes the keys U h_j of every position: keys_BxSxA."""
    return product(memory_BxSxM, params["memory"])


def inner(params: Params, keys_BxSxH: Array, state: Tree, query_BxTxH: Array):
    """Computes q · k of every query and key: scores_BxTxS."""
    return jnp.einsum("bsh,bth->bts", keys_BxSxH, query_BxTxH)


def unit(x: Array, axis: int = -1):
    """Computes x/‖x‖, with ‖x‖ at least 1e-6."""
    return x * jax.lax.rsqrt(jnp.maximum((x * x).sum(axis, keepdims=True), 1e-12))
