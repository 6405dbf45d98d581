"""`deferred.scan` against `jax.lax.scan`: values and gradients of bodies of all kinds, seeds side by side, what is left in memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from attention_jax import deferred

B, T, S, H = 4, 7, 6, 5


def random(*shape, seed: int = 0):
    return 0.5 * jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


WEIGHTS = {"W": random(H, 3 * H), "U": random(H, 3 * H, seed=1), "b": random(3 * H, seed=2), "v": random(H, seed=3)}
MEMORY, START = random(B, S, H, seed=4), random(B, H, seed=5)
INPUTS = random(T, B, 3 * H, seed=6), jnp.arange(T)[:, None] < jnp.array([T, 3, 0, 5])[None, :]


@jax.custom_vjp
def scored(query_BxH, memory_BxSxH, v_H):
    return (jnp.tanh(query_BxH[:, None] + memory_BxSxH) * v_H[None, None]).sum(2)


scored.defvjp(
    lambda q, h, v: (scored(q, h, v), (q, h, v)),
    lambda kept, g: jax.vjp(lambda q, h, v: (jnp.tanh(q[:, None] + h) * v[None, None]).sum(2), *kept)[1](g),
)


def attention(weights, memory, h_BxH, x):
    projected_BxP, _ = x
    α_BxS = jax.nn.softmax(scored(h_BxH, memory, weights["v"]))
    context_BxH = jnp.einsum("bs,bsh->bh", α_BxS, memory)
    bias_BxP = jnp.broadcast_to(weights["b"], (B, 3 * H))
    a, b, c = jnp.split(jnp.tanh(projected_BxP + context_BxH @ weights["W"] + (h_BxH @ weights["U"] + bias_BxP)), 3, axis=1)
    return a * h_BxH + b * jax.nn.softplus(c), α_BxS


def one_weight_twice(weights, memory, h_BxH, x):
    z_BxP = h_BxH @ weights["W"] + (2 * h_BxH) @ weights["W"] + weights["b"][None] * h_BxH[:, :1]
    return jnp.sin(z_BxP[:, :H] + x[0][:, :H]), z_BxP


def chained(weights, memory, h_BxH, x):
    first_BxH = jnp.tanh(h_BxH @ weights["W"][:, :H] + x[0][:, :H])
    return jnp.where(x[1][:, None], jnp.tanh(first_BxH @ (weights["U"][:, :H] * weights["v"][:, None])), h_BxH), first_BxH * weights["v"][
        None
    ]


def matrix_first(weights, memory, h_BxH, x):
    return jnp.tanh(jnp.einsum("ph,bh->pb", weights["W"].T, h_BxH)[:H].T), jnp.max(h_BxH @ weights["U"], axis=1)


def one_weight_in_many_roles(weights, memory, h_BxH, x):
    square_HxH = weights["W"][:, :H]
    by_rows_BxH, by_columns_BxH = h_BxH @ square_HxH, jnp.einsum("ij,bj->bi", square_HxH, h_BxH)
    return jnp.tanh(by_rows_BxH + by_columns_BxH + x[0][:, :H]), (square_HxH * h_BxH[:1]).sum()


def three_axes(weights, memory, h_BxH, x):
    scores_BxSxP = (memory * h_BxH[:, None]) @ weights["W"]
    return jnp.tanh(scores_BxSxP[..., :H].sum(1) + h_BxH @ weights["U"][:, :H]), scores_BxSxP.max((1, 2))


def no_weights(weights, memory, h_BxH, x):
    return 0.9 * h_BxH + x[0][:, :H], ()


def constants_out(weights, memory, h_BxH, x):
    return jnp.cos(h_BxH), (weights["v"], x[0].sum(), 1.0)


FUNCTIONS = attention, one_weight_twice, chained, matrix_first, one_weight_in_many_roles, three_axes, no_weights, constants_out
BODIES = {f.__name__: f for f in FUNCTIONS}


def with_gradients(scan, body, reverse: bool):
    def both(weights, memory, start, projected):
        def run(weights, memory, start, projected):
            (h, count), outputs = scan(
                lambda carry, x: (lambda h, y: ((h, carry[1] + 1), y))(*body(weights, memory, carry[0], x)),
                (start, jnp.int32(0)),
                (projected, INPUTS[1]),
                reverse=reverse,
            )
            return (h, outputs), count

        outputs, backward, count = jax.vjp(run, weights, memory, start, projected, has_aux=True)
        return outputs, count, backward(jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), outputs))

    return jax.jit(both)


def agree(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, theirs)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("reverse", [False, True])
def test_values_and_gradients_are_those_of_the_plain_scan(name, reverse):
    arguments = WEIGHTS, MEMORY, START, INPUTS[0]
    ours, theirs = (with_gradients(scan, BODIES[name], reverse)(*arguments) for scan in (deferred.scan, jax.lax.scan))
    agree(ours, theirs)
    assert ours[1] == T


@pytest.mark.parametrize("name", ["attention", "chained"])
def test_seeds_side_by_side(name):
    weights = jax.tree.map(lambda w: jnp.stack([w, -0.5 * w]), WEIGHTS)
    ours, theirs = (
        jax.vmap(with_gradients(scan, BODIES[name], False), (0, None, None, None))(weights, MEMORY, START, INPUTS[0])
        for scan in (deferred.scan, jax.lax.scan)
    )
    agree(ours, theirs)


def test_a_loop_inside_another():
    def total(scan, w_HxH):
        def outer(h_BxH, xs):
            h_BxH, _ = scan(lambda h, x: (jnp.tanh(h @ w_HxH + x), None), h_BxH, xs)
            return h_BxH, h_BxH

        return scan(outer, START, random(3, 2, B, H))[1].sum()

    agree(*(jax.jit(jax.grad(partial(total, scan)))(WEIGHTS["W"][:, :H]) for scan in (deferred.scan, jax.lax.scan)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_types_stay(dtype):
    arguments = jax.tree.map(lambda x: x.astype(dtype), (WEIGHTS, MEMORY, START, INPUTS[0]))
    outputs, _, gradients = with_gradients(deferred.scan, attention, False)(*arguments)
    assert {x.dtype for x in jax.tree.leaves((outputs, gradients))} == {jnp.dtype(dtype)}


def scans(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from scans(inner)


def shapes(scan) -> list[tuple]:
    jaxpr = jax.make_jaxpr(with_gradients(scan, attention, False))(WEIGHTS, MEMORY, START, INPUTS[0])
    return [v.aval.shape for equation in scans(jaxpr.jaxpr) for v in equation.outvars]


def test_weights_get_their_gradients_after_the_loop():
    """No loop hands on what has the shape of a weight; the memory's own gradient is summed in it, for the scores alone."""
    assert (H, 3 * H) in shapes(jax.lax.scan) and (H, 3 * H) not in shapes(deferred.scan)


def test_loops_multiply_by_the_rows_of_weights():
    def by_columns(scan) -> bool:
        lowered = with_gradients(scan, chained, False).lower(WEIGHTS, MEMORY, START, INPUTS[0]).as_text()
        return "contracting_dims = [1] x [1]" in lowered

    assert by_columns(jax.lax.scan) and not by_columns(deferred.scan)


def test_the_loop_keeps_nothing_of_the_size_of_the_scores_hidden_layer():
    def floats(scan):
        return max(int(np.prod(shape)) for shape in shapes(scan))

    assert floats(deferred.scan) <= T * B * 3 * H


def test_an_error_in_the_body_is_its_own():
    with pytest.raises(TypeError, match="dot_general"):
        deferred.scan(lambda h, x: (h @ WEIGHTS["W"].T, None), START, INPUTS[0])
