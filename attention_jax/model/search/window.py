"""A window of the search: while a model runs freely, each step attends around the position that the step before it attended to.

    s inside  where  -b ≤ s - a_{i-1} ≤ f        a_i = argmax_s α_is,  a_0 = the first real position

as Deep Voice 3 does (Ping 2018, arXiv 1710.07654). b = `backward_window`, f = `forward_window`; -1 is no limit. Weights outside are 0, and
scores inside are normalised among themselves. Each head, and each output of a beam, has a window of its own. Training and teacher forcing
attend as ever.
"""

from attention_jax.config import SearchConfig
from attention_jax.system.errors import ConfigError
from attention_jax.types import Model


def limited(model: Model, settings: SearchConfig) -> Model:
    """Returns the model that attends as `settings` say; the same one where they set no limit.

    Raises `ConfigError` where the model attends to nothing, or cannot be limited.
    """
    limits = settings.backward_window, settings.forward_window
    if limits == (-1, -1):
        return model
    if model.within is None:
        raise _refusal(*limits)
    return model.within(*limits)


def refused(settings: SearchConfig) -> None:
    """Raises `ConfigError` where `settings` set a limit: a step alone cannot be told where to attend."""
    limits = settings.backward_window, settings.forward_window
    if limits != (-1, -1):
        raise _refusal(*limits)


def _refusal(backward: int, forward: int) -> ConfigError:
    return ConfigError(f"search.backward_window={backward} and search.forward_window={forward} need a model of `model.build`")
