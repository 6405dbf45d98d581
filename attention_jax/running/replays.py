"""Replays of a few examples with the parameters of all seeds: what the decoder knew at each step, to be shown.

    of a test       each seed's own outputs, one example of each of `LENGTHS` lengths, once a run is trained
    of validation   the target of one example, at checkpoints: where the decoder attends, and what it would say, as it learns

What is replayed is no part of a row: a search or an evaluation is over before it begins.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from attention_jax.config import SearchConfig
from attention_jax.data.sources import Source
from attention_jax.layers import precision
from attention_jax.model.search import replay, window
from attention_jax.model.search.replay import Known
from attention_jax.running import examples, grids
from attention_jax.running.examples import Example
from attention_jax.running.grids import Grid
from attention_jax.running.spelling import end, numbered, spelled
from attention_jax.training import parallel
from attention_jax.training.compiled import Resolved
from attention_jax.types import Batch, Model
from attention_jax.types.signatures import Array, Params

LENGTHS = 6  # examples of a test are kept of so many lengths, spread evenly,
POSITIONS = 100  # of sources with at most so many tokens,
CELLS = 4096  # of images with at most so many cells, of which each is a memory vector

SeedsExample = tuple[int, int, Example]
"""(seed, length, example)."""


class Kept(NamedTuple):
    """An example that is to be replayed, of every seed its own. Masks are True on real positions, which come first but in an image."""

    length: int
    source_RxS: np.ndarray
    mask_RxS: np.ndarray
    target_RxT: np.ndarray
    real_RxT: np.ndarray
    tokens_RxT: np.ndarray  # along which the decoder is run: its outputs, or the target


def chosen(lengths: Sequence[int]) -> set[int]:
    """Chooses of which lengths, or upper edges of buckets, an example is kept: at most `LENGTHS`, none above `POSITIONS`."""
    short = [length for length in lengths if length <= POSITIONS]
    return {short[round(i)] for i in np.linspace(0, len(short) - 1, LENGTHS)} if short else set()


def keep(kept: dict[int, Kept], batch: Batch, tokens_RxBxT: Array, lengths: Sequence[int], grid: Grid) -> None:
    """Puts the first example of each chosen length into `kept`. `batch` has the leading axis R, and all seeds the same lengths in it."""
    wanted = chosen(lengths) - set(kept)
    for row, length in enumerate(np.asarray(batch.length_B)[0]):
        edge = next((edge for edge in lengths if length <= edge), None)
        if edge not in wanted or np.asarray(batch.example_B)[0, row] < 0:
            continue
        if grids.cells(np.asarray(batch.source_mask_BxS)[0, row], grid) <= (CELLS if grid.is_image else POSITIONS):
            kept[edge] = _row(batch, row, tokens_RxBxT)
            wanted.remove(edge)


def nearest(batch: Batch, positions: int) -> Kept:
    """Returns the example of a batch whose source has closest to so many tokens, to be replayed along its target."""
    lengths_B = np.asarray(batch.source_mask_BxS)[0].sum(1)
    is_real_B = np.asarray(batch.example_B)[0] >= 0
    row = int(np.where(is_real_B, abs(lengths_B - positions), np.iinfo(np.int32).max).argmin())
    return _row(batch, row, batch.target_BxT)


def _row(batch: Batch, row: int, tokens_RxBxT: Array) -> Kept:
    sides = batch.source_BxS, batch.source_mask_BxS, batch.target_BxT, batch.target_mask_BxT, tokens_RxBxT
    return Kept(int(np.asarray(batch.length_B)[0, row]), *(np.asarray(side)[:, row] for side in sides))


@lru_cache(maxsize=4)
def compiled(model: Model, settings: SearchConfig, products: str, devices: Mesh) -> Callable:
    """Compiles replay(params, source_BxS, mask_BxS, tokens_BxT) → `Known`; everything has the leading axis R."""

    def known(params, source_BxS, mask_BxS, tokens_BxT):
        return replay.along(window.limited(model, settings), params, source_BxS, mask_BxS, tokens_BxT)

    return parallel.side_by_side(parallel.over_seeds(precision.applied(known, products)), devices)


def replayed(run: Resolved, source: Source, params: Params, seeds: Sequence[int], kept: Iterable[Kept]) -> list[SeedsExample]:
    """Replays examples with the parameters of R seeds, all at once. With several processes all of them must call."""
    kept = list(kept)
    if not kept:
        return []
    padded = [_padded([getattr(each, name) for each in kept]) for name in ("source_RxS", "mask_RxS", "tokens_RxT")]
    replay_all = compiled(run.model, run.config.search, run.config.training.precision, run.mesh_of(len(seeds)))
    known = parallel.fetch(replay_all(params, *padded))
    found, grid = [], grids.of(run.config.model, source.rows)
    for r, seed in enumerate(seeds):
        for i, each in enumerate(kept):
            own = jax.tree.map(lambda x, r=r, i=i: x[r, i], known)
            found.append((seed, each.length, _example(each, r, own, source, grid)))
    return found


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks arrays RxN or RxNxF along a second axis, zeros behind the shorter ones."""
    longest = max(row_RxN.shape[1] for row_RxN in rows)
    behind = [[(0, 0), (0, longest - row_RxN.shape[1]), *[(0, 0)] * (row_RxN.ndim - 2)] for row_RxN in rows]
    return np.stack(list(map(np.pad, rows, behind)), axis=1)


def _example(kept: Kept, r: int, known: Known, of: Source, grid: Grid) -> Example:
    """Packs what seed number r knew, cut to the lengths of its source and of what it was run along."""
    of_source, of_target = of.vocabularies or (None, None)
    real_S, wanted = grids.real(kept.mask_RxS[r], grid.rows), kept.real_RxT[r].sum()
    T = end(kept.tokens_RxT[r], wanted)
    source, target, output = kept.source_RxS[r, real_S], kept.target_RxT[r, :wanted], kept.tokens_RxT[r, :T]
    weights_TxP = grids.celled(np.asarray(known.weights_BxTxS)[:T][:, real_S], grid)
    said = spelled(source, of_source) if source.ndim == 1 else numbered(weights_TxP.T)
    texts = said, spelled(output, of_target), spelled(target, of_target)
    likely = [spelled(each, of_target) for each in np.asarray(known.likely_BxTxK)[:T]]
    norm_T, drawn = np.asarray(known.norm_BxT)[:T], grids.pictured(source, grid)
    return examples.of(texts, weights_TxP, norm_T, likely, np.exp(known.log_p_BxTxK[:T]), drawn)
