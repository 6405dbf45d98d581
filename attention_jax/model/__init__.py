"""Wires embeddings, encoder, attention and decoder into the two ways a model is used: teacher-forced and step by step.

Parameters: {"source_embedding", "encoder", "decoder", "target_embedding", "logits"}, and "generate" with `copy`. Tied embeddings: the
logits' weight is the target embedding (Press & Wolf 2017), or there is one embedding for all three.
"""

import math

import jax
import jax.numpy as jnp

from attention_jax import attention, encoders
from attention_jax.attention.sizes import Sizes
from attention_jax.config import Config, ModelConfig, check, override
from attention_jax.layers import keys, masks
from attention_jax.layers.affine import affine, dense
from attention_jax.layers.dropout import dropout
from attention_jax.layers.keys import OfExample
from attention_jax.model import decoder, readout
from attention_jax.system.errors import ConfigError
from attention_jax.types import BOS, Attention, Batch, Emission, Encoder, Goal, Model, Outputs, logits_of
from attention_jax.types.signatures import Array

TOLERANCE = 0.02  # of the totals, where arms are matched by parameters


def build(config: ModelConfig, vocabulary_size: int) -> Model:
    """The model of a config; V = vocabulary_size on both sides. Raises `ConfigError` for settings that cannot be, and unknown names."""
    check(config)
    E, H, V = config.embedding_size, config.decoder_size or config.hidden_size, vocabulary_size
    encoder, mechanism = parts(config)
    decode = decoder.build(config, mechanism, encoder.memory_size, encoder.final_size)
    R = readout.build(config, H, mechanism.context_size).size

    def init(key):
        own = jax.random.split(key, 6)
        embedding = jax.nn.initializers.normal(1 / math.sqrt(E), jnp.float32)
        params = {
            "source_embedding": embedding(own[0], (V, E)),
            "target_embedding": embedding(own[1], (V, E)),
            "encoder": encoder.init(own[2]),
            "decoder": decode.init(own[3]),
            "logits": dense(own[4], R, V),
        }
        if config.tied != "none":
            del params["logits"]["weight"]
        if config.tied == "all":
            del params["source_embedding"]
        if config.copy:
            params["generate"] = dense(own[5], H + mechanism.context_size + E, 1)
        return params

    def encode(params, source_BxS, mask_BxS, keys_B=None):
        table_VxE = params["target_embedding" if config.tied == "all" else "source_embedding"]
        embedded_BxSxE = dropout(jnp.asarray(table_VxE)[source_BxS], config.dropout, keys_B, OfExample.SOURCE_EMBEDDINGS)
        return encoder.apply(params["encoder"], embedded_BxSxE, mask_BxS, keys_B)

    def spread(weights_BxTxS, mask_BxS):
        return encoder.spread(weights_BxTxS, mask_BxS) if encoder.spread else weights_BxTxS

    def predict(params, prepared, steps, embedded_BxTxE, keys_B, goal):
        """(logits_BxTxV or what they are read from, weights_BxTxS over source positions, extra_BxT)."""
        inner, source_BxS, mask_BxS = prepared
        h_BxTxH, query_BxTxH, looks, read_BxTxR = steps
        weights_BxTxS = spread(looks.weights_BxTxS, mask_BxS)

        def emit(context_BxTxC):
            hidden_BxTxR = read_BxTxR
            if read_BxTxR is None or context_BxTxC is not looks.context_BxTxC:  # not what the decoder read
                hidden_BxTxR = decode.readout(params["decoder"], h_BxTxH, context_BxTxC, embedded_BxTxE)
            hidden_BxTxR = dropout(hidden_BxTxR, config.dropout, keys_B, OfExample.READOUT)
            weight_RxV = params["logits"]["weight"] if config.tied == "none" else params["target_embedding"].T
            emission = Emission(hidden_BxTxR, weight_RxV, params["logits"]["bias"])
            if not config.copy:
                return emission
            features_BxTxF = jnp.concatenate([h_BxTxH, context_BxTxC, embedded_BxTxE], axis=2)
            gate_BxTx1 = affine(params["generate"], features_BxTxF)
            return readout.copied(gate_BxTx1, logits_of(emission), weights_BxTxS, source_BxS)

        prediction, extra_BxT = mechanism.predict(params["decoder"]["attention"], inner, emit, looks, query_BxTxH, goal)
        return prediction, weights_BxTxS, extra_BxT

    def begin(params, source_BxS, mask_BxS, keys_B=None):
        memory = encode(params, source_BxS, mask_BxS, keys_B)
        prepared, state = decode.start(params["decoder"], memory, keys.fold(keys_B, OfExample.START))
        return (prepared, source_BxS, mask_BxS), state

    def forced(params, batch: Batch, key=None, previous_BxT=None, average: Array | float = 0.0) -> Outputs:
        """Position t sees the target's tokens before t, or `previous_BxT`. Without a key nothing is dropped and nothing is drawn."""
        batch = batch.replace(source_mask_BxS=masks.real(batch.source_mask_BxS), target_mask_BxT=masks.real(batch.target_mask_BxT))
        keys_B = keys_BxT = None
        if key is not None:
            keys_B = keys.each(key, batch.example_B)
            keys_BxT = keys.each(keys.fold(keys_B, OfExample.POSITIONS), jnp.arange(batch.target_BxT.shape[1], dtype=jnp.int32))
        if previous_BxT is None:
            previous_BxT = jnp.pad(batch.target_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)
        if not config.feedback:
            previous_BxT = jnp.full_like(previous_BxT, BOS)
        table_VxE = jnp.asarray(params["target_embedding"])
        embedded_BxTxE = dropout(table_VxE[previous_BxT], config.dropout, keys_B, OfExample.TARGET_EMBEDDINGS)
        prepared, state = begin(params, batch.source_BxS, batch.source_mask_BxS, keys_B)
        steps = decode.unroll(params["decoder"], prepared[0], state, embedded_BxTxE, keys_BxT)
        goal = None
        if key is not None:
            goal = Goal(batch.target_BxT, batch.target_mask_BxT, table_VxE[batch.target_BxT], jnp.asarray(average, jnp.float32))
        prediction, weights_BxTxS, extra_BxT = predict(params, prepared, steps, embedded_BxTxE, keys_B, goal)
        return Outputs(prediction, weights_BxTxS, jnp.where(batch.target_mask_BxT, extra_BxT, 0).sum(1))

    def step(params, prepared, state, token_B, keys_B=None):
        token_B = token_B if config.feedback else jnp.full_like(token_B, BOS)
        embedded_BxE = jnp.asarray(params["target_embedding"])[token_B]
        state, one = decode.step(params["decoder"], prepared[0], state, embedded_BxE, keys_B)
        steps_of_one = jax.tree.map(lambda x: x[:, None], one)
        prediction, weights_Bx1xS, _ = predict(params, prepared, steps_of_one, embedded_BxE[:, None], None, None)
        return logits_of(prediction)[:, 0], weights_Bx1xS[:, 0], state

    return Model(init, forced, begin, step)


def parts(config: ModelConfig) -> tuple[Encoder, Attention]:
    """The encoder and the mechanism of a config, in sizes that fit; raises `ConfigError` as `build` does."""
    encoder = encoders.build(config, config.embedding_size)
    H, A = config.decoder_size or config.hidden_size, config.attention_size or config.hidden_size
    if config.start == "backward" and "reversed" not in encoder.directions:
        raise ConfigError(f"model.start=backward needs a backward state, and encoder={config.encoder} leaves none: set model.start=bridge")
    return encoder, attention.build(config, Sizes(encoder.memory_size, H, A, encoder.directions, config.embedding_size))


def parameters(config: ModelConfig, vocabulary_size: int) -> int:
    """How many floats `init` makes, without making them."""
    shapes = jax.eval_shape(build(config, vocabulary_size).init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def state_size(config: ModelConfig) -> int:
    """d: floats that cross from encoder to decoder as fixed vectors (LSTM: h and c; times layers and directions handed over).

    With start = zero the decoder is handed nothing but the context, so d is what `summary` hands it: the last layer's h. With
    `vector_size` or `slots` it is counted arm by arm: K slots, or the one vector of `summary`, and what the start reads, which is not
    counted twice where there is one vector. A score without slots looks at all of the memory: its d is that of the start.
    """
    encoder, mechanism, K = *parts(config), config.slots
    start = {"bridge": config.vector_size or encoder.final_size, "backward": config.hidden_size, "zero": 0}[config.start]
    if not config.vector_size and not K:
        return start or encoder.memory_size
    if not mechanism.looks:
        return max(mechanism.context_size, start)
    slots = K * (config.vector_size or encoder.memory_size)
    return slots + start if K > 1 else max(slots, start)


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
