"""Precision of float32 products: one setting, `training.precision`, for every product of a model and of its gradients.

    highest   in float32
    tf32      operands rounded to 10 binary digits behind the point, as NVIDIA's TensorFloat-32; sums in float32
    bf16      operands rounded to 7, as bfloat16; sums, parameters and all else in float32

An accelerator does so within its products; a TPU takes three bfloat16 products for a tf32 one. A CPU multiplies in float32 alone: there
`rounded` rounds the operands of each product beforehand, so that the numbers are those of the setting there too, at a cost.
"""

from collections.abc import Callable
from functools import wraps

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr  # pyright: ignore[reportPrivateImportUsage] - JAX 0.12 does not say that it exports it

from attention_jax.layers.loop_body import bind, read

DIGITS = {"tf32": 10, "bf16": 7}
"""Binary digits behind the point that operands keep."""

NAMES = {"highest": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}
"""JAX's names, on all accelerators but for what `ON_GPU` says."""

ON_GPU = {"bf16": "BF16_BF16_F32"}
"""There JAX's "bfloat16" is the hardware's default, which is TF32."""

CALLS = ("jit", "pjit", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2", "closed_call", "core_call")
"""Operations that do no more than what the body in their parameters does."""


def applied(function: Callable, precision: str) -> Callable:
    """Wraps `function` of pytrees of arrays: its products, and those of gradients that it takes, are in this precision."""
    if jax.default_backend() == "cpu":
        return function if precision == "highest" else rounded(function, DIGITS[precision])

    @wraps(function)
    def made(*arguments):
        with jax.default_matmul_precision(named(precision)):
            return function(*arguments)

    return made


def named(precision: str) -> str:
    """Returns JAX's name of a precision on this accelerator."""
    return ON_GPU.get(precision, NAMES[precision]) if jax.default_backend() == "gpu" else NAMES[precision]


def current() -> str:
    """Returns the precision of products that name none: `jax.default_matmul_precision` where it is set, else the backend's."""
    asked = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]  # flags are made as JAX starts
    found = [precision for precision in NAMES if asked == named(precision)]
    return found[0] if found else "highest" if jax.default_backend() == "cpu" else "tf32"


def rounded(function: Callable, digits: int) -> Callable:
    """Wraps `function`: operands of its float32 products are rounded to so many binary digits behind the point, ties to even.

    The result can be compiled and vectorised, not differentiated: take gradients inside of it.
    """

    @wraps(function)
    def made(*arguments):
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _evaluated(traced, jax.tree.leaves(arguments), digits)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return made


def _evaluated(closed: ClosedJaxpr, arguments: list, digits: int) -> list:
    """Evaluates a function's operations in order, operands of products rounded."""
    jaxpr = closed.jaxpr
    environment = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *arguments), strict=True))
    for equation in jaxpr.eqns:
        operands = [read(environment, atom) for atom in equation.invars]
        if equation.primitive.name in CALLS:
            body = next(value for value in equation.params.values() if hasattr(value, "eqns"))
            body = body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(body, ())
            results = _evaluated(body, operands, digits)
        elif equation.primitive.name == "dot_general":
            results = bind(equation, [_round(x, digits) for x in operands])
        else:
            results = bind(equation.replace(params={name: _rewritten(value, digits) for name, value in equation.params.items()}), operands)
        environment |= zip(equation.outvars, results, strict=True)
    return [read(environment, atom) for atom in jaxpr.outvars]


def _rewritten(parameter, digits: int):
    """Rounds the products in a loop's body or in branches; returns any other parameter as it is."""
    if isinstance(parameter, tuple) and parameter and all(isinstance(part, ClosedJaxpr) for part in parameter):
        return tuple(_rewritten(part, digits) for part in parameter)
    if not isinstance(parameter, ClosedJaxpr):
        return parameter
    return jax.make_jaxpr(lambda *arguments: _evaluated(parameter, list(arguments), digits))(*parameter.in_avals)


def _round(x: jax.Array, digits: int) -> jax.Array:
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=digits) if x.dtype == jnp.float32 else x
