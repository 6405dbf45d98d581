"""Nothing that a workdir, a config or a data set holds is ever run: nothing unpickled or evaluated, by us or by a library for us."""

import ast
import json
import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import trained
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.data.corpora import pairs, subwords
from attention_jax.running import checkpoint, loop, results
from attention_jax.system.errors import ConfigError, DataError, RunError

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((*ROOT.glob("attention_jax/**/*.py"), *ROOT.glob("experiments/**/*.py")))
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "runpy", "code", "imp"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile", "breakpoint", "input"}
ATTRIBUTES = set("from_string Markup system popen spawnl load_module literal_eval fromfile loadtxt".split())
IMPORTERS = {"attention_jax/data/corpora/__init__.py", "attention_jax/sweeps/claims.py"}
"""Where a module is imported by name; the names come from a table, or from the command line."""
RUNNER = "attention_jax/sweeps/claims.py"
"""Where a file is run: the one that `--experiment=path/to/mine.py` names, never one that data name."""

TINY = Config(
    experiment="bottleneck",
    run="additive",
    model=ModelConfig(hidden_size=4, embedding_size=3),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(2,), eval_examples=2),
    training=TrainingConfig(seeds=1, updates=2, batch_size=2, warmup=1, chunk=2, checkpoint_every=2),
)


def offences(source: str, file: str) -> list[str]:
    """What would run data as a program."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            names = [module for module in modules if module.split(".")[0] in MODULES]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            names = [node.func.id]
        elif isinstance(node, ast.Attribute) and (node.attr in ATTRIBUTES or ast.unparse(node) in ("np.load", "numpy.load", "jnp.load")):
            names = [node.attr]
        elif isinstance(node, ast.Attribute) and node.attr == "import_module" and file not in IMPORTERS:
            names = ["import_module"]
        elif isinstance(node, ast.Attribute) and node.attr == "exec_module" and file != RUNNER:
            names = ["exec_module"]
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell") and ast.unparse(node.value) != "False":
            names = [node.arg]
        found += [f"{file}, line {node.lineno}: {name}" for name in names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_here_runs_data(path):
    assert offences(path.read_text(), path.relative_to(ROOT).as_posix()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import loads",
        "def f():\n    import marshal as m",
        "eval('1')",
        "np.load(file)",
        "f(allow_pickle=True)",
        "f(allow_pickle=x)",
        "run('ls', shell=True)",
        "os.system('ls')",
        "environment.from_string(text)",
        "importlib.import_module(name)",
    ],
)
def test_the_rule_itself(source):
    assert len(offences(source, "attention_jax/model.py")) == 1


INCLUDED = r'\{% include "(\w+\.(?:html\.j2|js))" %\}'
"""The one way to include: a file of the package, by its name."""


def test_templates_escape_everything():
    paths = list(ROOT.glob("attention_jax/**/*.j2"))
    assert len(paths) > 3
    for path in paths:
        text = path.read_text()
        assert not re.search(r"\|\s*(safe|tojson|attr|map)\b|autoescape|\b(include|import)\b", re.sub(INCLUDED, "", text)), path
        assert all((path.parent / name).is_file() for name in re.findall(INCLUDED, text))


SCRIPTS = sorted(ROOT.glob("attention_jax/**/*.js"))
MARKUP = r"innerHTML|outerHTML|insertAdjacent|document\.write|parseFromString|createContextualFragment|setHTML|srcdoc"
REQUESTS = r"fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import\s*\(|importScripts|Worker|\.src\b|\.href\b|window\.open"
CODE = r"\bset(Timeout|Interval)\(\s*[\"'`]|\beval\b|\bFunction\b|javascript:|setAttribute\(\s*[\"'`](on|style|href|src)"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_of_pages_make_no_markup_of_data_and_load_nothing(path):
    text = path.read_text()
    assert not re.search(f"{MARKUP}|{REQUESTS}|{CODE}", text)
    assert not re.search(r"\{\{|\{%|\{#|</|<!--", text), "it stands in a template, and in a script element"
    assert text.isascii() or not re.search("[\u0000-\u0008\u202a-\u202e\u2066-\u2069]", text)
    assert len(text.splitlines()) <= 400


class Evil:
    """What makes a folder when it is unpickled."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


events: list[str] = []
sys.addaudithook(lambda event, arguments: events.append(event) if event == "pickle.find_class" else None)


@pytest.fixture(autouse=True)
def nothing_is_unpickled(canary):
    """Neither the canary nor anything else: the interpreter tells of every class that a pickle asks for."""
    events.clear()
    yield
    assert not events and not canary.exists()


def payloads(canary: Path) -> list[bytes]:
    """Pickles, and arrays of objects, which NumPy pickles."""
    evil = np.empty(1, object)
    evil[0] = Evil(canary)
    return [*(pickle.dumps(Evil(canary), protocol) for protocol in (0, 2, 5)), evil.dumps(), pickle.dumps({"arrays": Evil(canary)})]


def test_the_payload_works(tmp_path):
    pickle.loads(pickle.dumps(Evil(tmp_path / "made")))
    assert (tmp_path / "made").is_dir() and events
    events.clear()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_pickle_in_place_of_any_file_of_a_checkpoint(tmp_path, canary):
    """Sealed anew: the digests keep accidents out, not an attacker."""
    states = {"a": jnp.arange(3.0), "key": jax.random.key(0)}
    whole = tmp_path / "whole"
    checkpoint.save(whole, 1, states, {"seconds": 1.0})
    names = [path.relative_to(whole / "1") for path in files(whole / "1") if path.name != checkpoint.SEAL]
    assert len(names) > 5
    payload = payloads(canary)
    more = [Path("arrays/checkpoint"), Path("arrays/a.pkl"), Path("record/state.pickle"), Path(checkpoint.SEAL)]
    for number, name in enumerate([*names, *more]):
        folder = tmp_path / f"{number}"
        shutil.copytree(whole, folder)
        (folder / "1" / name).write_bytes(payload[number % len(payload)])
        if name.name != checkpoint.SEAL:
            (folder / "1" / checkpoint.SEAL).unlink()
            checkpoint._seal(folder / "1")
        found = checkpoint.restore(folder, states)
        assert found is None or (np.array_equal(found[1]["a"], states["a"]) and found[2] == {"seconds": 1.0})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("run") / "additive"
    loop.run(TINY, folder, {})
    return folder


@pytest.mark.long
def test_a_pickle_in_place_of_any_file_of_a_run(tmp_path, canary, finished):
    payload = payloads(canary)
    names = ["config.json", "rows.jsonl", "example.json", "vocabulary.model", "failure.txt", ".lock"]
    for number, name in enumerate(names):
        folder = tmp_path / f"{number}" / "additive"
        shutil.copytree(finished, folder)
        (folder / name).write_bytes(payload[number % len(payload)])
        for use in (lambda folder=folder: trained.load(folder), lambda folder=folder: loop.run(TINY, folder, {})):
            try:
                use()
            except (RunError, DataError, ConfigError) as error:
                assert str(error).isprintable()


def test_config_and_rows_are_never_evaluated(tmp_path, canary):
    code = f"__import__('os').mkdir({str(canary)!r})"
    (tmp_path / "config.json").write_text(json.dumps({"config": code, "environment": {"jax": code}}))
    with pytest.raises(RunError, match="it needs the objects config and environment"):
        trained.load(tmp_path)
    (tmp_path / "rows.jsonl").write_text(code + "\n{}\n")
    with pytest.raises(DataError, match="line 1 is damaged"):
        results.read(tmp_path / "rows.jsonl")
    with pytest.raises(DataError):
        subwords.from_bytes(code.encode())


@pytest.mark.usefixtures("tfds")
def test_a_build_does_not_import_what_its_metadata_name(tmp_path, monkeypatch, canary):
    """TFDS can import the class that a features.json names; it does so only for builders that are read without their code."""
    (tmp_path / "evil_features.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "text.tsv").write_text("".join(f"a {i}\tb {i}\n" for i in range(9)))
    config = Config(data=DataConfig(task="parallel_text"), text=TextConfig(source_file=str(tmp_path / "text.tsv")))
    before = pairs.load(config, None, tmp_path / "cache")
    (features,) = (tmp_path / "cache").rglob("features.json")
    features.write_text(features.read_text().replace("tensorflow_datasets.core.features", "evil_features"))
    assert "evil_features" in features.read_text()
    after = pairs.load(config, None, tmp_path / "cache")
    assert after["train"].sources == before["train"].sources
