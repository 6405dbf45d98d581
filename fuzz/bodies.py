"""Bodies of loops made up at random, and what must hold of each: `deferred.scan` gives the values and gradients of `jax.lax.scan`.

A body is a few steps of a little language over vectors (BxH), matrices (HxH), integers and keys. They come from the carry, the input,
weights that the body closes over, and earlier steps, and whatever was used once is likely to be used again: the same addend twice, a
weight as factor and as addend.

    python -m fuzz.bodies --count=2000 --first=0      that many, from this number on
"""

import argparse
import random
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.layers import deferred

B, H, T = 3, 4, 3
STEPS = 9  # of a body, at most
NARROW = jnp.bfloat16


def array(*shape, seed: int):
    return (0.5 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def arguments(draw: random.Random):
    """(weights, carry, inputs): what gradients are taken of, and what has none."""
    seed = draw.randrange(1 << 30)
    weights = {
        "matrices": [array(H, H, seed=seed + i) for i in range(3)],
        "vectors": [array(B, H, seed=seed + 3), np.broadcast_to(array(1, H, seed=seed + 4), (B, H))],
        "bias": array(H, seed=seed + 5),
        "memory": array(B, 5, H, seed=seed + 6),
    }
    carry = (
        array(B, H, seed=seed + 7),
        array(B, H, seed=seed + 8),
        np.int32(draw.randrange(5)),
        jax.random.key(seed, impl="unsafe_rbg"),
    )  # compiles in less time
    inputs = array(T, B, H, seed=seed + 9), np.arange(T) % 2 == 0, np.arange(T * B).reshape(T, B)
    return weights, carry, inputs


def body_of(draw: random.Random) -> tuple[Callable, bool]:
    """(body(weights, carry, input), whether it computes in fewer bits than float32 somewhere)."""
    plan = [(draw.choice(list(STEP)), [draw.random() for _ in range(8)]) for _ in range(draw.randint(2, STEPS))]
    ends = [draw.random() for _ in range(3)]

    def body(weights, carry, x):
        h, c, count, key = carry
        pool = Pool([h, c, x[0], *weights["vectors"]], list(weights["matrices"]), weights, x, count, key)
        for name, numbers in plan:
            STEP[name](pool, iter(numbers))
        new_h, new_c, out = (pool.vectors[-1 - int(3 * end)] for end in ends)
        return (jnp.tanh(new_h), jnp.tanh(new_c), pool.count, pool.key), (out, pool.count)

    return body, any(name in ("narrow_product", "narrow_sum") for name, _ in plan)


class Pool:
    """What a step can take its operands from."""

    def __init__(self, vectors, matrices, weights, x, count, key):
        self.vectors, self.matrices, self.weights, self.x, self.count, self.key = vectors, matrices, weights, x, count, key

    def vector(self, numbers):
        """One of the newest, or any."""
        place = next(numbers)
        return self.vectors[-1 - int(4 * place)] if place < 0.5 else self.vectors[int(place * len(self.vectors))]

    def matrix(self, numbers):
        return self.matrices[int(next(numbers) * len(self.matrices))]


def product(pool, numbers):
    pool.vectors.append(pool.vector(numbers) @ pool.matrix(numbers))


def transposed_product(pool, numbers):
    pool.vectors.append(jnp.einsum("ij,bj->bi", pool.matrix(numbers), pool.vector(numbers)))


def precise_product(pool, numbers):
    pool.vectors.append(jnp.matmul(pool.vector(numbers), pool.matrix(numbers), precision="highest"))


def narrow_product(pool, numbers):
    pool.vectors.append((pool.vector(numbers).astype(NARROW) @ pool.matrix(numbers).astype(NARROW)).astype(jnp.float32))


def narrow_sum(pool, numbers):
    v = pool.weights["vectors"][0].astype(NARROW)
    pool.vectors.append((pool.vector(numbers).astype(NARROW) * v + v).astype(jnp.float32))


def sum_of_two(pool, numbers):
    pool.vectors.append(pool.vector(numbers) + pool.vector(numbers))


def same_again(pool, numbers):
    v = pool.vector(numbers)
    pool.vectors.append(pool.vectors[-1] + v + v)


def affine(pool, numbers):
    bias = jnp.broadcast_to(pool.weights["bias"], (B, H))
    once = pool.vector(numbers) @ pool.matrix(numbers) + bias
    pool.vectors.append(once + bias if next(numbers) < 0.5 else once)


def two_affines(pool, numbers):
    v = pool.vector(numbers)
    pool.vectors.append((v + pool.vector(numbers) @ pool.matrix(numbers)) + (v + pool.vector(numbers) @ pool.matrix(numbers)))


def matrix_sum(pool, numbers):
    """A matrix that depends on t, of a weight as factor and as addend."""
    w = pool.matrix(numbers)
    pool.matrices.append(0.5 * ((pool.vector(numbers)[0, 0] * w) @ w + w))


def rows_of_a_weight(pool, numbers):
    pool.vectors.append(pool.matrix(numbers)[:B] + pool.vector(numbers))


def gate(pool, numbers):
    pool.vectors.append(jnp.tanh(pool.vector(numbers)) * jax.nn.sigmoid(pool.vector(numbers)))


def masked(pool, numbers):
    pool.vectors.append(jnp.where(pool.x[1], pool.vector(numbers), pool.vector(numbers)))


def chosen(pool, numbers):
    w, v = pool.matrix(numbers), pool.vector(numbers)
    pool.vectors.append(jax.lax.cond(pool.x[1], lambda v: v @ w + w[:B], lambda v: jnp.sin(v), v))


def attended(pool, numbers):
    memory = pool.weights["memory"]
    α_BxS = jax.nn.softmax(jnp.einsum("bsh,bh->bs", memory, pool.vector(numbers)))
    pool.vectors.append(jnp.einsum("bs,bsh->bh", α_BxS, memory) + next(numbers) * memory[:, 0])


def inner_loop(pool, numbers):
    w, add = pool.matrix(numbers), pool.vector(numbers)
    inner = jax.lax.scan if next(numbers) < 0.5 else deferred.scan
    last, _ = inner(lambda h, x: (jnp.tanh(h @ w + x + add), None), pool.vector(numbers), jnp.stack([add, pool.x[0]]))
    pool.vectors.append(last)


def settled(pool, numbers):
    """A loop that has no gradient, on what needs none."""
    v = jax.lax.stop_gradient(pool.vector(numbers) @ pool.matrix(numbers))
    halved = jax.lax.while_loop(lambda v: jnp.abs(v).max() > 0.1, lambda v: v / 2, v)
    pool.vectors.append(halved * pool.vector(numbers))


def held_still(pool, numbers):
    pool.vectors.append(jax.lax.stop_gradient(pool.vector(numbers)) @ pool.matrix(numbers))


def counted(pool, numbers):
    pool.count = pool.count + jnp.argmax(pool.vector(numbers)).astype(jnp.int32) % 7
    pool.vectors.append(
        pool.vector(numbers) * (1 + pool.count).astype(jnp.float32) / 8 + jnp.take(pool.matrix(numbers), pool.x[2] % H, axis=0)
    )


def drawn(pool, numbers):
    pool.key, key = jax.random.split(pool.key)
    pool.vectors.append(jnp.where(jax.random.bernoulli(key, 0.7, (B, H)), pool.vector(numbers), 0))


def ranked(pool, numbers):
    pool.vectors.append(jnp.sort(pool.vector(numbers), axis=1) @ pool.matrix(numbers))


def reshaped(pool, numbers):
    left, right = jnp.split(pool.vector(numbers), 2, axis=1)
    pool.vectors.append(jnp.concatenate([right, left], axis=1) @ pool.matrix(numbers))


def called(pool, numbers):
    w = pool.matrix(numbers)
    pool.vectors.append(jax.jit(lambda v, u: v @ w + u + u)(pool.vector(numbers), pool.vector(numbers)))


def vectorised(pool, numbers):
    w = pool.matrix(numbers)
    pool.vectors.append(jax.vmap(lambda v, u: v @ w + u + w[0])(pool.vector(numbers), pool.vector(numbers)))


STEP = {
    f.__name__: f
    for f in (
        *(product, transposed_product, precise_product, narrow_product, narrow_sum, sum_of_two, same_again, affine, two_affines),
        *(matrix_sum, rows_of_a_weight, gate, masked, chosen, attended, inner_loop, settled, held_still, counted, drawn, ranked),
        *(reshaped, called, vectorised),
    )
}


def with_gradients(scan: Callable, body: Callable, weights, carry, inputs, reverse: bool):
    """(values, gradients of weights, of the carry's and of the inputs' numbers) of a loop over `body`."""

    def run(weights, start, given):
        (h, c, count, _), (out, counts) = scan(
            lambda carry, x: body(weights, carry, x), (*start, *carry[2:]), (given, *inputs[1:]), reverse=reverse
        )
        return (h, c, out), (count, counts)

    outputs, backward, counts = jax.vjp(run, weights, carry[:2], inputs[0], has_aux=True)
    return outputs, counts, backward(jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), outputs))


def check(data: bytes) -> None:
    """Raises where the body that `data` stands for has other values or gradients than under `jax.lax.scan`."""
    draw = random.Random(data)
    weights, carry, inputs = arguments(draw)
    body, narrow = body_of(draw)
    reverse = draw.random() < 0.3

    def both(weights, carry, inputs):
        weights, carry, inputs = jax.tree.map(jnp.asarray, (weights, carry, inputs))
        return [with_gradients(scan, body, weights, carry, inputs, reverse) for scan in (deferred.scan, jax.lax.scan)]

    ours, theirs = jax.device_get(jax.jit(both)(weights, carry, inputs))
    tolerance = 3e-2 if narrow else 2e-5  # of the largest number of an array
    for (path, a), b in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        scale = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=tolerance, err_msg=f"{data!r} {jax.tree_util.keystr(path)}")


def main() -> int:
    """Exit status: 0 where all agree, else 1."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.bodies", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    wrong = 0
    for number in range(options.first, options.first + options.count):
        try:
            check(str(number).encode())
        except Exception as error:
            wrong += 1
            print(f"body {number}: {type(error).__name__}: {str(error).strip().splitlines()[:12]}", flush=True)
        if (number + 1) % 100 == 0:
            jax.clear_caches()
            print(f"{number + 1 - options.first} bodies, {wrong} wrong", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
