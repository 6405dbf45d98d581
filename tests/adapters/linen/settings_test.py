"""The fields of the modules are the settings of the config: names, types, defaults, order."""

import dataclasses

import pytest

from attention_jax.adapters.linen import settings
from attention_jax.config import ModelConfig

FIELDS = dataclasses.fields(ModelConfig)
NAMES = [field.name for field in FIELDS]
EXPECTED = {
    settings.AttentionSettings: NAMES[: NAMES.index("encoder")],
    settings.EncoderSettings: [*(n for n in NAMES[NAMES.index("encoder") : NAMES.index("decoder")] if n != "embedding_size"), "dropout"],
}


@pytest.mark.parametrize("module", EXPECTED, ids=lambda module: module.__name__)
def test_fields_are_those_of_the_config(module):
    of_flax = ("parent", "name")
    own = [(field.name, field.type, field.default) for field in dataclasses.fields(module) if field.name not in of_flax]
    assert own == [(field.name, field.type, field.default) for field in FIELDS if field.name in EXPECTED[module]]
