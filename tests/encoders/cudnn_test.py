"""The path through cuDNN against our loop: on a GPU the real one, elsewhere with JAX's reference of cuDNN's LSTM in its place."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from attention_jax import encoders, recurrence
from attention_jax.config import ModelConfig
from attention_jax.encoders import cells, cudnn, recurrent
from attention_jax.types import ConfigError

B, T, E, H = 4, 6, 3, 5
LENGTHS = jnp.array([6, 4, 1, 0])
MASK = jnp.arange(T)[None, :] < LENGTHS[:, None]
HOLES = jnp.array([[1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 1], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]]) > 0


def reference(x, h, c, weights, lengths, input_size, hidden_size, layers, dropout, bidirectional, precision):
    unpacked = rnn.unpack_lstm_weights(weights, input_size, hidden_size, layers, bidirectional)
    return rnn.lstm_ref(x, h, c, *unpacked, lengths, input_size, hidden_size, layers, dropout, bidirectional)


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.fixture(autouse=True)
def on_any_machine(monkeypatch):
    if jax.default_backend() != "gpu":
        monkeypatch.setattr(rnn, "lstm", reference)


@pytest.mark.parametrize("mask_BxT", [MASK, HOLES], ids=["padding behind", "padding anywhere"])
@pytest.mark.parametrize("reverse", [False, True])
def test_values_and_gradients_are_those_of_our_loop(reverse, mask_BxT, evidence):
    cell = cells.lstm(E, H)
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: 0.5 * random(*leaf.shape, seed=leaf.size), shapes)

    def both(run):
        def function(params, inputs_BxTxE):
            outputs, backward = jax.vjp(lambda *x: run(cell, *x, mask_BxT, reverse), params, inputs_BxTxE)
            return outputs, backward(jax.tree.map(lambda x: random(*x.shape, seed=7), outputs))

        return jax.jit(function)(params, random(B, T, E, seed=1))

    (ours, d_ours), (theirs, d_theirs) = both(recurrence.run), both(cudnn.run)
    evidence("cell=lstm", "jax.experimental.rnn: reference of cuDNN's LSTM, outputs", ours[0], theirs[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), (ours, d_ours), (theirs, d_theirs))
    assert not theirs[0][3].any() and not theirs[1][3].any(), "a row of length 0"


def test_ones_and_zeros_are_no_mask():
    cell = cells.lstm(E, H)
    with pytest.raises(ConfigError, match=r"a mask is of bools.*give mask != 0"):
        cudnn.run(cell, cell.init(jax.random.key(0)), random(B, T, E), MASK.astype(jnp.int32))


def test_an_encoder_by_either_loop_is_the_same(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    config = ModelConfig(cell="lstm", hidden_size=H, direction="both", layers=2)
    scanned, called = (recurrent.recurrent(dataclasses.replace(config, loop=loop), E) for loop in ("scan", "cudnn"))
    params, inputs_BxSxE = scanned.init(jax.random.key(0)), random(B, T, E)
    memories = [encoder.apply(params, inputs_BxSxE, MASK) for encoder in (scanned, called)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *memories)


@pytest.mark.parametrize("change", [{"cell": "gru"}, {"transition": 2}])
def test_what_cudnn_lacks_is_refused(change, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(ConfigError, match=r"model\.cell=lstm alone"):
        encoders.build(dataclasses.replace(ModelConfig(cell="lstm", loop="cudnn"), **change), E)


@pytest.mark.parametrize("encoder", ["pyramidal", "gnmt"])
def test_other_encoders_refuse_it(encoder):
    with pytest.raises(ConfigError, match=r"is for model\.encoder=recurrent"):
        encoders.build(ModelConfig(cell="lstm", loop="cudnn", encoder=encoder, layers=2), E)


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="a GPU is here")
def test_no_gpu_is_refused():
    with pytest.raises(ConfigError, match="needs an NVIDIA GPU"):
        encoders.build(ModelConfig(cell="lstm", loop="cudnn"), E)
