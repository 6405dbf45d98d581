"""Memory → context. Attention = score × normaliser × window × estimator, each axis a table; a mechanism is one choice of each.

    c_i = Σ_j used_ij h_j        used_i = estimator(α_i)        α_i = factor_i · normaliser(e_i, positions inside the window)

`build(config, sizes)` puts the four together and returns an `Attention`, pure functions and a size:

    init(key) → params
    prepare(params, memory_BxSxM, mask_BxS) → prepared            once per source: projected keys, the fixed vector, …
    initial(prepared, keys_B) → state                             what the mechanism carries from step to step
    attend(params, prepared, state, query_BxH, keys_B)
        → (context_BxC, weights_BxS, state, DrawTerms of B)       one step; C = context_size
    block(params, prepared, state, query_BxTxH, keys_BxT)
        → Attended                                                 T steps at once, equal to T times `attend`; None where steps depend on
                                                                  those before them
    predict(params, prepared, emit, attended, query_BxTxH, goal) → (prediction, extra_BxT)
                                                                  emit(context_BxTxC) → prediction, of which `types.logits_of` makes logits;
                                                                  `extra` are additive loss terms

`keys` hold one PRNG key per example (and step), derived from (update, example, position), so that padding and sharding do not change a
draw. Keys mean training: mechanisms that draw do so. None means evaluation: nothing is drawn, hard mechanisms take the arg max. `weights`
are the distribution over positions (without keys, a hard mechanism's choice); they are zero where the mask is False, and a row without a
single real position gets zero weights and a zero context. Padding may stand anywhere: what a row leaves is what it would leave with its
real positions at the front, and what its memory holds at padding, NaN included, changes neither values nor gradients. The decoder cannot
tell which mechanism it got: the fixed-vector arms are rows like the others.
"""

from collections import ChainMap
from collections.abc import Callable

import jax.numpy as jnp

from attention_jax.attention import (
    combinations,
    entmax,
    estimators,
    forward,
    heads,
    location_relative,
    marginal,
    mechanism,
    monotonic,
    no_attention,
    normalisers,
    reinforce,
    scores,
    slots,
    stateful_scores,
    vector,
    windows,
)
from attention_jax.attention.real_first import real_first
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig, check, choose
from attention_jax.layers import masks
from attention_jax.types import Attention

FIXED: dict[str, Callable] = {"none": no_attention.none, "summary": no_attention.summary}
"""Row: row(sizes, vector) → Attention. They look nothing up."""

SCORES: dict[str, Callable] = {
    "additive": scores.additive,
    "weight_normalised": scores.weight_normalised,
    "concat": scores.concat,
    "dot": scores.dot,
    "scaled_dot": scores.scaled_dot,
    "general": scores.general,
    "cosine": scores.cosine,
    "location": scores.location,
    "location_aware": stateful_scores.location_aware,
    "coverage": stateful_scores.coverage,
    "gaussian": stateful_scores.gaussian,
    "gmm_v2": location_relative.gmm_v2,
    "dynamic_convolution": location_relative.dynamic_convolution,
}
"""Row: row(config, sizes) → Score."""

NORMALISERS = {
    "softmax": normalisers.softmax_row,
    "smoothing": normalisers.smoothing_row,
    "exponential": normalisers.exponential_row,
    "sparsemax": entmax.sparsemax_row,
    "entmax15": entmax.entmax15_row,
    "entmax": entmax.entmax_row,
    "monotonic": monotonic.monotonic_row,
    "mocha": monotonic.mocha_row,
    "stepwise": monotonic.stepwise_row,
    "forward": forward.forward_row,
    "forward_agent": forward.forward_agent_row,
}
"""Row: row(config) → Normaliser."""

WINDOWS = {
    "all": windows.everywhere,
    "local_m": windows.local_m,
    "local_p": windows.local_p,
}
"""Row: row(config, sizes) → Window."""

ESTIMATORS = {
    "soft": estimators.soft,
    "gumbel": estimators.gumbel,
    "straight_through": estimators.straight_through,
    "reinforce": reinforce.reinforce,
    "marginal": marginal.marginal,
    "variational": marginal.variational,
}
"""Row: row(config, sizes) → Estimator."""

MECHANISMS: dict[str, Callable] = {}
"""Row: row(config, sizes) → Attention. Mechanisms by themselves, other people's: normaliser, window, estimator and heads do not apply."""

TABLE = ChainMap(MECHANISMS, SCORES, FIXED)
"""Every row of model.attention, whatever it is a row of; a row that is added here is one of `MECHANISMS`."""

AXES = {"normaliser": NORMALISERS, "window": WINDOWS, "estimator": ESTIMATORS}
"""The settings that stand beside a score: their tables."""

NUMBERS: dict[str, Callable] = {"heads": heads.side_by_side, "slots": slots.reduced}
"""The settings that are a number of mechanisms side by side, or of segments: what makes the mechanism of several."""


def build(config: ModelConfig, sizes: Sizes, limits: tuple[int, int] | None = None) -> Attention:
    """Makes the mechanism of `config`, with `limits` one that attends within `windows.around(*limits)` alone.

    Raises `ConfigError` for settings that are impossible, alone, together or with these sizes, and where limits have no meaning.
    """
    check(config)
    one_vector = vector.build(config.vector_size, sizes, config.vector_bits)
    seen = sizes._replace(memory=one_vector.size) if config.slots else sizes
    rows = rows_of(config, heads.part(seen, config.heads))
    combinations.check(config, rows, seen, combinations.RULES + (combinations.LIMITS if limits else ()))

    def one(sizes: Sizes) -> Attention:
        _, _, normaliser, window, estimator, _ = rows_of(config, sizes)
        window = windows.around(*limits) if limits else window
        made = tuple(SCORES[config.attention](config, sizes) for _ in range(normaliser.scores))
        return mechanism.compose(made, normaliser, window, estimator, config.score_temperature, sizes.memory)

    whole = rows.whole or (heads.side_by_side(one, config.heads, seen) if config.heads > 1 else one(seen))
    if config.slots:
        whole = slots.reduced(whole, config.slots, config.pooling, sizes, one_vector)
    if whole.knows_places:
        whole = real_first(whole)
    return checked(vector.handed_over(whole, one_vector, sizes) if config.vector_size and config.start == "bridge" else whole)


def rows_of(config: ModelConfig, sizes: Sizes) -> combinations.Rows:
    """Makes the records of the config's rows, for these sizes. Raises `ConfigError` for a name that is in no table."""
    name = choose("model.attention", config.attention, TABLE)
    chosen = {axis: table[choose(f"model.{axis}", getattr(config, axis), table)] for axis, table in AXES.items()}
    changed = [axis for axis, table in AXES.items() if chosen[axis] is not table.get(getattr(ModelConfig, axis))]
    changed += [number for number in NUMBERS if getattr(config, number) != getattr(ModelConfig, number)]
    score = SCORES[name](config, sizes) if name in SCORES and name not in MECHANISMS else None
    return combinations.Rows(
        score,
        None if score else _whole(name, config, sizes),
        chosen["normaliser"](config),
        chosen["window"](config, sizes),
        chosen["estimator"](config, sizes),
        changed,
    )


def _whole(name: str, config: ModelConfig, sizes: Sizes) -> Attention:
    """Makes the mechanism of a row that is no score."""
    if name in MECHANISMS:
        return MECHANISMS[name](config, sizes)
    return FIXED[name](sizes, vector.build(config.vector_size, sizes, config.vector_bits))


def looks(name: str) -> bool:
    """Returns whether the row `name` of `TABLE` attends to positions; True for a name that is no row, as old results may have one."""
    if not isinstance(name, str) or name not in TABLE or name in SCORES:  # what is no name is refused where settings are checked
        return True
    return _whole(name, ModelConfig(attention=name), Sizes(1, 1, 1)).looks


def fixed_vectors() -> tuple[str, ...]:
    """Lists the names of the rows of `TABLE` that attend to nothing."""
    return tuple(name for name in TABLE if not looks(name))


def checked(mechanism: Attention) -> Attention:
    """Wraps a mechanism: `prepare` takes NumPy's arrays, and raises `ConfigError` for a mask that is not of bools.

    Memory is set to zero at padding: weights of 0 times NaN would be NaN.
    """

    def prepare(params, memory_BxSxM, mask_BxS):
        mask_BxS = masks.real(mask_BxS)
        return mechanism.prepare(params, jnp.where(mask_BxS[:, :, None], memory_BxSxM, 0), mask_BxS)

    return mechanism._replace(prepare=prepare)
