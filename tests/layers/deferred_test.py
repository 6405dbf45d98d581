"""`deferred.scan` against `jax.lax.scan`: values and gradients of bodies of all kinds, seeds side by side, what is left in memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.sharding import AxisType, PartitionSpec

from attention_jax import attention as attention_rows
from attention_jax.attention import mechanism
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.layers import deferred
from attention_jax.system import machine
from fuzz import bodies

B, T, S, H = 4, 7, 6, 5


def random(*shape, seed: int = 0):
    return 0.5 * jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


WEIGHTS = {"W": random(H, 3 * H), "U": random(H, 3 * H, seed=1), "b": random(3 * H, seed=2), "v": random(H, seed=3)}
MEMORY, START = random(B, S, H, seed=4), random(B, H, seed=5)
INPUTS = random(T, B, 3 * H, seed=6), jnp.arange(T)[:, None] < jnp.array([T, 3, 0, 5])[None, :]
SPLIT = {"W": random(H, H), "b": random(H, seed=2)}, START, INPUTS[0][:, :, :H]  # how each lies on devices:
WHOLE, ROWS, STEPS = PartitionSpec(), PartitionSpec("data"), PartitionSpec(None, "data")


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


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("steps", [2, 8])
def test_several_steps_an_iteration_compute_the_same(name, steps, monkeypatch):
    arguments, whole = (WEIGHTS, MEMORY, START, INPUTS[0]), with_gradients(jax.lax.scan, BODIES[name], True)
    monkeypatch.setattr(machine, "steps", lambda: steps)
    agree(with_gradients(deferred.scan, BODIES[name], True)(*arguments), whole(*arguments))
    loops = jax.make_jaxpr(lambda *own: deferred.scan(partial(BODIES[name], WEIGHTS, MEMORY), *own))(START, INPUTS)
    assert f"unroll={steps}" in str(loops)


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


def test_the_example_of_the_docstring():
    def last(w_1x1):
        return deferred.scan(lambda h, x: (h @ w_1x1 + x, None), jnp.ones((1, 1)), jnp.array([[[0.0]], [[1.0]]]))[0].sum()

    assert jax.value_and_grad(last)(jnp.full((1, 1), 2.0)) == (5, 4)


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


SUMS = {
    "h@W + b + b": lambda w, h, x: h @ w["W"] + w["b"] + w["b"],
    "(h@W + b) + (h@U + b)": lambda w, h, x: (h @ w["W"] + w["b"]) + (h @ w["U"] + w["b"]),
    "h@W + x + x": lambda w, h, x: h @ w["W"] + x + x,
    "(x + h@W) + (x + h@U)": lambda w, h, x: (x + h @ w["W"]) + (x + h @ w["U"]),
    "A@W + W": lambda w, h, x: ((x[0, 0] * w["U"]) @ w["W"] + w["W"])[:B],
    "W + x@W + h@W": lambda w, h, x: w["W"][:B] + x @ w["W"] + h @ w["W"],
    "h@W + h@W": lambda w, h, x: h @ w["W"] + h @ w["W"],
    "h@W + (b + b)": lambda w, h, x: h @ w["W"] + (w["b"] + w["b"]),
}
"""What a sum must not lose: how often, and in which role, a variable occurs in it."""


@pytest.mark.parametrize("name", SUMS)
def test_a_variable_counts_as_often_as_it_is_added(name):
    weights = {"W": random(H, H), "U": random(H, H, seed=1), "b": jnp.broadcast_to(random(H, seed=2), (B, H))}

    def total(scan, weights, start, inputs):
        def body(h, x):
            h = jnp.tanh(SUMS[name](weights, h, x))
            return h, h

        return jnp.sin(scan(body, start, inputs)[1]).sum()

    arguments = weights, START, INPUTS[0][:, :, :H]
    agree(*(jax.jit(jax.grad(partial(total, scan), (0, 1, 2)))(*arguments) for scan in (deferred.scan, jax.lax.scan)))


@pytest.mark.parametrize("number", range(24))
def test_bodies_made_up_at_random(number):
    bodies.check(f"test {number}".encode())


def test_casts_do_not_narrow_what_is_added_up():
    """Σ_t x_t in bfloat16 stops at 256 times the largest addend; the plain scan casts each step's gradient and adds in float32."""
    x_Tx1 = jnp.asarray(np.random.default_rng(0).uniform(1, 4, (3000, 1)), jnp.float32)

    def total(scan, v_1):
        narrow = jnp.bfloat16
        return scan(lambda count, x_1: (count, (x_1.astype(narrow) * v_1.astype(narrow)).astype(jnp.float32)), 0, x_Tx1)[1].sum()

    ours, theirs = (jax.grad(partial(total, scan))(jnp.ones(1)) for scan in (deferred.scan, jax.lax.scan))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    np.testing.assert_allclose(ours, x_Tx1.astype(jnp.bfloat16).astype(jnp.float32).sum(0), rtol=1e-6)


@pytest.mark.parametrize("kind", ["factor", "bias", "product"])
def test_narrow_weights_have_gradients_that_were_added_up_in_float32(kind):
    steps, narrow = 4096, jnp.bfloat16

    def total(w_1x1):
        def body(count, x_1x1):
            y_1x1 = {"factor": x_1x1 * w_1x1, "bias": x_1x1 @ jnp.ones((1, 1), narrow) + w_1x1, "product": x_1x1 @ w_1x1}[kind]
            return count, y_1x1

        return deferred.scan(body, 0, jnp.ones((steps, 1, 1), narrow))[1].astype(jnp.float32).sum()

    assert jax.grad(total)(jnp.ones((1, 1), narrow)).item() == steps


@pytest.mark.long
def test_location_aware_attention_in_bfloat16_over_2000_looks():
    config, sizes = ModelConfig(attention="location_aware", attention_size=8), Sizes(memory=6, query=6, score=8)
    row = attention_rows.build(config, sizes)
    params, memory, queries = row.init(jax.random.key(0)), random(2, 30, 6), random(2, 2000, 6, seed=1)
    cotangent = jnp.cos(jnp.arange(2 * 2000 * 6.0)).reshape(2, 2000, 6) + 1

    def gradient(dtype):
        narrow = jax.tree.map(lambda x: x.astype(dtype), (params, memory, queries))

        def loss(params):
            prepared = row.prepare(params, narrow[1], jnp.ones((2, 30), bool))
            looks = mechanism.look_at_all(row, params, prepared, row.initial(prepared), narrow[2])
            return (looks.context_BxTxC.astype(jnp.float32) * cotangent).sum()

        return jax.jit(jax.grad(loss))(narrow[0])["score"]["v"].astype(jnp.float32)

    exact = gradient(jnp.float32)
    assert jnp.linalg.norm(gradient(jnp.bfloat16) - exact) < 0.05 * jnp.linalg.norm(exact)


def dots(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from dots(inner)


def test_precision_holds_for_the_weights_gradients():
    w_HxH, inputs = WEIGHTS["W"][:, :H], INPUTS[0][:, :, :H]

    def loss(w_HxH):
        h, _ = deferred.scan(lambda h, x: (jnp.tanh(jnp.matmul(h, w_HxH, precision="highest") + x), None), START, inputs)
        return h.sum()

    found = [equation.params["precision"] for equation in dots(jax.make_jaxpr(jax.grad(loss))(w_HxH).jaxpr)]
    assert len(found) >= 3 and set(found) == {(jax.lax.Precision.HIGHEST,) * 2}


def on_devices(scan):
    """Loss and gradients of a model whose batch is split over two devices, its weights whole on each."""

    def loss(weights, start, inputs):
        h, outputs = scan(lambda h, x: (jnp.tanh(x + h @ weights["W"] + weights["b"][None]), h.sum(1)), start, inputs)
        return (h**2).sum() + outputs.sum()

    return jax.value_and_grad(loss, (0, 1, 2))


@pytest.mark.of_cpus("two devices")
@pytest.mark.parametrize("start", ["a carry", "a constant carry"])
def test_under_the_check_of_shard_map(start):
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2], axis_types=(AxisType.Auto,))

    def loss(scan, weights, first, inputs):
        first = first if start == "a carry" else jnp.zeros_like(first)
        return on_devices(scan)(weights, first, inputs)

    @partial(jax.shard_map, mesh=mesh, in_specs=(WHOLE, ROWS, STEPS), out_specs=(WHOLE, (WHOLE, ROWS, STEPS)))
    def split(weights, first, inputs):
        first = first if start == "a carry" else jnp.zeros(first.shape)
        value, gradients = on_devices(deferred.scan)(weights, first, inputs)
        return jax.lax.psum(value, "data"), gradients

    value, (d_weights, d_start, d_inputs) = jax.jit(split)(*SPLIT)
    plain, (plain_weights, plain_start, plain_inputs) = jax.jit(partial(loss, jax.lax.scan))(*SPLIT)
    agree((value, d_weights, d_inputs), (plain, plain_weights, plain_inputs))
    if start == "a carry":
        agree(d_start, plain_start)


@pytest.mark.of_cpus("two devices")
def test_on_a_mesh_with_explicit_sharding():
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2], axis_types=(AxisType.Explicit,))
    plain = jax.jit(on_devices(jax.lax.scan))(*SPLIT)
    with jax.set_mesh(mesh):
        placed = jax.device_put(SPLIT, (WHOLE, ROWS, STEPS))
        ours = jax.jit(on_devices(deferred.scan))(*placed)
    agree(jax.device_get(ours), jax.device_get(plain))


def test_a_loop_without_gradient_on_what_needs_none():
    def loss(scan, w_HxH):
        def body(h, x):
            still = jax.lax.stop_gradient(h @ w_HxH)
            small = jax.lax.while_loop(lambda v: jnp.abs(v).max() > 0.1, lambda v: v / 2, still)
            return jnp.tanh(h @ w_HxH + small + x), small

        return sum(jax.tree.map(jnp.sum, scan(body, START, INPUTS[0][:, :, :H])))

    agree(*(jax.grad(partial(loss, scan))(WEIGHTS["W"][:, :H]) for scan in (deferred.scan, jax.lax.scan)))


def test_what_has_no_gradient_says_so():
    def loss(w_HxH):
        def body(h, x):
            return jax.lax.while_loop(lambda v: jnp.abs(v).max() > 0.1, lambda v: v / 2, h @ w_HxH), None

        return deferred.scan(body, START, INPUTS[0])[0].sum()

    with pytest.raises(ValueError, match=r"Reverse-mode differentiation does not work for lax\.while_loop"):
        jax.grad(loss)(WEIGHTS["W"][:, :H])
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(partial(inner_sum, deferred.scan), (WEIGHTS["W"][:, :H],), (WEIGHTS["W"][:, :H],))


def inner_sum(scan, w_HxH):
    return jnp.sin(scan(lambda h, x: (jnp.tanh(h @ w_HxH + x), h), START, INPUTS[0][:, :, :H])[1]).sum()


def test_a_gradient_of_a_gradient():
    def curvature(scan):
        return jax.grad(lambda w: (jax.grad(partial(inner_sum, scan))(w) ** 2).sum())(WEIGHTS["W"][:, :H])

    agree(curvature(deferred.scan), curvature(jax.lax.scan))


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (lambda h: (h, h), "structure"),
        (lambda h: [h], "structure"),
        (lambda h: h[:, :2], r"float32\[4, 2\], not float32\[4, 5\]"),
        (lambda h: h.astype(jnp.bfloat16), r"bfloat16\[4, 5\], not float32"),
    ],
)
def test_a_carry_that_changes_is_refused(returned, told):
    with pytest.raises(TypeError, match=told):
        deferred.scan(lambda h, x: (returned(h), None), START, INPUTS[0])


def test_no_steps():
    h, outputs = deferred.scan(lambda h, x: (h + x, h), START, jnp.zeros((0, B, H)))
    assert outputs.shape == (0, B, H) and (h == START).all()
