"""What a linear function reads from a vector: a probe for the symbol at every position, and a control task beside it.

    p(y_t = c | v) = softmax(W_t u + b_t)_c        u = v, each number less its mean, over its standard deviation, on the strings fitted

W_t, b_t minimise Σ_n −log p(y_t = y_nt) + ½ λ |W_t|², λ = 1, as scikit-learn does by default. This is convex. ½ UᵀU + λ bounds its second
derivative for every class (Böhning 1992), so that steps through the inverse of that bound need no step size; they are taken with
Nesterov's momentum.

A probe that is strong enough learns a task by itself, whatever the vector holds. A control task (Hewitt & Liang 2019) has labels without a
rule, drawn once for each type, so that a probe can only memorise them. There a type is a word and its property something else. Here the
property is the symbol itself: a random label of the symbol would be the symbol under another name, and as easy. So the type is the pair of
the symbol and of the one behind it, the first one being behind the last:

    label_t = table_t[x_t, x_t+1]        every entry drawn evenly from the classes

Pairs of held-out strings have been met, V² of them at each position. A probe that knows x_t and no more gets the commonest label of a row
right; to do better it has to memorise the table. Selectivity is accuracy − accuracy on the control task.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Key

PENALTY, STEPS = 1.0, 200
LEAST = 1e-6
"""A standard deviation below this one counts as this: a number that never changes says nothing."""


class Probe(NamedTuple):
    """A fitted probe; the last column of a weight is the bias."""

    mean_D: Array
    deviation_D: Array
    weight_TxVxU: Array  # U = D + 1


def fit(vector_NxD: Array, label_NxT: Array, classes: int, penalty: float = PENALTY, steps: int = STEPS) -> Probe:
    """Fits a probe for every position to N vectors and their labels, 0 … classes − 1."""
    vector_NxD = jnp.asarray(vector_NxD)
    mean_D, deviation_D = vector_NxD.mean(0), jnp.maximum(vector_NxD.std(0), LEAST)
    input_UxN = inputs(vector_NxD, mean_D, deviation_D)
    U, dtype = input_UxN.shape[0], input_UxN.dtype
    penalty_U = jnp.full(U, penalty, dtype).at[-1].set(0)
    bound_UxU = input_UxN @ input_UxN.T / 2 + jnp.diag(penalty_U)
    inverse_UxU = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(bound_UxU), jnp.eye(U, dtype=dtype))
    goal_TxVxN = jax.nn.one_hot(jnp.asarray(label_NxT).T, classes, dtype=dtype, axis=1)

    def step(i, loop):
        weight_TxVxU, before_TxVxU = loop
        momentum = i.astype(dtype) / (i.astype(dtype) + 3)
        ahead_TxVxU = weight_TxVxU + momentum * (weight_TxVxU - before_TxVxU)
        off_TxVxN = goal_TxVxN - jax.nn.softmax(ahead_TxVxU @ input_UxN, axis=1)
        down_TxVxU = off_TxVxN @ input_UxN.T - penalty_U[None, None] * ahead_TxVxU
        return ahead_TxVxU + down_TxVxU @ inverse_UxU, weight_TxVxU

    zeros_TxVxU = jnp.zeros((*goal_TxVxN.shape[:2], U), dtype)
    return Probe(mean_D, deviation_D, jax.lax.fori_loop(0, steps, step, (zeros_TxVxU, zeros_TxVxU))[0])


def inputs(vector_NxD: Array, mean_D: Array, deviation_D: Array):
    """Returns vectors as a probe reads them, a column each: in standard units, and a one behind them."""
    units_NxD = (jnp.asarray(vector_NxD) - mean_D[None, :]) / deviation_D[None, :]
    return jnp.concatenate([units_NxD, jnp.ones((units_NxD.shape[0], 1), units_NxD.dtype)], axis=1).T


def read(probe: Probe, vector_NxD: Array):
    """Returns the likeliest label at every position, label_NxT."""
    return (probe.weight_TxVxU @ inputs(vector_NxD, probe.mean_D, probe.deviation_D)).argmax(1).T


@cites("hewitt2019")
def control(key: Key, symbol_NxT: Array, classes: int):
    """Returns the labels of the control task, drawn from `key` for each position and pair of symbols, 0 … classes − 1: label_NxT."""
    symbol_NxT = jnp.asarray(symbol_NxT)
    T = symbol_NxT.shape[1]
    table_TxVxV = jax.random.randint(key, (T, classes, classes), 0, classes, jnp.int32)
    return table_TxVxV[jnp.arange(T, dtype=jnp.int32)[None, :], symbol_NxT, jnp.roll(symbol_NxT, -1, axis=1)]
