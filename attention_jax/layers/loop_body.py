"""A loop's body, read from its jaxpr and sorted into what `deferred.scan` does with each part of it.

outside   what depends on no t, on weights and other constants alone: done once, before the loop
sum       Σ_k a_kt W_k + …, products with weights from outside and what is added to them, each of these once
kept      what is dear and small, as attention scores
cheap     all else, gates and normalisers

A sum's rule for gradients is simple because no variable occurs in it twice: what would be added a second time, or in a second role,
is added outside of the sum, where JAX's own rules hold.
"""

# pyright: reportAttributeAccessIssue=false
# JAX types a variable's `aval` as AbstractValue, which has neither shape nor dtype; those of a loop's body have both.

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var  # pyright: ignore[reportPrivateImportUsage] - JAX 0.12 does not say that it exports it

from attention_jax.types.signatures import Array

LARGEST_OPERAND = 64
"""A product is deferred if its operand has at most so many numbers for each one of W: T operands must not fill the memory."""
VIEWS = frozenset({"slice", "reshape", "squeeze", "concatenate", "transpose", "broadcast_in_dim", "convert_element_type"})
"""Operands that are only views of carry and input are made again after the loop."""
DEAR = frozenset({"dot_general", "custom_vjp_call", "scan", "sort", "top_k"})


@dataclass(frozen=True, eq=False)
class Operation:
    """Operations of the body that are done as one: one equation, or the dots and additions of a sum."""

    kind: str  # sum, kept, cheap
    equations: tuple[JaxprEqn, ...]
    operands: tuple[Var, ...]  # those that change with t first
    outside: tuple[Var, ...]
    results: tuple[Var, ...]
    still: frozenset[Var] = frozenset()  # operands that no gradient passes through

    def __call__(self, *operands: Array) -> tuple:
        """The results, from the values of `operands` and `outside`."""
        environment = dict(zip((*self.operands, *self.outside), operands, strict=True))
        for equation in self.equations:
            run(equation, environment)
        return tuple(environment[v] for v in self.results)

    def products(self) -> list[tuple[JaxprEqn, Var, Var]]:
        """(a dot of a sum, its operand a_t, its weight W)."""
        dots = [e for e in self.equations if self.kind == "sum" and e.primitive.name == "dot_general"]
        pairs: Any = [sorted(e.invars, key=lambda v: v in self.outside) for e in dots]
        return [(e, a, weight) for e, (a, weight) in zip(dots, pairs, strict=True)]

    def turned(self, weights: set[Var]) -> "Operation":
        """The same of these weights' transposes: a_…xI · (Wᵀ)_OxI, summed over I. Its transpose multiplies by rows: g_…xO · (Wᵀ)_OxI."""
        dots = {e: (((a.aval.ndim - 1,), (1,)), ((), ())) for e, a, weight in self.products() if weight in weights}
        turned = [e.replace(params=e.params | {"dimension_numbers": dots[e]}) if e in dots else e for e in self.equations]
        return replace(self, equations=tuple(turned))

    def biases(self) -> list[Var]:
        """What a sum adds from outside."""
        weights = {weight for _, _, weight in self.products()}
        return [v for v in self.outside if v not in weights] if self.kind == "sum" else []


@dataclass(frozen=True, eq=False)
class Step:
    """A sorted body: its operations in order, where its arguments come in and where its results stand."""

    operations: tuple[Operation, ...]
    constants: tuple[Var, ...]
    carries: tuple[Var, ...]
    inputs: tuple[Var, ...]
    lasts: tuple  # of variables and literals
    outputs: tuple
    views: frozenset[Var]  # of carries and inputs
    still: frozenset[Var]  # constants that no gradient passes through

    def sums(self) -> list[Operation]:
        """In order."""
        return [operation for operation in self.operations if operation.kind == "sum"]

    def saved(self) -> list[Var]:
        """The operands of products that have to be kept for the weights' gradients."""
        operands = dict.fromkeys(a for operation in self.sums() for _, a, _ in operation.products())
        return [a for a in operands if a not in self.views]

    def added(self) -> dict[Var, Operation]:
        """The inputs that are added to a sum and used nowhere else, with that sum: its gradient is theirs."""
        uses = [v for operation in self.operations for v in operation.operands] + [*self.lasts, *self.outputs]
        found = {v: operation for operation in self.sums() for v in operation.operands if v in self.inputs and uses.count(v) == 1}
        return {v: operation for v, operation in found.items() if v not in [a for _, a, _ in operation.products()]}

    def turning(self) -> set[Var]:
        """The weights that are used as a_…xI W_IxO in sums, and nowhere else."""
        products = [product for operation in self.sums() for product in operation.products()]
        biases = {v for operation in self.sums() for v in operation.biases()}
        other = {weight for dot, a, weight in products if not is_rows(dot, a, weight)} | self.inner() | biases
        return {weight for _, _, weight in products} - other

    def turned(self) -> "Step":
        """The same for the transposes of its `turning` weights."""
        turning = self.turning()
        return replace(self, operations=tuple(operation.turned(turning) for operation in self.operations))

    def inner(self) -> set[Var]:
        """The constants that are used other than in sums: these get gradients inside the loop."""
        elsewhere = {v for operation in self.operations if operation.kind != "sum" for v in operation.outside}
        return (elsewhere | {*variables((*self.lasts, *self.outputs))}) & {*self.constants} - self.still


def sort(traced: ClosedJaxpr, carries: int) -> tuple[Step, list]:
    """(the sorted body, the values of its constants), from its jaxpr and the number of carries among its arguments.

    A constant of the body that is another one in fewer bits comes as that one: whoever runs the body makes it narrow again.
    """
    types = [v.aval for v in traced.jaxpr.invars]
    flat = jax.make_jaxpr(lambda consts, arguments: _inlined(traced.jaxpr, consts, arguments))(traced.consts, types)
    jaxpr, known = flat.jaxpr, len(traced.consts)
    environment = dict(zip((*jaxpr.constvars, *jaxpr.invars[:known]), (*flat.consts, *traced.consts), strict=True))
    inside, wide = [], {}
    for equation in jaxpr.eqns:
        if equation.effects or any(v not in environment for v in variables(equation.invars)):
            inside.append(equation)
        else:
            run(equation, environment)
            if is_narrowing(equation):
                wide[equation.outvars[0]] = read(environment, equation.invars[0])
    ends = tuple(jaxpr.outvars[:carries]), tuple(jaxpr.outvars[carries:])
    still = _still(jaxpr.eqns)
    operations = _operations(inside, environment, variables(jaxpr.outvars), still)
    used = [v for operation in operations for v in operation.outside] + variables(jaxpr.outvars)
    constants = tuple(dict.fromkeys(v for v in used if v in environment))
    arguments = jaxpr.invars[known:]
    views = set(arguments)
    for operation in operations:
        if is_view(operation) and views.issuperset(operation.operands):
            views.update(operation.results)
    arguments = tuple(arguments[:carries]), tuple(arguments[carries:])
    step = Step(tuple(operations), constants, *arguments, *ends, frozenset(views), still)
    return step, [wide.get(v, environment[v]) for v in constants]


def _still(equations: list[JaxprEqn]) -> frozenset[Var]:
    """Results that no gradient passes through: of `stop_gradient`, and of whatever reads nothing but such and numbers without gradients."""
    still: set[Var] = set()
    for equation in equations:
        if equation.primitive.name == "stop_gradient" or all(v in still or not is_floating(v.aval) for v in variables(equation.invars)):
            still.update(equation.outvars)
    return frozenset(still)


def _operations(equations: list[JaxprEqn], known, ends: list[Var], still: frozenset[Var]) -> list[Operation]:
    """The equations as operations; a product and what is added to it are one, where nothing else uses the parts, and none occurs twice."""
    uses = [v for equation in equations for v in variables(equation.invars)] + ends
    operations: dict[Var | int, Operation] = {}  # by result, in order
    for i, equation in enumerate(equations):
        arguments = variables(equation.invars)
        moving, fixed = [v for v in arguments if v not in known], [v for v in arguments if v in known]
        kind, parts = "kept" if equation.primitive.name in DEAR else "cheap", [equation]
        if equation.primitive.name == "dot_general" and len(fixed) == 1 and is_floating(fixed[0].aval):
            kind = "sum" if moving[0].aval.size <= LARGEST_OPERAND * fixed[0].aval.size else "cheap"
        elif equation.primitive.name in ("add", "add_any") and len({(atom.aval.shape, atom.aval.dtype) for atom in equation.invars}) == 1:
            sums = [v for v in moving if v in operations and operations[v].kind == "sum" and uses.count(v) == 1]
            terms = [operations[v] for v in sums]
            all_moving = [v for term in terms for v in term.operands] + [v for v in moving if v not in sums]
            all_fixed = [v for term in terms for v in term.outside] + fixed
            if terms and len({*all_moving, *all_fixed}) == len(all_moving) + len(all_fixed):
                kind, moving, fixed = "sum", all_moving, all_fixed
                parts = [e for v in sums for e in operations.pop(v).equations] + parts
        operands, outside = tuple(dict.fromkeys(moving)), tuple(dict.fromkeys(fixed))
        made = Operation(kind, tuple(parts), operands, outside, tuple(equation.outvars), still.intersection(operands + outside))
        operations[equation.outvars[0] if kind == "sum" else i] = made
    return list(operations.values())


def _inlined(jaxpr, consts, arguments) -> list:
    """The jaxpr's results, the jitted functions that it calls dissolved into it."""
    environment = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("jit", "pjit"):
            called, values = equation.params["jaxpr"], [read(environment, atom) for atom in equation.invars]
            environment |= zip(equation.outvars, _inlined(called.jaxpr, called.consts, values), strict=True)
        else:
            run(equation, environment)
    return [read(environment, atom) for atom in jaxpr.outvars]


def run(equation: JaxprEqn, environment: dict) -> None:
    """Adds the equation's results to the environment."""
    environment |= zip(equation.outvars, bind(equation, [read(environment, atom) for atom in equation.invars]), strict=True)


def bind(equation: JaxprEqn, operands: list) -> list:
    """The equation's results, of these operands."""
    results = equation.primitive.bind(*operands, **equation.primitive.get_bind_params(equation.params))
    return results if equation.primitive.multiple_results else [results]


def read(environment: dict, atom: Var | Literal):
    """The value of a variable or a literal."""
    return atom.val if isinstance(atom, Literal) else environment[atom]


def variables(atoms: Sequence[Var | Literal]) -> list[Var]:
    """Those that are no literals."""
    return [atom for atom in atoms if isinstance(atom, Var)]


def is_floating(x: Any) -> bool:
    """Whether an array, or the type of one, can have a gradient."""
    return jnp.issubdtype(x.dtype, jnp.inexact)


def is_narrowing(equation: JaxprEqn) -> bool:
    """Whether it is a cast of floating-point numbers to fewer bits."""
    if equation.primitive.name != "convert_element_type":
        return False
    given, made = equation.invars[0].aval, equation.outvars[0].aval
    return is_floating(given) and is_floating(made) and made.dtype.itemsize < given.dtype.itemsize


def is_rows(dot: JaxprEqn, a: Var, weight: Var) -> bool:
    """Whether a dot is a_…xI W_IxO."""
    return dot.invars == [a, weight] and dot.params["dimension_numbers"] == (((a.aval.ndim - 1,), (0,)), ((), ())) and weight.aval.ndim == 2


def is_view(operation: Operation) -> bool:
    """Whether it computes nothing, and needs nothing from outside."""
    return operation.equations[0].primitive.name in VIEWS and not operation.outside
