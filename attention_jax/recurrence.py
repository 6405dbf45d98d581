"""A cell scanned over time: the loop under every encoder.

    carry_t = step(carry_{t-1}, projected_t)   where mask_t, else carry_{t-1}

`scan` is the plain loop; the other two compute the same values and gradients faster.

`deferred`: the transpose of `lax.scan` adds every weight's gradient inside the loop, T small products a_tᵀ g_t; here the
loop sees the weights as constants, returns each product's input a_t and the gradient g_t of its result, and one large
product after it gives ∂W = Σ_t a_tᵀ g_t. It holds for any cell whose recurrent products all go through `dot`.

`linear`: a cell with `gates` is h_t = a_t ∘ h_{t-1} + b_t where a_t and b_t do not depend on h. Such steps compose to
such a step, (a, b) then (a', b') being (a' a, a' b + b'), and composition is associative: a tree of ⌈log₂ T⌉ levels takes
the place of T steps (Martin & Cundy 2018, arXiv:1709.04057).
"""

from functools import partial

import jax
import jax.numpy as jnp

from attention_jax.types import Cell


def affine(parameters: dict, inputs):
    """y = x W + b, for inputs of any rank."""
    outputs = inputs @ parameters["weight"]
    return outputs + jnp.broadcast_to(parameters["bias"], outputs.shape)


def run(cell: Cell, params: dict, inputs_BxTxI, mask_BxT, reverse: bool = False):
    """(h_BxTxH, last carry_BxF). Outputs are zero where the mask is False, and the carry does not move there, so padding
    changes nothing: a row of length 0 ends with the zero carry. `reverse` reads from the last position to the first."""
    projected_TxBxP = jnp.swapaxes(cell.project(params["input"], inputs_BxTxI), 0, 1)
    mask_TxBx1 = mask_BxT.T[:, :, None]
    carry_BxF = jnp.zeros((inputs_BxTxI.shape[0], cell.carry_size), projected_TxBxP.dtype)
    loop = linear if cell.gates else deferred
    last_BxF, h_TxBxH = loop(cell, reverse, params["recurrent"], carry_BxF, (projected_TxBxP, mask_TxBx1))
    return jnp.swapaxes(h_TxBxH, 0, 1), last_BxF


def _body(cell: Cell, dot, carry_BxF, projected_BxP, mask_Bx1):
    carry_BxF = jnp.where(mask_Bx1, cell.step(dot, carry_BxF, projected_BxP), carry_BxF)
    return carry_BxF, jnp.where(mask_Bx1, carry_BxF[:, : cell.hidden_size], 0)


def scan(cell: Cell, reverse: bool, recurrent: dict, carry_BxF, inputs):
    """The loop as one would write it; `inputs` = (projected_TxBxP, mask_TxBx1). Returns (last carry_BxF, h_TxBxH)."""

    def body(carry_BxF, inputs):
        return _body(cell, lambda name, a_BxI: affine(recurrent[name], a_BxI), carry_BxF, *inputs)

    return jax.lax.scan(body, carry_BxF, inputs, reverse=reverse)


def linear(cell: Cell, reverse: bool, recurrent: dict, carry_BxF, inputs):
    """`scan` of a cell with `gates`, without the loop: carry_t = (Π a) carry_0 + b, composed in a tree. A masked step is a = 1, b = 0."""
    projected_TxBxP, mask_TxBx1 = inputs
    a_TxBxF, b_TxBxF = cell.gates(lambda name, a_xI: affine(recurrent[name], a_xI), projected_TxBxP)
    steps = jnp.where(mask_TxBx1, a_TxBxF, 1), jnp.where(mask_TxBx1, b_TxBxF, 0)
    a_TxBxF, b_TxBxF = jax.lax.associative_scan(_then, steps, reverse=reverse)
    carry_TxBxF = a_TxBxF * carry_BxF[None] + b_TxBxF
    return carry_TxBxF[0 if reverse else -1], jnp.where(mask_TxBx1, carry_TxBxF[:, :, : cell.hidden_size], 0)


def _then(first, second):
    return second[0] * first[0], second[0] * first[1] + second[1]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def deferred(cell: Cell, reverse: bool, recurrent: dict, carry_BxF, inputs):
    """`scan`, with the gradients of the recurrent weights formed after the loop."""
    return scan(cell, reverse, recurrent, carry_BxF, inputs)


def _deferred_forward(cell, reverse, recurrent, carry_BxF, inputs):
    projected_TxBxP, mask_TxBx1 = inputs
    shape_TxB = projected_TxBxP.shape[:2]
    zeros = {name: jnp.zeros((*shape_TxB, p["bias"].shape[0]), carry_BxF.dtype) for name, p in recurrent.items()}

    def loop(carry_BxF, projected_TxBxP, shifts):
        def body(carry_BxF, inputs):
            projected_BxP, mask_Bx1, shift = inputs
            operands = {}

            def dot(name, a_BxI):
                operands[name] = a_BxI
                return affine(recurrent[name], a_BxI) + shift[name]

            carry_BxF, h_BxH = _body(cell, dot, carry_BxF, projected_BxP, mask_Bx1)
            return carry_BxF, (h_BxH, operands)

        last_BxF, (h_TxBxH, operands) = jax.lax.scan(body, carry_BxF, (projected_TxBxP, mask_TxBx1, shifts), reverse=reverse)
        return (last_BxF, h_TxBxH), operands

    outputs, backward, operands = jax.vjp(loop, carry_BxF, projected_TxBxP, zeros, has_aux=True)
    return outputs, (backward, operands)


def _deferred_backward(cell, reverse, residuals, gradients):
    backward, operands = residuals
    d_carry_BxF, d_projected_TxBxP, d_shifts = backward(gradients)
    d_recurrent = {
        name: {"weight": jnp.einsum("tbi,tbo->io", operands[name], shift), "bias": shift.sum((0, 1))} for name, shift in d_shifts.items()
    }
    return d_recurrent, d_carry_BxF, (d_projected_TxBxP, None)


deferred.defvjp(_deferred_forward, _deferred_backward)
