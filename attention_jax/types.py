"""Every structure that crosses a file boundary. Imports nothing of ours.

Three kinds of record, one rule each: arrays travel in `flax.struct.dataclass`, functions in `NamedTuple`s,
settings in frozen dataclasses (those are in `config.py`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import struct

PAD, BOS, EOS, UNK, FIRST_SYMBOL = 0, 1, 2, 3, 4
"""Token ids that mean the same in every vocabulary; symbols and subwords start at `FIRST_SYMBOL`."""


class ConfigError(ValueError):
    """A setting that cannot be: the message says which, why, and what is valid. The command line prints it and stops."""


class DataError(ValueError):
    """Data that is missing, damaged or not what it should be: the message names file, line and remedy."""


class RunError(RuntimeError):
    """A run that cannot go on (foreign or unwritable workdir, NaN loss): the message names what and where."""


@struct.dataclass
class Batch:
    """Padded examples. Masks are True on real positions, EOS included; `length_B` counts payload tokens, EOS not included."""

    source_BxS: jax.Array
    source_mask_BxS: jax.Array
    target_BxT: jax.Array
    target_mask_BxT: jax.Array
    gold_BxT: jax.Array  # source position that target position t copies; -1 where there is none
    length_B: jax.Array
    example_B: jax.Array  # number of the example in the whole (unsharded) batch: draws depend on it, not on the device


@struct.dataclass
class Memory:
    """What an encoder leaves: one vector per source position, and the final state (all layers, all directions)."""

    states_BxSxM: jax.Array
    mask_BxS: jax.Array
    final_BxD: jax.Array


@struct.dataclass
class Outputs:
    """What a decoder leaves. `extra_B` sums the mechanism's own loss terms over target positions."""

    logits_BxTxV: jax.Array
    weights_BxTxS: jax.Array
    extra_B: jax.Array


@struct.dataclass
class Sums:
    """Sums over a batch, never means: divide once, after adding over devices. `objective` is what is differentiated."""

    objective: jax.Array
    nll: jax.Array  # nats, label smoothing and dropout aside
    tokens: jax.Array  # real target positions, EOS included
    correct: jax.Array  # of them, how many are the arg max


@struct.dataclass
class Scores:
    """Per example: negative log-likelihood in nats, target tokens, tokens right, 1.0 where all of it is right (EOS included)."""

    nll_B: jax.Array
    tokens_B: jax.Array
    correct_B: jax.Array
    exact_B: jax.Array


@struct.dataclass
class TrainState:
    """All that an update needs; `key` never changes, randomness is `fold_in(key, step)`."""

    params: Any
    opt_state: Any
    step: jax.Array
    key: jax.Array
    learning_rate: jax.Array  # peak; a leaf, so that seeds (or candidate rates) train side by side in one compilation


class Cell(NamedTuple):
    """A recurrent cell, cut where the scan wants it: `project` is hoisted out of the loop, `step` stays inside.

    init(key) → {"input": {name: affine}, "recurrent": {name: affine}}, an affine being {"weight": IxO, "bias": O};
    project(input params, inputs_…xI) → projected_…xP, all that the inputs contribute;
    step(dot, carry_BxF, projected_BxP) → carry_BxF, where `dot(name, a)` applies the recurrent affine of that name to a_BxI.
    The carry is one array, the output h_BxH its first `hidden_size` columns (the LSTM's memory cell follows them).
    """

    init: Callable
    project: Callable
    step: Callable
    hidden_size: int  # H
    carry_size: int  # F
    projected_size: int  # P


class Encoder(NamedTuple):
    """init(key) → params;  apply(params, inputs_BxSxE, mask_BxS, keys_B or None) → Memory."""

    init: Callable
    apply: Callable
    memory_size: int  # M
    final_size: int  # D
    directions: tuple[str, ...]  # whose states make up a memory vector, in order: forward, reversed


class Attention(NamedTuple):
    """A mechanism, stateful and random ones included; see attention/__init__.py for the contract of each function."""

    init: Callable
    prepare: Callable
    initial: Callable
    attend: Callable
    context_size: int


class Task(NamedTuple):
    """A synthetic task; see tasks/__init__.py for the contract of each function."""

    vocabulary_size: int
    source_positions: Callable  # payload length → S, EOS included
    target_positions: Callable  # payload length → T, EOS included
    sample: Callable


class Model(NamedTuple):
    """init(key) → params;  forced(params, batch, key) → Outputs;
    start(params, source_BxS, source_mask_BxS) → (prepared, state);
    step(params, prepared, state, token_B, keys_B or None) → (logits_BxV, weights_BxS, state).
    """

    init: Callable
    forced: Callable
    start: Callable
    step: Callable
