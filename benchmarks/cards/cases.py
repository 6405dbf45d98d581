"""Small models, one for every row of every table, and what is compared of them: losses, gradients, log p, weights, outputs of searches.

A row that is added to a table is a case without an edit. A case is `BASE` with that row; where the row does not go with additive scores,
with the first score that it does go with. `attention additive` is `BASE` itself: softmax, all, soft, gru, recurrent and tanh.

Inputs and parameters are drawn by NumPy's legacy generator, whose numbers are promised to stay, and rounded to float32, so that every type
of number begins with the same.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import attention, encoders, model, training
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, TrainingConfig
from attention_jax.layers import cells, precision
from attention_jax.model import readout, search
from attention_jax.running.resolved import resolve
from attention_jax.system.errors import ConfigError
from attention_jax.types import FIRST_SYMBOL, Batch, TrainState

B, S, T, V, H, E, A = 6, 9, 7, 12, 8, 4, 8
BASE = ModelConfig(hidden_size=H, embedding_size=E, decoder_size=2 * H, attention_size=A, window_size=2, timing="after")
TABLES = {  # setting of a model: its table
    "normaliser": attention.NORMALISERS,
    "window": attention.WINDOWS,
    "estimator": attention.ESTIMATORS,
    "cell": cells.TABLE,
    "encoder": {name: row for name, row in encoders.TABLE.items() if name != "image"},  # an image has no words
    "readout": readout.TABLE,
}
MODELS = {  # what is no row of a table
    "heads": {"heads": 2},
    "slots": {"slots": 2},
    "feeding": {"feeding": True, "start": "backward"},
    "copy": {"copy": True, "tied": "all"},
    "vector": {"attention": "summary", "vector_size": 4},
    "gnmt": {"decoder": "gnmt", "decoder_layers": 2, "context_gate": "both"},
}
LOSSES: dict[str, dict[str, Any]] = {
    "smoothing": {"smoothing": 0.1},
    "coverage": {"coverage": 1.0},
    "doubly stochastic": {"doubly_stochastic": 1.0},
    "guided": {"guided": 1.0},
}
SEARCHES = {"greedy": SearchConfig(), "beam": SearchConfig("beam", beam_size=3, length_penalty=0.6)}


@cache
def cases() -> dict[str, Config]:
    """{name: config}; those that search are named "search greedy" and "search beam"."""
    changes: dict[str, dict[str, Any]] = {f"attention {row}": {"attention": row} for row in attention.TABLE}
    for setting, table in TABLES.items():
        changes |= {f"{setting} {row}": {setting: row} for row in table if row != getattr(BASE, setting)}
    changes |= {f"model {name}": settings for name, settings in MODELS.items()}
    found = {name: Config(model=completed(settings)) for name, settings in changes.items()}
    found |= {f"loss {name}": Config(model=BASE, training=TrainingConfig(**settings)) for name, settings in LOSSES.items()}
    found |= {f"search {name}": Config(model=BASE, search=settings) for name, settings in SEARCHES.items()}
    return {name: replace(config, data=DataConfig(symbols=V - FIRST_SYMBOL)) for name, config in found.items()}


def completed(settings: dict) -> ModelConfig:
    """`BASE` with these, and with the first score that goes with them: additive, where that one does."""
    encoder = {"layers": 2} if settings.get("encoder") in ("pyramidal", "gnmt") else {}
    reason, scores = ConfigError("there is no score"), [settings["attention"]] if "attention" in settings else attention.SCORES
    for score in scores:
        config = replace(BASE, **settings | encoder | {"attention": score})
        config = replace(config, decoder_size=encoders.build(config, E).memory_size)  # as wide as the memory, as `dot` wants it
        try:
            model.build(config, V)
        except ConfigError as error:
            reason = error
        else:
            return config
    raise reason


def batch() -> Batch:
    """Sources and targets of several lengths, a source of one word among them."""
    draw = np.random.RandomState(0)
    source_BxS, target_BxT = draw.randint(FIRST_SYMBOL, V, (B, S)), draw.randint(FIRST_SYMBOL, V, (B, T))
    length_B, target_length_B = np.array([9, 1, 6, 8, 3, 5]), np.array([7, 2, 5, 7, 4, 1])
    source_mask_BxS, target_mask_BxT = np.arange(S) < length_B[:, None], np.arange(T) < target_length_B[:, None]
    gold_BxT = np.where(target_mask_BxT, np.minimum(np.arange(T), length_B[:, None] - 1), -1)
    int32 = [x.astype(np.int32) for x in (source_BxS * source_mask_BxS, target_BxT * target_mask_BxT, gold_BxT, length_B, np.arange(B))]
    source_BxS, target_BxT, gold_BxT, length_B, example_B = int32
    return Batch(source_BxS, source_mask_BxS, target_BxT, target_mask_BxT, gold_BxT, length_B, example_B)


def parameters(config: Config, dtype: jax.typing.DTypeLike = np.float32) -> dict:
    """Random ones of the model's shapes, biases included, the same numbers in every type."""
    draw, scale = np.random.RandomState(1), 0.25
    shapes = jax.eval_shape(model.build(config.model, V).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.asarray(draw.normal(0, scale, leaf.shape), np.float32).astype(dtype), shapes)


def function(name: str, config: Config) -> Callable:
    """(params, batch) → {what: array} of a case, in the config's precision; to be compiled."""
    built = model.build(config.model, V)

    def found(params, batch):
        tokens = search.decode(built, params, batch.source_BxS, batch.source_mask_BxS, T, config.search)
        return {"tokens": tokens.tokens_BxNxT[:, 0], "log p": tokens.log_p_BxN[:, 0]}

    def forced(params, batch):
        outputs = built.forced(params, batch, None)
        mask_BxTx1 = batch.target_mask_BxT[:, :, None]
        log_p_BxTxV = jnp.where(mask_BxTx1, jax.nn.log_softmax(outputs.logits_BxTxV, axis=2), 0)
        return {"log p": log_p_BxTxV, "weights": jnp.where(mask_BxTx1, outputs.weights_BxTxS, 0)}

    def trained(params, batch):
        zero = jnp.zeros((), jnp.float32)
        state = TrainState(params, (), jnp.zeros((), jnp.int32), jax.random.key(2), zero, zero - 1)
        gradients, sums = training.gradients(state, batch, resolve(config).model, config.training)
        flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradients)])
        return {"loss": sums.objective, "gradients": flat} | precision.applied(forced, config.training.precision)(params, batch)

    return precision.applied(found, config.training.precision) if name.startswith("search") else trained
