"""Wires embeddings, encoder, attention and decoder into the two ways a model is used: teacher-forced and step by step.

Parameters: {"source_embedding", "encoder", "decoder", "target_embedding", "logits"}, and "generate" with `copy`. Tied embeddings: the
logits' weight is the target embedding (Press & Wolf 2017), or there is one embedding for all three.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax import attention, encoders
from attention_jax.attention.sizes import Sizes
from attention_jax.config import Config, ModelConfig, check, override
from attention_jax.layers import keys, masks
from attention_jax.layers.affine import affine, dense, product
from attention_jax.layers.dropout import dropout
from attention_jax.layers.keys import OfExample
from attention_jax.model import decoder, readout
from attention_jax.system.errors import ConfigError
from attention_jax.types import BOS, Attended, Attention, Batch, Encoder, Logits, Memory, Model, Outputs, Targets, logits_of, sizes
from attention_jax.types.signatures import Array, Key, Params, Tree
from attention_jax.types.sizes import VocabularySizes

TOLERANCE = 0.02  # of the totals, where arms are matched by parameters


class Stages(NamedTuple):
    """The parts of a model, and the sizes of the vocabularies that it reads and writes."""

    config: ModelConfig
    vocabulary: VocabularySizes
    encoder: Encoder
    attention: Attention
    decoder: decoder.Decoder


def build(config: ModelConfig, vocabulary: int | tuple[int, int]) -> Model:
    """Returns the model of a config, the same one for equal configs. `vocabulary` is V, of both sides, or (source, target).

    Raises `ConfigError` for settings that cannot be, unknown names, and two vocabularies where the model needs one.
    """
    return _build(check(config), sizes.of(vocabulary))


@cache
def _build(config: ModelConfig, vocabulary: VocabularySizes, limits: tuple[int, int] | None = None) -> Model:
    own = None if limits else partial(within, config, vocabulary)
    return assembled(stages(config, vocabulary, limits=limits), own)


def within(config: ModelConfig, vocabulary: int | tuple[int, int], backward: int, forward: int) -> Model:
    """Returns the model of a config, limited to positions around the last attended one; it takes the same parameters.

    Raises `ConfigError` where its mechanism attends to nothing, or cannot be limited.
    """
    return _build(config, sizes.of(vocabulary), (backward, forward))


def stages(
    config: ModelConfig,
    vocabulary: int | tuple[int, int],
    change: Callable[[Attention], Attention] | None = None,
    limits: tuple[int, int] | None = None,
) -> Stages:
    """Returns what the model of a config is made of; `change` puts another mechanism, of the same parameters, in the place of its own."""
    encoder, mechanism = parts(check(config), limits)
    mechanism = change(mechanism) if change else mechanism
    decode = decoder.build(config, mechanism, encoder.memory_size, encoder.final_size)
    found = sizes.of(vocabulary)
    if config.one_vocabulary and found.source != found.target:
        raise ConfigError(f"{config.one_vocabulary}, and the source has {found.source} tokens, the target {found.target}")
    return Stages(config, found, encoder, mechanism, decode)


def assembled(stages: Stages, within: Callable | None = None) -> Model:
    """Returns the model of these parts; `within` is what limits it."""
    functions = partial(init, stages), partial(forced, stages), partial(start, stages), partial(step, stages)
    return Model(*functions, stages.attention.looks, within, stages.decoder.norm)


def init(stages: Stages, key: Key) -> Params:
    """Draws the parameters that the module's docstring names; embeddings are normal with standard deviation 1/√E."""
    config, E, V = stages.config, stages.config.embedding_size, stages.vocabulary.target
    H, C = config.decoder_size or config.hidden_size, stages.attention.context_size
    own = jax.random.split(key, 6)
    embedding = jax.nn.initializers.normal(1 / math.sqrt(E), jnp.float32)
    params = {
        "source_embedding": embedding(own[0], (stages.vocabulary.source, E)),
        "target_embedding": embedding(own[1], (V, E)),
        "encoder": stages.encoder.init(own[2]),
        "decoder": stages.decoder.init(own[3]),
        "logits": dense(own[4], readout.build(config, H, C).size, V),
    }
    if config.tied != "none":
        del params["logits"]["weight"]
    if config.tied == "all":
        del params["source_embedding"]
    if config.copy:
        params["generate"] = dense(own[5], H + C + E, 1)
    return params


def encode(stages: Stages, params: Params, source_BxS: Array, mask_BxS: Array, keys_B: Key | None = None) -> Memory:
    """Embeds and encodes sources. Keys, one per example, drive dropout; without them nothing is dropped."""
    config = stages.config
    table_VxE = params["target_embedding" if config.tied == "all" else "source_embedding"]
    embedded_BxSxE = dropout(embedded(jnp.asarray(table_VxE), source_BxS), config.dropout, keys_B, OfExample.SOURCE_EMBEDDINGS)
    return stages.encoder.apply(params["encoder"], embedded_BxSxE, mask_BxS, keys_B)


def embedded(table_VxE: Array, source_BxS: Array) -> Array:
    """Embeds tokens_BxS, each a row of the table, or features_BxSxF, each position the sum of F rows weighed by its F numbers."""
    return table_VxE[source_BxS] if source_BxS.ndim == 2 else product(source_BxS.astype(table_VxE.dtype), table_VxE)


def handed_over(stages: Stages, params: Params, source_BxS: Array, mask_BxS: Array) -> Array:
    """Returns the vector of each source that the decoder starts from, d numbers with `model.vector_size`, without dropout.

    Raises `ConfigError` for `model.start` other than bridge, which hands over no such vector.
    """
    if stages.config.start != "bridge":
        raise ConfigError(f"model.start={stages.config.start} hands no vector over; bridge does")
    memory = encode(stages, params, source_BxS, masks.real(mask_BxS))
    if stages.attention.handed:
        return stages.attention.handed(params["decoder"]["attention"], memory.states_BxSxM, memory.mask_BxS)
    return memory.final_BxD


def start(stages: Stages, params: Params, source_BxS: Array, mask_BxS: Array, keys_B: Key | None = None) -> tuple[Tree, Tree]:
    """Encodes sources, and returns (prepared, state) of a decoder before its first output; every array leads with B."""
    memory = encode(stages, params, source_BxS, mask_BxS, keys_B)
    prepared, state = stages.decoder.start(params["decoder"], memory, keys.fold(keys_B, OfExample.START))
    return (prepared, source_BxS, mask_BxS), state


def predict(
    stages: Stages,
    params: Params,
    prepared: Tree,
    steps: decoder.Steps,
    embedded_BxTxE: Array,
    keys_B: Key | None = None,
    goal: Targets | None = None,
) -> tuple[Logits | Array, Array, Array]:
    """Predicts T positions from the decoder's `steps`: (prediction, weights_BxTxS, extra_BxT).

    The prediction is a `Logits`, or logits_BxTxV. Weights are over source positions, also where the encoder shortened the memory. `extra`
    are the estimator's additive loss terms; they are zero without a `goal`.
    """
    inner, source_BxS, mask_BxS = prepared
    spread = stages.encoder.spread
    weights_BxTxS = spread(steps.weights, mask_BxS) if spread else steps.weights

    def emit(context_BxTxC):
        return emission(stages, params, steps, context_BxTxC, embedded_BxTxE, weights_BxTxS, source_BxS, keys_B)

    attended = Attended(steps.context, steps.weights, steps.terms)
    prediction, extra_BxT = stages.attention.predict(params["decoder"]["attention"], inner, emit, attended, steps.query, goal)
    return prediction, weights_BxTxS, extra_BxT


def emission(
    stages: Stages,
    params: Params,
    steps: decoder.Steps,
    context_BxTxC: Array,
    embedded_BxTxE: Array,
    weights_BxTxS: Array,
    source_BxS: Array,
    keys_B: Key | None,
) -> Logits | Array:
    """Computes the prediction at the states of `steps` from given contexts, which need not be those of the steps.

    Estimators ask for others: the context of each position by itself, for example. With `copy` the result is logits_BxTxV, which are
    log-probabilities of the mixture, else a `Logits`.
    """
    config, hidden_BxTxR = stages.config, steps.read
    if hidden_BxTxR is None or context_BxTxC is not steps.context:  # not what the decoder read
        hidden_BxTxR = stages.decoder.readout(params["decoder"], steps.h, context_BxTxC, embedded_BxTxE)
    hidden_BxTxR = dropout(hidden_BxTxR, config.dropout, keys_B, OfExample.READOUT)
    weight_RxV = params["logits"]["weight"] if config.tied == "none" else params["target_embedding"].T
    read = Logits(hidden_BxTxR, weight_RxV, params["logits"]["bias"])
    if not config.copy:
        return read
    features_BxTxF = jnp.concatenate([steps.h, context_BxTxC, embedded_BxTxE], axis=2)
    gate_BxTx1 = affine(params["generate"], features_BxTxF)
    return readout.copied(gate_BxTx1, logits_of(read), weights_BxTxS, source_BxS)


def forced(
    stages: Stages,
    params: Params,
    batch: Batch,
    key: Key | None = None,
    previous_BxT: Array | None = None,
    average: Array | float = 0.0,
) -> Outputs:
    """Predicts every target position from the target's tokens before it (teacher forcing), or from `previous_BxT`.

    Without a key nothing is dropped and nothing is drawn. `average` is the baseline of REINFORCE, see `types.TrainState`.
    """
    config = stages.config
    batch = batch.replace(source_mask_BxS=masks.real(batch.source_mask_BxS), target_mask_BxT=masks.real(batch.target_mask_BxT))
    keys_B = keys_BxT = goal = None
    table_VxE = jnp.asarray(params["target_embedding"])
    if key is not None:
        keys_B = keys.each(key, batch.example_B)
        keys_BxT = keys.each(keys.fold(keys_B, OfExample.POSITIONS), jnp.arange(batch.target_BxT.shape[1], dtype=jnp.int32))
    if previous_BxT is None:
        previous_BxT = jnp.pad(batch.target_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)
    if not config.feedback:
        previous_BxT = jnp.full_like(previous_BxT, BOS)
    embedded_BxTxE = dropout(table_VxE[previous_BxT], config.dropout, keys_B, OfExample.TARGET_EMBEDDINGS)
    prepared, state = start(stages, params, batch.source_BxS, batch.source_mask_BxS, keys_B)
    steps = stages.decoder.unroll(params["decoder"], prepared[0], state, embedded_BxTxE, keys_BxT)
    if key is not None:
        goal = Targets(batch.target_BxT, batch.target_mask_BxT, table_VxE[batch.target_BxT], jnp.asarray(average, jnp.float32))
    prediction, weights_BxTxS, extra_BxT = predict(stages, params, prepared, steps, embedded_BxTxE, keys_B, goal)
    return Outputs(prediction, weights_BxTxS, jnp.where(batch.target_mask_BxT, extra_BxT, 0).sum(1))


def step(
    stages: Stages, params: Params, prepared: Tree, state: Tree, token_B: Array, keys_B: Key | None = None
) -> tuple[Array, Array, Tree]:
    """Predicts the token after `token_B`: (logits_BxV, weights_BxS, state)."""
    token_B = token_B if stages.config.feedback else jnp.full_like(token_B, BOS)
    embedded_BxE = jnp.asarray(params["target_embedding"])[token_B]
    state, one = stages.decoder.step(params["decoder"], prepared[0], state, embedded_BxE, keys_B)
    steps = jax.tree.map(lambda x: x[:, None], one)
    prediction, weights_Bx1xS, _ = predict(stages, params, prepared, steps, embedded_BxE[:, None])
    return logits_of(prediction)[:, 0], weights_Bx1xS[:, 0], state


def parts(config: ModelConfig, limits: tuple[int, int] | None = None) -> tuple[Encoder, Attention]:
    """Builds the encoder and the mechanism of a config, in sizes that fit each other. Raises `ConfigError` as `build` does."""
    encoder = encoders.build(config, config.embedding_size)
    H, A = config.decoder_size or config.hidden_size, config.attention_size or config.hidden_size
    if config.start == "backward" and "reversed" not in encoder.directions:
        raise ConfigError(f"model.start=backward needs a backward state, and encoder={config.encoder} leaves none: set model.start=bridge")
    return encoder, attention.build(config, Sizes(encoder.memory_size, H, A, encoder.directions, config.embedding_size), limits)


def parameters(config: ModelConfig, vocabulary: int | tuple[int, int]) -> int:
    """Counts the numbers that `init` draws, without drawing them. Raises `ConfigError` as `build` does."""
    shapes = jax.eval_shape(build(config, vocabulary).init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def state_size(config: ModelConfig) -> int:
    """Returns d, how many numbers cross from encoder to decoder as fixed vectors (LSTM: h and c; times layers and directions).

    With start = zero the decoder gets nothing but the context, so d is the size of the context of `summary`: the last layer's h. With
    `vector_size` or `slots`, d is the size of the slots, or of the one vector of `summary`, plus that of the vector that the decoder starts
    from; where both are the same vector it counts once. Attention without slots sees the whole memory: its d is that of the start.
    """
    encoder, mechanism, K = *parts(config), config.slots
    start = {"bridge": config.vector_size or encoder.final_size, "backward": config.hidden_size, "zero": 0}[config.start]
    if not config.vector_size and not K:
        return start or encoder.memory_size
    if not mechanism.looks:
        return max(mechanism.context_size, start)
    slots = K * (config.vector_size or encoder.memory_size)
    return slots + start if K > 1 else max(slots, start)


def match_parameters(config: Config, reference: Config, vocabulary: int | tuple[int, int]) -> Config:
    """Sets `model.decoder_size` so that the model has as many parameters as the reference's, within 2 %; the encoder stays.

    Raises `ConfigError` where no width does.
    """
    goal = parameters(reference.model, vocabulary)

    def off(H):
        return parameters(override(config, "model.decoder_size", H).model, vocabulary) / goal - 1

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
