"""A whole config → what training takes of it."""

from functools import partial

import jax
import numpy as np

from attention_jax import training
from attention_jax.config import Config, TrainingConfig
from attention_jax.running.resolved import resolve
from attention_jax.training import parallel
from attention_jax.types import Model, TrainState
from attention_jax.types.sizes import VocabularySizes


def built(config: Config, sizes: VocabularySizes | None = None) -> tuple[Model, TrainingConfig]:
    """(its model, its settings of training); `sizes` are those of a corpus."""
    return resolve(config, sizes).model, config.training


def started(config: Config, seeds: list[int], rates: list[float], sizes: VocabularySizes | None = None) -> TrainState:
    """First states of R seeds, stacked, on the first device."""
    return _init(*built(config, sizes), np.asarray(seeds, np.int32), np.asarray(rates, np.float32))


@partial(jax.jit, static_argnums=(0, 1))
def _init(model: Model, config: TrainingConfig, seed_R, rate_R) -> TrainState:
    return parallel.one_by_one(lambda seed, rate: training.init(model, config, seed, rate))(seed_R, rate_R)
