"""Data flows one way: a file imports only from files before it in `ROOMS`, and some libraries have one home."""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent

ROOMS = "types system config layers data encoders attention model training statistics running trained report sweeps adapters".split()
"""Files and folders of attention_jax/, in the order in which they may import each other."""

HOMES = {
    "absl": "experiments.run experiments.launch",
    "matplotlib": "attention_jax.report.figures",
    "jinja2": "attention_jax.report.report",
    "tensorboardX": "attention_jax.running.tensorboard",
    "wandb": "attention_jax.running.weights_and_biases",
    "orbax": "attention_jax.running.checkpoint",
    "tensorflow_datasets": "attention_jax.data.corpora",
    "flax.linen": "attention_jax.adapters.linen",
    "tensorflow": "nowhere",
    "torch": "nowhere",
}
"""Third-party libraries that only these files or folders may import."""

COMMANDS = ("experiments.run", "experiments.launch")
"""What is called from a shell; the other files of experiments/ are claims."""

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "constants", "common", "misc", "base"}
MAXIMUM_LINES = 400
MAXIMUM_FUNCTION_LINES, MAXIMUM_BRANCHES = 60, 15

FILES = sorted((*ROOT.glob("attention_jax/**/*.py"), *ROOT.glob("experiments/**/*.py")))
WRITTEN = sorted((*FILES, *ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("docs/**/*.py")))
"""Whose functions are held to a length: all but tests and what only tests use."""

TESTED = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())


def module_name(path: Path) -> str:
    """attention_jax/data/tasks/copy.py → attention_jax.data.tasks.copy; a folder's __init__.py is the folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import; `from a import b` counts as a.b, relative ones are made absolute."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(source, str(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            prefix = ".".join(filter(None, (above, node.module)))
            found += [(node.lineno, f"{prefix}.{alias.name}") for alias in node.names]
    return found


def is_within(name: str, package: str) -> bool:
    """Whether `name` is `package` or something in it."""
    return name == package or name.startswith(package + ".")


def objection(importer: Path, imported: str) -> str:
    """Why this import may not be; empty where it may."""
    name = module_name(importer)
    for package, home in HOMES.items():
        if is_within(imported, package) and not any(is_within(name, each) for each in home.split()):
            return f"{package} is imported by {home} only"
    if is_within(imported, "experiments"):
        return "" if name in COMMANDS else f"only {' and '.join(COMMANDS)} may import from experiments"
    if not is_within(imported, "attention_jax"):
        return ""
    if name == "attention_jax":
        return "attention_jax/__init__.py is a docstring only"
    parts = imported.split(".")
    if len(parts) < 2 or parts[1] not in ROOMS:
        return f"{imported} is not in ROOMS, the list at the top of this test"
    if is_within(name, "experiments"):
        return ""
    own, other = name.split(".")[1], parts[1]
    if own in ROOMS and ROOMS.index(other) > ROOMS.index(own):
        return f"{other} comes after {own}; the order is {', '.join(ROOMS)}"
    init = importer.parent / "__init__.py"
    package = module_name(init)
    if importer == init or not is_within(imported, package) or sibling(init.parent, parts[len(package.split(".")) :]):
        return ""
    circular = any(is_within(name, used) or is_within(used, name) for _, used in imports(init.read_text(), init))
    return f"{package} imports this file, so this file cannot import {imported} from there" if circular else ""


def sibling(folder: Path, parts: list[str]) -> bool:
    """Whether the first of `parts` is a file or folder of `folder`."""
    return bool(parts) and ((folder / f"{parts[0]}.py").exists() or (folder / parts[0]).is_dir())


@TESTED
def test_imports_only_what_comes_before(path):
    broken = [f"line {line}, {name}: {why}" for line, name in imports(path.read_text(), path) if (why := objection(path, name))]
    assert not broken, f"{path.relative_to(ROOT)}: " + "; ".join(broken)


@TESTED
def test_has_a_place_in_the_order(path):
    parts = module_name(path).split(".")
    if parts[0] == "attention_jax" and len(parts) > 1:
        assert parts[1] in ROOMS, f"{path.relative_to(ROOT)}: say where it stands in ROOMS, the list at the top of this test"


def test_no_file_is_long():
    lines = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in (*WRITTEN, *ROOT.glob("tests/**/*.py"))}
    long = [f"{path} has {count} lines" for path, count in lines.items() if count > MAXIMUM_LINES]
    assert not long, f"{'; '.join(long)}: make it a folder of the same name, or two files"


@TESTED
def test_is_named_for_what_it_does(path):
    vague = FORBIDDEN_NAMES.intersection(path.relative_to(ROOT).with_suffix("").parts)
    assert not vague, f"{path.relative_to(ROOT)}: {', '.join(vague)} says nothing; name it for what it does"


def branches(function: ast.AST) -> int:
    """Where a function goes one way or another, inner functions included: if, for, while, ternaries and except, operands of `and`
    and `or` after the first, each `for` of a comprehension."""
    nodes = list(ast.walk(function))
    ways = (ast.If, ast.For, ast.While, ast.IfExp, ast.ExceptHandler, ast.comprehension)
    return sum(isinstance(node, ways) for node in nodes) + sum(len(node.values) - 1 for node in nodes if isinstance(node, ast.BoolOp))


def too_much(source: str) -> list[str]:
    """The functions that do not fit a screen or a head."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    found = [(node, node.end_lineno - node.lineno + 1, branches(node)) for node in functions]
    return [
        f"line {node.lineno}, {node.name}: {lines} lines, {ways} branches"
        for node, lines, ways in found
        if lines > MAXIMUM_FUNCTION_LINES or ways > MAXIMUM_BRANCHES
    ]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_fit_a_screen(path):
    found = too_much(path.read_text())
    limits = f"at most {MAXIMUM_FUNCTION_LINES} lines and {MAXIMUM_BRANCHES} branches"
    assert not found, f"{path.relative_to(ROOT)}: {'; '.join(found)}; {limits}: cut them, or make rows of a table"


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("return x", 0),
        ("return 1 if x and y or z else 2", 3),
        ("return [a for b in x if b for a in b]", 2),
        ("for a in x:\n  while a:\n   try: pass\n   except OSError: pass", 3),
        ("if x: pass\n elif y: pass\n else:\n  def g(): return 1 if z else 2", 3),
    ],
)
def test_branches_are_counted(body, count):
    (function,) = ast.parse(f"def f(x):\n {body}").body
    assert branches(function) == count


def test_what_is_too_much():
    assert too_much("def f():\n" + "    pass\n" * 59 + "def g(x):\n    return " + " or ".join("x" * 16)) == []
    assert len(too_much("def f():\n" + "    pass\n" * 60 + "def g(x):\n    return " + " or ".join("x" * 17))) == 2


def test_there_are_few_doors():
    doors = {
        path.relative_to(ROOT / "attention_jax").parts[0].removesuffix(".py")
        for path in FILES
        if is_within(module_name(path), "attention_jax")
    }
    assert doors - {"__init__"} == set(ROOMS) and len(ROOMS) <= 15


def test_no_file_imports_one_that_imports_it():
    names = {module_name(path) for path in FILES}
    needs = {}
    for path in FILES:
        found = {max((n for n in names if is_within(used, n)), key=len, default="") for _, used in imports(path.read_text(), path)}
        needs[module_name(path)] = found - {"", "attention_jax", "experiments", module_name(path)}
    while free := [name for name, needed in needs.items() if not needed & needs.keys()]:
        for name in free:
            del needs[name]
    assert not needs, f"in a circle, or behind one: {', '.join(sorted(needs))}"


def test_package_is_a_docstring_only():
    for package in ("attention_jax", "experiments"):
        body = ast.parse((ROOT / package / "__init__.py").read_text()).body
        assert [type(node) for node in body] == [ast.Expr], f"{package}/__init__.py holds more than its docstring"


@pytest.mark.parametrize(
    ("importer", "statement", "allowed"),
    [
        ("attention_jax/model/__init__.py", "from attention_jax.model import decoder", True),
        ("attention_jax/model/__init__.py", "from attention_jax.layers.affine import affine", True),
        ("attention_jax/model/decoder.py", "from attention_jax import model", False),
        ("attention_jax/model/decoder.py", "from . import build", False),
        ("attention_jax/model/decoder.py", "from attention_jax.model.readout import build", True),
        ("attention_jax/model/decoder.py", "def f():\n    import attention_jax.training.losses", False),
        ("attention_jax/model/decoder.py", "from experiments import run", False),
        ("attention_jax/model/decoder.py", "from absl import flags", False),
        ("attention_jax/model/decoder.py", "from flax import linen", False),
        ("attention_jax/model/decoder.py", "from flax import struct", True),
        ("attention_jax/model/decoder.py", "from attention_jax import novelty", False),
        ("attention_jax/types.py", "import jax", True),
        ("attention_jax/report/figures/curves.py", "import matplotlib.pyplot as plt", True),
        ("attention_jax/report/report.py", "import matplotlib.pyplot as plt", False),
        ("attention_jax/data/tasks/__init__.py", "from attention_jax.data.tasks import copy", True),
        ("attention_jax/data/tasks/reverse.py", "from attention_jax.data.tasks import copy", True),
        ("attention_jax/data/tasks/reverse.py", "from attention_jax.data.tasks import TABLE", False),
        ("attention_jax/data/corpora/pairs.py", "from attention_jax.data.corpora import TABLE", True),
        ("attention_jax/__init__.py", "from attention_jax.types import Batch", False),
        ("experiments/run.py", "from . import bottleneck", True),
        ("experiments/bottleneck.py", "from attention_jax.sweeps import sweep", True),
        ("experiments/bottleneck.py", "from . import translation_length", False),
        ("experiments/bottleneck.py", "import tensorflow as tf", False),
        ("experiments/bottleneck.py", "from absl import flags", False),
        ("experiments/launch.py", "from absl import flags", True),
        ("experiments/launch.py", "from . import run", True),
    ],
)
def test_the_rule_itself(importer, statement, allowed):
    path = ROOT / importer
    verdicts = [objection(path, name) for _, name in imports(statement, path)]
    assert (not any(verdicts)) == allowed, verdicts
