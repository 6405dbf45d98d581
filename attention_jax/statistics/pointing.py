"""Where looks point: the place with the largest weight, and all weight, against the box of what is said.

    pointing = share of the most attended places that lies in the box        mass = Σ_s weight_s · share of place s in the box

A weight of a memory place is shared equally by the source places that it stands for, so that the most attended ones are several: pointing
is the probability that a point within them is in the box. Chance is the share of the whole source in the box, which is what a uniform look
has of both. The pointing game of Zhang and others (2016) counts one point an image, in the same sense.
"""

from typing import NamedTuple

import numpy as np

from attention_jax.data.signals import examples
from attention_jax.types.citations import cites


class Pointed(NamedTuple):
    """Numbers of each target position, 0 where it has no box; `vectors` is exp of the entropy of its weights in nats."""

    has_BxT: np.ndarray  # True where there is a box
    pointing_BxT: np.ndarray
    mass_BxT: np.ndarray
    chance_BxT: np.ndarray
    vectors_BxT: np.ndarray


@cites("zhang2016")
def pointed(weights_BxTxS: np.ndarray, box_BxTx4: np.ndarray, rows: int, memory: int = 1) -> Pointed:
    """Compares weights over the places of a source of so many rows with boxes; `memory` source places are one memory vector."""
    weights_BxTxS = np.asarray(weights_BxTxS, np.float64)
    region_BxTxS = examples.regions(box_BxTx4, rows, weights_BxTxS.shape[2] // rows)
    top_BxTxS = weights_BxTxS >= weights_BxTxS.max(2, keepdims=True) * (1 - 1e-6)
    entropy_BxT = -np.where(weights_BxTxS > 0, weights_BxTxS * np.log(np.where(weights_BxTxS > 0, weights_BxTxS, 1)), 0).sum(2)
    has_BxT = box_BxTx4[..., 2] > 0
    found = (
        (region_BxTxS * top_BxTxS).sum(2) / top_BxTxS.sum(2),
        (region_BxTxS * weights_BxTxS).sum(2),
        region_BxTxS.mean(2),
        np.exp(entropy_BxT) / memory,
    )
    return Pointed(has_BxT, *(np.where(has_BxT, each_BxT, 0) for each_BxT in found))
