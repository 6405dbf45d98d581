"""`jax.lax.scan` with a cheaper backward pass: the same values, the same gradients, the body as one would write it.

    carry_t, y_t = body(carry_{t-1}, x_t)

The transpose of `lax.scan` differentiates every operation inside the loop: it keeps the inputs of all of them for every t, and adds
every weight's gradient T times, Σ_t a_tᵀ g_t as T small products. `scan` reads the body's operations (its jaxpr) and sorts them:

    outside   what depends on no t, on weights and other constants alone: done once, before the loop
    sum       Σ_k a_kt W_k + …, products with weights from outside and what is added to them, each of these once. The sum is kept; the
              backward loop leaves its gradient g_t, and one large product per weight after that loop gives ∂W_k = Σ_t a_ktᵀ g_t
    kept      what is dear and small, as attention scores: its result is kept, its gradient taken from its operands
    cheap     all else, gates and normalisers: done again in the backward pass, from the carry and what is kept

So the loop's residuals are carries, inputs and sums. On CPUs its products take weights that were transposed before it (`Step.turned`): a
transposed operand costs up to half as much again, at every step. In a lookup Σ_s α_ts h_s the memory h is from outside, and its gradient,
too, is one product after the loop. It is the idea of `jax.checkpoint` with a policy that keeps products, and of cuDNN's weight gradients,
for any body: nothing here knows cells or attention. Gradients of constants are added up over t in float32 at least, whatever the body
computes in.
"""

# pyright: reportAttributeAccessIssue=false
# JAX types a variable's `aval` as AbstractValue, which has neither shape nor dtype; those of a loop's body have both.

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Var

from attention_jax.layers.loop_body import Operation, Step, is_floating, is_rows, is_view, read, run, sort
from attention_jax.system import machine


def scan(body: Callable, carry: Any, inputs: Any, reverse: bool = False) -> tuple[Any, Any]:
    """(last carry, stacked outputs) of body(carry, input) → (carry, output), as of `jax.lax.scan`; `inputs` lead with the axis T.

    `body` may close over anything, weights included, and is differentiated for it in reverse mode. Raises `TypeError` where the carry
    that the body returns is not like the one that it got.
    """
    carry, inputs = varying_alike(jax.tree.map(jnp.asarray, (carry, inputs)))
    traced, shapes = jax.make_jaxpr(body, return_shape=True)(carry, jax.eval_shape(_first, inputs))
    _check(carry, shapes[0])
    carries, inputs = jax.tree.leaves(carry), jax.tree.leaves(inputs)
    step, constants = sort(traced, len(carries))
    constants, carries, inputs = varying_alike((constants, carries, inputs))
    lasts, outputs = cast(tuple[list, list], _scan(step, reverse, constants, carries, inputs))  # checkers lose what `custom_vjp` returns
    return jax.tree.unflatten(jax.tree.structure(shapes[0]), lasts), jax.tree.unflatten(jax.tree.structure(shapes[1]), outputs)


def _first(inputs):
    return jax.tree.map(lambda x: x[0] if len(x) else jnp.zeros(x.shape[1:], x.dtype), inputs)


def _check(given: Any, returned: Any) -> None:
    """Raises `TypeError` where structure, shape or type of a carry change within the body."""
    if (there := jax.tree.structure(given)) != (here := jax.tree.structure(returned)):
        raise TypeError(f"the body of a scan must return a carry of the structure that it got, {there}, not {here}")
    for (path, old), new in zip(jax.tree.leaves_with_path(given), jax.tree.leaves(returned), strict=True):
        if old.shape != new.shape or (old.dtype != new.dtype and not jax.typeof(old).weak_type):
            told = f"{new.dtype}{list(new.shape)}, not {old.dtype}{list(old.shape)}"
            raise TypeError(f"the body of a scan must return the carry as it got it: carry{jax.tree_util.keystr(path)} is {told}")


def varying_alike(tree: Any) -> Any:
    """Within `shard_map`, arrays that all vary along the axes along which any of them does: what `jax.shard_map` checks of loops."""
    types = [jax.typeof(x).manual_axis_type.varying for x in jax.tree.leaves(tree)]
    every = frozenset().union(*types)

    def varying(x):
        missing = tuple(every - jax.typeof(x).manual_axis_type.varying)
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(varying, tree) if every else tree


def _evaluate(step: Step, constants, carries, inputs, held: list | None = None):
    """(environment, results of sums and kept operations). With `held`, those results are taken from there instead.

    The values of constants, here and below, may be wider than the body takes them.
    """
    constants = [c.astype(v.aval.dtype) if is_floating(c) else c for v, c in zip(step.constants, constants, strict=True)]
    environment = dict(zip((*step.constants, *step.carries, *step.inputs), (*constants, *carries, *inputs), strict=True))
    found = []
    for operation in step.operations:
        operands = [environment[v] for v in (*operation.operands, *operation.outside)]
        again = operation.kind == "cheap" or held is None
        results = operation(*operands) if again else cast(tuple, _held(operation, held[len(found)], *operands))
        if operation.kind != "cheap":
            found.append(results)
        environment |= zip(operation.results, results, strict=True)
    return environment, found


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _held(operation: Operation, results: tuple, *operands) -> tuple:
    """The results that were kept. Their gradient goes to the operands, and to `results` themselves, where it can be read."""
    return results


def _held_forward(operation, results, *operands):
    return results, operands


def _held_backward(operation, operands, gradients):
    variables = *operation.operands, *operation.outside[: None if operation.kind == "kept" else 0]
    moving = [v not in operation.still and is_floating(v.aval) for v in variables]
    moving += [False] * (len(operands) - len(moving))
    _, backward = jax.vjp(lambda *moved: operation(*_merged(moving, moved, operands)), *_chosen(moving, operands))
    return gradients, *_merged(moving, backward(gradients), [None for _ in operands])


_held.defvjp(_held_forward, _held_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _scan(step: Step, reverse: bool, constants: list, carries: list, inputs: list):
    def body(carries, inputs):
        environment, _ = _evaluate(step, constants, carries, inputs)
        return [read(environment, atom) for atom in step.lasts], [read(environment, atom) for atom in step.outputs]

    return jax.lax.scan(body, carries, inputs, reverse=reverse, unroll=machine.steps())


def _scan_forward(step: Step, reverse: bool, constants: list, carries: list, inputs: list):
    def body(carries, inputs):
        environment, found = _evaluate(step, constants, carries, inputs)
        lasts, outputs = ([read(environment, atom) for atom in atoms] for atoms in (step.lasts, step.outputs))
        return lasts, (outputs, (found, carries, [environment[v] for v in step.saved()]))

    lasts, (outputs, left) = jax.lax.scan(body, carries, inputs, reverse=reverse, unroll=machine.steps())
    turning = step.turning() if machine.turns_operands() else ()
    turned = [c.astype(v.aval.dtype).T if v in turning else c for v, c in zip(step.constants, constants, strict=True)]
    return (lasts, outputs), (constants, turned, inputs, left)


def _scan_backward(step: Step, reverse: bool, residuals, gradients):
    constants, turned, inputs, (held, carries, saved) = residuals
    inner, added = step.inner(), step.added()
    which = [
        [v in inner and is_floating(c) for v, c in zip(step.constants, constants, strict=True)],
        [is_floating(x) for x in carries],
        [is_floating(x) and v not in added for v, x in zip(step.inputs, inputs, strict=True)],
    ]
    d_ends = [
        [d for d, atom in zip(ds, ends, strict=True) if is_floating(atom.aval)]
        for ds, ends in zip(gradients, (step.lasts, step.outputs), strict=True)
    ]

    looped = step.turned() if machine.turns_operands() else step

    def body(loop, x):
        d_carries, d_inner = loop
        carries, inputs, held, d_outputs = x
        arguments = turned, carries, inputs

        def again(differentiated, held):
            constants, carries, inputs = (_merged(w, new, old) for w, new, old in zip(which, differentiated, arguments, strict=True))
            environment, _ = _evaluate(looped, constants, carries, inputs, held)
            return [[read(environment, atom) for atom in ends if is_floating(atom.aval)] for ends in (step.lasts, step.outputs)]

        _, backward = jax.vjp(again, [_chosen(w, xs) for w, xs in zip(which, arguments, strict=True)], held)
        (d_constants, d_carries, d_inputs), d_held = backward([d_carries, d_outputs])
        kinds = [operation.kind for operation in step.operations if operation.kind != "cheap"]
        d_sums = [d for (d, *_), kind in zip(d_held, kinds, strict=True) if kind == "sum"]
        return (d_carries, [total + d.astype(total.dtype) for total, d in zip(d_inner, d_constants, strict=True)]), (d_inputs, d_sums)

    start = d_ends[0], [jnp.zeros_like(c, _wide(c.dtype)) for c in _chosen(which[0], constants)]
    loop = carries, inputs, held, d_ends[1]
    (d_carries, d_inner), (d_inputs, d_sums) = jax.lax.scan(body, start, loop, reverse=not reverse, unroll=machine.steps())
    d_constants = dict(zip(_chosen(which[0], step.constants), d_inner, strict=True))
    values = dict(zip(step.constants, constants, strict=True)) | dict(zip(step.saved(), saved, strict=True)) | _views(step, carries, inputs)
    for operation, g in zip(step.sums(), d_sums, strict=True):
        found = [(bias, g.sum(0, dtype=_wide(g.dtype))) for bias in operation.biases()]
        found += [(w, _weight_gradient(dot, w, values[w], a, values[a], g)) for dot, a, w in operation.products()]
        for v, d in found:
            d_constants[v] = d_constants[v] + d if v in d_constants else d
    d_added = dict(zip(step.sums(), d_sums, strict=True))
    return (
        [d_constants[v].astype(c.dtype) if v in d_constants else None for v, c in zip(step.constants, constants, strict=True)],
        _merged(which[1], d_carries, [None for _ in carries]),
        _merged(which[2], d_inputs, [d_added[added[v]] if v in added else None for v in step.inputs]),
    )


_scan.defvjp(_scan_forward, _scan_backward)


def _weight_gradient(equation: JaxprEqn, weight: Var, value, a: Var, operands_T, gradients_T):
    """Σ_t of the transpose of a dot in its weight, as one dot over t and the other axes that are summed, in float32 at least."""
    if is_rows(equation, a, weight) and not jax.typeof(operands_T).sharding.mesh.explicit_axes:
        operands_NxI, gradients_NxO = (x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) for x in (operands_T, gradients_T))
        operands_IxN = jax.lax.optimization_barrier(operands_NxI.T) if machine.turns_operands() else operands_NxI.T
        precision, dtype = equation.params["precision"], _wide(gradients_T.dtype)  # what follows, but for the copies compilers make
        return jnp.matmul(operands_IxN, gradients_NxO, precision=precision, preferred_element_type=dtype)

    def product(weight_value, operand):
        environment = {weight: weight_value.astype(weight.aval.dtype), a: operand}
        run(equation, environment)
        return environment[equation.outvars[0]]

    _, backward = jax.vjp(lambda w: jax.vmap(product, (None, 0))(w, operands_T), value.astype(_wide(value.dtype)))
    return backward(gradients_T)[0]


def _views(step: Step, carries, inputs) -> dict:
    """The views of carries and inputs, for all t."""

    def viewed(carries, inputs):
        environment = dict(zip((*step.carries, *step.inputs), (*carries, *inputs), strict=True))
        for operation in step.operations:
            if is_view(operation) and step.views.issuperset(operation.results):
                environment |= zip(operation.results, operation(*(environment[v] for v in operation.operands)), strict=True)
        return {id(v): x for v, x in environment.items()}

    found = jax.vmap(viewed)(carries, inputs)
    return {v: found[id(v)] for v in step.views}


def _wide(dtype):
    """The type that sums over t are taken in."""
    return jnp.promote_types(dtype, jnp.float32)


def _chosen(which: list[bool], values) -> list:
    return [value for value, chosen in zip(values, which, strict=True) if chosen]


def _merged(which: list[bool], chosen: Iterable, others: Iterable) -> list:
    """`chosen`, in order, where `which` says so, and `others` elsewhere."""
    left = iter(chosen)
    return [next(left) if here else other for here, other in zip(which, others, strict=True)]
