"""Stage: weights → links between words and their error rate, entropy, agreement with gold. Numbers go to rows, links to people.

    AER(S, P; A) = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)        sure links S ⊆ possible links P, found links A

Och & Ney 2003, "A systematic comparison of various statistical alignment models". Links are (source, target), counted from 0.
Rules for subwords: a target subword links its heaviest source subword; two words are linked if any of their subwords are; EOS is
no word, and links with it are dropped on either side. Or weights become those of words first (`word_weights`), and a target word links its
heaviest source word (`word_links`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from attention_jax.data.corpora import links as pharaoh
from attention_jax.data.corpora import raw
from attention_jax.data.corpora.links import Link, Links
from attention_jax.layers import masks
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types import Batch
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array

ENDS = ("⏎", "</s>")
"""How the last token of a sentence is spelled where that is EOS."""


@struct.dataclass
class Looked:
    """Sums over real target positions by example; `looks_B` counts those whose weights are not all zero, `gold_B` those with gold."""

    looks_B: jax.Array
    entropy_B: jax.Array  # nats, of the looks
    gold_B: jax.Array
    agreed_B: jax.Array  # gold positions that have the largest weight
    mass_B: jax.Array  # weight at the gold positions


@cites("och2003")
def alignment_error_rate(sure: Iterable[Link], possible: Iterable[Link], found: Iterable[Link]) -> float:
    """Returns the AER of one sentence pair, 0 (best) to 1."""
    return corpus_alignment_error_rate([sure], [possible], [found])


@cites("och2003")
def corpus_alignment_error_rate(
    sure: Sequence[Iterable[Link]], possible: Sequence[Iterable[Link]], found: Sequence[Iterable[Link]]
) -> float:
    """Returns AER = 1 - Σ (|A ∩ S| + |A ∩ P|) / Σ (|A| + |S|), summed over sentence pairs.

    P stands for S ∪ P, since files list a sure link once. Without any link on either side it is 0. Raises `DataError` where the numbers
    of sentences differ or are 0.
    """
    if not len(sure) == len(possible) == len(found):
        raise DataError(f"{len(sure)} sure, {len(possible)} possible, {len(found)} found: there must be a set of links each per sentence")
    if not sure:
        raise DataError("no sentence to compare alignments of")
    hits = links_in_all = 0
    for S, P, A in zip(map(set, sure), map(set, possible), map(set, found), strict=True):
        hits += len(A & S) + len(A & (S | P))
        links_in_all += len(A) + len(S)
    return 1 - hits / links_in_all if links_in_all else 0.0


def read_links(path: str | Path) -> list[Links]:
    """Reads the (sure, possible) links of a file in Pharaoh format, a sentence pair a line. Raises `DataError` with file and line."""
    return pharaoh.read(raw.read_bytes(Path(path)), str(path))


def links(weights_TxS: np.ndarray, threshold: float | None = None) -> set[Link]:
    """Links each target position to its arg max, the first of equals; with `threshold` in (0, 1], to every source position that reaches it.

    A row of zeros links nothing. Rows and columns are those of real positions.
    """
    weights_TxS = np.asarray(weights_TxS, np.float64)
    if weights_TxS.ndim != 2:
        raise DataError(f"links need weights of one output, target × source; these have shape {weights_TxS.shape}")
    if threshold is None:
        return {(int(row.argmax()), t) for t, row in enumerate(weights_TxS) if row.any()}
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold={threshold} is impossible: it must be in (0, 1]")
    return {(int(s), int(t)) for t, s in np.argwhere(weights_TxS >= threshold)}


def to_words(found: Iterable[Link], source_pieces: Sequence[str], target_pieces: Sequence[str]) -> set[Link]:
    """Maps links between subwords to links between words: two words are linked if any of their subwords are; EOS is no word.

    A word begins with a subword that starts with ▁. EOS is a last piece that is spelled ⏎ or </s>.
    """
    source_word_S, target_word_T = _words(source_pieces), _words(target_pieces)
    linked = set()
    for s, t in found:
        if not (0 <= s < len(source_word_S) and 0 <= t < len(target_word_T)):
            raise DataError(f"link {s}-{t} is outside {len(source_word_S)} source and {len(target_word_T)} target subwords")
        if source_word_S[s] >= 0 and target_word_T[t] >= 0:
            linked.add((int(source_word_S[s]), int(target_word_T[t])))
    return linked


def word_weights(weights_TxS: np.ndarray, source_pieces: Sequence[str], target_pieces: Sequence[str]) -> np.ndarray:
    """Returns the weights of words: a word's weight is the sum over its subwords, and the mean over those of the target word that attends.

    The last column is the source's EOS, 0 where it has none; a row is a target word, its EOS has none. Raises `DataError` where the numbers
    of subwords are not those of the weights.
    """
    weights_TxS = np.asarray(weights_TxS, np.float64)
    source_word_S, target_word_T = _words(source_pieces), _words(target_pieces)
    if weights_TxS.shape != (len(target_word_T), len(source_word_S)):
        raise DataError(f"weights {weights_TxS.shape} are not of {len(target_word_T)} target and {len(source_word_S)} source subwords")
    of_source_SxI = np.eye(source_word_S.max(initial=-1) + 2)[source_word_S]  # -1, EOS, is the last
    is_of_TxJ = target_word_T[:, None] == np.arange(target_word_T.max(initial=-1) + 1)[None, :]
    return (is_of_TxJ / is_of_TxJ.sum(0, keepdims=True)).T @ weights_TxS @ of_source_SxI


def word_links(weights_JxI: np.ndarray) -> set[Link]:
    """Links each target word to the source word of largest weight; to none where that is EOS's, in the last column, or all are 0."""
    best_J = weights_JxI.argmax(1).tolist() if weights_JxI.size else []
    return {(i, j) for j, i in enumerate(best_J) if i < weights_JxI.shape[1] - 1 and weights_JxI[j].any()}


def sums(weights_BxTxS: Array, batch: Batch) -> Looked:
    """Sums entropy, agreement with gold and mass at gold over the target positions of each example.

    H_t = -Σ_s p_ts log p_ts with p_t = w_t / Σ_s w_ts, in nats: weights are normalised first. Agreement
    counts the gold positions t with arg max_s w_ts = gold_t, the first of equals, never a row of zeros; mass adds w at gold up.
    """
    real_BxT = masks.real(batch.target_mask_BxT)
    total_BxT = weights_BxTxS.sum(2)
    looks_BxT = real_BxT & (total_BxT > 0)
    p_BxTxS = weights_BxTxS / jnp.where(looks_BxT, total_BxT, 1)[:, :, None]
    entropy_BxT = -jnp.where(p_BxTxS > 0, p_BxTxS * jnp.log(jnp.where(p_BxTxS > 0, p_BxTxS, 1)), 0).sum(2)
    gold_BxT = real_BxT & (batch.gold_BxT >= 0)
    place_BxT = jnp.maximum(batch.gold_BxT, 0)
    at_gold_BxT = jnp.take_along_axis(weights_BxTxS, place_BxT[:, :, None], axis=2)[:, :, 0]
    agreed_BxT = gold_BxT & looks_BxT & (weights_BxTxS.argmax(2) == place_BxT)
    return Looked(
        looks_BxT.sum(1, dtype=jnp.int32),
        jnp.where(looks_BxT, entropy_BxT, 0).sum(1),
        gold_BxT.sum(1, dtype=jnp.int32),
        agreed_BxT.sum(1, dtype=jnp.int32),
        jnp.where(gold_BxT, at_gold_BxT, 0).sum(1),
    )


def averages(looked: Looked, chosen_B: np.ndarray) -> dict[str, float | None]:
    """Averages over the target positions of the chosen examples; None where no weights, or no gold, exist.

    alignment_entropy = Σ entropy / Σ looks, alignment_agreement = Σ agreed / Σ gold, alignment_mass = Σ mass / Σ gold.
    """
    arrays = (looked.looks_B, looked.entropy_B, looked.gold_B, looked.agreed_B, looked.mass_B)
    looks, entropy, gold, agreed, mass = (float(np.asarray(array, np.float64)[chosen_B].sum()) for array in arrays)
    return {
        "alignment_entropy": entropy / looks if looks else None,
        "alignment_agreement": agreed / gold if looks and gold else None,
        "alignment_mass": mass / gold if looks and gold else None,
    }


def _words(pieces: Sequence[str]) -> np.ndarray:
    """Returns the number of the word that each piece belongs to; -1 for EOS."""
    word_S = pharaoh.word_of_piece(pieces)
    if len(pieces) and pieces[-1] in ENDS:
        word_S[-1] = -1
    return word_S


def reading(weights_BxTxS: Array, mask_BxT: Array) -> dict[str, jax.Array]:
    """Sums how a source is read over real positions: `looks`, their largest weight `top`, `moves` from a look to the next, and `back`.

    A move goes back where the position of the largest weight, the first of equals, is before that of the look before it. Positions whose
    weights are all zero are no looks.
    """
    looks_BxT = mask_BxT & (weights_BxTxS > 0).any(2)
    place_BxT = jnp.argmax(weights_BxTxS, 2)
    moves_BxT = looks_BxT[:, 1:] & looks_BxT[:, :-1]
    back_BxT = moves_BxT & (place_BxT[:, 1:] < place_BxT[:, :-1])
    top_BxT = jnp.where(looks_BxT, weights_BxTxS.max(2), 0)
    sums = {"looks": looks_BxT, "top": top_BxT, "moves": moves_BxT, "back": back_BxT}
    return {name: jnp.sum(each_BxT) for name, each_BxT in sums.items()}
