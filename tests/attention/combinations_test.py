"""Which rows go together: every rule is broken by a case here and says so by name, and every pair of rows works or is refused."""

import dataclasses
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import attention
from attention_jax.attention import combinations, heads
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError

B, S, M, A, E = 2, 4, 6, 4, 3
SIZES = Sizes(memory=M, query=M, score=A, directions=("forward",), embedding=E)
UNORDERED = SIZES._replace(directions=("mean",))
BASE = ModelConfig(timing="after")
TABLES = {
    "attention": attention.SCORES,
    "normaliser": attention.NORMALISERS,
    "window": attention.WINDOWS,
    "estimator": attention.ESTIMATORS,
}

MONOTONIC = [name for name, row in attention.NORMALISERS.items() if row(BASE).moves]
HARD = [name for name, row in attention.ESTIMATORS.items() if row(BASE, SIZES).is_hard]
ENUMERATED = [name for name, row in attention.ESTIMATORS.items() if row(BASE, SIZES).enumerates]
PLACED = [name for name, row in attention.SCORES.items() if row(BASE, SIZES).knows_places]

BREAKING = [  # changes of BASE, sizes, what the message must name
    *[
        ({"attention": fixed, name: value}, SIZES, (f"attention={fixed}", f"{name}={value}", f"leave it at {plain}"))
        for fixed in attention.FIXED
        for name, value, plain in (
            ("normaliser", "sparsemax", "softmax"),
            ("window", "local_m", "all"),
            ("estimator", "gumbel", "soft"),
            ("heads", 2, "1"),
            ("slots", 2, "0"),
        )
    ],
    *[
        ({"normaliser": name, "window": "local_p"}, SIZES, (f"normaliser={name}", "window=local_p", "set model.window=all"))
        for name in MONOTONIC
    ],
    *[
        ({"normaliser": name, "estimator": "marginal"}, SIZES, (f"normaliser={name}", "marginal", "set model.estimator=soft"))
        for name in MONOTONIC
    ],
    ({"normaliser": "exponential"}, SIZES, ("normaliser=exponential", "additive", "model.attention=gaussian")),
    *[
        (
            {"attention": "gaussian", "normaliser": "exponential", "estimator": name},
            SIZES,
            (f"estimator={name}", "normaliser=exponential", "set model.normaliser=softmax"),
        )
        for name in HARD
    ],
    *[({"window": "local_p", "estimator": name}, SIZES, (f"estimator={name}", "window=local_p", "use local_m or all")) for name in HARD],
    *[
        (changes | {"estimator": name}, SIZES, (f"estimator={name}", *words))
        for name in ENUMERATED
        for changes, words in (
            ({"timing": "before"}, ("set model.timing=after",)),
            ({"timing": "between"}, ("set model.timing=after",)),
            ({"feeding": True}, ("model.feeding=false",)),
            ({"decoder": "gnmt"}, ("decoder=gnmt", "set model.decoder=stacked")),
            ({"heads": 2}, ("2 heads", "set model.heads=1")),
            ({"copy": True}, ("copy", "set model.copy=false")),
        )
    ],
    *[({"attention": fixed, "copy": True}, SIZES, ("copy", f"attention={fixed}", "set model.attention")) for fixed in attention.FIXED],
    ({"slots": 2, "window": "local_m"}, SIZES, ("slots=2", "window=all")),
    *[({"slots": 2, "normaliser": name}, SIZES, ("slots=2", "monotonic")) for name in MONOTONIC],
    *[({"slots": 2, "attention": name}, SIZES, ("slots=2", "content-based scores")) for name in PLACED],
    ({"window": "local_m"}, UNORDERED, ("encoder=recurrent", "window=local_m")),
    *[({"normaliser": name}, UNORDERED, ("encoder=recurrent", f"normaliser={name}")) for name in MONOTONIC],
    *[({"attention": name}, UNORDERED, ("encoder=recurrent", f"attention={name}")) for name in PLACED],
    ({"slots": 2}, UNORDERED, ("encoder=recurrent", "slots")),
    ({"heads": 4}, SIZES, ("heads=4", "M=6")),
    ({"heads": 3}, SIZES, ("heads=3", "A=4")),
]


def rows(config: ModelConfig, sizes: Sizes = SIZES) -> combinations.Rows:
    return attention.rows_of(config, heads.part(sizes, config.heads))


@pytest.mark.parametrize(("changes", "sizes", "words"), BREAKING, ids=lambda x: "+".join(map(str, x)) if isinstance(x, tuple) else "")
def test_what_has_no_meaning_is_refused_by_name(changes, sizes, words):
    with pytest.raises(ConfigError) as error:
        attention.build(dataclasses.replace(BASE, **changes), sizes)
    message = str(error.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


def test_every_rule_is_broken_by_a_case_above():
    broken = set()
    for changes, sizes, _ in BREAKING:
        config = dataclasses.replace(BASE, **changes)
        broken |= {i for i, (is_broken, _) in enumerate(combinations.rules(config, rows(config, sizes), sizes)) if is_broken}
    rules = combinations.rules(BASE, rows(BASE), SIZES)
    assert [why for i, (_, why) in enumerate(rules) if i not in broken] == []
    assert not any(is_broken for is_broken, _ in rules)


def test_what_rows_say_of_themselves():
    assert {"monotonic", "mocha"} <= set(MONOTONIC) and "softmax" not in MONOTONIC
    assert {"location", "location_aware", "gaussian"} <= set(PLACED) and not {"additive", "dot", "coverage"} & set(PLACED)
    assert {"marginal", "variational"} <= set(ENUMERATED) < set(HARD) and "soft" not in HARD and "gumbel" not in ENUMERATED
    assert {"none", "summary"} <= set(attention.fixed_vectors()) and not set(attention.SCORES) & set(attention.fixed_vectors())
    placed = {
        axis: {name for name in table if getattr(rows(dataclasses.replace(BASE, **{axis: name})), axis).knows_places}
        for axis, table in attention.AXES.items()
    }
    assert set(MONOTONIC) <= placed["normaliser"] and {"local_m", "local_p"} <= placed["window"] and "all" not in placed["window"]


PAIRS = [
    ({one: first, other: second})
    for one, other in itertools.combinations(TABLES, 2)
    for first, second in itertools.product(TABLES[one], TABLES[other])
]


def completions(changes: dict) -> list[ModelConfig]:
    """`changes` with every score, additive first, or with the one they name."""
    scores = [changes["attention"]] if "attention" in changes else TABLES["attention"]
    return [dataclasses.replace(BASE, **changes | {"attention": score}) for score in scores]


@pytest.mark.parametrize("changes", PAIRS, ids=lambda changes: "-".join(changes.values()))
def test_every_pair_of_rows_works_or_is_refused(changes):
    configs = completions(changes)
    allowed = [c for c in configs if not any(broken for broken, _ in combinations.rules(c, rows(c), SIZES))]
    if allowed:
        assert_works(allowed[0])
        return
    with pytest.raises(ConfigError) as error:
        attention.build(configs[0], SIZES)
    message = str(error.value)
    assert all(name in message for name in changes.values()), message
    assert re.search(r"\b(set|use|needs|leave)\b", message), message


def assert_works(config: ModelConfig):
    """One look, in training and in evaluation: finite, with weights that are not negative, and something seen."""
    mechanism = attention.build(config, SIZES)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(mechanism.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype), shapes)
    memory_BxSxM, query_BxM = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((B, S, M), (B, M)))
    prepared = mechanism.prepare(params, memory_BxSxM, jnp.array([[True] * S, [True] * 2 + [False] * 2]))
    for keys_B in (None, jax.random.split(jax.random.key(0), B)):
        state = mechanism.initial(prepared, keys_B)
        context_BxM, weights_BxS, _, terms = mechanism.attend(params, prepared, state, query_BxM, keys_B)
        assert all(bool(np.isfinite(x).all()) for x in (context_BxM, weights_BxS, *jax.tree.leaves(terms)))
        assert (weights_BxS >= 0).all() and not weights_BxS[1, 2:].any()
        assert weights_BxS.any() or config.normaliser in MONOTONIC
