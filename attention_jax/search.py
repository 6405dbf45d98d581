"""Free-running decoding: the model's own outputs are its inputs. Jittable, batch in, batch out."""

import jax
import jax.numpy as jnp

from attention_jax.types import BOS, EOS, PAD, Model


def greedy(model: Model, params, source_BxS, mask_BxS, positions: int, stop: bool = True):
    """(tokens_BxT, weights_BxTxS): y_i = argmax p(y | y_<i), T = `positions`.

    A row ends with its first EOS: PAD and zero weights follow, and the loop ends when every row has. `stop=False` never
    ends a row (tasks whose outputs are padded carry no EOS).
    """
    B, S = source_BxS.shape
    prepared, state = model.start(params, source_BxS, mask_BxS)

    def unfinished(loop):
        return (loop[0] < positions) & ~loop[3].all()

    def body(loop):
        i, state, token_B, done_B, tokens_TxB, weights_TxBxS = loop
        logits_BxV, weights_BxS, state = model.step(params, prepared, state, token_B)
        token_B = jnp.where(done_B, PAD, logits_BxV.argmax(1).astype(jnp.int32))
        tokens_TxB = tokens_TxB.at[i].set(token_B)
        weights_TxBxS = weights_TxBxS.at[i].set(jnp.where(done_B[:, None], 0, weights_BxS))
        return i + 1, state, token_B, done_B | (stop & (token_B == EOS)), tokens_TxB, weights_TxBxS

    nothing = jnp.full((positions, B), PAD, jnp.int32), jnp.zeros((positions, B, S))
    *_, tokens_TxB, weights_TxBxS = jax.lax.while_loop(
        unfinished, body, (0, state, jnp.full(B, BOS, jnp.int32), jnp.zeros(B, bool), *nothing)
    )
    return tokens_TxB.T, weights_TxBxS.swapaxes(0, 1)
