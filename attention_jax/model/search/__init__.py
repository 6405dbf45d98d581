"""Decoding: the model's own outputs are its inputs. Jittable, batch in, batch out; one loop per method, one record for all.

    greedy   y_i = argmax p(y | y_<i)
    sample   y_i ~ p(y | y_<i), tempered and cut to its likeliest tokens
    beam     the best of many outputs followed side by side, by log-probability with length and coverage penalties

    found = search.decode(model, params, source_BxS, mask_BxS, positions=50, settings=SearchConfig(method="beam", n_best=3))
    found = search.over(step, state, positions=50, settings=SearchConfig(method="beam", n_best=3))          a model of your own

`decode` is `over` with the steps of a `types.Model`; `examined` says besides what the model knew at each step. `scheduled` samples the
decoder's inputs in training.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from attention_jax.config import SearchConfig, check
from attention_jax.layers import keys, masks
from attention_jax.model.search import beam, greedy, replay, sampling, steps, unknown, window
from attention_jax.model.search import given as first_tokens
from attention_jax.model.search.given import Given
from attention_jax.model.search.one_output import SPECIAL, Special
from attention_jax.model.search.replay import Known
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
    given: Given | None = None,
) -> Hypotheses:
    """Decodes by the method that `settings` name: at most `positions` tokens, or `settings.max_length` where it is set.

    N = 1, and `settings.n_best` for beam. Draws follow `settings.draw_seed` and `example_B`, the number of each example (its row, by
    default), so that padding and neighbours do not change them. `stop=False` never ends a row: tasks whose outputs are padded carry no EOS.
    Raises `ConfigError` for impossible settings: an unknown method, several outputs of one that finds one, a window where the model
    attends to nothing.

    `source` is whatever `model.start` reads, tokens BxS or, of another model, images or frames; the mask says over which S places the
    weights are. Only `settings.replace_unknown` needs tokens. `special`: ids of PAD, BOS, EOS and UNK in the model's vocabulary.
    Outputs begin with the tokens of `given`, which count among `positions`.
    """
    model = window.limited(model, check(settings))
    params, source, mask_BxS = *jax.tree.map(jnp.asarray, (params, source)), masks.real(mask_BxS)
    if settings.replace_unknown and not _are_tokens(source, mask_BxS):
        raise ConfigError(
            "search.replace_unknown=True names source tokens, and this source has none: it must be whole numbers, one a place"
        )
    prepared, state = model.start(params, source, mask_BxS)

    def step(state, token_B):
        return model.step(params, prepared, state, token_B)

    if given is not None:
        step, state = first_tokens.first(step, state, given)
    here = dataclasses.replace(settings, backward_window=-1, forward_window=-1, replace_unknown=False)  # the rest of them is done here
    found = over(step, state, positions, here, stop, mask_BxS, example_B, special)
    if settings.replace_unknown:
        found = found.replace(tokens_BxNxT=unknown.replaced(found.tokens_BxNxT, found.weights_BxNxTxS, source, mask_BxS, special))
    return found


def examined(
    model: Model,
    params: Params,
    source: Array,
    mask_BxS: Array,
    positions: int,
    settings: SearchConfig = GREEDY,
    stop: bool = True,
    example_B: Array | None = None,
    given: Given | None = None,
) -> tuple[Hypotheses, Known]:
    """Decodes as `decode` does, and replays each output: (Hypotheses, Known), the latter with an axis N behind B.

    An output that was replaced (`settings.replace_unknown`) is replayed as the decoder said it.
    """
    found = dataclasses.replace(settings, replace_unknown=False)
    said = decode(model, params, source, mask_BxS, positions, found, stop, example_B, given=given)
    limited = window.limited(model, settings)
    known = jax.vmap(lambda tokens_BxT: replay.along(limited, params, source, mask_BxS, tokens_BxT), 1, 1)(said.tokens_BxNxT)
    if settings.replace_unknown:
        said = said.replace(tokens_BxNxT=unknown.replaced(said.tokens_BxNxT, said.weights_BxNxTxS, source, mask_BxS))
    return said, known


def over(
    step: Callable,
    state: Tree,
    positions: int,
    settings: SearchConfig = GREEDY,
    stop: bool = True,
    mask_BxS: Array | None = None,
    example_B: Array | None = None,
    special: Special = SPECIAL,
) -> Hypotheses:
    """Searches the outputs of any model that goes from token to token, by the method that `settings` name.

        (logits_i, state_i) = step(state_{i-1}, y_{i-1})       i = 1 … T,  y_0 = BOS,  state_0 = `state`
        log p(Y) = Σ_i log softmax(logits_i)[y_i]              to the first EOS, or to T = `positions`, or `settings.max_length`

    `step(state, token_B) → (logits_BxV, state)` is traced: it must be a function of JAX, or go through `jax.pure_callback`. `token_B` are
    int32 in 0 … V - 1, at first `special.bos`, which may lie beyond V. `state` is any structure of arrays that lead with B. A beam reorders
    its rows and holds K of each, so that what never changes (parameters, an encoded source) is better closed over: it stays as it is, and
    leads with B as well. With `mask_BxS` the step returns (logits_BxV, weights_BxS, state), and the weights of every output come back;
    without it S = 0. Logits may be any real numbers, and -∞ for what cannot be said, in bfloat16, float16, float32 or float64; log p is
    summed in float32 at least, in nats. The other arguments are those of `decode`.

    Raises `ConfigError` for impossible settings; for `coverage_penalty` without a mask; for `replace_unknown` and windows, which need a
    model of `model.build`; for an EOS outside of V; where a step returns other shapes, or a state of other shapes or types than it takes.
    """
    method, T = check(settings).method, settings.max_length or positions
    window.refused(settings)
    if settings.coverage_penalty and mask_BxS is None:
        raise ConfigError(f"search.coverage_penalty={settings.coverage_penalty} needs weights: give mask_BxS, and let the step return them")
    if settings.replace_unknown:
        raise ConfigError("search.replace_unknown=True needs source tokens: `decode` has them, and a step has not")
    made = steps.of(step, state, mask_BxS)
    if stop and not 0 <= special.eos < made.logits_BxV.shape[1]:
        raise ConfigError(f"special.eos={special.eos} is no token: the logits are of V={made.logits_BxV.shape[1]} tokens, 0 and up")
    if method == "beam":
        return beam.beam(made, T, settings, stop, special)
    if method == "greedy":
        return _only(greedy.greedy(made, T, stop, settings.min_length, special))
    example_B = jnp.arange(made.mask_BxS.shape[0], dtype=jnp.int32) if example_B is None else example_B
    keys_B = keys.each(keys.fold(jax.random.key(settings.draw_seed), keys.OfSeed.OUTPUTS), example_B)
    return _only(sampling.sample(made, T, keys_B, settings, stop, special))


def _are_tokens(source: Tree, mask_BxS: Array) -> bool:
    return isinstance(source, jax.Array) and source.shape == mask_BxS.shape and jnp.issubdtype(source.dtype, jnp.integer)


def _only(outputs) -> Hypotheses:
    tokens_BxT, weights_BxTxS, log_p_B = outputs
    return Hypotheses(tokens_BxT[:, None], weights_BxTxS[:, None], log_p_B[:, None], log_p_B[:, None])
