"""Loads a claim from a file outside of the project, together with the rows that the file adds to tables.

    --experiment=path/to/mine.py        the claim `mine`: its runs are in <workdir>/mine

A file is a claim as `sweep` has it, or a list of configs, `SWEEP`, as `listed` has it.
While it is imported it may add rows, each under a name that is not taken:

    attention.SCORES["mine"] = row      and likewise every table of `TABLES`

Settings look rows up when they are read, so that a row of a file works in every flag.
"""

import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from attention_jax import attention, encoders
from attention_jax.config import choose
from attention_jax.data import corpora, signals, tasks
from attention_jax.encoders import loops
from attention_jax.layers import cells
from attention_jax.model import readout
from attention_jax.sweeps import listed
from attention_jax.system.errors import ConfigError

TABLES = {
    "model.attention": (attention.FIXED, attention.SCORES, attention.MECHANISMS),
    "model.normaliser": (attention.NORMALISERS,),
    "model.window": (attention.WINDOWS,),
    "model.estimator": (attention.ESTIMATORS,),
    "model.encoder": (encoders.TABLE,),
    "model.loop": (loops.TABLE,),
    "model.cell": (cells.TABLE,),
    "model.readout": (readout.TABLE,),
    "data.task": (tasks.TABLE, corpora.TABLE, signals.DRAWN, signals.OWN),
}
"""{setting: the tables whose rows it names}: a name stands in one of them alone."""

NEEDED = "PRESETS ARMS sweep name score figures".split()
PACKAGE = "out_of_tree"  # what the modules of such files are in, by name


def find(name: str, package: str, ours: Collection[str], results: str = "") -> ModuleType:
    """Returns the claim of --experiment=`name`: one of `ours`, the modules of `package`, or that of a file, whose name ends in .py.

    `results`: the experiment that results on disk are of; `name` then only says where its file is, if it is none of ours.
    Raises `ConfigError` for no name or an unknown one, for results whose file is not given, and as `load` does.
    """
    if results and name and Path(name).stem != results:
        raise ConfigError(f"--experiment={name}: these are results of {results}; give no other")
    if not name and not results:
        raise ConfigError(f"which experiment? --experiment={', '.join(ours)}, or a file: path/to/mine.py")
    if results and results not in ours and not name:
        raise ConfigError(f"results of {results}, which is no experiment of this project: give its file, --experiment=path/to/{results}.py")
    return (
        load(Path(name), ours)
        if name.endswith(".py")
        else importlib.import_module(f"{package}.{choose('--experiment', results or name, ours)}")
    )


def of_data(kind: str, package: str, ours: Collection[str]) -> tuple[str, ...]:
    """Returns the names of those of `ours` whose `DATA` is `kind`: "real", or "synthetic", as where a claim has none."""
    return tuple(name for name in ours if getattr(importlib.import_module(f"{package}.{name}"), "DATA", "synthetic") == kind)


def load(path: Path, ours: Collection[str] = ()) -> ModuleType:
    """Imports the claim of a file, once. `ours`: experiments of the project, whose names are taken.

    Raises `ConfigError` for a path that is no file, a name that is taken or is none, whatever the import raises, a file that is no
    claim, and rows under names that are taken; tables are then as they were.
    """
    where, name, file = f"--experiment={path}", path.stem, Path(os.path.expanduser(path)).resolve()
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ConfigError(f"{where}: a file's name is that of its experiment: letters, digits and _, not {name!r}")
    if name in ours:
        raise ConfigError(f"{where}: the name {name} is taken by an experiment of this project; give the file another name")
    if not file.is_file():
        raise ConfigError(f"{where}: there is no such file")
    loaded = sys.modules.get(f"{PACKAGE}.{name}")
    if loaded is not None and loaded.__file__ == str(file):
        return loaded
    before = [(table, dict(table)) for tables in TABLES.values() for table in tables]
    try:
        return _imported(file, f"{PACKAGE}.{name}", where)
    except BaseException as error:
        for table, rows in before:
            table.clear()
            table.update(rows)
        if isinstance(error, ConfigError) or not isinstance(error, Exception):
            raise
        raise ConfigError(f"{where}{_line(error, file)}: {listed.explained(error)}") from error


def _imported(file: Path, name: str, where: str) -> ModuleType:
    """Imports a file, and returns its module if it is a claim and has only added rows."""
    before = {setting: [dict(table) for table in tables] for setting, tables in TABLES.items()}
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # as of any file that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        if hasattr(module, listed.LIST):
            listed.complete(module, where)
        if missing := [needed for needed in NEEDED if not hasattr(module, needed)]:
            kinds = f"{listed.LIST}, a list of configs, or else {', '.join(NEEDED)}"
            raise ConfigError(f"{where}: it has no {', '.join(missing)}; an experiment has {kinds}")
        for setting, tables in TABLES.items():
            if taken := _taken(before[setting], tables):
                raise ConfigError(f"{where}: the name {taken} of {setting} is taken by another row; give its row another name")
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _taken(before: list[dict], tables: tuple[dict, ...]) -> str:
    """Returns the first name that had another row before, or is in two tables; "" where there is none."""
    for old, table in zip(before, tables, strict=True):
        for name, row in table.items():
            twice = sum(name in other for other in tables) > 1
            if twice or old.get(name, row) is not row:
                return name
    return ""


def _line(error: Exception, file: Path) -> str:
    """Returns the line of the file at which an error was raised, for a message."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""


def seed_settings(text: str | None) -> list[str]:
    """Returns the settings of --seeds: "8" is the first 8, "100-107" are these."""
    if text is None:
        return []
    if not (found := re.fullmatch("([0-9]{1,10})(?:-([0-9]{1,10}))?", text)):
        raise ConfigError(f"--seeds={text} does not fit: give a number (8) or a range (100-107)")
    first, last = found.groups()
    if last is None:
        return [f"training.seeds={first}"]
    return [f"training.first_seed={first}", f"training.seeds={int(last) - int(first) + 1}"]
