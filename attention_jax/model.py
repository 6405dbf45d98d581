"""Wires embeddings, encoder, attention and decoder into the two ways a model is used: teacher-forced and step by step.

Parameters: {"source_embedding", "encoder", "decoder", "target_embedding", "logits"}.
"""

import math

import jax
import jax.numpy as jnp

from attention_jax import attention, decoder, encoders
from attention_jax.attention.sizes import Sizes
from attention_jax.config import Config, ModelConfig, override
from attention_jax.encoders import cells
from attention_jax.encoders.dropout import dropout
from attention_jax.recurrence import affine
from attention_jax.types import BOS, Batch, ConfigError, Model, Outputs

TOLERANCE = 0.02  # of the totals, where arms are matched by parameters


def build(config: ModelConfig, vocabulary_size: int) -> Model:
    """The model of a config; names are checked here, against their tables. V = vocabulary_size on both sides."""
    E, H = config.embedding_size, config.decoder_size or config.hidden_size
    encoder = encoders.build(config, E)
    sizes = Sizes(encoder.memory_size, H, config.attention_size or config.hidden_size, encoder.directions)
    mechanism = attention.build(config.attention, sizes)
    decode = decoder.build(config, mechanism, encoder.memory_size, encoder.final_size)

    def init(key):
        keys = jax.random.split(key, 5)
        embedding = jax.nn.initializers.normal(1 / math.sqrt(E))
        return {
            "source_embedding": embedding(keys[0], (vocabulary_size, E)),
            "target_embedding": embedding(keys[1], (vocabulary_size, E)),
            "encoder": encoder.init(keys[2]),
            "decoder": decode.init(keys[3]),
            "logits": cells.dense(keys[4], H, vocabulary_size),
        }

    def encode(params, source_BxS, mask_BxS, keys_B=None):
        embedded_BxSxE = dropout(keys_B, 1, params["source_embedding"][source_BxS], config.dropout)
        return encoder.apply(params["encoder"], embedded_BxSxE, mask_BxS, keys_B)

    def logits(params, features):
        return affine(params["logits"], features)

    def forced(params, batch: Batch, key=None) -> Outputs:
        """Position t sees the target's tokens before t. Without a key nothing is dropped and nothing is drawn."""
        T = batch.target_BxT.shape[1]
        keys_B = None if key is None else jax.vmap(jax.random.fold_in, (None, 0))(key, batch.example_B)
        keys_BxT = None if key is None else _position_keys(keys_B, T)
        memory = encode(params, batch.source_BxS, batch.source_mask_BxS, keys_B)
        previous_BxT = jnp.pad(batch.target_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)
        if not config.feedback:
            previous_BxT = jnp.full_like(previous_BxT, BOS)
        embedded_BxTxE = dropout(keys_B, 2, params["target_embedding"][previous_BxT], config.dropout)
        features_BxTxF, weights_BxTxS, extra_BxT = decode.unroll(params["decoder"], memory, embedded_BxTxE, keys_BxT)
        hidden_BxTxH = dropout(keys_B, 3, decode.readout(params["decoder"], features_BxTxF), config.dropout)
        extra_B = jnp.where(batch.target_mask_BxT, extra_BxT, 0).sum(1)
        return Outputs(logits(params, hidden_BxTxH), weights_BxTxS, extra_B)

    def start(params, source_BxS, mask_BxS):
        return decode.start(params["decoder"], encode(params, source_BxS, mask_BxS))

    def step(params, prepared, state, token_B, keys_B=None):
        token_B = token_B if config.feedback else jnp.full_like(token_B, BOS)
        embedded_BxE = params["target_embedding"][token_B]
        state, (features_BxF, weights_BxS, _) = decode.step(params["decoder"], prepared, state, embedded_BxE, keys_B)
        return logits(params, decode.readout(params["decoder"], features_BxF)), weights_BxS, state

    return Model(init, forced, start, step)


def _position_keys(keys_B, T: int):
    """One key per example and target position, the same whatever T is; place 0 is theirs, dropout's places are others."""
    places_B = jax.vmap(jax.random.fold_in, (0, None))(keys_B, 0)
    return jax.vmap(lambda key: jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(T)))(places_B)


def parameters(config: ModelConfig, vocabulary_size: int) -> int:
    """How many floats `init` makes, without making them."""
    shapes = jax.eval_shape(build(config, vocabulary_size).init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def state_size(config: ModelConfig) -> int:
    """d: floats that cross from encoder to decoder as the fixed vector (LSTM: h and c; times layers and directions handed over).

    With start = zero the decoder is handed nothing but the context, so d is what `summary` hands it: the last layer's h.
    """
    encoder = encoders.build(config, config.embedding_size)
    return {"bridge": encoder.final_size, "backward": config.hidden_size, "zero": encoder.memory_size}[config.start]


def match_parameters(config: Config, reference: Config, vocabulary_size: int) -> Config:
    """`config` with the decoder width at which its parameters come closest to the reference's; the encoder stays.

    Raises `ConfigError` where no width brings the totals within 2 %.
    """
    goal = parameters(reference.model, vocabulary_size)

    def off(H):
        return parameters(override(config, "model.decoder_size", H).model, vocabulary_size) / goal - 1

    if abs(off(config.model.decoder_size)) <= TOLERANCE:
        return config
    low, high = 1, 16 * max(reference.model.hidden_size, reference.model.decoder_size)
    try:
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if off(middle) < 0 else (low, middle)
        best = min((H for H in (low - 1, low) if H), key=lambda H: abs(off(H)))
    except ConfigError as error:
        raise ConfigError(f"match=parameters moves the decoder's width, which {config.model.attention} does not allow: {error}") from None
    if abs(off(best)) > TOLERANCE:
        raise ConfigError(
            f"match=parameters: no decoder width brings {config.run} within 2 % of {goal:,} parameters (closest {off(best):+.1%})"
        )
    return override(config, "model.decoder_size", best)
