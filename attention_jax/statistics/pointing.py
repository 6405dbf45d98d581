"""Where looks point: the memory vector with the largest weight, and all weight, against the box of what is said.

    pointing = 1 where the middle of the most attended vector's field lies in the box    mass = weight of all vectors of which that holds

A memory vector stands for a field of source places, side x side of them, among which its weight is shared equally. A vector is in a box
if the middle of its field is, so that a look which is as near as it can be counts in full, however much smaller than a field the box is.
The pointing game of Zhang and others (2016) counts one point an image. Chance is the share of places whose field has its middle in the box,
which is what a uniform look has of both.
"""

from typing import NamedTuple

import numpy as np

from attention_jax.types.citations import cites


class Pointed(NamedTuple):
    """Numbers of each target position, 0 where it has no box; `vectors` is exp of the entropy of its weights in nats."""

    has_BxT: np.ndarray  # True where there is a box
    pointing_BxT: np.ndarray
    mass_BxT: np.ndarray
    chance_BxT: np.ndarray
    vectors_BxT: np.ndarray


@cites("zhang2016")
def pointed(weights_BxTxS: np.ndarray, box_BxTx4: np.ndarray, rows: int, side: int = 1, memory: int = 1) -> Pointed:
    """Compares weights over the places of a source of so many rows with boxes; `memory` source places are one memory vector."""
    weights_BxTxS = np.asarray(weights_BxTxS, np.float64)
    within_BxTxS = middles(box_BxTx4, rows, weights_BxTxS.shape[2] // rows, side)
    top_BxTxS = weights_BxTxS >= weights_BxTxS.max(2, keepdims=True) * (1 - 1e-6)
    entropy_BxT = -np.where(weights_BxTxS > 0, weights_BxTxS * np.log(np.where(weights_BxTxS > 0, weights_BxTxS, 1)), 0).sum(2)
    has_BxT = box_BxTx4[..., 2] > 0
    found = (
        (within_BxTxS & top_BxTxS).sum(2) / top_BxTxS.sum(2),
        np.where(within_BxTxS, weights_BxTxS, 0).sum(2),
        within_BxTxS.mean(2),
        np.exp(entropy_BxT) / memory,
    )
    return Pointed(has_BxT, *(np.where(has_BxT, each_BxT, 0) for each_BxT in found))


def middles(box_BxTx4: np.ndarray, rows: int, columns: int, side: int) -> np.ndarray:
    """Returns within_BxTxS: True where the middle of the field that a place belongs to lies in the box of a target token.

    Fields are side x side places; the last of a row or a column may have fewer.
    """

    def along(first: int, size: int) -> np.ndarray:
        start_S = np.arange(size) // side * side
        middle_S, (low_BxT, high_BxT) = (start_S + np.minimum(start_S + side, size)) / 2, (box_BxTx4[..., i] for i in (first, first + 2))
        return (low_BxT[..., None] <= middle_S) & (middle_S < high_BxT[..., None])

    within_BxTxYxX = along(0, rows)[..., :, None] & along(1, columns)[..., None, :]
    return within_BxTxYxX.reshape(*box_BxTx4.shape[:2], rows * columns)
