"""N mechanisms side by side, each with a query, keys and values of its own (Vaswani 2017, §3.2.2).

    head_n = attend_n(q W_n, h U_n)        c = [head_1; …; head_N] O

A head sees M / N columns of memory and as many of the query, so that every score fits, dot products included. The weights shown
are the average over heads; drawn terms add up.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from attention_jax.attention.sizes import Sizes
from attention_jax.layers.affine import glorot, product
from attention_jax.layers.keys import each
from attention_jax.types import Attention


def part(sizes: Sizes, heads: int) -> Sizes:
    """What one of `heads` mechanisms is built for; one alone, for all."""
    if heads == 1:
        return sizes
    width = sizes.memory // heads
    return sizes._replace(memory=width, query=width, score=sizes.score // heads, directions=sizes.directions[:1])


def side_by_side(one: Callable[[Sizes], Attention], heads: int, sizes: Sizes) -> Attention:
    """N = `heads` mechanisms one(sizes) → Attention on parts of `sizes`; C = M."""
    head, M, width = one(part(sizes, heads)), sizes.memory, sizes.memory // heads

    def init(key):
        query_key, key_key, output_key, heads_key = jax.random.split(key, 4)
        return {
            "query": glorot(query_key, (sizes.query, M)),
            "memory": glorot(key_key, (M, M)),
            "output": glorot(output_key, (M, M)),
            "heads": jax.lax.map(head.init, jax.random.split(heads_key, heads)),
        }

    def of_heads(params):
        """Every head's parameters, which lead with N; `vmap` does not take NumPy's arrays everywhere."""
        return jax.tree.map(jnp.asarray, params["heads"])

    def cut(x_xM):
        """Columns → one block of them per head, heads first."""
        return jnp.moveaxis(x_xM.reshape(*x_xM.shape[:-1], heads, width), -2, 0)

    def own(keys):
        """Keys of each head's own, heads first."""
        return None if keys is None else jnp.moveaxis(each(keys, jnp.arange(heads, dtype=jnp.int32)), -1, 0)

    def prepare(params, memory_BxSxM, mask_BxS):
        return jax.vmap(head.prepare, (0, 0, None), 1)(of_heads(params), cut(product(memory_BxSxM, params["memory"])), mask_BxS)

    def initial(prepared, keys_B=None):
        return jax.vmap(head.initial, (1, 0), 1)(prepared, own(keys_B))

    def joined(params, context_NxBxC):
        return product(jnp.concatenate(list(context_NxBxC), axis=-1), params["output"])

    def attend(params, prepared, state, query_BxH, keys_B=None):
        context_NxBxC, weights_NxBxS, state, terms = jax.vmap(head.attend, (0, 1, 1, 0, 0), (0, 0, 1, 0))(
            of_heads(params), prepared, state, cut(query_BxH @ params["query"]), own(keys_B)
        )
        return joined(params, context_NxBxC), weights_NxBxS.mean(0), state, jax.tree.map(lambda x: x.sum(0), terms)

    def block(params, prepared, state, query_BxTxH, keys_BxT=None):
        queries = cut(product(query_BxTxH, params["query"]))
        every = jax.vmap(head.block, (0, 1, 1, 0, 0))  # pyright: ignore[reportArgumentType]  # left out below where there is none
        looks = every(of_heads(params), prepared, state, queries, own(keys_BxT))
        terms = jax.tree.map(lambda x: x.sum(0), looks.terms)
        return looks.replace(context_BxTxC=joined(params, looks.context_BxTxC), weights_BxTxS=looks.weights_BxTxS.mean(0), terms=terms)

    def predict(params, prepared, emit, looks, query_BxTxH, goal=None):
        first_params, first_prepared = jax.tree.map(lambda x: x[0], params["heads"]), jax.tree.map(lambda x: x[:, 0], prepared)
        return head.predict(first_params, first_prepared, emit, looks, query_BxTxH, goal)

    return Attention(init, prepare, initial, attend, M, predict, block if head.block else None, head.knows_places)
