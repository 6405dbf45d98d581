"""Lines of text → batches of few shapes, and the compiled programs that a trained model runs on them."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from attention_jax import training
from attention_jax.config import SearchConfig
from attention_jax.layers import precision
from attention_jax.model import search
from attention_jax.system import machine
from attention_jax.training import parallel
from attention_jax.types import PAD, Batch, Model

FIRST = 64  # lines that are decoded first of all, twice as many after them, and so on:
ROWS, OUTPUTS = 64, 160  # of each device: inputs decoded at once, and outputs followed at once where an input has several
BLOCK = 1024  # most lines that are decoded before they are handed out
MULTIPLE = 16  # inputs are padded to multiples of so many positions
LONG = 256  # of inputs of more positions each device decodes one: weights take rows × positions² floats


def blocks(lines: int) -> Iterator[range]:
    """Yields the numbers of lines that are decoded together: the first `FIRST`, then twice as many each time, at most `BLOCK`."""
    first, size = 0, min(FIRST, BLOCK)
    while first < lines:
        yield range(first, min(first + size, lines))
        first, size = first + size, min(2 * size, BLOCK)


def batches(order: list[int], length: Callable, settings: SearchConfig, devices: int) -> list[list[int]]:
    """Splits inputs, in ascending order of `length`, into batches of as many as fit on so many devices."""
    parts = [i for i in order if length(i) <= LONG], [i for i in order if length(i) > LONG]
    sizes = devices * rows(0, settings), devices
    return [part[first : first + size] for part, size in zip(parts, sizes, strict=True) for first in range(0, len(part), size)]


def rows(positions: int, settings: SearchConfig) -> int:
    """Returns how many inputs of so many positions a device decodes at once."""
    width = settings.beam_size if settings.method == "beam" else 1
    return max(1, min(ROWS, OUTPUTS // width)) if positions <= LONG else 1


def stacked(rows: Sequence[Any], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (tokens, mask) of rows, padded to a size; or (features, mask) of rows that are features_SxF."""
    shape, mask_BxS = (len(rows), size), np.zeros((len(rows), size), bool)
    is_features = isinstance(rows[0], np.ndarray)
    tokens_BxS = np.zeros((*shape, rows[0].shape[1]), rows[0].dtype) if is_features else np.full(shape, PAD, np.int32)
    for row, tokens in enumerate(rows):
        tokens_BxS[row, : len(tokens)], mask_BxS[row, : len(tokens)] = tokens, True
    return tokens_BxS, mask_BxS


def paired(source: tuple[np.ndarray, np.ndarray], target: tuple[np.ndarray, np.ndarray]) -> Batch:
    """Returns the batch of sources and targets, tokens and mask of each."""
    (source_BxS, mask_BxS), (target_BxT, real_BxT) = source, target
    example_B = np.arange(len(source_BxS), dtype=np.int32)
    return Batch(source_BxS, mask_BxS, target_BxT, real_BxT, np.full_like(target_BxT, -1), mask_BxS.sum(1).astype(np.int32), example_B)


@cache
def attended_weights(model: Model, products: str) -> Callable:
    """Compiles (params, batch) → nats of each example and weights of its steps, teacher-forced."""

    def attend(params, batch):
        counted, _, weights_BxTxS = training.eval_forced(params, batch, model)
        return counted.nll_B, weights_BxTxS

    return jax.jit(precision.applied(attend, products))


@cache
def forced_nats(model: Model, products: str) -> Callable:
    """Compiles (params, batch) → nats of each example, teacher-forced."""
    return jax.jit(precision.applied(lambda params, batch: training.eval_forced(params, batch, model)[0].nll_B, products))


@cache
def searching(model: Model, mesh: Mesh, positions: int, settings: SearchConfig, stop: bool, products: str, is_given: bool, examine: bool):
    """Compiles the search of a batch → (Hypotheses, Known): each device searches its share, and ends when that has ended.

    With `is_given` outputs begin as the last two arguments say. Without `examine` () stands in place of what was known.
    """
    whole, split = PartitionSpec(), PartitionSpec(parallel.AXIS)

    def find(params, source_BxS, mask_BxS, example_B, *given):
        first = search.Given(*given) if is_given else None
        asked = model, params, source_BxS, mask_BxS, positions, settings, stop, example_B
        return search.examined(*asked, given=first) if examine else (search.decode(*asked, given=first), ())

    mapped = jax.shard_map(
        precision.applied(find, products),
        mesh=mesh,
        in_specs=(whole, *(split,) * (5 if is_given else 3)),
        out_specs=split,
        check_vma=False,  # the check refuses scans whose initial carry is a constant
    )
    return jax.jit(mapped, compiler_options=machine.compiler_options(mesh.size))
