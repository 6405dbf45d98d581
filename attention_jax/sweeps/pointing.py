"""What a trained model points at: rows of the tested lengths, by kind of word, for a claim's `measure`."""

from collections.abc import Mapping, Sequence
from functools import cache

import jax
import numpy as np

from attention_jax import encoders, training
from attention_jax.config import Config
from attention_jax.data.sources import Source
from attention_jax.layers import precision
from attention_jax.running import grids
from attention_jax.statistics import pointing
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained
from attention_jax.types import Model


def rows_of(trained: Trained, source: Source, kinds: Mapping[str, Sequence[int]], without: Sequence[int] = ()) -> list[dict]:
    """Returns a row per test set, length and kind of word: how many words, and the means of `pointing.Pointed` over them.

    Outputs are teacher-forced, so that every word has its box. `kinds` are target tokens by name; outputs `without`
    numbers, as 1 for the second, are left out. `places` counts memory vectors.
    Raises `ConfigError` for a source without boxes, and for a model that looks nowhere.
    """
    config = trained.config
    if not trained.model.looks:
        raise ConfigError(f"model.attention={config.model.attention} looks nowhere, and so does not point")
    found = []
    for split, name in source.tests.items():
        for batch_Rx in source.evaluation(split, [trained.seed]):
            batch = jax.tree.map(lambda x: x[0], batch_Rx)
            if batch.box_BxTx4 is None:
                raise ConfigError(f"data.task={config.data.task} does not say where its words are")
            weights_BxTxS = np.asarray(_weights(trained.model, config.training.precision)(trained.params, batch))
            reduction, side = memory_of(config), grids.of(config.model, source.rows).side
            pointed = pointing.pointed(weights_BxTxS, batch.box_BxTx4, source.rows, side, reduction)
            length, said_T = int(batch.length_B[0]), ~np.isin(np.arange(batch.target_BxT.shape[1]), without)
            for kind, tokens in kinds.items():
                of_kind_BxT = pointed.has_BxT & np.isin(batch.target_BxT, tokens) & said_T
                if count := int(of_kind_BxT.sum()):
                    values = {field[:-4]: float(getattr(pointed, field)[of_kind_BxT].mean()) for field in pointed._fields[1:]}
                    places = weights_BxTxS.shape[2] // reduction
                    found.append({"test": name, "split": split, "length": length, "words": kind, "count": count, "places": places} | values)
    return found


def memory_of(config: Config) -> int:
    """Returns how many source places a memory vector stands for."""
    return encoders.build(config.model, config.model.embedding_size).reduction


@cache
def _weights(model: Model, products: str):
    return jax.jit(precision.applied(lambda params, batch: training.eval_forced(params, batch, model)[2], products))
