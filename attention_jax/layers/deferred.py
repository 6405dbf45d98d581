"""`jax.lax.scan` whose backward pass forms weight gradients after the loop: same values, same gradients, the body as one would write it.

    h_t = tanh(z_t),  z_t = h_{t-1} W + x_t           a body: a product, what is added to it, and a gate
    δ_t = ∂L/∂z_t                                     the cotangents that the backward loop finds, from the last t to the first
    ∂W = Σ_t h_{t-1}ᵀ δ_t                             T products of B rows each, or one product of T·B rows

1. `lax.scan` adds up ∂W inside its backward loop: T small products, and T times ∂W is read and written.
2. It also stores, for every t, the operands of every operation, gates included: its residuals.
3. `scan` traces the body once, to a jaxpr, and groups its equations into operations (`loop_body`).
4. The forward loop stores carries, sums z_t, and results that are dear to compute.
5. The backward loop recomputes all else from these, and differentiates that by `jax.vjp`.
6. It takes the stored z_t as it is, so that the cotangent of z_t is δ_t; δ_t is an output of the loop.
7. After the loop, ∂W is one product of all h_{t-1} and all δ_t, and the gradient of a bias is Σ_t δ_t.
8. Sums over t are taken in float32 at least.
9. On CPUs weights are transposed once, before the backward loop: a product with a transposed operand takes up to half as long again.
10. Nothing here knows cells or attention; the body may be any function that reverse mode can differentiate once.

Example, in numbers, without the tanh: W = 2, h_0 = 1, x = (0, 1). Forward: h_1 = 2, h_2 = 5. Of L = h_2: δ_2 = 1, δ_1 = δ_2 W = 2.
After the loop: ∂W = (h_0, h_1) · (δ_1, δ_2) = 1·2 + 2·1 = 4, as of L = W² h_0 + 1.

It is `jax.checkpoint` with a policy that saves products, and cuDNN's weight gradients, for any body.
"""

# pyright: reportAttributeAccessIssue=false
# JAX types a variable's `aval` as AbstractValue, which has neither shape nor dtype; those of a loop's body have both.

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Var

from attention_jax.layers.loop_body import Body, Operation, grouped, is_floating, is_rows, is_view, read, run
from attention_jax.system import machine


def scan(body: Callable, carry: Any, inputs: Any, reverse: bool = False) -> tuple[Any, Any]:
    """Returns (last carry, stacked outputs) of body(carry, input) → (carry, output), as `jax.lax.scan` does; `inputs` lead with the axis T.

    `body` may close over anything, weights included, and is differentiated for it in reverse mode. Raises `TypeError` where the carry
    that the body returns has another structure, shape or type than the one that it got.
    """
    carry, inputs = varying_alike(jax.tree.map(jnp.asarray, (carry, inputs)))
    traced, shapes = jax.make_jaxpr(body, return_shape=True)(carry, jax.eval_shape(_first, inputs))
    _check(carry, shapes[0])
    carries, inputs = jax.tree.leaves(carry), jax.tree.leaves(inputs)
    loop, constants = grouped(traced, len(carries))
    constants, carries, inputs = varying_alike((constants, carries, inputs))
    lasts, outputs = cast(tuple[list, list], _scan(loop, reverse, constants, carries, inputs))  # checkers lose what `custom_vjp` returns
    return jax.tree.unflatten(jax.tree.structure(shapes[0]), lasts), jax.tree.unflatten(jax.tree.structure(shapes[1]), outputs)


def _first(inputs):
    """Takes the first of T inputs; zeros where T is 0."""
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
    """Marks all arrays as varying along every mesh axis along which any of them does: within `shard_map` JAX checks this of loops."""
    types = [jax.typeof(x).manual_axis_type.varying for x in jax.tree.leaves(tree)]
    every = frozenset().union(*types)

    def varying(x):
        missing = tuple(every - jax.typeof(x).manual_axis_type.varying)
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(varying, tree) if every else tree


def _evaluate(body: Body, constants, carries, inputs, saved: list | None = None):
    """Evaluates one step: (value of every variable, results of sums and saved operations). With `saved`, those results come from there.

    Values of constants may have more bits than the variables of the body, as may those of the functions below.
    """
    constants = [c.astype(v.aval.dtype) if is_floating(c) else c for v, c in zip(body.constants, constants, strict=True)]
    environment = dict(zip((*body.constants, *body.carries, *body.inputs), (*constants, *carries, *inputs), strict=True))
    residuals = []
    for operation in body.operations:
        operands = [environment[v] for v in (*operation.operands, *operation.constants)]
        if operation.kind == "recomputed" or saved is None:
            results = operation(*operands)
        else:
            results = cast(tuple, _saved(operation, saved[len(residuals)], *operands))
        if operation.kind != "recomputed":
            residuals.append(results)
        environment |= zip(operation.results, results, strict=True)
    return environment, residuals


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _saved(operation: Operation, results: tuple, *operands) -> tuple:
    """Returns `results`, computed before. Their cotangents go to the operands, and to `results` themselves, where δ_t is read."""
    return results


def _saved_forward(operation, results, *operands):
    return results, operands


def _saved_backward(operation, operands, cotangents):
    """Differentiates the operation in its operands; a sum's constants get their gradients after the loop."""
    variables = *operation.operands, *(operation.constants if operation.kind == "saved" else ())
    moving = [i for i, v in enumerate(variables) if v not in operation.stopped and is_floating(v.aval)]
    _, transpose = jax.vjp(lambda moved: operation(*_replaced(operands, moved)), _picked(operands, moving))
    (d_operands,) = transpose(cotangents)
    return cotangents, *_replaced([None] * len(operands), d_operands)


_saved.defvjp(_saved_forward, _saved_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _scan(loop: Body, reverse: bool, constants: list, carries: list, inputs: list):
    """Scans a grouped body: (last carries, stacked outputs). This is what runs where no gradient is taken."""

    def body(carries, inputs):
        environment, _ = _evaluate(loop, constants, carries, inputs)
        return [read(environment, atom) for atom in loop.lasts], [read(environment, atom) for atom in loop.outputs]

    return jax.lax.scan(body, carries, inputs, reverse=reverse, unroll=machine.steps())


def _scan_forward(loop: Body, reverse: bool, constants: list, carries: list, inputs: list):
    """Scans, and stores the residuals of every t: saved results, carries, and operands of products."""

    def body(carries, inputs):
        environment, saved = _evaluate(loop, constants, carries, inputs)
        lasts, outputs = ([read(environment, atom) for atom in atoms] for atoms in (loop.lasts, loop.outputs))
        return lasts, (outputs, (saved, carries, [environment[v] for v in loop.saved_operands()]))

    lasts, (outputs, stored) = jax.lax.scan(body, carries, inputs, reverse=reverse, unroll=machine.steps())
    turning = loop.transposable() if machine.wants_transposed() else ()
    transposed = [c.astype(v.aval.dtype).T if v in turning else c for v, c in zip(loop.constants, constants, strict=True)]
    return (lasts, outputs), (constants, transposed, inputs, stored)


def _scan_backward(loop: Body, reverse: bool, residuals, cotangents):
    """Returns the cotangents of constants, carries and inputs; None where there is none."""
    constants, transposed, inputs, (saved, carries, operands) = residuals
    d_constants, d_carries, d_inputs, d_sums = _backward_loop(loop, reverse, (transposed, carries, inputs), saved, constants, cotangents)
    values = dict(zip((*loop.constants, *loop.saved_operands()), (*constants, *operands), strict=True)) | _views(loop, carries, inputs)
    for operation, δ_Tx in zip(loop.sums(), d_sums, strict=True):
        found = [(bias, δ_Tx.sum(0, dtype=_wide(δ_Tx.dtype))) for bias in operation.biases()]
        found += [(w, _weight_gradient(dot, w, values[w], a, values[a], δ_Tx)) for dot, a, w in operation.products()]
        for v, d in found:
            d_constants[v] = d_constants[v] + d if v in d_constants else d
    of_sums, addends = dict(zip(loop.sums(), d_sums, strict=True)), loop.addends()
    d_inputs |= {i: of_sums[addends[v]] for i, v in enumerate(loop.inputs) if v in addends}
    return (
        [d_constants[v].astype(c.dtype) if v in d_constants else None for v, c in zip(loop.constants, constants, strict=True)],
        _replaced([None] * len(carries), d_carries),
        _replaced([None] * len(inputs), d_inputs),
    )


_scan.defvjp(_scan_forward, _scan_backward)


def _backward_loop(loop: Body, reverse: bool, primals: tuple, saved: list, constants: list, cotangents: tuple):
    """Goes through the steps once more, the other way, by `jax.vjp` of each step with its saved results.

    `primals` are constants as this loop multiplies by them, and carries and inputs of all t. Returns (cotangents of the constants that are
    used other than in sums, by variable; of carries and inputs, by position; of all sums, for all t).
    """
    transposed, carries, inputs = primals
    positions = _differentiated(loop, constants, carries, inputs)
    ends = [_floating(loop.lasts), _floating(loop.outputs)]
    backwards = loop.transposed() if machine.wants_transposed() else loop

    def body(totals, x):
        d_carries, d_constants = totals
        carries, inputs, saved, d_outputs = x
        primals = transposed, carries, inputs

        def recompute(differentiated, saved):
            constants, carries, inputs = (_replaced(values, new) for values, new in zip(primals, differentiated, strict=True))
            environment, _ = _evaluate(backwards, constants, carries, inputs, saved)
            return [{i: read(environment, atoms[i]) for i in at} for atoms, at in zip((loop.lasts, loop.outputs), ends, strict=True)]

        _, transpose = jax.vjp(recompute, [_picked(values, at) for values, at in zip(primals, positions, strict=True)], saved)
        (more, d_carries, d_inputs), d_saved = transpose([d_carries, d_outputs])
        d_sums = [δ for (δ, *_), operation in zip(d_saved, loop.with_residuals(), strict=True) if operation.kind == "sum"]
        return (d_carries, {i: total + more[i].astype(total.dtype) for i, total in d_constants.items()}), (d_inputs, d_sums)

    d_lasts, d_outputs = (_picked(d, at) for d, at in zip(cotangents, ends, strict=True))
    start = d_lasts, {i: jnp.zeros_like(constants[i], _wide(constants[i].dtype)) for i in positions[0]}
    steps = carries, inputs, saved, d_outputs
    (d_carries, d_constants), (d_inputs, d_sums) = jax.lax.scan(body, start, steps, reverse=not reverse, unroll=machine.steps())
    return {loop.constants[i]: d for i, d in d_constants.items()}, d_carries, d_inputs, d_sums


def _differentiated(loop: Body, constants, carries, inputs) -> tuple[list[int], list[int], list[int]]:
    """Lists the positions of the constants, carries and inputs that get their cotangents inside the loop."""
    in_loop, addends = loop.constants_in_loop(), loop.addends()
    return (
        [i for i, v in enumerate(loop.constants) if v in in_loop and is_floating(constants[i])],
        [i for i, x in enumerate(carries) if is_floating(x)],
        [i for i, v in enumerate(loop.inputs) if v not in addends and is_floating(inputs[i])],
    )


def _floating(atoms) -> list[int]:
    """Lists the positions of results that can have a cotangent."""
    return [i for i, atom in enumerate(atoms) if is_floating(atom.aval)]


def _weight_gradient(equation: JaxprEqn, weight: Var, value, a: Var, operands_Tx, cotangents_Tx):
    """Computes ∂W = Σ_t a_tᵀ δ_t as one product, over t and all other axes that are summed, in float32 at least."""
    if is_rows(equation, a, weight) and not jax.typeof(operands_Tx).sharding.mesh.explicit_axes:
        operands_NxI, cotangents_NxO = (x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) for x in (operands_Tx, cotangents_Tx))
        operands_IxN = jax.lax.optimization_barrier(operands_NxI.T) if machine.wants_transposed() else operands_NxI.T
        precision, dtype = equation.params["precision"], _wide(cotangents_Tx.dtype)  # what follows, but for the copies compilers make
        return jnp.matmul(operands_IxN, cotangents_NxO, precision=precision, preferred_element_type=dtype)

    def product(weight_value, operand):
        environment = {weight: weight_value.astype(weight.aval.dtype), a: operand}
        run(equation, environment)
        return environment[equation.outvars[0]]

    _, transpose = jax.vjp(lambda w: jax.vmap(product, (None, 0))(w, operands_Tx), value.astype(_wide(value.dtype)))
    return transpose(cotangents_Tx)[0]


def _views(loop: Body, carries, inputs) -> dict:
    """Computes the views of carries and inputs for all t, by variable."""

    def viewed(carries, inputs):
        environment = dict(zip((*loop.carries, *loop.inputs), (*carries, *inputs), strict=True))
        for operation in loop.operations:
            if is_view(operation) and loop.views.issuperset(operation.results):
                environment |= zip(operation.results, operation(*(environment[v] for v in operation.operands)), strict=True)
        return {id(v): x for v, x in environment.items()}

    found = jax.vmap(viewed)(carries, inputs)
    return {v: found[id(v)] for v in loop.views}


def _wide(dtype):
    """Returns the type that sums over t are taken in."""
    return jnp.promote_types(dtype, jnp.float32)


def _picked(values: Sequence, positions: list[int]) -> dict[int, Any]:
    """Maps each of these positions to its value."""
    return {i: values[i] for i in positions}


def _replaced(values: Sequence, new: dict[int, Any]) -> list:
    """Lists the values, those at the positions in `new` replaced."""
    return [new.get(i, value) for i, value in enumerate(values)]
