"""What type checkers see: public functions say their types, and a user's misspelt setting is an error."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("attention_jax", "experiments", "benchmarks")
FILES = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py"))

USER = """
import jax
import numpy as np

from attention_jax import attention, model
from attention_jax.adapters.linen.attention import Attention
from attention_jax.adapters.linen.encoder import Encoder
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig

memory_BxSxM, query_BxH, mask_BxS = np.zeros((2, 5, 4), np.float32), np.zeros((2, 3), np.float32), np.ones((2, 5), bool)

module = Attention(attention="additive", normaliser="sparsemax", attention_size=8, name="looks")
variables = module.init(jax.random.key(0), query_BxH, memory_BxSxM, mask_BxS)
states = Encoder(cell="lstm", hidden_size=8, dtype=np.float32)
config = ModelConfig(normaliser="entmax", alpha=1.5)

mechanism = attention.build(config, Sizes(4, 3, 8))
params = mechanism.init(jax.random.key(0))
prepared = mechanism.prepare(params, memory_BxSxM, mask_BxS)
context_BxC, weights_BxS, state, terms = mechanism.attend(params, prepared, mechanism.initial(prepared), query_BxH)
logits_BxV = model.build(config, 10).step(params, prepared, state, np.zeros(2, np.int32))[0]

Attention(normalizer="sparsemax")  # wrong
Attention(normaliser=3)  # wrong
Encoder(hiden_size=8)  # wrong
ModelConfig(normalizer="entmax")  # wrong
ModelConfig(alpha="1.5")  # wrong
mechanism.prepare(memory_BxSxM, mask_BxS)  # wrong
mechanism.look(params)  # wrong
attention.build(config)  # wrong
"""
WRONG = {number for number, line in enumerate(USER.splitlines(), 1) if line.endswith("# wrong")}


def said_by_pyright(folder: Path) -> dict[int, str]:
    """{line of the user's file: error}."""
    (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)], "typeCheckingMode": "standard"}))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "user.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1: each["message"] for each in found if each["severity"] == "error"}


def said_by_mypy(folder: Path) -> dict[int, str]:
    """The same; errors in the package itself are not asked for, as none are of an installed one."""
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--no-error-summary", "--cache-dir=cache", "user.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"MYPYPATH": str(ROOT)})
    assert not done.stderr, done.stderr
    return {int(line): message for line, message in re.findall(r"^user\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE)}


@pytest.mark.long
@pytest.mark.parametrize("checker", [said_by_pyright, said_by_mypy])
def test_misspelt_settings_are_errors_and_right_ones_are_none(checker, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    found = checker(tmp_path)
    assert set(found) == WRONG, found


def bare_parameters(source: str) -> list[str]:
    """Parameters of public functions and methods that are not annotated."""
    found = []

    def search(body: list[ast.stmt], above: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                search(node.body, f"{node.name}.")
            elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name.endswith("__")):
                rest = [each for each in (node.args.vararg, node.args.kwarg) if each]
                named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, *rest]
                found.extend(f"{above}{node.name}({a.arg})" for a in named if not a.annotation and a.arg not in ("self", "cls"))

    search(ast.parse(source).body, "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_public_parameters_are_annotated(path):
    assert not bare_parameters(path.read_text())


def test_bare_parameters_are_found():
    source = "def f(a, b: int, *c, d=1): ...\ndef _g(x): ...\nclass K:\n    def h(self, y): ...\n    def __call__(self, z: int): ...\n"
    assert bare_parameters(source) == ["f(a)", "f(d)", "f(c)", "K.h(y)"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("attention_jax/types/*.py")), ids=lambda path: path.name)
def test_function_fields_are_protocols(path):
    assert "Callable" not in {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
