"""Word aligners that are no networks, trained by EM on the pairs of a corpus: what attention is compared with, and links to guide it by.

    ibm1    p(f | e) = Π_t 1/(S + 1) Σ_s t(f_t | e_s),  s = 0 … S, e_0 the empty word             Brown 1993, model 1
    hmm     p(f | e) = Σ_a Π_t p(a_t | a_{t-1}) t(f_t | e_{a_t})                                   Vogel 1996; Och & Ney 2003
            p(s | s') = (1 - p₀) [(1 - α) c(s - s') / Σ_r c(r - s') + α/S],  p₀ for the empty word, which keeps the place s'

e are the source's words, f the target's. The first position jumps from before the sentence, s' = 0. `hmm` begins with the t of `ibm1` and
c = 1; both make `ITERATIONS`. A target word is linked to the source word of largest posterior probability, or to none where that is the
empty word's. Words are compared as they are written. What was never seen together has t = `FLOOR`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.config import choose
from attention_jax.data.corpora import words
from attention_jax.data.corpora.links import Link
from attention_jax.system.errors import DataError
from attention_jax.types.citations import cites

ITERATIONS = 5
EMPTY, UNIFORM = 0.2, 0.2  # p₀ and α
FLOOR = 1e-9
CELLS = 1 << 22  # pairs of words that are computed at once
RULES = 1  # goes up with whatever links the same pairs otherwise
FURTHEST = 50  # places: longer jumps count as this


class Block(NamedTuple):
    """Pairs of sentences of equal lengths: N of S source words and T target words."""

    pair_N: np.ndarray  # their numbers
    cell_NxTxS: np.ndarray  # entry of t of each target word and source word; column 0 is the empty word


class Aligner(NamedTuple):
    """A trained aligner. Entry i of t is that of key_C[i] = target word · source words + source word, ascending; t_C[-1] is `FLOOR`."""

    kind: str
    source_ids: dict[str, int]  # from 1; 0 is the empty word
    target_ids: dict[str, int]
    key_C: np.ndarray
    t_C: np.ndarray
    count_J: np.ndarray  # c(-FURTHEST) … c(FURTHEST) of jumps; unused by ibm1

    def links(self, sources: Sequence[str], targets: Sequence[str]) -> list[list[Link]]:
        """Links the words of each pair of sentences, which need not be those of training."""
        found: list[list[Link]] = [[] for _ in sources]
        for block in _blocks(self, sources, targets):
            posterior_NxTxS = ESTEPS[self.kind](self.t_C[block.cell_NxTxS], self.count_J).posterior_NxTxS
            for pair, best_T in zip(block.pair_N.tolist(), posterior_NxTxS.argmax(2).tolist(), strict=True):
                found[pair] = [(s - 1, t) for t, s in enumerate(best_T) if s]
        return found


class Expected(NamedTuple):
    """What the E-step makes of a block."""

    posterior_NxTxS: np.ndarray  # that a target word comes of each source word; column 0 the empty word
    jump_J: np.ndarray  # expected counts
    log_p: float  # log-likelihood, nats


def train(kind: str, sources: Sequence[str], targets: Sequence[str], iterations: int = ITERATIONS) -> Aligner:
    """Trains an aligner, ibm1 or hmm, on pairs of sentences. Raises `ConfigError` for another name, `DataError` where there is no word."""
    choose("aligner", kind, ESTEPS)
    source_ids, target_ids = (_numbered(lines, first) for lines, first in ((sources, 1), (targets, 0)))
    if not (source_ids and target_ids):
        raise DataError("no words to align")
    made = Aligner("ibm1", source_ids, target_ids, np.zeros(0, np.int64), np.zeros(1), np.ones(2 * FURTHEST + 1))
    keys = [np.unique(_keys(made, block)) for block in _shapes(made, sources, targets)]
    made = made._replace(key_C=np.unique(np.concatenate(keys)))
    blocks = list(_blocks(made, sources, targets))
    made = made._replace(t_C=np.append(np.ones(len(made.key_C)), FLOOR))
    for step in ("ibm1", "hmm")[: 1 + (kind == "hmm")]:
        made = made._replace(kind=step)
        for _ in range(iterations):
            made = _improved(made, blocks)[0]
    return made


def _improved(aligner: Aligner, blocks: Sequence[Block]) -> tuple[Aligner, float]:
    """Makes an iteration of EM: (the aligner, the log-likelihood before)."""
    count_C, jump_J, log_p = np.zeros(len(aligner.t_C)), np.zeros(len(aligner.count_J)), 0.0
    for block in blocks:
        found = ESTEPS[aligner.kind](aligner.t_C[block.cell_NxTxS], aligner.count_J)
        count_C += np.bincount(block.cell_NxTxS.ravel(), found.posterior_NxTxS.ravel(), len(count_C))
        jump_J, log_p = jump_J + found.jump_J, log_p + found.log_p
    source_C = aligner.key_C % (len(aligner.source_ids) + 1)
    t_C = np.maximum(count_C[:-1] / np.maximum(np.bincount(source_C, count_C[:-1])[source_C], FLOOR), FLOOR)
    return aligner._replace(t_C=np.append(t_C, FLOOR), count_J=jump_J if jump_J.any() else aligner.count_J), log_p


@cites("brown1993")
def ibm1(t_NxTxS: np.ndarray, count_J: np.ndarray) -> Expected:
    """Computes the E-step of model 1 from t of every target and source word, the empty word in column 0."""
    sum_NxT = t_NxTxS.sum(2)
    log_p = float(np.log(sum_NxT / t_NxTxS.shape[2]).sum())
    return Expected(t_NxTxS / sum_NxT[:, :, None], np.zeros_like(count_J), log_p)


@cites("vogel1996", "och2003")
def hmm(t_NxTxS: np.ndarray, count_J: np.ndarray) -> Expected:
    """Computes the E-step of the HMM by the forward-backward recursion, scaled at each position."""
    N, T, S = t_NxTxS.shape  # S - 1 source words: as places, 0 is before the sentence
    move_SxS, real_NxTxS, empty_NxT = _moves(S, count_J), t_NxTxS[:, :, 1:], t_NxTxS[:, :, 0]
    forward, scale_NxT = np.zeros((T + 1, N, S)), np.zeros((N, T))  # of the place that is kept
    forward[0, :, 0] = 1
    to_real, to_empty = np.zeros((T, N, S)), np.zeros((T, N, S))
    for t in range(T):
        to_real[t, :, 1:] = (1 - EMPTY) * (forward[t] @ move_SxS) * real_NxTxS[:, t]
        to_empty[t] = EMPTY * forward[t] * empty_NxT[:, t, None]
        scale_NxT[:, t] = (to_real[t] + to_empty[t]).sum(1)
        forward[t + 1] = (to_real[t] + to_empty[t]) / scale_NxT[:, t, None]
    posterior_NxTxS, taken_SxS, backward_NxS = np.zeros((N, T, S)), np.zeros((S, S - 1)), np.ones((N, S))
    for t in reversed(range(T)):
        scaled_NxS = backward_NxS / scale_NxT[:, t, None]
        posterior_NxTxS[:, t, 1:] = (to_real[t] * scaled_NxS)[:, 1:]
        posterior_NxTxS[:, t, 0] = (to_empty[t] * scaled_NxS).sum(1)
        ahead_NxS = (1 - EMPTY) * real_NxTxS[:, t] * scaled_NxS[:, 1:]
        taken_SxS += forward[t].T @ ahead_NxS
        backward_NxS = ahead_NxS @ move_SxS.T + EMPTY * empty_NxT[:, t, None] * scaled_NxS
    jump_J = np.bincount(_jumps(S).ravel(), (taken_SxS * _by_counts(S, count_J)).ravel(), len(count_J))
    return Expected(posterior_NxTxS, jump_J, float(np.log(scale_NxT).sum()))


ESTEPS: dict[str, Callable[[np.ndarray, np.ndarray], Expected]] = {"ibm1": ibm1, "hmm": hmm}
"""Row: row(t_NxTxS, count_J) → Expected."""


def _jumps(S: int) -> np.ndarray:
    """Returns the entry of counts of the jump from each place, 0 to S - 1, to each word, 1 to S - 1."""
    jump_SxS = np.arange(1, S)[None, :] - np.arange(S)[:, None]
    return np.clip(jump_SxS, -FURTHEST, FURTHEST) + FURTHEST


def _by_counts(S: int, count_J: np.ndarray) -> np.ndarray:
    """Returns the part of `_moves` that counts explain; a jump of the other part, which is uniform, counts as none."""
    count_SxS = np.maximum(count_J, FLOOR)[_jumps(S)]
    return (1 - UNIFORM) * count_SxS / count_SxS.sum(1, keepdims=True)


def _moves(S: int, count_J: np.ndarray) -> np.ndarray:
    """Returns p(word | place before) of words that are not empty, without the factor 1 - p₀."""
    return _by_counts(S, count_J) + UNIFORM / (S - 1)


def _numbered(lines: Sequence[str], first: int) -> dict[str, int]:
    return {word: i for i, word in enumerate(dict.fromkeys(word for line in lines for word in words.split(line)), start=first)}


class _Shape(NamedTuple):
    """Pairs of equal lengths in ids: -1 is a word that training did not see."""

    pair_N: np.ndarray
    source_NxS: np.ndarray  # the empty word in column 0
    target_NxT: np.ndarray


def _shapes(aligner: Aligner, sources: Sequence[str], targets: Sequence[str]) -> Iterator[_Shape]:
    """Yields the pairs that have a word on either side, by lengths, at most about `CELLS` pairs of words at once."""
    source_ids = [[0, *(aligner.source_ids.get(word, -1) for word in words.split(line))] for line in sources]
    target_ids = [[aligner.target_ids.get(word, -1) for word in words.split(line)] for line in targets]
    members: dict[tuple[int, int], list[int]] = {}
    for i, (source, target) in enumerate(zip(source_ids, target_ids, strict=True)):
        if len(source) > 1 and target:
            members.setdefault((len(source), len(target)), []).append(i)
    for (S, T), of_shape in members.items():
        size = max(1, CELLS // (S * T))
        for first in range(0, len(of_shape), size):
            pairs = of_shape[first : first + size]
            yield _Shape(np.array(pairs), np.array([source_ids[i] for i in pairs]), np.array([target_ids[i] for i in pairs]))


def _keys(aligner: Aligner, shape: _Shape) -> np.ndarray:
    """Returns the key of each target word and source word, NxTxS; -1 where one of them is unseen."""
    key_NxTxS = shape.target_NxT[:, :, None].astype(np.int64) * (len(aligner.source_ids) + 1) + shape.source_NxS[:, None, :]
    return np.where((shape.target_NxT[:, :, None] < 0) | (shape.source_NxS[:, None, :] < 0), -1, key_NxTxS)


def _blocks(aligner: Aligner, sources: Sequence[str], targets: Sequence[str]) -> Iterator[Block]:
    for shape in _shapes(aligner, sources, targets):
        key_NxTxS = _keys(aligner, shape)
        place_NxTxS = np.minimum(np.searchsorted(aligner.key_C, key_NxTxS), len(aligner.key_C) - 1)
        is_known_NxTxS = aligner.key_C[place_NxTxS] == key_NxTxS
        yield Block(shape.pair_N, np.where(is_known_NxTxS, place_NxTxS, len(aligner.key_C)).astype(np.int32))
