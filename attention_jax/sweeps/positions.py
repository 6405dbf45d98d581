"""What claims measure of trained models position by position: wrong outputs, and what a probe reads from the vector.

For the `measure` of a claim (`measurements`). There is a row for each tested length that was trained on, from three symbols on, and each
"position" of the payload, from 1, EOS aside. It counts over the test examples of that length, teacher-forced and free running.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import model, training
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig
from attention_jax.data import sources, tasks
from attention_jax.data.sources import Source
from attention_jax.layers import keys, precision
from attention_jax.layers.keys import OfSeed
from attention_jax.statistics import positions, probes
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained
from attention_jax.types import FIRST_SYMBOL, Batch, Model
from attention_jax.types.sizes import VocabularySizes

REARRANGED = ("copy", "reverse", "sort")
"""Tasks whose outputs are the symbols of the source."""

STRINGS = 2048
"""So many sources of a length a probe is fitted to."""

fit = jax.jit(probes.fit, static_argnums=2)
"""`probes.fit`, compiled once for each number of positions."""


def check(config: Config) -> None:
    """Raises `ConfigError` for data whose outputs are not the symbols of the source, and for lengths of which none has thirds."""
    if config.data.task not in REARRANGED:
        raise ConfigError(f"data.task={config.data.task}: positions are compared in {', '.join(REARRANGED)}")
    sources.check_long(config.data, len(positions.THIRDS), "thirds")


def check_read(config: Config) -> None:
    """Raises `ConfigError` as `check` does, for data whose target is not its source, and for a model without a vector."""
    if config.data.task != "copy":
        raise ConfigError(f"data.task={config.data.task}: positions of source and output are the same in copy alone")
    if config.model.start != "bridge":
        raise ConfigError(f"model.start={config.model.start} hands no vector over, of which a probe reads; bridge does")
    check(config)


def wrong(trained: Trained, source: Source) -> list[dict]:
    """Returns rows of wrong outputs by position: "forced"; "free", and of these "moved", "absent", and "absent_by_chance".

    Raises `ConfigError` as `check` does.
    """
    check(trained.config)
    return [row for batch in _batches(trained, source) for row in _rows(batch, _wrong(trained, source, batch))]


def wrong_and_read(trained: Trained, source: Source) -> list[dict]:
    """Returns the rows of `wrong`, with what probes read: right symbols of the source ("probe"), and right labels ("control").

    A probe of each length is fitted to `STRINGS` sources of those that may be trained on, and tested on the examples whose outputs are
    counted, which may not. Raises `ConfigError` as `check_read` does.
    """
    check_read(trained.config)
    batches = _batches(trained, source)
    return [row for batch in batches for row in _rows(batch, _wrong(trained, source, batch) | _read(trained, batch))]


def _batches(trained: Trained, source: Source) -> list[Batch]:
    """Returns the test examples of each length."""
    batches = [jax.tree.map(lambda x: x[0], batch) for batch in source.evaluation("test", [trained.seed])]
    return [batch for batch in batches if len(positions.THIRDS) <= _length(batch) <= trained.config.data.longest]


def _length(batch: Batch) -> int:
    return int(batch.length_B[0])


def _rows(batch: Batch, columns: dict[str, list]) -> list[dict]:
    """Returns a row per position of what is counted at each."""
    shared = {"length": _length(batch), "examples": len(batch.length_B)}
    by_position = enumerate(zip(*columns.values(), strict=True), start=1)
    return [shared | {"position": t} | dict(zip(columns, values, strict=True)) for t, values in by_position]


def _wrong(trained: Trained, source: Source, batch: Batch) -> dict[str, list]:
    length, config = _length(batch), trained.config
    modes = _outputs_of(trained.model, source.stop, config.search, config.training.precision)
    right_BxT = np.asarray(batch.target_BxT)[:, :length]
    forced, free = (positions.tally(np.asarray(each)[:, :length], right_BxT, config.data.symbols) for each in modes(trained.params, batch))
    return {
        "forced": forced.wrong_T.tolist(),
        "free": free.wrong_T.tolist(),
        "moved": free.moved_T.tolist(),
        "absent": free.absent_T.tolist(),
        "absent_by_chance": free.absent_by_chance_T.round(3).tolist(),
    }


@lru_cache(maxsize=8)
def _outputs_of(built: Model, stop: bool, search: SearchConfig, products: str):
    """Returns (params, batch) → (tokens_BxT teacher-forced, tokens_BxT free running), jitted; `products` is training.precision."""

    def outputs(params, batch):
        return training.eval_forced(params, batch, built)[1], training.eval_free(params, batch, built, stop, 0, search)[1]

    return jax.jit(precision.applied(outputs, products))


def _read(trained: Trained, batch: Batch) -> dict[str, list]:
    config, key = trained.config, jax.random.key(trained.seed)
    length, symbols = _length(batch), config.data.symbols
    strings, vector = _functions_of(config.model, config.data, trained.sizes, config.training.precision)
    fitted_to = strings(keys.fold(key, OfSeed.PROBED, length), np.full(STRINGS, length, np.int32))
    of_control = keys.fold(key, OfSeed.CONTROL, length)

    def labels(strings: Batch) -> jax.Array:
        """The symbol at each position, and behind these the labels of the control task."""
        symbol_NxT = strings.source_BxS[:, :length] - FIRST_SYMBOL
        return jnp.concatenate([symbol_NxT, probes.control(of_control, symbol_NxT, symbols)], axis=1)

    probe = fit(vector(trained.params, fitted_to), labels(fitted_to), symbols)
    right = (probes.read(probe, vector(trained.params, batch)) == labels(batch)).sum(0, dtype=jnp.int32).tolist()
    return {"strings": [STRINGS] * length, "probe": right[:length], "control": right[length:]}


@lru_cache(maxsize=8)
def _functions_of(config: ModelConfig, data: DataConfig, vocabulary: VocabularySizes, products: str):
    """Returns (key, length_N) → sources that may be trained on, and (params, batch) → vector_BxD, jitted."""
    stages = model.stages(config, vocabulary)
    task = sources.task_of(data, tested=False)
    sizes = task.source_positions(data.longest), task.target_positions(data.longest)

    def strings(key, length_N):
        return tasks.batch(task, key, length_N, jnp.arange(STRINGS, dtype=jnp.int32), *sizes)

    def vector(params, batch):
        return model.handed_over(stages, params, batch.source_BxS, batch.source_mask_BxS)

    return jax.jit(strings), jax.jit(precision.applied(vector, products))
