"""Decoding: the model's own outputs are its inputs. Jittable, batch in, batch out; one loop per method, one record for all.

    greedy   y_i = argmax p(y | y_<i)
    sample   y_i ~ p(y | y_<i), tempered and cut to its likeliest tokens
    beam     the best of many outputs followed side by side, by log-probability with length and coverage penalties

    found = search.decode(model, params, source_BxS, mask_BxS, positions=50, settings=SearchConfig(method="beam", n_best=3))

`scheduled` samples the decoder's inputs in training.
"""

import jax
import jax.numpy as jnp

from attention_jax.config import SearchConfig, check
from attention_jax.layers import keys, masks
from attention_jax.model.search import beam, greedy, sampling, unknown, window
from attention_jax.model.search.one_output import SPECIAL, Special
from attention_jax.system.errors import ConfigError
from attention_jax.types import Hypotheses, Model
from attention_jax.types.signatures import Array, Params, Tree

GREEDY = SearchConfig()
"""What a run is evaluated with unless it says otherwise."""


def decode(
    model: Model,
    params: Params,
    source: Tree,
    mask_BxS: Array,
    positions: int,
    settings: SearchConfig = GREEDY,
    stop: bool = True,
    example_B: Array | None = None,
    special: Special = SPECIAL,
) -> Hypotheses:
    """Decodes by the method that `settings` name: at most `positions` tokens, or `settings.max_length` where it is set.

    N = 1, and `settings.n_best` for beam. Draws follow `settings.draw_seed` and `example_B`, the number of each example (its row, by
    default), so that padding and neighbours do not change them. `stop=False` never ends a row: tasks whose outputs are padded carry no EOS.
    Raises `ConfigError` for impossible settings: an unknown method, several outputs of one that finds one, a window where the model
    attends to nothing.

    `source` is whatever `model.start` reads, tokens BxS or, of another model, images or frames; the mask says over which S places the
    weights are. Only `settings.replace_unknown` needs tokens. `special`: ids of PAD, BOS, EOS and UNK in the model's vocabulary.
    """
    method, T = check(settings).method, settings.max_length or positions
    params, source, mask_BxS = *jax.tree.map(jnp.asarray, (params, source)), masks.real(mask_BxS)
    if settings.replace_unknown and not _are_tokens(source, mask_BxS):
        raise ConfigError(
            "search.replace_unknown=True names source tokens, and this source has none: it must be whole numbers, one a place"
        )
    if method == "beam":
        found = beam.beam(model, params, source, mask_BxS, T, settings, stop, special)
    elif method == "greedy":
        limited = window.limited(model, settings)
        found = _only(greedy.greedy(limited, params, source, mask_BxS, T, stop, settings.min_length, special))
    else:
        example_B = jnp.arange(mask_BxS.shape[0], dtype=jnp.int32) if example_B is None else example_B
        keys_B = keys.each(keys.fold(jax.random.key(settings.draw_seed), keys.OfSeed.OUTPUTS), example_B)
        found = _only(sampling.sample(model, params, source, mask_BxS, T, keys_B, settings, stop, special))
    if settings.replace_unknown:
        found = found.replace(tokens_BxNxT=unknown.replaced(found.tokens_BxNxT, found.weights_BxNxTxS, source, mask_BxS, special))
    return found


def _are_tokens(source: Tree, mask_BxS: Array) -> bool:
    return isinstance(source, jax.Array) and source.shape == mask_BxS.shape and jnp.issubdtype(source.dtype, jnp.integer)


def _only(outputs) -> Hypotheses:
    tokens_BxT, weights_BxTxS, log_p_B = outputs
    return Hypotheses(tokens_BxT[:, None], weights_BxTxS[:, None], log_p_B[:, None], log_p_B[:, None])
