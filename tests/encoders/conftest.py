"""A stand-in for cuDNN where there is no GPU: its two operations, of JAX's own names and shapes, computed by JAX's reference of them.

Everything above them is the real thing: `jax.experimental.rnn`, and that JAX can neither vectorise nor differentiate these operations.
"""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import rnn
from jax.interpreters import mlir

SPACE = 7
"""Numbers in what cuDNN keeps for its backward pass: nobody may count on how many."""


class Sizes:
    """The part of JAX's GPU library that says how much cuDNN needs: numbers to work with, numbers to keep."""

    @staticmethod
    def compute_rnn_workspace_reserve_space_sizes(*_):
        return 0, SPACE


def reference(lengths_B, sizes: dict, x_BxTxI, h_1xBxH, c_1xBxH, weights_W):
    """(y, h_n, c_n) of JAX's reference."""
    layout = sizes["input_size"], sizes["hidden_size"], sizes["num_layers"], sizes["bidirectional"]
    unpacked = rnn.unpack_lstm_weights(weights_W, *layout)
    return rnn.lstm_ref(x_BxTxI, h_1xBxH, c_1xBxH, *unpacked, lengths_B, *layout[:3], sizes["dropout"], sizes["bidirectional"])


def forward(x_BxTxI, h_1xBxH, c_1xBxH, weights_W, lengths_B, cudnn_allow_tf32: bool, **sizes):
    """rnn_fwd: the results, and what is kept."""
    return *reference(lengths_B, sizes, x_BxTxI, h_1xBxH, c_1xBxH, weights_W), jnp.full(SPACE, x_BxTxI.sum())


def backward(*arguments, cudnn_allow_tf32: bool, **sizes):
    """rnn_bwd: gradients of inputs, first states and weights. NaN, unless it gets what `forward` kept of the same inputs."""
    *gradients, x_BxTxI, h_1xBxH, c_1xBxH, weights_W, y_BxTxH, kept, lengths_B = arguments
    of = x_BxTxI, h_1xBxH, c_1xBxH, weights_W
    results, pull = jax.vjp(partial(reference, lengths_B, sizes), *of)
    consistent = jnp.allclose(kept, x_BxTxI.sum(), atol=1e-3) & jnp.allclose(y_BxTxH, results[0], atol=1e-4)
    return jax.tree.map(lambda d: jnp.where(consistent, d, jnp.nan), pull(tuple(gradients)))


@pytest.fixture(scope="session")
def _operations():
    if jax.default_backend() != "gpu":
        mlir.register_lowering(rnn.rnn_fwd_p, mlir.lower_fun(forward), platform="cpu")
        mlir.register_lowering(rnn.rnn_bwd_p, mlir.lower_fun(backward), platform="cpu")


@pytest.fixture
def cudnn_anywhere(_operations, monkeypatch):
    """On a GPU nothing; elsewhere JAX says that it runs on one, and cuDNN's operations are the stand-in's."""
    if jax.default_backend() != "gpu":
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        monkeypatch.setattr(rnn, "gpu_rnn", Sizes)
