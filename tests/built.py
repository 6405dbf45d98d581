"""A whole config → what training takes of it, and what a trained run is."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from attention_jax import training
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.data.corpora import vocabularies
from attention_jax.running.resolved import resolve
from attention_jax.trained.stored import Stored
from attention_jax.training import parallel
from attention_jax.types import Model, TrainState
from attention_jax.types.sizes import VocabularySizes

SMALL = Config(
    experiment="bottleneck",
    run="tiny",
    model=ModelConfig(hidden_size=6, embedding_size=4),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2, 4)),
    training=TrainingConfig(seeds=2, first_seed=7),
)
TEXT = ["der alte Hund sah das Meer", "ein Hund sah den alten Mann", "der Mann ging"]


def built(config: Config, sizes: VocabularySizes | None = None) -> tuple[Model, TrainingConfig]:
    """(its model, its settings of training); `sizes` are those of a corpus."""
    return resolve(config, sizes).model, config.training


def started(config: Config, seeds: list[int], rates: list[float], sizes: VocabularySizes | None = None) -> TrainState:
    """First states of R seeds, stacked, on the first device."""
    return _init(*built(config, sizes), np.asarray(seeds, np.int32), np.asarray(rates, np.float32))


@partial(jax.jit, static_argnums=(0, 1))
def _init(model: Model, config: TrainingConfig, seed_R, rate_R) -> TrainState:
    return parallel.one_by_one(lambda seed, rate: training.init(model, config, seed, rate))(seed_R, rate_R)


def untrained(config: Config, text: dict | None = None, scale: float = 3.0) -> Stored:
    """A run of all seeds at the start of training, its weights stretched so that outputs differ; of words with settings of `text`."""
    learned = None
    if text is not None:
        config = replace(
            config, data=replace(config.data, task="parallel_text"), text=TextConfig(source_file="x.tsv", buckets=(24,), cut=24, **text)
        )
        learned = vocabularies.learn(TEXT, [line.upper() for line in TEXT], config.text)
    run = resolve(config, learned.sizes if learned else None)
    seeds, init = tuple(config.training.all_seeds), jax.jit(run.model.init)
    params = [jax.tree.map(lambda x: np.asarray(x) * np.float32(scale), init(jax.random.key(seed))) for seed in seeds]
    return Stored(Path("run"), run, learned, seeds, jax.tree.map(lambda *x: np.stack(x), *params))
