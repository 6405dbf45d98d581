"""The benchmarks' encoder-decoder in plain PyTorch: every gradient and the loss of every sentence, in float64; that it trains."""

import numpy as np
import pytest

from attention_jax import training
from attention_jax.training import parallel
from benchmarks import peers
from benchmarks import training as benchmark
from tests.built import built

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-peers")

V, E, H, B, S = 12, 4, 6, 8, 5


@pytest.fixture(scope="module")
def case():
    """(config, state, batch), with weights as joeynmt can have them."""
    config, batch = benchmark.settings(V, E, H, B), benchmark.full_batch(V, B, S)
    state = training.init(*built(config), 0, benchmark.RATE)
    return config, state.replace(params=peers.without_extras(state.params)), batch


def test_it_does_equal_work(case):
    config, state, batch = case
    steps = benchmark.torch_step(state.params, batch, V, E, H)
    gradients = {name: np.asarray(x.detach()) for name, x in steps["gradients"]().items()}

    class Made:
        def result(self):
            return gradients

    assert len(gradients) == len(peers.joeynmt_weights(state.params)) + 1
    benchmark.assert_equals_peers(benchmark.ours(config, state.params, batch), {benchmark.TORCH: {"gradients": Made()}})


def test_it_trains(case):
    """The first loss is ours; later ones are not, whose readout learns to see the previous word."""
    config, state, batch = case
    step = benchmark.torch_step(state.params, batch, V, E, H)["step"]
    _, sums = parallel.jitted(benchmark.update_of(config))(state, batch)
    losses = [step() for _ in range(5)]
    np.testing.assert_allclose(losses[0], sums.nll / sums.tokens, rtol=1e-5)
    assert np.all(np.diff(losses) < 0)
