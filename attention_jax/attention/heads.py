"""N mechanisms side by side, each with a query, keys and values of its own (Vaswani 2017, §3.2.2).

    heads    head_n = attend_n(q W_n, h U_n)        c = [head_1; …; head_N] O        Vaswani 2017, §3.2.2

A head sees M / N columns of memory and as many of the query, so that every score fits, dot products included. The weights shown
are the average over heads; drawn terms add up.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.attention.sizes import Sizes
from attention_jax.layers.affine import glorot, product
from attention_jax.layers.keys import each
from attention_jax.types import Attended, Attention, DrawTerms, Emit, Logits, Targets
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Key, Params, Tree


def part(sizes: Sizes, heads: int) -> Sizes:
    """Returns the sizes of one head: M / N columns of memory and query, A / N of the score; for one head, `sizes` as they are."""
    if heads == 1:
        return sizes
    width = sizes.memory // heads
    return sizes._replace(memory=width, query=width, score=sizes.score // heads, directions=sizes.directions[:1])


class Heads(NamedTuple):
    """N = `number` mechanisms that differ in their parameters alone; `one` is built for the sizes of one head, `sizes` are those of all."""

    one: Attention
    number: int
    sizes: Sizes

    @property
    def width(self) -> int:
        """Columns of memory, of query and of context that a head has: M / N."""
        return self.sizes.memory // self.number


@cites("vaswani2017")
def side_by_side(one: Callable[[Sizes], Attention], number: int, sizes: Sizes) -> Attention:
    """Makes multi-head attention of N = `number` mechanisms, which `one(sizes)` builds; the context has C = M columns.

    M and `sizes.score` must be multiples of N (`combinations.check` refuses others). It has a `block` where a head has one.

    Use it where one step needs several positions at once. N must divide the widths of memory and score. What it gains has not been
    measured here.
    """
    heads = Heads(one(part(sizes, number)), number, sizes)
    return Attention(
        partial(init, heads),
        partial(prepare, heads),
        partial(initial, heads),
        partial(attend, heads),
        sizes.memory,
        partial(predict, heads),
        block=partial(block, heads) if heads.one.block else None,
        knows_places=heads.one.knows_places,
    )


def init(heads: Heads, key: Key) -> Params:
    """Draws parameters: "query" HxM, "memory" MxM and "output" MxM, and under "heads" those of every head, with a leading axis N."""
    query_key, key_key, output_key, heads_key = jax.random.split(key, 4)
    M = heads.sizes.memory
    return {
        "query": glorot(query_key, (heads.sizes.query, M)),
        "memory": glorot(key_key, (M, M)),
        "output": glorot(output_key, (M, M)),
        "heads": jax.lax.map(heads.one.init, jax.random.split(heads_key, heads.number)),
    }


def prepare(heads: Heads, params: Params, memory_BxSxM: Array, mask_BxS: Array) -> Tree:
    """Projects a memory and prepares every head on its columns; the arrays returned have axes B, N, and those of one head."""
    cut_NxBxSxW = cut(heads, product(memory_BxSxM, params["memory"]))
    return jax.vmap(heads.one.prepare, (0, 0, None), 1)(of_heads(params), cut_NxBxSxW, mask_BxS)


def initial(heads: Heads, prepared: Tree, keys_B: Key | None = None) -> Tree:
    """Returns the state of every head before the first attention step, with axes B, N, and those of one head.

    Heads draw with keys of their own.
    """
    return jax.vmap(heads.one.initial, (1, 0), 1)(prepared, own(heads, keys_B))


def attend(
    heads: Heads, params: Params, prepared: Tree, state: Tree, query_BxH: Array, keys_B: Key | None = None
) -> tuple[Array, Array, Tree, DrawTerms]:
    """Attends once with every head: (context_BxC, weights_BxS, state, terms). Weights are the mean over heads, terms the sum."""
    queries_NxBxW = cut(heads, query_BxH @ params["query"])
    context_NxBxW, weights_NxBxS, state, terms = jax.vmap(heads.one.attend, (0, 1, 1, 0, 0), (0, 0, 1, 0))(
        of_heads(params), prepared, state, queries_NxBxW, own(heads, keys_B)
    )
    return joined(params, context_NxBxW), weights_NxBxS.mean(0), state, jax.tree.map(lambda x: x.sum(0), terms)


def block(heads: Heads, params: Params, prepared: Tree, state: Tree, query_BxTxH: Array, keys_BxT: Key | None = None) -> Attended:
    """Attends with T queries at once, where heads can; equals T times `attend`."""
    queries_NxBxTxW = cut(heads, product(query_BxTxH, params["query"]))

    def of_one(*arguments):
        attended = heads.one.block(*arguments)  # pyright: ignore[reportOptionalCall]  # `side_by_side` asks whether there is one
        return attended.context_BxTxC, attended.weights_BxTxS, attended.terms

    context_NxBxTxW, weights_NxBxTxS, terms = jax.vmap(of_one, (0, 1, 1, 0, 0))(
        of_heads(params), prepared, state, queries_NxBxTxW, own(heads, keys_BxT)
    )
    terms = jax.tree.map(lambda x: x.sum(0), terms)
    return Attended(joined(params, context_NxBxTxW), weights_NxBxTxS.mean(0), terms)


def predict(
    heads: Heads, params: Params, prepared: Tree, emit: Emit, attended: Attended, query_BxTxH: Array, goal: Targets | None = None
) -> tuple[Logits | Array, Array]:
    """Returns (prediction, extra_BxT) by the estimator of the first head, which is that of all."""
    first_params, first_prepared = jax.tree.map(lambda x: x[0], params["heads"]), jax.tree.map(lambda x: x[:, 0], prepared)
    return heads.one.predict(first_params, first_prepared, emit, attended, query_BxTxH, goal)


def of_heads(params: Params) -> Params:
    """Returns the parameters of all heads as JAX arrays with a leading axis N; `vmap` does not take NumPy's arrays everywhere."""
    return jax.tree.map(jnp.asarray, params["heads"])


def cut(heads: Heads, x_xM: Array) -> Array:
    """Splits the last axis, M, into N heads of M / N columns: x_…xM → x_Nx…xW."""
    return jnp.moveaxis(x_xM.reshape(*x_xM.shape[:-1], heads.number, heads.width), -2, 0)


def own(heads: Heads, keys: Key | None) -> Key | None:
    """Derives keys of each head from `keys`: a leading axis N. Returns None without keys."""
    return None if keys is None else jnp.moveaxis(each(keys, jnp.arange(heads.number, dtype=jnp.int32)), -1, 0)


def joined(params: Params, context_Nx: Array) -> Array:
    """Computes c = [head_1; …; head_N] O of contexts context_Nx…xW; returns context_…xM."""
    return product(jnp.concatenate(list(context_Nx), axis=-1), params["output"])
