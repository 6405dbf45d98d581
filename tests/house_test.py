"""The house in order: docstrings, the tree of docs/layout.md, package metadata, and imports that stay light."""

import ast
import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((*ROOT.glob("attention_jax/**/*.py"), *ROOT.glob("experiments/**/*.py")))
TESTED = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())

DISTRIBUTIONS = {
    "absl": "absl-py",
    "PIL": "pillow",
    "orbax": "orbax-checkpoint",
    "rouge_score": "rouge-score",
    "tensorflow_datasets": "tensorflow-datasets",
}
"""Where the name on the package index is not the name that is imported."""


def setup() -> configparser.ConfigParser:
    """setup.cfg, parsed."""
    parser = configparser.ConfigParser()
    assert parser.read(ROOT / "setup.cfg"), "no setup.cfg"
    return parser


def requirements() -> list[str]:
    """Lines of requirements.txt, comments aside."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@TESTED
def test_public_things_have_docstrings(path):
    module = ast.parse(path.read_text())
    definitions = [node for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")]
    bare = [f"line {node.lineno}, {node.name}" for node in definitions if not ast.get_docstring(node)]
    assert ast.get_docstring(module), f"{path.relative_to(ROOT)} has no module docstring"
    assert not bare, f"{path.relative_to(ROOT)}: no docstring at {'; '.join(bare)}"


@TESTED
def test_a_public_function_s_docstring_begins_with_a_verb(path):
    """Methods included; a property is described by a noun, as a class is."""
    module = ast.parse(path.read_text())
    public = [node for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")]
    public += [each for node in public if isinstance(node, ast.ClassDef) for each in node.body if isinstance(each, ast.FunctionDef)]
    wrong = []
    for node in public:
        says = ast.get_docstring(node)
        if isinstance(node, ast.ClassDef) or says is None or node.name.startswith("_"):
            continue
        if "property" not in map(ast.unparse, node.decorator_list) and not re.match(r"(?!This|Its)[A-Z][a-z]+s\b", says):
            wrong.append(f"line {node.lineno}, {node.name}")
    assert not wrong, f"{path.relative_to(ROOT)}: no verb at {'; '.join(wrong)}"


def tree_paths(page: str) -> set[str]:
    """Paths in the drawn tree: the fenced block with a line `attention_jax/`, an entry a line, indented by folder."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    block = next((b for b in blocks if re.search(r"^attention_jax/(\s|$)", b, re.MULTILINE)), "")
    paths, folders = set(), []
    for line in filter(str.strip, block.splitlines()):
        drawing, entry = re.match(r"([\s│├└─]*)(\S+)", line).groups()
        while folders and folders[-1][0] >= len(drawing):
            folders.pop()
        path = (folders[-1][1] if folders else "") + entry
        paths.add(path.rstrip("/"))
        if entry.endswith("/"):
            folders.append((len(drawing), path))
    return paths


DRAWN = """text
```
not/this
```
```text
attention_jax/      library
├── types.py        records
└── tasks/          data
    └── copy.py
Makefile
```
"""


def test_reads_a_tree_drawn_or_indented():
    paths = {"attention_jax", "attention_jax/types.py", "attention_jax/tasks", "attention_jax/tasks/copy.py", "Makefile"}
    assert tree_paths(DRAWN) == paths
    assert tree_paths(re.sub("[│├└─]", " ", DRAWN)) == paths
    assert tree_paths("no tree here") == set()


def test_the_tree_is_drawn_as_it_is():
    listed = tree_paths((ROOT / "docs" / "layout.md").read_text())
    assert listed, "docs/layout.md has no tree: a fenced block with a line that starts with attention_jax/"
    gone = sorted(path for path in listed if not (ROOT / path).exists())
    assert not gone, f"docs/layout.md lists what does not exist: {', '.join(gone)}"
    folders = {init.parent for init in ROOT.glob("attention_jax/*/__init__.py")}
    files = {path for path in FILES if len(path.relative_to(ROOT).parts) == 2 and path.name != "__init__.py"}
    missing = {path.relative_to(ROOT).as_posix() for path in folders | files} - listed
    assert not missing, f"the tree of docs/layout.md lacks {', '.join(sorted(missing))}"


def test_one_version():
    version = setup()["metadata"]["version"]
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    headings = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version in headings, f"CHANGELOG.md has no heading for {version}"


def test_licence_and_marker_are_shipped():
    assert (ROOT / "LICENSE").read_text().strip().startswith("Apache License")
    assert setup()["metadata"]["license"] == "Apache-2.0"
    assert (ROOT / "attention_jax" / "py.typed").exists()
    shipped = setup()["options.package_data"]["*"].split()
    left_out = {f"*{p.suffix}" for p in ROOT.glob("attention_jax/**/*") if p.suffix not in ("", ".py", ".pyc", ".typed")} - set(shipped)
    assert not left_out, f"the wheel leaves out {left_out}: see package_data in setup.cfg"


def test_every_folder_of_code_is_a_package():
    bare = sorted({str(p.parent.relative_to(ROOT)) for p in FILES if not (p.parent / "__init__.py").exists()})
    assert not bare, f"no __init__.py, so not in the wheel: {', '.join(bare)}"


def test_every_import_is_declared():
    names = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
    foreign = names - set(sys.stdlib_module_names) - {"attention_jax", "experiments"}
    extra = [line for name in ("tensorboard", "wandb") for line in setup()["options.extras_require"][name].split()]
    declared = {re.split(r"[^\w-]", line)[0] for line in [*requirements(), *extra]}
    undeclared = {DISTRIBUTIONS.get(name, name) for name in foreign} - declared
    assert not undeclared, f"imported but not in requirements.txt: {', '.join(sorted(undeclared))}"


def test_every_requirement_has_a_lower_bound():
    assert [line for line in requirements() if ">=" not in line] == []
    assert setup()["options"]["install_requires"] == "file: requirements.txt"


LIGHT_IMPORTS = """
import importlib, importlib.abc, json, pkgutil, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "torch", "keras"):
            print(json.dumps(name))
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Watch())
for package in ("attention_jax", "experiments"):
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        importlib.import_module(found.name)
print(json.dumps("done"))
"""


@pytest.mark.long
def test_importing_everything_starts_no_device_and_asks_for_no_other_framework():
    """A process has to be able to call `jax.distributed.initialize` after its imports: nothing is computed by them."""
    environment = os.environ | {"JAX_PLATFORMS": "there_is_no_such_platform", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", LIGHT_IMPORTS], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert [json.loads(line) for line in run.stdout.splitlines()] == ["done"]


LOADS = """
import importlib, json, sys
import flax, jax

WATCHED = "absl array_record jinja2 matplotlib optax orbax sacrebleu scipy sentencepiece tensorboardX tensorflow_datasets tqdm wandb"
WATCHED = WATCHED.split()

seen = {name for name in WATCHED if name in sys.modules}
for module in sys.argv[1:]:
    importlib.import_module(module)
    found = {name for name in WATCHED if name in sys.modules} - seen
    print(module, *sorted(found))
    seen |= found
"""

ALONE = (
    "attention layers.recurrence encoders model data.tasks statistics adapters.linen.attention adapters.linen.encoder adapters.interchange"
)
"""What needs JAX, Flax and NumPy only."""


@pytest.mark.long
def test_an_import_loads_no_more_than_it_needs():
    """In this order in one process, beyond what JAX and Flax load themselves: figures, text and statistics load theirs on demand."""
    alone = [f"attention_jax.{name}" for name in ALONE.split()]
    run = subprocess.run(
        [sys.executable, "-c", LOADS, *alone, "attention_jax.training", "attention_jax.trained"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [*alone, "attention_jax.training optax", "attention_jax.trained orbax"]


WITHOUT_POSIX = """
import importlib, os, pkgutil, signal, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "grp", "pwd", "resource", "termios"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in "jax flax optax orbax.checkpoint tensorflow_datasets sentencepiece absl.app tqdm matplotlib jinja2 scipy sacrebleu".split():
    importlib.import_module(name)  # what they need of POSIX, where they find it, is theirs
sys.modules.pop("fcntl", None)
sys.meta_path.insert(0, Hidden())
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGKILL", "SIGALRM"):
    delattr(signal, name)
for name in ("pread", "pwrite", "fork", "getuid", "sched_getaffinity"):
    delattr(os, name)
"""


@pytest.mark.long
def test_everything_is_imported_without_posix_and_a_command_says_what_it_needs(tmp_path):
    """As on Windows, as far as that can be told elsewhere."""
    every = """
for package in ("attention_jax", "experiments"):
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        importlib.import_module(found.name)
from experiments import run
sys.argv[1:] = ["--experiment=bottleneck", "--list"]
run.cli()
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WITHOUT_POSIX + every]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr == "error: the experiments need Linux or macOS: file locks and signals of POSIX; on Windows they run in WSL\n"


@pytest.mark.parametrize("pythons", ["nonsense", f"{sys.executable} {sys.executable}"], ids=["none", "the same twice"])
def test_ci_fails_where_there_are_not_two_pythons(pythons, tmp_path):
    (tmp_path / "make").write_text("#!/bin/sh\necho make was called\n")
    (tmp_path / "make").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONS": pythons}
    run = subprocess.run(["bash", ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, timeout=60)
    found = "neither" if pythons == "nonsense" else f"{sys.version_info.major}.{sys.version_info.minor}"
    line = f'.ci/run needs Python 3.11 and 3.12 and finds {found}: name both, PYTHONS="python3.11 /path/to/python3.12"\n'
    assert (run.returncode, run.stdout, run.stderr) == (1, "", line)


@pytest.mark.parametrize("file", [".ci/run", "Makefile"])
def test_what_sets_itself_up_names_no_host_and_no_manager_of_pythons(file):
    """Packages come from where pip is told to look, Pythons from the path and from beside the one that is there."""
    text = (ROOT / file).read_text()
    assert re.findall(r"\w+://\S+|(?i:pyenv|conda|mamba|asdf|\buv\b|\bmise\b)\S*", text) == []


def test_ci_finds_a_python_beside_the_first_one(tmp_path):
    """`python3` on the path is 3.11; 3.12 lies in a neighbouring folder, as those who install several have them."""
    for version in ("3.11", "3.12"):
        program = tmp_path / "pythons" / version / "bin" / "python3"
        program.parent.mkdir(parents=True)
        program.write_text(f"""#!/bin/sh\ncase "$*" in *base_prefix*) echo {tmp_path}/pythons ;; *) echo {version} ;; esac\n""")
        program.chmod(0o755)
    (tmp_path / "make").write_text('#!/bin/sh\necho "make $*"\nexit 1\n')
    (tmp_path / "make").chmod(0o755)
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONS"}
    path = f"{tmp_path}:{tmp_path}/pythons/3.11/bin:/usr/bin:/bin"
    command = ["bash", ROOT / ".ci" / "run"]
    run = subprocess.run(command, env=ours | {"PATH": path}, capture_output=True, text=True, timeout=60)
    newer = tmp_path / "pythons" / "3.12" / "bin" / "python3"
    assert run.returncode == 1 and f"make test PYTHON={newer} " in run.stdout, run.stdout + run.stderr


def test_contributing_names_targets_and_tests_that_exist():
    page, targets = (ROOT / "CONTRIBUTING.md").read_text(), (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page, re.MULTILINE))
    assert {"test", "lint", "release-check"} <= named <= set(re.findall(r"^([a-z-]+):", targets, re.MULTILINE))
    for file, test in re.findall(r"(tests/\w+(?:/\w+)*\.py)(?:::(\w+))?", page):
        assert f"def {test}" in (ROOT / file).read_text(), f"{file} has no {test}"
