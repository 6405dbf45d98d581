"""A cell scanned over time: the loop under every encoder.

    carry_t = step(carry_{t-1}, projected_t)   where mask_t, else carry_{t-1}

`scan` is the plain loop. `deferred` computes the same values and gradients faster: the transpose of `lax.scan`
adds every weight's gradient inside the loop, T small products a_tᵀ g_t; here the loop sees the weights as constants,
returns each product's input a_t and the gradient g_t of its result, and one large product after it gives
∂W = Σ_t a_tᵀ g_t. It holds for any cell whose recurrent products all go through `dot`.
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
    last_BxF, h_TxBxH = deferred(cell, reverse, params["recurrent"], carry_BxF, (projected_TxBxP, mask_TxBx1))
    return jnp.swapaxes(h_TxBxH, 0, 1), last_BxF


def _body(cell: Cell, dot, carry_BxF, projected_BxP, mask_Bx1):
    carry_BxF = jnp.where(mask_Bx1, cell.step(dot, carry_BxF, projected_BxP), carry_BxF)
    return carry_BxF, jnp.where(mask_Bx1, carry_BxF[:, : cell.hidden_size], 0)


def scan(cell: Cell, reverse: bool, recurrent: dict, carry_BxF, inputs):
    """The loop as one would write it; `inputs` = (projected_TxBxP, mask_TxBx1). Returns (last carry_BxF, h_TxBxH)."""

    def body(carry_BxF, inputs):
        return _body(cell, lambda name, a_BxI: affine(recurrent[name], a_BxI), carry_BxF, *inputs)

    return jax.lax.scan(body, carry_BxF, inputs, reverse=reverse)


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
