"""Edit distance: the fewest insertions, deletions and substitutions that turn one sequence into another (Levenshtein 1966)."""

from collections.abc import Hashable, Sequence

import numpy as np

from attention_jax.types.citations import cites


@cites("levenshtein1966")
def distances(ones: Sequence[Sequence[Hashable]], others: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Returns the edit distance of ones[i] and others[i] for each i: distance_N, whole numbers.

    Row i of the table of Wagner and Fischer (1974) is made of row i − 1 for all pairs at once; an insertion is a running minimum over it.
    """
    ids: dict[Hashable, int] = {}
    (one_NxI, length_N), (other_NxJ, other_length_N) = _padded(ones, ids, -1), _padded(others, ids, -2)
    N, J = other_NxJ.shape
    column_J1 = np.arange(J + 1)
    row_NxJ1 = np.tile(column_J1, (N, 1))
    distance_N = other_length_N.copy()
    for i in range(one_NxI.shape[1]):
        changed_NxJ = np.minimum(row_NxJ1[:, :-1] + (one_NxI[:, i, None] != other_NxJ), row_NxJ1[:, 1:] + 1)
        row_NxJ1 = np.concatenate([np.full((N, 1), i + 1), changed_NxJ], 1)
        row_NxJ1 = np.minimum.accumulate(row_NxJ1 - column_J1, 1) + column_J1
        ends_N = np.flatnonzero(length_N == i + 1)
        distance_N[ends_N] = row_NxJ1[ends_N, other_length_N[ends_N]]
    return distance_N


def _padded(sequences: Sequence[Sequence[Hashable]], ids: dict[Hashable, int], padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns symbols as numbers, which `ids` keeps, and the lengths."""
    length_N = np.array([len(sequence) for sequence in sequences], int)
    padded_NxI = np.full((len(sequences), length_N.max(initial=0)), padding)
    for row_I, sequence in zip(padded_NxI, sequences, strict=True):
        row_I[: len(sequence)] = [ids.setdefault(symbol, len(ids)) for symbol in sequence]
    return padded_NxI, length_N
