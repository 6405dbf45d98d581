"""Suffixes are true: `memory_BxSxM` has three axes wherever a model is traced, and what one function calls S has one size there.

Every function of the library is watched while models train and search on shapes alone: its arguments when it is called, its local
variables when it returns, with the fields of records among them. A record's letters are its own: what a memory calls S may be fewer
places than the source has. A leading x stands for any axes before those named (`h_xH`), one at the end for any after them (`x_BxKx`).
A number is that size, also before a letter (`a_x2R`). Letters are those of `attention_jax`, and a function's own.
"""

import re
import sys
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

import attention_jax
from attention_jax import model, training
from attention_jax.config import ModelConfig, SearchConfig, TrainingConfig
from attention_jax.types import Batch

pytestmark = pytest.mark.once

PACKAGE = attention_jax.__path__[0]
SUFFIX = re.compile(r"_(x?)((?:\d*[A-Z]+|\d+)(?:x(?:\d*[A-Z]+|\d+))*)(x?)")
B, S, T, V = 3, 4, 5, 11
SIZES = {"hidden_size": 6, "embedding_size": 7, "attention_size": 10, "dropout": 0.1}  # M is 12
MODELS = {  # between them they name all rows whose arrays differ
    "additive": {},
    "after": {"timing": "after", "attention": "general", "decoder_layers": 2, "residual": True, "copy": True, "start": "zero"},
    "between": {"timing": "between", "attention": "cosine", "cell": "gru_before", "transition": 2, "context_gate": "both"},
    "feeding": {"timing": "after", "feeding": True, "attention": "weight_normalised", "readout": "maxout", "tied": "all"},
    "gnmt": {"decoder": "gnmt", "encoder": "gnmt", "layers": 2, "decoder_layers": 2, "cell": "lstm"},
    "none": {"attention": "none", "cell": "mingru"},
    "summary": {"attention": "summary", "vector_size": 2, "cell": "minlstm"},
    "location aware heads": {"attention": "location_aware", "normaliser": "sparsemax", "start": "backward", "heads": 2},
    "coverage": {"attention": "coverage", "normaliser": "entmax15", "fertility": 2.0},
    "gaussian": {"attention": "gaussian", "normaliser": "exponential", "cell": "diagonal"},
    "gmm_v2": {"attention": "gmm_v2", "normaliser": "forward_agent"},
    "dynamic convolution": {"attention": "dynamic_convolution", "normaliser": "stepwise", "filter_width": 9},
    "mocha": {"normaliser": "mocha", "attention": "concat", "cell": "rnn"},
    "pyramidal": {"encoder": "pyramidal", "layers": 2, "window": "local_p", "normaliser": "smoothing"},
    "convolutional": {"encoder": "convolutional", "stride": 2, "convolutions": 2, "estimator": "straight_through", "window": "local_m"},
    "image": {"encoder": "image", "stride": 2, "kernel": 2, "estimator": "reinforce", "baseline": "learned", "mixing": 0.5},
    "self-attention": {"encoder": "self_attention", "layers": 2, "decoder_cell": "lstm"},
    "heads of slots": {"heads": 2, "slots": 2, "vector_size": 8, "timing": "after", "attention": "scaled_dot", "decoder_size": 8},
    "variational": {"estimator": "variational", "timing": "after"},
}


class Watched:
    """What is wrong with suffixes, (function, name): why, of everything that is called inside `with`."""

    def __init__(self):
        self.wrong: dict[tuple[str, str], str] = {}
        self.seen = 0

    def __enter__(self):
        self.before = sys.getprofile()
        sys.setprofile(self.look)
        return self

    def __exit__(self, *_):
        sys.setprofile(self.before)

    def look(self, frame, event, _):
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        variables = frame.f_locals
        records = [(f"{name}.", {field: getattr(value, field) for field in fields(type(value))}) for name, value in variables.items()]
        for prefix, arrays in (("", variables), *records):
            sizes: dict[str, tuple[int, str]] = {}
            for name, array in arrays.items():
                if suffix(name) and hasattr(array, "shape"):
                    self.seen += 1
                    if why := objection(name, array.shape, sizes):
                        path = frame.f_code.co_filename.removeprefix(PACKAGE + "/")
                        self.wrong[f"{path}:{frame.f_code.co_firstlineno} {frame.f_code.co_name}", prefix + name] = why


class Suffix(NamedTuple):
    """Axes that a name says, as (number, letter): (2, "R") for 2R, (1, "") for 1."""

    more_before: bool
    axes: tuple[tuple[int, str], ...]
    more_after: bool


@cache
def suffix(name: str) -> Suffix | None:
    """The suffix of a name; None for one that has none, and for constants."""
    found = SUFFIX.fullmatch(name[name.rfind("_") :]) if "_" in name and not name.isupper() else None
    if not found:
        return None
    pairs = (re.fullmatch(r"(\d*)(.*)", axis).groups() for axis in found[2].split("x"))
    return Suffix(bool(found[1]), tuple((int(number or 1), letter) for number, letter in pairs), bool(found[3]))


@cache
def fields(record: type) -> list[str]:
    """Those of a named tuple or a dataclass, whose names have suffixes."""
    return [name for name in getattr(record, "_fields", getattr(record, "__dataclass_fields__", ())) if suffix(name)]


def objection(name: str, shape: tuple[int, ...], sizes: dict[str, tuple[int, str]]) -> str:
    """What the suffix of a name says that the shape is not; `sizes` are the letters of the same function, and who said so first."""
    more_before, axes, more_after = suffix(name) or Suffix(True, (), True)
    if len(shape) < len(axes) or (len(shape) > len(axes) and not more_before and not more_after):
        return f"has shape {shape}"
    part = shape[len(shape) - len(axes) :] if more_before else shape[: len(axes)]
    for (number, letter), size in zip(axes, part, strict=True):
        known, who = sizes.setdefault(letter, (size // number, name)) if letter else (1, name)
        if size != number * known:
            return f"has shape {shape}, but {letter or 1} is {known} in {who}"
    return ""


BATCH = Batch(
    source_BxS=jnp.ones((B, S), jnp.int32),
    source_mask_BxS=jnp.ones((B, S), bool),
    target_BxT=jnp.ones((B, T), jnp.int32),
    target_mask_BxT=jnp.ones((B, T), bool),
    gold_BxT=jnp.zeros((B, T), jnp.int32),
    length_B=jnp.ones(B, jnp.int32),
    example_B=jnp.arange(B, dtype=jnp.int32),
)


def check(function: Callable) -> None:
    """Traces a function of a batch on shapes alone; nothing may be wrong with the suffixes of what it calls."""
    with Watched() as watched:
        jax.eval_shape(function, BATCH)
    assert watched.seen > 100
    wrong = [f"{where}: {name} {why}" for (where, name), why in watched.wrong.items()]
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_suffixes_of_models(name):
    """A gradient, with all regularisers, and a step of the decoder running freely."""
    regularisers = {} if name in ("none", "summary") else {"coverage": 1.0, "doubly_stochastic": 1.0, "guided": 1.0}
    config = TrainingConfig(smoothing=0.1, sampling="scheduled" if name == "additive" else "forced", **regularisers)
    built = model.build(ModelConfig(**(SIZES | MODELS[name])), V)

    def life(batch):
        state = training.init(built, config, 0, 0.1)
        gradient = jax.grad(lambda params: training.forward(params, state, batch, built, config).objective)(state.params)
        prepared, carried = built.start(gradient, batch.source_BxS, batch.source_mask_BxS)
        return built.step(gradient, prepared, carried, batch.length_B)

    check(life)


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_suffixes_of_searches(method):
    settings = {"sample": {"top_k": 3, "top_p": 0.9}, "beam": {"beam_size": 6, "n_best": 2, "replace_unknown": True, "forward_window": 2}}
    built = model.build(ModelConfig(**SIZES), V)
    search = SearchConfig(method, **settings.get(method, {}))
    check(lambda batch: training.eval_free(built.init(jax.random.key(0)), batch, built, settings=search))


def test_suffixes_of_evaluation():
    built = model.build(ModelConfig(**SIZES), V)
    check(lambda batch: training.eval_forced(built.init(jax.random.key(0)), batch, built))


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        ({"memory_BxSxM": (2, 3, 4)}, False),
        ({"context_BxTxC": (2, 4)}, True),
        ({"memory_BxSxM": (2, 3, 4), "mask_BxS": (2, 4)}, True),
        ({"h_xH": (4,), "a_x2H": (3, 8)}, False),
        ({"h_xH": (4,), "a_x2H": (3, 9)}, True),
        ({"h_xH": ()}, True),
        ({"x_BxKx": (2, 3, 4, 5), "y_BxK": (2, 3)}, False),
        ({"gate_BxTx1": (2, 3, 1)}, False),
        ({"gate_BxTx1": (2, 3, 2)}, True),
        ({"carry_BxLF": (2, 6), "first_state": (), "token_embedding": (1,)}, False),
    ],
)
def test_the_rule_itself(names, wrong):
    sizes = {}
    assert any(objection(name, shape, sizes) for name, shape in names.items()) == wrong
