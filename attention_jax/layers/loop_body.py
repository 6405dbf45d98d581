"""A loop's body, traced to a jaxpr and grouped into operations of three kinds, for `deferred.scan`.

    carry_t, y_t = body(carry_{t-1}, x_t)          constants: what the body closes over, equal for all t

An equation of the jaxpr that reads constants alone is evaluated once, before the loop. All others become operations:

    sum          Σ_k a_kt W_k + …: products with constant weights, and what is added to them. Residual: the sum.
    saved        dear to compute and small, as attention scores. Residual: the result.
    recomputed   all else, as gates and normalisers. No residual: the backward loop computes it again.

In tanh(h @ W + x) the product and the addition are one sum, and tanh is recomputed. No variable occurs twice in a sum, so its cotangent is
the cotangent of each of its addends. What is added a second time, as b in h @ W + b + b, is added outside the sum, by JAX's own rules.
"""

# pyright: reportAttributeAccessIssue=false
# JAX types a variable's `aval` as AbstractValue, which has neither shape nor dtype; those of a loop's body have both.

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var  # pyright: ignore[reportPrivateImportUsage] - JAX 0.12 does not say that it exports it

from attention_jax.types.signatures import Array

LARGEST_OPERAND = 64
"""A product is part of a sum if its operand has at most so many numbers for each one of W: T operands must not fill the memory."""
VIEWS = frozenset({"slice", "reshape", "squeeze", "concatenate", "transpose", "broadcast_in_dim", "convert_element_type"})
"""Primitives whose results, of carries and inputs, are no residuals: they are made again after the loop."""
DEAR = frozenset({"dot_general", "custom_vjp_call", "scan", "sort", "top_k"})
"""Primitives whose results are saved."""


@dataclass(frozen=True, eq=False)
class Operation:
    """Equations of the body that are evaluated as one: a single equation, or the products and additions of a sum."""

    kind: str  # sum, saved, recomputed
    equations: tuple[JaxprEqn, ...]
    operands: tuple[Var, ...]  # variables that change with t
    constants: tuple[Var, ...]
    results: tuple[Var, ...]
    stopped: frozenset[Var] = frozenset()  # operands and constants that no gradient passes through

    def __call__(self, *values: Array) -> tuple:
        """Evaluates the results from the values of `operands` and `constants`."""
        environment = dict(zip((*self.operands, *self.constants), values, strict=True))
        for equation in self.equations:
            run(equation, environment)
        return tuple(environment[v] for v in self.results)

    def products(self) -> list[tuple[JaxprEqn, Var, Var]]:
        """Lists (equation, operand a_t, weight W) of a sum's products; other kinds have none."""
        dots = [e for e in self.equations if self.kind == "sum" and e.primitive.name == "dot_general"]
        pairs: Any = [sorted(e.invars, key=lambda v: v in self.constants) for e in dots]
        return [(e, a, weight) for e, (a, weight) in zip(dots, pairs, strict=True)]

    def biases(self) -> list[Var]:
        """Lists the constants that a sum adds; other kinds have none."""
        weights = {weight for _, _, weight in self.products()}
        return [v for v in self.constants if v not in weights] if self.kind == "sum" else []

    def transposed(self, weights: set[Var]) -> "Operation":
        """Takes each of these weights as its transpose: a_…xI · (Wᵀ)_OxI, summed over I. The cotangent of a is δ_…xO · (Wᵀ)_OxI."""
        dots = {e: (((a.aval.ndim - 1,), (1,)), ((), ())) for e, a, weight in self.products() if weight in weights}
        equations = [e.replace(params=e.params | {"dimension_numbers": dots[e]}) if e in dots else e for e in self.equations]
        return replace(self, equations=tuple(equations))


@dataclass(frozen=True, eq=False)
class Body:
    """A body's operations in order, the variables of its arguments, and the atoms (variables or literals) of its results."""

    operations: tuple[Operation, ...]
    constants: tuple[Var, ...]
    carries: tuple[Var, ...]
    inputs: tuple[Var, ...]
    lasts: tuple[Var | Literal, ...]  # the new carries
    outputs: tuple[Var | Literal, ...]
    views: frozenset[Var]  # carries, inputs, and what `VIEWS` make of these alone
    stopped: frozenset[Var]  # variables that no gradient passes through

    def with_residuals(self) -> list[Operation]:
        """Lists sums and saved operations."""
        return [operation for operation in self.operations if operation.kind != "recomputed"]

    def sums(self) -> list[Operation]:
        """Lists the sums."""
        return [operation for operation in self.operations if operation.kind == "sum"]

    def saved_operands(self) -> list[Var]:
        """Lists the operands a_t that are residuals: ∂W needs them after the loop, and they are no views."""
        operands = dict.fromkeys(a for operation in self.sums() for _, a, _ in operation.products())
        return [a for a in operands if a not in self.views]

    def addends(self) -> dict[Var, Operation]:
        """Maps each input that is added to one sum, and used nowhere else, to that sum: both have the same cotangent."""
        uses = Counter([*(v for operation in self.operations for v in operation.operands), *variables((*self.lasts, *self.outputs))])
        operands = {a for operation in self.sums() for _, a, _ in operation.products()}
        added = set(self.inputs) - operands
        return {v: operation for operation in self.sums() for v in operation.operands if v in added and uses[v] == 1}

    def constants_in_loop(self) -> set[Var]:
        """Finds the constants that are used other than in sums: the backward loop adds up their cotangents."""
        elsewhere = {v for operation in self.operations if operation.kind != "sum" for v in operation.constants}
        return (elsewhere | {*variables((*self.lasts, *self.outputs))}) & {*self.constants} - self.stopped

    def transposable(self) -> set[Var]:
        """Finds the weights that occur as a_…xI W_IxO in sums, and nowhere else."""
        products = [product for operation in self.sums() for product in operation.products()]
        biases = {v for operation in self.sums() for v in operation.biases()}
        other = {weight for dot, a, weight in products if not is_rows(dot, a, weight)} | self.constants_in_loop() | biases
        return {weight for _, _, weight in products} - other

    def transposed(self) -> "Body":
        """Takes each `transposable` weight as its transpose."""
        weights = self.transposable()
        return replace(self, operations=tuple(operation.transposed(weights) for operation in self.operations))


def grouped(traced: ClosedJaxpr, carries: int) -> tuple[Body, list]:
    """Returns (body, values of its constants), from the jaxpr of a body whose first arguments are so many carries.

    A constant that the body casts to fewer bits comes uncast: its cotangents can then be added up in more bits. Whoever evaluates the body
    casts it to the type of its variable.
    """
    jaxpr, known = _flattened(traced)
    inside, values, uncast = _without_constants(jaxpr, known)
    arguments = tuple(jaxpr.invars[len(traced.consts) :])
    results = variables(jaxpr.outvars)
    operations = _operations(inside, values, results, _stopped(jaxpr.eqns))
    used = [v for operation in operations for v in operation.constants] + results
    constants = tuple(dict.fromkeys(v for v in used if v in values))
    body = Body(
        operations=tuple(operations),
        constants=constants,
        carries=arguments[:carries],
        inputs=arguments[carries:],
        lasts=tuple(jaxpr.outvars[:carries]),
        outputs=tuple(jaxpr.outvars[carries:]),
        views=_views(operations, arguments),
        stopped=_stopped(jaxpr.eqns),
    )
    return body, [uncast.get(v, values[v]) for v in constants]


def _flattened(traced: ClosedJaxpr):
    """Returns (jaxpr without calls of jitted functions, values of its constants by variable); its first arguments are `traced.consts`."""
    types = [v.aval for v in traced.jaxpr.invars]
    flat = jax.make_jaxpr(lambda consts, arguments: _inlined(traced.jaxpr, consts, arguments))(traced.consts, types)
    variables_known = *flat.jaxpr.constvars, *flat.jaxpr.invars[: len(traced.consts)]
    return flat.jaxpr, dict(zip(variables_known, (*flat.consts, *traced.consts), strict=True))


def _inlined(jaxpr, consts, arguments) -> list:
    """Evaluates a jaxpr, equation by equation also within the jitted functions that it calls."""
    environment = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("jit", "pjit"):
            called, values = equation.params["jaxpr"], [read(environment, atom) for atom in equation.invars]
            environment |= zip(equation.outvars, _inlined(called.jaxpr, called.consts, values), strict=True)
        else:
            run(equation, environment)
    return [read(environment, atom) for atom in jaxpr.outvars]


def _without_constants(jaxpr, known: dict) -> tuple[list[JaxprEqn], dict, dict]:
    """Evaluates the equations that read `known` variables alone.

    Returns (the other equations, values of all constants by variable, values before the cast of constants that are casts to fewer bits).
    """
    inside, values, uncast = [], dict(known), {}
    for equation in jaxpr.eqns:
        if equation.effects or any(v not in values for v in variables(equation.invars)):
            inside.append(equation)
            continue
        run(equation, values)
        if is_narrowing(equation):
            uncast[equation.outvars[0]] = read(values, equation.invars[0])
    return inside, values, uncast


def _stopped(equations: list[JaxprEqn]) -> frozenset[Var]:
    """Finds the variables that no gradient passes through: of `stop_gradient`, and of equations that read only such or integers."""
    stopped: set[Var] = set()
    for equation in equations:
        if equation.primitive.name == "stop_gradient" or all(v in stopped or not is_floating(v.aval) for v in variables(equation.invars)):
            stopped.update(equation.outvars)
    return frozenset(stopped)


def _views(operations: list[Operation], arguments: tuple[Var, ...]) -> frozenset[Var]:
    """Finds `arguments` and what reshapes, slices and casts make of them alone."""
    views = set(arguments)
    for operation in operations:
        if is_view(operation) and views.issuperset(operation.operands):
            views.update(operation.results)
    return frozenset(views)


def _operations(equations: list[JaxprEqn], constants: Collection[Var], results: list[Var], stopped: frozenset[Var]) -> list[Operation]:
    """Makes an operation of each equation, and one sum of products and additions whose results nothing else uses; keeps their order."""
    uses = Counter([*results, *(v for equation in equations for v in variables(equation.invars))])
    operations: dict[int, Operation] = {}  # by number of the equation
    sums: dict[Var, int] = {}  # the number, by result
    for i, equation in enumerate(equations):
        addends = [v for v in variables(equation.invars) if v in sums and uses[v] == 1]
        operation = _single(equation, constants)
        if (joined := _joined(operation, [operations[sums[v]] for v in addends])) is not None:
            operation = joined
            for v in addends:
                del operations[sums[v]]
        if operation.kind == "sum":
            sums[operation.results[0]] = i
        operations[i] = operation
    return [replace(each, stopped=stopped.intersection(each.operands + each.constants)) for each in operations.values()]


def _single(equation: JaxprEqn, constants: Collection[Var]) -> Operation:
    """Makes an operation of one equation."""
    read = dict.fromkeys(variables(equation.invars))
    operands, fixed = tuple(v for v in read if v not in constants), tuple(v for v in read if v in constants)
    return Operation(_kind(equation, operands, fixed), (equation,), operands, fixed, tuple(equation.outvars))


def _kind(equation: JaxprEqn, operands: Sequence[Var], constants: Sequence[Var]) -> str:
    """Returns the kind of an equation by itself."""
    if equation.primitive.name != "dot_general":
        return "saved" if equation.primitive.name in DEAR else "recomputed"
    if len(constants) != 1 or not is_floating(constants[0].aval):
        return "saved"
    return "sum" if operands[0].aval.size <= LARGEST_OPERAND * constants[0].aval.size else "recomputed"


def _joined(addition: Operation, sums: list[Operation]) -> Operation | None:
    """Makes one sum of an addition and of the sums that it adds; None where it is no addition, or where a variable would occur twice."""
    equation = addition.equations[0]
    same_type = len({(atom.aval.shape, atom.aval.dtype) for atom in equation.invars}) == 1
    if equation.primitive.name not in ("add", "add_any") or not same_type or not sums:
        return None
    results = {v for term in sums for v in term.results}
    operands = [v for term in sums for v in term.operands] + [v for v in addition.operands if v not in results]
    constants = [v for term in sums for v in term.constants] + list(addition.constants)
    if len({*operands, *constants}) < len(operands) + len(constants):
        return None
    equations = *(e for term in sums for e in term.equations), equation
    return Operation("sum", equations, tuple(operands), tuple(constants), addition.results)


def run(equation: JaxprEqn, environment: dict) -> None:
    """Evaluates an equation and adds its results to `environment`, which maps variables to values."""
    environment |= zip(equation.outvars, bind(equation, [read(environment, atom) for atom in equation.invars]), strict=True)


def bind(equation: JaxprEqn, operands: list) -> list:
    """Applies an equation's primitive to these operands; returns the list of its results."""
    results = equation.primitive.bind(*operands, **equation.primitive.get_bind_params(equation.params))
    return results if equation.primitive.multiple_results else [results]


def read(environment: dict, atom: Var | Literal):
    """Looks up the value of a variable; a literal is its own."""
    return atom.val if isinstance(atom, Literal) else environment[atom]


def variables(atoms: Sequence[Var | Literal]) -> list[Var]:
    """Lists the variables among `atoms`; literals are dropped."""
    return [atom for atom in atoms if isinstance(atom, Var)]


def is_floating(x: Any) -> bool:
    """Returns whether an array, or a type of arrays, can have a gradient."""
    return jnp.issubdtype(x.dtype, jnp.inexact)


def is_narrowing(equation: JaxprEqn) -> bool:
    """Returns whether an equation casts floating-point numbers to fewer bits."""
    if equation.primitive.name != "convert_element_type":
        return False
    given, made = equation.invars[0].aval, equation.outvars[0].aval
    return is_floating(given) and is_floating(made) and made.dtype.itemsize < given.dtype.itemsize


def is_rows(dot: JaxprEqn, a: Var, weight: Var) -> bool:
    """Returns whether a product is a_…xI W_IxO."""
    return dot.invars == [a, weight] and dot.params["dimension_numbers"] == (((a.aval.ndim - 1,), (0,)), ((), ())) and weight.aval.ndim == 2


def is_view(operation: Operation) -> bool:
    """Returns whether an operation reshapes, slices or casts a loop variable, which is cheap to recompute."""
    return operation.equations[0].primitive.name in VIEWS and not operation.constants
