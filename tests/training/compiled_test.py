"""Updates, many to a call: the same whichever way the seeds of a device are computed."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.running.resolved import resolve
from attention_jax.system import machine
from attention_jax.training import compiled

CONFIG = Config(
    model=ModelConfig(hidden_size=5, embedding_size=4),
    data=DataConfig(symbols=6, shortest=2, longest=4),
    training=TrainingConfig(seeds=3, batch_size=4, updates=20),
)


@pytest.mark.long
@pytest.mark.parametrize("at_once", [0, 2])
def test_what_is_vectorised_trains_as_one_after_the_other(at_once, monkeypatch):
    """Seeds, both directions of the encoder, steps of a loop, and the norm of gradients: all that an accelerator does another way."""

    def trained(config: Config):
        monkeypatch.setattr(compiled, "_update", compiled._update.__wrapped__)  # compiled anew
        states = compiled.start(resolve(config), [0, 1, 2], [0.01] * 3).states
        states, losses_UxR = compiled.advance(resolve(config), sources.build(config))(states, [0, 1, 2], 0, 4)
        return losses_UxR, jax.device_get(states.params), states.step.tolist()

    monkeypatch.setattr(machine, "vectorises", lambda: False)
    monkeypatch.setattr(machine, "steps", lambda: 1)
    (losses_UxR, params, steps), _ = trained(CONFIG), monkeypatch.undo()
    monkeypatch.setattr(machine, "vectorises", lambda: True)
    monkeypatch.setattr(machine, "steps", lambda: 3)
    vectorised_UxR, vectorised, _ = trained(replace(CONFIG, training=replace(CONFIG.training, seeds_at_once=at_once)))
    assert losses_UxR.shape == (4, 3) and steps == [4, 4, 4]
    np.testing.assert_allclose(vectorised_UxR, losses_UxR, rtol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), vectorised, params)


def test_states_larger_than_all_memory_are_refused_before_anything_is_compiled():
    compiled.check_memory(resolve(CONFIG))
    with pytest.raises(MemoryError, match=r"optimizer's averages need \d{3},\d{3} GiB, there are \d+"):
        compiled.check_memory(resolve(replace(CONFIG, model=replace(CONFIG.model, hidden_size=2**20))))
