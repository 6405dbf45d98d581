"""Every kind of program lowers for a TPU and for an NVIDIA GPU, by the paths that those take; nothing is compiled, or run, for one."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from attention_jax import training
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.encoders import loops
from attention_jax.layers import precision
from attention_jax.model import search
from attention_jax.running.resolved import resolve
from attention_jax.system import machine
from attention_jax.training import parallel
from tests.built import built, started

BACKENDS = pytest.mark.parametrize(("backend", "platform"), [("tpu", "tpu"), ("gpu", "cuda")])
SMALL = Config(
    model=ModelConfig(hidden_size=6, embedding_size=4),
    data=DataConfig(longest=4, eval_lengths=(4,)),
    training=TrainingConfig(batch_size=2, precision="tf32"),
)
MODELS = {
    "additive": {},
    "summary": {"attention": "summary"},
    "none": {"attention": "none"},
    "deep": {"encoder": "gnmt", "layers": 2, "decoder": "gnmt", "decoder_layers": 2, "cell": "lstm", "loop": "auto", "dropout": 0.1},
    "linear": {"cell": "mingru", "attention": "general", "feeding": True, "timing": "after", "window": "local_p"},
    "copying": {"copy": True, "heads": 2, "encoder": "convolutional", "normaliser": "sparsemax"},
    "drawn": {"estimator": "reinforce", "normaliser": "softmax", "score_temperature": 2.0},
    "image": {"encoder": "image", "attention": "cosine", "normaliser": "entmax15"},
    "located": {"attention": "location_aware", "encoder": "pyramidal", "layers": 2},
}


def lowered(function, platform: str, *arguments) -> str:
    """The program in StableHLO."""
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.long
@BACKENDS
@pytest.mark.parametrize("name", MODELS)
def test_updates_of_seeds(name, backend, platform, monkeypatch):
    """No loop of theirs is taken one seed after the other."""
    config = replace(SMALL, model=replace(SMALL.model, **MODELS[name] | ({"loop": "scan"} if backend == "gpu" else {})))
    config = replace(config, data=replace(config.data, task="spot" if name == "image" else "copy"))
    source = sources.build(config)
    states = jax.eval_shape(lambda: started(config, [0, 1], [1e-2] * 2))
    monkeypatch.setattr(jax, "default_backend", lambda: backend)

    def update(state):
        return training.train_step(state, source.sample(state.key, state.step), *built(config))

    program = lowered(parallel.over_seeds(update), platform, states)
    assert "stablehlo.dot_general" in program and "cudnn" not in program and "rnn_fwd" not in program


@BACKENDS
@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_searches(method, backend, platform, monkeypatch):
    model = resolve(SMALL).model
    params = jax.eval_shape(model.init, jax.random.key(0))
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    settings = SearchConfig(method=method)

    def find(params, source_BxS, mask_BxS):
        return search.decode(model, params, source_BxS, mask_BxS, 5, settings, True, jnp.arange(2))

    source_BxS = jnp.full((2, 4), 5)
    assert "stablehlo.while" in lowered(precision.applied(find, "tf32"), platform, params, source_BxS, source_BxS > 0)


@pytest.mark.parametrize("backend", ["tpu", "gpu"])
def test_what_is_chosen_for_an_accelerator(backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert {machine.block(kind) for kind in machine.CPU_BLOCKS} == {machine.ACCELERATOR_BLOCK}
    assert not machine.wants_transposed() and machine.shares(10**4) == jax.device_count()
    assert bool(machine.compiler_options(1)) == (backend == "gpu")
    assert machine.vectorises() and machine.steps() == (machine.GPU_STEPS if backend == "gpu" else 1)
    assert loops.chosen(ModelConfig(cell="lstm", loop="auto")) == ("cudnn" if backend == "gpu" else "scan")
