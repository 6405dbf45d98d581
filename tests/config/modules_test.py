"""Flax modules hold their settings against the same rules as the functions that they wrap."""

import jax
import numpy as np
import pytest

from attention_jax.adapters.linen.attention import Attention
from attention_jax.adapters.linen.cells import Cell
from attention_jax.adapters.linen.encoder import Encoder
from attention_jax.system.errors import ConfigError

E, H, M = 3, 4, 6

MODULES = {
    "Encoder": lambda **changes: Encoder(**changes).init(jax.random.key(0), np.zeros((1, 2, E), np.float32)),
    "Attention": lambda **changes: Attention(**changes).init(
        jax.random.key(0), np.zeros((1, 2, H), np.float32), np.zeros((1, 2, M), np.float32)
    ),
    "Cell": lambda **changes: Cell(**changes).init(jax.random.key(0), np.zeros((1, H), np.float32), np.zeros((1, E), np.float32)),
}


@pytest.mark.parametrize(
    ("module", "changes", "said"),
    [
        ("Encoder", {"direction": "bot"}, r"model\.direction='bot' is unknown \(did you mean 'both'\?\)"),
        ("Encoder", {"hidden_size": 4.0}, r"model\.hidden_size=4\.0 does not fit: it must be a whole number"),
        ("Encoder", {"hidden_size": 0}, r"model\.hidden_size=0 is impossible: it must be at least 1"),
        ("Encoder", {"dropout": 1.5}, r"model\.dropout=1\.5 is impossible: it must be below 1"),
        ("Encoder", {"encoder": "image", "loop": "scn"}, r"model\.loop='scn' is unknown"),
        ("Attention", {"baseline": "avrage"}, r"model\.baseline='avrage' is unknown \(did you mean 'average'\?\)"),
        ("Attention", {"score_temperature": 0.0}, r"model\.score_temperature=0\.0 is impossible"),
        ("Attention", {"heads": True}, r"model\.heads=True does not fit"),
        ("Cell", {"features": 0}, r"model\.hidden_size=0 is impossible"),
        ("Cell", {"features": 4.0}, r"model\.hidden_size=4\.0 does not fit"),
        ("Cell", {"features": 4, "cell": "gruu"}, r"model\.cell='gruu' is unknown"),
    ],
)
def test_modules_refuse_what_the_functions_refuse(module, changes, said):
    with pytest.raises(ConfigError, match=said):
        MODULES[module](**changes)
