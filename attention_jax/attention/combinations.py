"""Which rows go together, by what their records say. What has no meaning is refused, with the rows' names and what to set instead."""

from collections.abc import Sequence
from typing import NamedTuple

from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError
from attention_jax.types import Attention, Estimator, Normaliser, Score, Window

UNORDERED = ("mean",)


class Rows(NamedTuple):
    """The records of a config's rows. One of `score` and `whole` is None: a score goes with the other rows, a whole mechanism is alone."""

    score: Score | None
    whole: Attention | None
    normaliser: Normaliser
    window: Window
    estimator: Estimator
    changed: Sequence[str]  # of the settings of looking, those that name another row, or another number, than the default

    @property
    def looks(self) -> bool:
        """Whether anything is looked up."""
        return self.whole is None or self.whole.looks

    @property
    def placed(self) -> bool:
        """Whether a place is more than what stands there to any of the rows that make weights."""
        return any(row.knows_places for row in (self.score or self.whole, self.normaliser, self.window) if row)


def check(config: ModelConfig, rows: Rows, sizes: Sizes) -> None:
    """Raises `ConfigError` for the first rule that `config` breaks."""
    for broken, why in rules(config, rows, sizes):
        if broken:
            raise ConfigError(why)


def rules(config: ModelConfig, rows: Rows, sizes: Sizes) -> list[tuple[bool, str]]:
    """(whether it is broken, what to say) of every rule."""
    c, (score, whole, normaliser, window, estimator, changed) = config, rows
    alone = "is a mechanism by itself" if rows.looks else "looks nothing up"
    found = [
        (
            whole is not None and name in changed and not (name == "slots" and rows.looks),
            f"attention={c.attention} {alone}, so model.{name}={getattr(c, name)} has no meaning: leave it at {getattr(ModelConfig, name)}",
        )
        for name in ("normaliser", "window", "estimator", "heads", "slots")
    ]
    found += [
        (
            normaliser.moves and window.knows_places,
            f"normaliser={c.normaliser} moves along the source by itself: it takes no window={c.window}, set model.window=all",
        ),
        (
            normaliser.moves and estimator.is_hard,
            f"normaliser={c.normaliser} has its own expectation in training and is hard at inference, so estimator={c.estimator} has no "
            "place: set model.estimator=soft",
        ),
        (
            estimator.is_hard and normaliser.mass == "any",
            f"estimator={c.estimator} draws from a distribution, and normaliser={c.normaliser} is none: set model.normaliser=softmax",
        ),
        (
            normaliser.mass == "any" and score is not None and not score.is_window,
            f"normaliser={c.normaliser} leaves weights without a sum, as Graves' window has them, which attention={c.attention} is not: "
            "set model.attention=gaussian",
        ),
        (
            estimator.is_hard and window.mass != "1",
            f"estimator={c.estimator} draws from a distribution, and weights of window={c.window} sum to less than 1: use local_m or all",
        ),
        (
            estimator.enumerates and (c.timing != "after" or c.feeding),
            f"estimator={c.estimator} sums over the places of each step alone, which is exact only where past places do not reach the "
            "decoder state: set model.timing=after and model.feeding=false, so that the context enters the readout alone",
        ),
        (
            estimator.enumerates and c.decoder == "gnmt",
            f"estimator={c.estimator} needs the context in the readout alone, and decoder=gnmt feeds it to every layer: set "
            "model.decoder=stacked",
        ),
        (
            estimator.enumerates and c.heads > 1,
            f"estimator={c.estimator} would have to sum over S^{c.heads} places of {c.heads} heads: set model.heads=1",
        ),
        (
            estimator.enumerates and c.copy,
            f"estimator={c.estimator} and copy are two mixtures over the same places: set model.copy=false",
        ),
        (
            c.copy and not rows.looks,
            f"copy needs weights over the source, and attention={c.attention} has none: set model.attention to a score",
        ),
        (
            c.slots > 0 and rows.placed,
            f"slots={c.slots} leaves segments instead of positions: it goes with content-based scores, not with attention={c.attention}, "
            f"window={c.window} and normaliser={c.normaliser}; use window=all, no monotonic normaliser",
        ),
        (
            sizes.directions == UNORDERED and (rows.placed or c.slots > 0),
            f"encoder={c.encoder} leaves places without an order: attention={c.attention}, window={c.window}, "
            f"normaliser={c.normaliser} and slots={c.slots} must be a content-based score, all, no monotonic normaliser and 0",
        ),
        (
            c.heads > 1 and (sizes.memory % c.heads != 0 or sizes.score % c.heads != 0),
            f"heads={c.heads} does not divide the memory vector M={sizes.memory} and the score width A={sizes.score}",
        ),
    ]
    return found
