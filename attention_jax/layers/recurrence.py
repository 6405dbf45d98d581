"""A cell scanned over time: the loop under every encoder.

    carry_t = step(carry_{t-1}, projected_t)   where mask_t, else carry_{t-1}

`loop` is that loop as one would write it, over `deferred.scan`, whose backward pass forms the weights' gradients after it; with
`jax.lax.scan` in its place it computes the same. `run` gives it the inputs block by block: they are projected a block at a time, so
that what is four times as wide as the state never stands in memory for all of time.

`linear`: a cell with `gates` is h_t = a_t ∘ h_{t-1} + b_t where a_t and b_t do not depend on h. Such steps compose to
such a step, (a, b) then (a', b') being (a' a, a' b + b'), and composition is associative: a tree of ⌈log₂ T⌉ levels takes
the place of T steps (Martin & Cundy 2018, arXiv:1709.04057).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from attention_jax.layers import deferred, masks
from attention_jax.system import machine
from attention_jax.types import Cell
from attention_jax.types.signatures import Array

ROWS, MANY_ROWS, WIDE = 512, 2048, 1024
"""A block may have `ROWS` rows, positions of an example, however wide, and `MANY_ROWS` if they are wider than `WIDE` numbers: adding up
a weight's gradient has to be worth it, the more so once that does not stay in a cache either."""


def plain(cell: Cell, params: dict, inputs_BxTxI: Array, mask_BxT: Array, reverse: bool = False):
    """Runs a cell as `run` does, in the obvious way: all inputs projected at once, then `jax.lax.scan` with its own gradients."""
    inputs_TxBxI, mask_TxBx1, carry_BxF = _laid(cell, params, inputs_BxTxI, mask_BxT)
    projected_TxBxP = cell.project(params["input"], inputs_TxBxI)
    last_BxF, h_TxBxH = loop(cell, reverse, params["recurrent"], carry_BxF, (projected_TxBxP, mask_TxBx1), jax.lax.scan)
    return jnp.swapaxes(h_TxBxH, 0, 1), last_BxF


def run(cell: Cell, params: dict, inputs_BxTxI: Array, mask_BxT: Array, reverse: bool = False):
    """Runs a cell over time: (h_BxTxH, last carry_BxF). `reverse` reads from the last position to the first.

    Outputs are 0 where the mask is False, and the carry stays: padding changes nothing, whatever it holds and wherever it is. A row of
    length 0 ends with the zero carry.
    """
    inputs_TxBxI, mask_TxBx1, carry_BxF = _laid(cell, params, inputs_BxTxI, mask_BxT)
    T, B = mask_TxBx1.shape[:2]
    wide = jax.tree.map(lambda w: w.astype(jnp.promote_types(w.dtype, jnp.float32)), params)  # what gradients of blocks are added up in

    def part(carry_BxF, inputs):
        inputs_NxBxI, mask_NxBx1 = inputs
        own = jax.tree.map(lambda w, given: w.astype(given.dtype), wide, params)
        projected_NxBxP = cell.project(own["input"], inputs_NxBxI)
        if cell.gates:
            return linear(cell, reverse, own["recurrent"], carry_BxF, (projected_NxBxP, mask_NxBx1))
        return loop(cell, reverse, own["recurrent"], carry_BxF, (projected_NxBxP, mask_NxBx1))

    N = T if cell.gates else block(T, B, cell.projected_size)
    if N == T:
        last_BxF, h_TxBxH = part(carry_BxF, (inputs_TxBxI, mask_TxBx1))
    else:
        filled = [jnp.pad(x, ((0, -T % N), (0, 0), (0, 0))) for x in (inputs_TxBxI, mask_TxBx1)]  # masked, as any padding
        blocks = tuple(x.reshape(-1, N, *x.shape[1:]) for x in filled)
        last_BxF, h_blocks = jax.lax.scan(part, *deferred.varying_alike((carry_BxF, blocks)), reverse=reverse)
        h_TxBxH = h_blocks.reshape(-1, *h_blocks.shape[2:])[:T]
    return jnp.swapaxes(h_TxBxH, 0, 1), last_BxF


def _laid(cell: Cell, params: dict, inputs_BxTxI, mask_BxT):
    """Returns (inputs_TxBxI, zero in padding, mask_TxBx1, the first carry_BxF)."""
    inputs_TxBxI, mask_TxBx1 = jnp.swapaxes(inputs_BxTxI, 0, 1), masks.real(mask_BxT).T[:, :, None]
    inputs_TxBxI = jnp.where(mask_TxBx1, inputs_TxBxI, 0)  # a weight's gradient is a sum over all positions, and 0 times NaN is NaN
    dtype = jax.eval_shape(cell.project, params["input"], inputs_TxBxI).dtype
    return inputs_TxBxI, mask_TxBx1, jnp.zeros((mask_TxBx1.shape[1], cell.carry_size), dtype)


def block(T: int, B: int, P: int) -> int:
    """Returns how many of T positions a block has: at most as many as fit, and at least half of that.

    A divisor of T where one is in this range, else the number that leaves the least to fill up.
    """
    most = max(machine.block("projected"), (MANY_ROWS if P > WIDE else ROWS) * P) // max(B * P, 1)
    if most >= T:
        return T
    divisors = [N for N in range(most // 2 + 1, most + 1) if T % N == 0]
    return max(divisors, default=-(-T // -(-T // max(most, 1))))


def loop(cell: Cell, reverse: bool, recurrent: dict, carry_BxF: Array, inputs: tuple[Array, Array], scan: Callable = deferred.scan):
    """Scans a cell over `inputs` = (projected_TxBxP, mask_TxBx1): (last carry_BxF, h_TxBxH).

    An LSTM's h and c are carried as two arrays: compilers copy what is cut out of a carry and put together again.
    """
    cuts = list(range(cell.hidden_size, cell.carry_size, cell.hidden_size))

    def body(carries, inputs):
        projected_BxP, mask_Bx1 = inputs
        moved_BxF = cell.step(recurrent, jnp.concatenate(carries, axis=1), projected_BxP)
        carries = [jnp.where(mask_Bx1, new, old) for new, old in zip(jnp.split(moved_BxF, cuts, axis=1), carries, strict=True)]
        return carries, jnp.where(mask_Bx1, carries[0], 0)

    carries, h_TxBxH = scan(body, jnp.split(carry_BxF, cuts, axis=1), inputs, reverse=reverse)
    return jnp.concatenate(carries, axis=1), h_TxBxH


def linear(cell: Cell, reverse: bool, recurrent: dict, carry_BxF: Array, inputs: tuple[Array, Array]):
    """Runs a cell with `gates` as `loop` does, in a tree: carry_t = (Π a) carry_0 + b. A masked step has a = 1, b = 0."""
    projected_TxBxP, mask_TxBx1 = inputs
    a_TxBxF, b_TxBxF = cell.gates(recurrent, projected_TxBxP)  # pyright: ignore[reportOptionalCall]  # only cells with gates come here
    steps = jnp.where(mask_TxBx1, a_TxBxF, 1), jnp.where(mask_TxBx1, b_TxBxF, 0)
    a_TxBxF, b_TxBxF = jax.lax.associative_scan(_then, steps, reverse=reverse)
    carry_TxBxF = a_TxBxF * carry_BxF[None] + b_TxBxF
    return carry_TxBxF[0 if reverse else -1], jnp.where(mask_TxBx1, carry_TxBxF[:, :, : cell.hidden_size], 0)


def _then(first, second):
    return second[0] * first[0], second[0] * first[1] + second[1]
