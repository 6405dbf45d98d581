"""What is installed: one top-level name, the same commands as in a checkout, and no file under two names."""

import ast
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUP = "setup.cfg setup.py pyproject.toml requirements.txt README.md LICENSE".split()
FOLDERS = "attention_jax", "experiments"

build = pytest.importorskip("build", reason="build is not installed: pip install -e '.[dev]'")
if int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
    pytest.skip("setuptools is older than 77: pip install -e '.[dev]'", allow_module_level=True)

LISTING = ["--experiment=bottleneck", "--list"]

AT_THE_END = """
import atexit, json, os, sys
from pathlib import Path

def tell():
    files = {}
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "/")
        if {"attention_jax", "experiments"} & {folder.name for folder in path.parents}:
            files.setdefault(str(path), []).append(name)
    Path(os.environ["NAMES"]).write_text(json.dumps(files))

atexit.register(tell)
if "FINDER" in os.environ:
    (finder,) = Path(os.environ["FINDER"]).glob("__editable__*finder.py")
    exec(finder.read_text(), found := {})  # not by its name: this environment may have one of the same name
    found["install"]()
    sys.meta_path.insert(0, sys.meta_path.pop())
"""
"""The sitecustomize.py of a process: writes the names of what it loaded from where, at its end; installs an editable wheel's finder."""


def run(command: list[str], cwd: Path, **environment: str | Path) -> str:
    """What a command prints; that it succeeds is asserted."""
    ours = os.environ | {name: str(value) for name, value in environment.items()}
    done = subprocess.run([sys.executable, *command], cwd=cwd, env=ours, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what the package is made of: a build leaves files behind."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SETUP:
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    """The wheel, built from the source archive as `make wheel` builds it."""
    dist = tmp_path_factory.mktemp("dist")
    run(["-m", "build", "--no-isolation", f"--outdir={dist}"], checkout)
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder that pip installs the wheel into, without what it requires."""
    folder = tmp_path_factory.mktemp("installed")
    run(["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", f"--target={folder}", str(wheel)], folder)
    return folder


@pytest.fixture(scope="module")
def editable(checkout, tmp_path_factory) -> Path:
    """The folder of what `pip install --editable` puts beside other packages: a finder of the checkout's files."""
    folder = tmp_path_factory.mktemp("editable")
    code = f"from setuptools import build_meta; build_meta.build_editable({str(folder)!r})"
    run(["-c", code], checkout)
    (made,) = folder.glob("*.whl")
    with zipfile.ZipFile(made) as file:
        file.extractall(folder)
    return folder


@pytest.fixture
def project(tmp_path) -> Path:
    """A user's folder with experiments of his own, which hide any other package of that name."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise ImportError('these are the experiments of the user')\n")
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(AT_THE_END)
    return tmp_path


def path(*folders: Path) -> str:
    """Folders as $PYTHONPATH wants them."""
    return os.pathsep.join(map(str, folders))


def names(project: Path) -> dict[str, list[str]]:
    """Of every file of ours that the last command loaded: its names among the modules, `__main__` aside where it is the only one."""
    return json.loads((project / "names").read_text())


def test_the_wheel_owns_one_name_and_holds_every_file(wheel):
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in held} == {"attention_jax"}
    library = {p.relative_to(ROOT).as_posix() for p in (ROOT / "attention_jax").rglob("*") if p.is_file()}
    claims = {f"attention_jax/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "experiments").rglob("*") if p.is_file()}
    assert held == {name for name in library | claims if "__pycache__" not in name}


@pytest.mark.long
@pytest.mark.parametrize("way", ["checkout", "wheel", "script", "editable"])
def test_every_way_to_start_it_does_the_same_under_one_name(way, request, project):
    """Beside a user's own experiments, but for the checkout, which is started in its own folder."""
    watch = {"NAMES": project / "names", "PYTHONPATH": project / "watch"}
    checkout, package, cwd = request.getfixturevalue("checkout"), "attention_jax.experiments", project
    match way:
        case "checkout":
            package, cwd, root = "experiments", checkout, checkout
        case "editable":
            watch["FINDER"], root = request.getfixturevalue("editable"), checkout
        case _:
            root = request.getfixturevalue("installed")
            watch["PYTHONPATH"] = path(project / "watch", root)
    command = [str(root / "bin" / "attention-jax")] if way == "script" else ["-m", f"{package}.run"]
    listed = run([*command, *LISTING], cwd, **watch)
    assert listed.splitlines()[-1].startswith("8 ") and "additive-gru-h16-d8-u400" in listed
    loaded = names(project)
    assert {file for file in loaded if not file.startswith(str(root))} == set()
    assert {tuple(found) for found in loaded.values() if len(found) > 1} == set()
    claim = next(found for file, found in loaded.items() if file.endswith("bottleneck.py"))
    assert claim == [f"{package}.bottleneck"]


@pytest.mark.long
def test_a_sweep_is_launched_under_the_installed_name(installed, project):
    watch = {"NAMES": project / "names", "PYTHONPATH": path(project / "watch", installed)}
    scripts = run(["-m", "attention_jax.experiments.launch", "--experiment=bottleneck", "--dry_run"], project, **watch)
    assert scripts.count(f"{sys.executable} -m attention_jax.experiments.run") == 2 and "-m experiments.run" not in scripts
    assert [found for found in names(project).values() if len(found) > 1] == []


def test_experiments_do_not_know_their_own_name():
    """Their files name each other relatively: the package is `experiments` in a checkout and `attention_jax.experiments` elsewhere."""
    for file in (ROOT / "experiments").glob("**/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                found = [node.module]
            assert not [name for name in found if "experiments" in name.split(".")], f"{file.name}, line {node.lineno}"
