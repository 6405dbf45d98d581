"""Which rows go together. What has no meaning is refused, with the rows' names and what to set instead."""

from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError

FIXED = ("none", "summary")
UNORDERED = ("mean",)
ENUMERATED = ("marginal", "variational")
HARD = ("reinforce", "gumbel", "straight_through", *ENUMERATED)
MONOTONIC = ("monotonic", "mocha")
PLACED = ("location", "location_aware", "gaussian")  # scores that know places by number


def check(config: ModelConfig, sizes: Sizes) -> None:
    """Raises `ConfigError` for the first rule that `config` breaks."""
    for broken, why in rules(config, sizes):
        if broken:
            raise ConfigError(why)


def rules(config: ModelConfig, sizes: Sizes) -> list[tuple[bool, str]]:
    """(whether it is broken, what to say) of every rule."""
    c = config
    axes = {"normaliser": "softmax", "window": "all", "estimator": "soft", "heads": 1, "slots": 0}
    changed = [name for name, plain in axes.items() if getattr(c, name) != plain]
    found = [
        (
            c.attention in FIXED and name in changed,
            f"attention={c.attention} looks nothing up, so model.{name}={getattr(c, name)} has no meaning: leave it at {axes[name]}",
        )
        for name in axes
    ]
    found += [
        (
            c.normaliser in MONOTONIC and c.window != "all",
            f"normaliser={c.normaliser} moves along the source by itself: it takes no window={c.window}, set model.window=all",
        ),
        (
            c.normaliser in MONOTONIC and c.estimator != "soft",
            f"normaliser={c.normaliser} has its own expectation in training and is hard at inference, so estimator={c.estimator} has no "
            "place: set model.estimator=soft",
        ),
        (
            c.estimator in HARD and c.normaliser == "exponential",
            f"estimator={c.estimator} draws from a distribution, and normaliser=exponential is none: set model.normaliser=softmax",
        ),
        (
            c.normaliser == "exponential" and c.attention != "gaussian",
            f"normaliser=exponential leaves weights without a sum, as Graves' window has them, which attention={c.attention} is not: set "
            "model.attention=gaussian",
        ),
        (
            c.estimator in HARD and c.window == "local_p",
            f"estimator={c.estimator} draws from a distribution, and weights of window=local_p sum to less than 1: use local_m or all",
        ),
        (
            c.estimator in ENUMERATED and (c.timing != "after" or c.feeding),
            f"estimator={c.estimator} sums over the places of each step alone, which is exact only where past places do not reach the "
            "decoder state: set model.timing=after and model.feeding=false, so that the context enters the readout alone",
        ),
        (
            c.estimator in ENUMERATED and c.decoder == "gnmt",
            f"estimator={c.estimator} needs the context in the readout alone, and decoder=gnmt feeds it to every layer: set "
            "model.decoder=stacked",
        ),
        (
            c.estimator in ENUMERATED and c.heads > 1,
            f"estimator={c.estimator} would have to sum over S^{c.heads} places of {c.heads} heads: set model.heads=1",
        ),
        (
            c.estimator in ENUMERATED and c.copy,
            f"estimator={c.estimator} and copy are two mixtures over the same places: set model.copy=false",
        ),
        (
            c.copy and c.attention in FIXED,
            f"copy needs weights over the source, and attention={c.attention} has none: set model.attention to a score",
        ),
        (
            c.slots > 0 and (c.window != "all" or c.normaliser in MONOTONIC or c.attention in PLACED),
            f"slots={c.slots} leaves segments instead of positions: it goes with content-based scores, window=all, no monotonic normaliser",
        ),
        (
            sizes.directions == UNORDERED and (c.window != "all" or c.normaliser in MONOTONIC or c.attention in PLACED or c.slots > 0),
            f"encoder={c.encoder} leaves places without an order: attention={c.attention}, window={c.window}, "
            f"normaliser={c.normaliser} and slots={c.slots} must be a content-based score, all, no monotonic normaliser and 0",
        ),
        (
            c.heads > 1 and (sizes.memory % c.heads != 0 or sizes.score % c.heads != 0),
            f"heads={c.heads} does not divide the memory vector M={sizes.memory} and the score width A={sizes.score}",
        ),
    ]
    return found
