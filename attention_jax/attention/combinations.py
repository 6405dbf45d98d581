"""Which rows go together, by what their records say. What has no meaning is refused, with the rows' names and what to set instead."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError
from attention_jax.types import Attention, Estimator, Normaliser, Score, Window

UNORDERED = ("mean",)


class Rows(NamedTuple):
    """Holds the records of a config's rows. Either `score` is None or `whole`: a score takes the other rows, a whole mechanism none."""

    score: Score | None
    whole: Attention | None
    normaliser: Normaliser
    window: Window
    estimator: Estimator
    changed: Sequence[str]  # of the settings of looking, those that name another row, or another number, than the default

    @property
    def looks(self) -> bool:
        """Whether the mechanism attends to source positions; False for fixed vectors."""
        return self.whole is None or self.whole.looks

    @property
    def alone(self) -> str:
        """What an error says of a row that takes no normaliser, window or estimator."""
        return "is a mechanism by itself" if self.looks else "looks nothing up"

    @property
    def placed(self) -> bool:
        """Whether the weights depend on positions, and not on what stands there alone."""
        return any(row.knows_places for row in (self.score or self.whole, self.normaliser, self.window) if row)


class Rule(NamedTuple):
    """A combination that is refused: `broken(config, rows, sizes)` says whether a config has it, and `says` is the error.

    `says` is formatted with c = config, r = rows and s = sizes, as in "heads={c.heads}".
    """

    broken: Callable[[ModelConfig, Rows, Sizes], bool]
    says: str


def no_meaning_beside_a_whole(name: str) -> Rule:
    """Makes the rule that a mechanism which is no score leaves the setting `name` at its default: it takes no other rows.

    `slots` are the exception: they reduce a memory before any mechanism that attends to positions sees it.
    """
    return Rule(
        lambda c, r, s: r.whole is not None and name in r.changed and not (name == "slots" and r.looks),
        f"attention={{c.attention}} {{r.alone}}, so model.{name}={{c.{name}}} has no meaning: leave it at {getattr(ModelConfig, name)}",
    )


WHOLES = tuple(map(no_meaning_beside_a_whole, ("normaliser", "window", "estimator", "heads", "slots")))

NORMALISERS = (
    Rule(
        lambda c, r, s: r.normaliser.moves and r.window.knows_places,
        "normaliser={c.normaliser} moves along the source by itself: it takes no window={c.window}, set model.window=all",
    ),
    Rule(
        lambda c, r, s: r.normaliser.moves and r.estimator.is_hard,
        "normaliser={c.normaliser} goes on from its own expectation, or choice, so what estimator={c.estimator} draws has no place: set "
        "model.estimator=soft",
    ),
    Rule(
        lambda c, r, s: r.estimator.is_hard and r.normaliser.mass == "any",
        "estimator={c.estimator} draws from a distribution, and normaliser={c.normaliser} is none: set model.normaliser=softmax",
    ),
    Rule(
        lambda c, r, s: r.normaliser.mass == "any" and r.score is not None and not r.score.is_window,
        "normaliser={c.normaliser} leaves weights without a sum, as Graves' window has them, which attention={c.attention} is not: "
        "set model.attention=gaussian, or gmm_v2",
    ),
)

ESTIMATORS = (
    Rule(
        lambda c, r, s: r.estimator.is_hard and r.window.mass != "1",
        "estimator={c.estimator} draws from a distribution, and weights of window={c.window} sum to less than 1: use local_m or all",
    ),
    Rule(
        lambda c, r, s: r.estimator.enumerates and (c.timing != "after" or c.feeding),
        "estimator={c.estimator} sums over the places of each step alone, which is exact only where past places do not reach the "
        "decoder state: set model.timing=after and model.feeding=false, so that the context enters the readout alone",
    ),
    Rule(
        lambda c, r, s: r.estimator.enumerates and c.decoder == "gnmt",
        "estimator={c.estimator} needs the context in the readout alone, and decoder=gnmt feeds it to every layer: set "
        "model.decoder=stacked",
    ),
    Rule(
        lambda c, r, s: r.estimator.enumerates and c.heads > 1,
        "estimator={c.estimator} would have to sum over S^{c.heads} places of {c.heads} heads: set model.heads=1",
    ),
    Rule(
        lambda c, r, s: r.estimator.enumerates and c.copy,
        "estimator={c.estimator} and copy are two mixtures over the same places: set model.copy=false",
    ),
)

PLACES = (
    Rule(
        lambda c, r, s: c.copy and not r.looks,
        "copy needs weights over the source, and attention={c.attention} has none: set model.attention to a score",
    ),
    Rule(
        lambda c, r, s: c.slots > 0 and r.placed,
        "slots={c.slots} leaves segments instead of positions: it goes with content-based scores, not with attention={c.attention}, "
        "window={c.window} and normaliser={c.normaliser}; use window=all, no monotonic normaliser",
    ),
    Rule(
        lambda c, r, s: s.directions == UNORDERED and (r.placed or c.slots > 0),
        "encoder={c.encoder} leaves places without an order: attention={c.attention}, window={c.window}, "
        "normaliser={c.normaliser} and slots={c.slots} must be a content-based score, all, no monotonic normaliser and 0",
    ),
    Rule(
        lambda c, r, s: c.heads > 1 and (s.memory % c.heads != 0 or s.score % c.heads != 0),
        "heads={c.heads} does not divide the memory vector M={s.memory} and the score width A={s.score}",
    ),
)

LIMITS = tuple(
    Rule(broken, f"search.backward_window and search.forward_window limit where attention looks, and {says}: leave both at -1")
    for broken, says in (
        (lambda c, r, s: r.whole is not None, "attention={c.attention} {r.alone}"),
        (lambda c, r, s: r.normaliser.moves, "normaliser={c.normaliser} moves along the source by itself"),
        (lambda c, r, s: r.window.knows_places, "window={c.window} does so already"),
        (lambda c, r, s: c.slots > 0, "slots={c.slots} leaves segments instead of positions"),
        (lambda c, r, s: s.directions == UNORDERED, "encoder={c.encoder} leaves positions without an order"),
    )
)
"""Rules of a mechanism that is limited to positions around the last attended one, beside the others."""

RULES = (*WHOLES, *NORMALISERS, *ESTIMATORS, *PLACES)
"""Every rule, in the order in which they are held against a config."""


def check(config: ModelConfig, rows: Rows, sizes: Sizes, held: Sequence[Rule] = RULES) -> None:
    """Raises `ConfigError` with the message of the first rule that `config` breaks."""
    for broken, why in rules(config, rows, sizes, held):
        if broken:
            raise ConfigError(why)


def rules(config: ModelConfig, rows: Rows, sizes: Sizes, held: Sequence[Rule] = RULES) -> list[tuple[bool, str]]:
    """Holds a config against rules: for each, (whether it is broken, its message), in order."""
    return [(rule.broken(config, rows, sizes), rule.says.format(c=config, r=rows, s=sizes)) for rule in held]
