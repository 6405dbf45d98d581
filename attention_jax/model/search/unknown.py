"""Unknown words: what the model cannot spell it can still point at (Luong 2015, §4.1: "unk replace")."""

import jax.numpy as jnp

from attention_jax.layers import masks
from attention_jax.model.search.one_output import SPECIAL, Special
from attention_jax.types.signatures import Array


def replaced(tokens_BxNxT: Array, weights_BxNxTxS: Array, source_BxS: Array, mask_BxS: Array, special: Special = SPECIAL):
    """Replaces each UNK by the source token with the largest weight of that step.

    The source's EOS is no word, and where nothing is attended to UNK stays.
    """
    tokens_BxNxT, source_BxS = jnp.asarray(tokens_BxNxT), jnp.asarray(source_BxS)
    word_BxS = masks.real(mask_BxS) & (source_BxS != special.eos)
    weights_BxNxTxS = jnp.where(word_BxS[:, None, None, :], weights_BxNxTxS, 0)
    place_BxNxT = weights_BxNxTxS.argmax(3)
    shown_BxNxT = jnp.take_along_axis(source_BxS[:, None, :], place_BxNxT, axis=2).astype(tokens_BxNxT.dtype)
    return jnp.where((tokens_BxNxT == special.unk) & (weights_BxNxTxS.max(3) > 0), shown_BxNxT, tokens_BxNxT)
