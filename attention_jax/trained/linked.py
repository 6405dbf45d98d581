"""A trained model reads pairs of sentences → weights of words, links, and links where it is misled. Targets are given, not decoded.

weights(attended)             weights_JxI of each pair: target words × source words, and EOS in the last column
found(weights)                each target word's heaviest source word; none where EOS has more
elsewhere(sources)            for each sentence another of about as many words, for what a model knows of positions
"""

from collections.abc import Sequence

import numpy as np

from attention_jax.data.corpora import words
from attention_jax.data.corpora.links import Link
from attention_jax.statistics import alignments
from attention_jax.trained import Decoded


def weights(attended: Sequence[Decoded], later: int = 0) -> list[np.ndarray]:
    """Returns the weights of words of each pair that `Trained.attended` read: weights_JxI, the last column that of EOS.

    `later`: a token has the weights of so many steps after the one that predicts it, and zeros where there is no such step.
    """
    found = []
    for each in attended:
        T = len(each.output_tokens)
        taken_T = np.arange(T) + later
        weights_TxS = np.where(((taken_T >= 0) & (taken_T < T))[:, None], each.weights_TxS[np.clip(taken_T, 0, max(T - 1, 0))], 0)
        found.append(alignments.word_weights(weights_TxS, each.source_tokens, each.output_tokens))
    return found


def found(all_weights: Sequence[np.ndarray], with_end: bool = True) -> list[set[Link]]:
    """Returns the links of each pair: every target word and its heaviest source word, or none where EOS has more, `with_end`."""
    if not with_end:
        all_weights = [np.append(weights_JxI[:, :-1], np.zeros((len(weights_JxI), 1)), 1) for weights_JxI in all_weights]
    return [alignments.word_links(weights_JxI) for weights_JxI in all_weights]


def elsewhere(sources: Sequence[str]) -> list[str]:
    """Returns another sentence for each one: the next different one by number of words, and for the last the one before."""
    order = sorted(set(sources), key=lambda text: (len(words.split(text)), text))
    following = dict(zip(order, [*order[1:], *order[-2:-1]], strict=False))
    return [following.get(source, source) for source in sources]


def within(found: Sequence[set[Link]], sources: Sequence[str]) -> list[set[Link]]:
    """Returns the links to words that these sources have."""
    counts = [len(words.split(source)) for source in sources]
    return [{(i, j) for i, j in of_pair if i < count} for of_pair, count in zip(found, counts, strict=True)]
