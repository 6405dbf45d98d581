"""What pages call by name is there: attributes of modules, settings, targets of make, flags, modules that are started, files.

In code font, or in a block of shell. A name that begins with one of our modules or records has to resolve to its end, so that a page
cannot speak of `programs.x` after a module got another name.
"""

import ast
import importlib
import re
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from attention_jax import config as settings
from attention_jax.sweeps import claims

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
TOP = [ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*TOP, *sorted(ROOT.glob("docs/*.md")), ROOT / "docs" / "performance" / "appendix.md"]
API = sorted(ROOT.glob("docs/api/*.md"))
EACH = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())

MADE = re.compile(r"^<!-- \w+: .*?^<!-- end -->", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code(text: str) -> list[str]:
    """What stands in code font, blocks aside."""
    return re.findall(r"`([^`]+)`", BLOCK.sub("", MADE.sub("", text)))


def commands(text: str) -> list[str]:
    """Lines of shell, comments aside, and what stands in code font."""
    lines = [line.partition(" #")[0] for block in SHELL.findall(text) for line in block.replace("\\\n", "").splitlines()]
    return lines + code(text)


@cache
def modules() -> dict[str, list[str]]:
    """Modules of ours by the end of their name: `deferred`, `layers.deferred`, `attention_jax.layers.deferred`."""
    found: dict[str, list[str]] = {}
    for folder in ("attention_jax", "experiments", "benchmarks", "fuzz", "docs"):
        for path in ROOT.glob(f"{folder}/**/*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if path.name != "__main__.py" and (parts[0] != "docs" or len(parts) > 1):
                for start in range(len(parts)):
                    found.setdefault(".".join(parts[start:]), []).append(".".join(parts))
    return found


@cache
def defined(module: str) -> dict[str, ast.AST]:
    """What a module defines at its top, and what it imports, by name."""
    path = ROOT.joinpath(*module.split("."))
    tree = ast.parse((path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py").read_text())
    found: dict[str, ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            found |= dict.fromkeys(names, node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name: node for alias in node.names}
    return found


@cache
def records() -> dict[str, list[str]]:
    """Modules of the package that define a class, by its name."""
    found: dict[str, list[str]] = {}
    for name in {name for names in modules().values() for name in names if name.startswith("attention_jax.")}:
        for each, node in defined(name).items():
            if isinstance(node, ast.ClassDef):
                found.setdefault(each, []).append(name)
    return found


def has(module: str, rest: list[str]) -> bool:
    """Whether a module has what a dotted name goes on with: a definition of it, and of a class a member."""
    if not rest:
        return True
    node = defined(module).get(rest[0])
    if node is None:
        return False
    if isinstance(node, ast.ClassDef) and rest[1:] and {ast.unparse(base) for base in node.bases} <= EMPTY:
        return rest[1] in {each.name for each in node.body if isinstance(each, ast.FunctionDef)} | {
            name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        }
    return True


def ours(name: str) -> bool | None:
    """Whether a dotted name is there; None where it does not begin as one of ours does."""
    parts, found = re.sub(r"^attention_jax\.(?=experiments\b)", "", name).split("."), None
    if parts[0] == "config" and any(parts[1] in names for names in SECTIONS.values()):  # an argument that is one of the sections
        return True
    if parts[0] in SECTIONS:
        if parts[1] in SECTIONS[parts[0]]:
            return True
        found = False
    for module in records().get(parts[0], []):
        if has(module, parts):
            return True
        found = False
    for end in range(len(parts), 0, -1):
        for module in modules().get(".".join(parts[:end]), []):
            if has(module, parts[end:]):
                return True
            found = False
    return found


SECTIONS = {f.name: {g.name for g in fields(f.default_factory())} for f in fields(settings.Config) if is_dataclass(f.default_factory)}
"""Settings: section and names."""
EMPTY = {"NamedTuple", "IntEnum", "Protocol", "Exception"}
"""Classes that add no member that a page speaks of."""
ELSEWHERE = {"jax", "flax", "optax", "numpy", "orbax", "settings"}
"""Packages whose modules have names that ours have, too; an argument that has a module's name."""


@pytest.mark.parametrize("path", [*PAGES, *API], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_dotted_name_resolves_to_its_end(path):
    names = {name for span in code(path.read_text()) for name in re.findall(r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?=$|[(=])", span)}
    names = {name for name in names if name.split(".")[0] not in ELSEWHERE and not re.search(ENDING, name)}
    gone = sorted(name for name in names if ours(name) is False)
    assert not gone, f"no code has {', '.join(gone)}"


ENDING = r"\.(py|js|md|jsonl?|yaml|sbatch|sh|npz|svg|png|toml|cfg|txt|cff|html|j2|po|gz|zip|whl|tsv|sv|fi|model)$"


@EACH
def test_settings_are_taken_as_they_stand(path):
    """`--set` with a value, and `section.name=value` in code font; … stands for any."""
    said = [each for line in commands(path.read_text()) for each in re.findall(r"--set[ =]([\w.]+=[\w.,-]+)", line)]
    said += [span for span in code(path.read_text()) if re.fullmatch(rf"({'|'.join(SECTIONS)})\.\w+=[\w.,-]+", span)]
    settings.override_all(settings.Config(), said)


@pytest.mark.parametrize("setting", [each for each in claims.TABLES if each != "data.task"])
def test_the_page_of_mechanisms_has_every_row(setting):
    check_page("mechanisms", setting)


def test_the_page_of_data_has_every_task():
    check_page("data", "data.task")


def check_page(page: str, setting: str):
    """Raises where a page leaves a row of a setting's tables out."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    missing = [name for table in claims.TABLES[setting] for name in table if f"`{name}`" not in text]
    assert not missing, f"docs/{page}.md does not name {', '.join(missing)} of {setting}"


@EACH
def test_targets_of_make_are_there(path):
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for line in commands(path.read_text()) for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", line)}
    assert named <= targets, f"the Makefile has no {', '.join(sorted(named - targets))}"


@cache
def flags() -> set[str]:
    """Every flag that a command of ours defines, as it is typed."""
    folders = ("experiments", "benchmarks", "fuzz", "docs", "tests/faults")
    texts = [path.read_text() for folder in folders for path in ROOT.glob(f"{folder}/**/*.py")]
    found = {
        name for text in texts for name in re.findall(r"(?:DEFINE_\w+\(\s*\"|define_paths?\(\s*\"|add_argument\(\s*\"--)([a-z_]+)\"", text)
    }
    switches = {name for text in texts for name in re.findall(r"DEFINE_bool\(\s*\"([a-z_]+)\"", text)}
    return found | {f"no{name}" for name in switches} | {"help"}


FOREIGN = re.compile(r"xla_\w+|signal|gres|option|editable")
"""Flags of XLA, Slurm and pip."""


@EACH
def test_flags_are_those_of_a_command(path):
    named = {flag for line in commands(path.read_text()) for flag in re.findall(r"(?<![\w-])--([a-z][a-z_-]*)", line)}
    gone = {flag for flag in named - flags() if not FOREIGN.fullmatch(flag)}
    assert not gone, f"no command has --{', --'.join(sorted(gone))}"


@EACH
def test_modules_that_are_started_are_there(path):
    for name in {name for line in commands(path.read_text()) for name in re.findall(r"python -m ([\w.]+)", line)} - {"pytest"}:
        if name.startswith("attention_jax.experiments"):
            name = name.removeprefix("attention_jax.")
        there = ROOT.joinpath(*name.split("."))
        assert there.with_suffix(".py").exists() or (there / "__main__.py").exists(), f"python -m {name}: no such module"


@EACH
def test_files_that_are_called_by_their_names_are_there(path):
    """Without a folder: somewhere in the checkout, or among what runs leave behind."""
    names = {span for span in code(path.read_text()) if re.fullmatch(rf"[\w.-]+{ENDING}", span)}
    gone = {name for name in names - LEFT if not any(ROOT.glob(name)) and not any(any((ROOT / top).rglob(name)) for top in TREES)}
    assert not gone, f"there is no {', '.join(sorted(gone))}"


TREES = ("attention_jax", "experiments", "benchmarks", "docs", "tests", "fuzz", "jobs")
LEFT = {
    "failure.txt",
    "rates.jsonl",
    "measured.jsonl",
    "rows.jsonl",
    "sweep.json",
    "config.json",
    "finished.json",
    "features.json",
    "examples.json",
    "report.html",
    "sentences.gz",
    "hypotheses.gz",
    "hypotheses_beam.gz",
    "lstm.npz",
    "gold.txt",
    "train.tsv",
    "test.tsv",
    *(f"{name}.{ending}" for name in ("vocabulary", "source", "target") for ending in ("model", "txt")),
}
"""What a run, a sweep or an example writes."""


def test_how_names_resolve():
    assert ours("deferred.scan") and ours("layers.deferred.scan") and ours("types.Score.formula") and ours("model.attention")
    assert ours("deferred.there_is_none") is False and ours("model.there_is_none") is False
    assert ours("jnp.einsum") is None


def test_what_is_defined_is_imported_too():
    """The reading of sources agrees with Python's."""
    for name in ("attention_jax.system.machine", "attention_jax.layers.deferred", "attention_jax.config"):
        module: ModuleType = importlib.import_module(name)
        public = {each for each in vars(module) if not each.startswith("_")}
        assert public <= set(defined(name)), public - set(defined(name))
