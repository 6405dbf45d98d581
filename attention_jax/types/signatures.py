"""Signatures of the functions that records hold, and the words they are written in; those that mention a record stand beside it.

Arguments are passed in order, so that a row's function may name its own as it likes.
"""

from typing import Any, Protocol

import jax
import numpy as np

Array = jax.Array | np.ndarray
"""What functions take, and return: JAX's wherever anything is computed."""

Key = jax.Array
"""A PRNG key, or several."""

Params = dict[str, Any]
"""Parameters by name: arrays, or such dicts again."""

Tree = Any
"""Arrays in any structure, an empty one included: what a mechanism carries, or prepares."""


class Init(Protocol):
    """Draws initial parameters."""

    def __call__(self, key: Key, /) -> Params: ...


class Positions(Protocol):
    """Counts the positions that a payload of `length` tokens takes, EOS included."""

    def __call__(self, length: int, /) -> int: ...


class Count(Protocol):
    """Counts the different sources of a payload length."""

    def __call__(self, length: int, /) -> int: ...


class Sample(Protocol):
    """Draws one example: (source_S, its real positions, target_T, its real positions, gold_T)."""

    def __call__(self, key: Key, length: Array | int, S: int, T: int, /) -> tuple[jax.Array, Any, jax.Array, Any, jax.Array]: ...


class ProjectInputs(Protocol):
    """Returns the contribution of the inputs to a cell's step, projected_…xP."""

    def __call__(self, params: Params, inputs_xI: Array, /) -> Array: ...


class CellStep(Protocol):
    """Moves a carry by one position."""

    def __call__(self, params: Params, carry_BxF: Array, projected_BxP: Array, /) -> Array: ...


class Gates(Protocol):
    """Returns (a_…xF, b_…xF) of the linear recurrence h' = a h + b."""

    def __call__(self, params: Params, projected_xP: Array, /) -> tuple[Array, Array]: ...


class Spread(Protocol):
    """Turns weights over memory positions into weights_BxTxS over source positions."""

    def __call__(self, weights_BxTxP: Array, mask_BxS: Array, /) -> Array: ...


class Project(Protocol):
    """Projects a memory to a score's keys, once per source."""

    def __call__(self, params: Params, memory_BxSxM: Array, mask_BxS: Array, /) -> Tree: ...


class ScoreState(Protocol):
    """Returns the state of a score before the first attention step."""

    def __call__(self, keys: Tree, mask_BxS: Array, /) -> Tree: ...


class ScoreLooks(Protocol):
    """Returns scores_BxTxS of T queries for every position."""

    def __call__(self, params: Params, keys: Tree, state: Tree, query_BxTxH: Array, /) -> Array: ...


class Observe(Protocol):
    """Returns a score's next state, given the weights of an attention step."""

    def __call__(self, params: Params, keys: Tree, state: Tree, query_BxH: Array, weights_BxS: Array, /) -> Tree: ...


class MaskState(Protocol):
    """Returns the state of a normaliser or a window before the first attention step."""

    def __call__(self, mask_BxS: Array, /) -> Tree: ...


class Normalise(Protocol):
    """Turns scores into (weights_BxTxS, state)."""

    def __call__(
        self, params: Params, state: Tree, scores: tuple[Array, ...], mask_BxTxS: Array, keys_BxT: Key | None, /
    ) -> tuple[Array, Tree]: ...


class Weigh(Protocol):
    """Turns scores into weights, 0 where the mask is False; it has no state and draws nothing."""

    def __call__(self, scores_xS: Array, mask_xS: Array, /) -> Array: ...


class Place(Protocol):
    """Returns (inside_BxTxS, factor_BxTxS, state) for T queries; a factor may have axes of 1."""

    def __call__(self, params: Params, state: Tree, query_BxTxH: Array, mask_BxS: Array, /) -> tuple[Array, Array, Tree]: ...


class ObserveWindow(Protocol):
    """Returns a window's next state, given the weights of an attention step."""

    def __call__(self, state: Tree, weights_BxS: Array, /) -> Tree: ...


class DrawState(Protocol):
    """Returns the state of an estimator, drawn once per example."""

    def __call__(self, mask_BxS: Array, keys_B: Key | None, /) -> Tree: ...


class Prepare(Protocol):
    """Computes what all attention steps need of a memory, once per source."""

    def __call__(self, params: Params, memory_BxSxM: Array, mask_BxS: Array, /) -> Tree: ...


class Initial(Protocol):
    """Returns the state of a mechanism before the first attention step."""

    def __call__(self, prepared: Tree, keys_B: Key | None = None, /) -> Tree: ...


class HandOver(Protocol):
    """Returns the vector_Bxd of a memory that a decoder starts from."""

    def __call__(self, params: Params, memory_BxSxM: Array, mask_BxS: Array, /) -> Array: ...


class Start(Protocol):
    """Encodes sources: (prepared, state), every array of which leads with B."""

    def __call__(self, params: Params, source: Tree, source_mask_BxS: Array, keys_B: Key | None = None, /) -> tuple[Tree, Tree]: ...


class Step(Protocol):
    """Returns (logits_BxV, weights_BxS, state) of the next position."""

    def __call__(
        self, params: Params, prepared: Tree, state: Tree, token_B: Array, keys_B: Key | None = None, /
    ) -> tuple[Array, Array, Tree]: ...


class Within(Protocol):
    """Returns the `Model` whose steps attend to some positions before and after the last attended one; -1: to all of them.

    Raises `ConfigError` where its mechanism cannot be limited so.
    """

    def __call__(self, backward: int, forward: int, /) -> Any: ...


class Norm(Protocol):
    """Returns the Euclidean norm of the vector that a decoder's top layer has put out, norm_B, from the state behind a step."""

    def __call__(self, state: Tree, /) -> Array: ...


class Lacking(Protocol):
    """Says why a loop cannot run a cell of this config on the default backend; "" where it can."""

    def __call__(self, config: Any, is_lstm: bool, /) -> str: ...


class ScoreFormula(Protocol):
    """Returns the score of one position in NumPy, by the published formula."""

    def __call__(self, params: Params, query_H: Any, vector_M: Any, place: int, /) -> Any: ...


class WeightFormula(Protocol):
    """Returns the weights of scores, all of real positions, in NumPy, by the published formula."""

    def __call__(self, scores: Any, /) -> Any: ...


class CellFormula(Protocol):
    """Returns the carry of a cell after one position in NumPy, by the published formula."""

    def __call__(self, params: Params, carry_F: Any, input_I: Any, /) -> Any: ...


class Solve(Protocol):
    """Returns the target tokens of a source's tokens, in plain Python."""

    def __call__(self, source: list[int], /) -> list[int]: ...
