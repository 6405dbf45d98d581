"""A run as one file, to hand on: weights, vocabularies and settings, in a .npz that NumPy alone can read. No pickle.

    run.json                    {"format", "config", "sizes", "seeds", "tokens", "positions"}
    vocabulary.model, …         the run's vocabularies, as they are stored in its folder (data.corpora.vocabularies); none of a task
    params.decoder.cell.input.weight.npy, …    an array for each parameter, float32, with the leading axis R, for each of the seeds

For readers without this package, tokens are what each id adds to a text, {"source", "target"}. An output has at most as many tokens as its
source, rounded up to a multiple of 16, and at least `positions`.

Nothing is packed, so that the file is as large as its parameters. Equal runs give equal bytes.
"""

import io
import json
import math
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from attention_jax import config as settings
from attention_jax.config import Config, formats, rules
from attention_jax.data import signals, sources
from attention_jax.data.corpora import archives, vocabularies
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.running import results, spelling
from attention_jax.running.resolved import resolve
from attention_jax.system import files
from attention_jax.system.errors import ConfigError, DataError, RunError
from attention_jax.trained.stored import Stored, spelled
from attention_jax.training.compiled import Resolved
from attention_jax.types import EOS
from attention_jax.types.sizes import VocabularySizes

RECORD, PREFIX = "run.json", "params."
FIELDS = {"format": int, "config": dict, "sizes": list, "seeds": list, "tokens": dict}
HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<size>..)\{'descr': '(?P<kind>[\x20-\x26\x28-\x7e]*)', 'fortran_order': (?P<order>True|False), "
    rb"'shape': \((?P<shape>[0-9, ]*)\), \} *\n",
    re.DOTALL,
)
"""How NumPy begins a .npy of version 1.0."""

LARGEST = 1 << 30
"""Bytes of a file that is read: so many parameters take the memory of a checkpoint."""


def write(path: Path, found: Stored, seeds: Sequence[int]) -> None:
    """Writes a run with these of its seeds, replacing the file whole. Raises `RunError` for a seed that the run does not have."""
    if unknown := [seed for seed in seeds if seed not in found.seeds]:
        raise RunError(f"{found.path} has no seed {unknown[0]}; valid: {spelled(found.seeds)}")
    places = np.array([found.seeds.index(seed) for seed in seeds])
    record = {
        "format": formats.FORMAT,
        "config": settings.to_json(found.config),
        "sizes": list(found.run.sizes),
        "seeds": list(seeds),
        "tokens": dict(zip(("source", "target"), _tokens(found.run.sizes, found.vocabularies), strict=True)),
        "positions": found.config.text.cut if found.vocabularies is not None else 0,
    }
    content = {RECORD: json.dumps(record, indent=1).encode()}
    if found.vocabularies is not None and not sources.is_drawn(found.config.data):
        names = [file.name for file in vocabularies.paths(found.config.text, "")]
        content |= {name: vocabulary.stored() for name, vocabulary in zip(names, found.vocabularies.each, strict=True)}
    for name, array in named(found.params).items():
        content[f"{PREFIX}{name}.npy"] = _npy(np.asarray(array)[places])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    files.write_bytes(path, packed.getvalue())


def read(path: Path) -> Stored:
    """Reads a run that `write` has written. Raises `DataError` for a file that is none, damaged, or of settings that cannot be."""
    try:
        data = files.read_bytes(path, LARGEST)
    except OSError as error:
        raise files.unreadable(error, f"cannot read {path}: {error.strerror}", DataError) from None
    content = archives.unzip(data, str(path), lambda name: True, LARGEST)
    try:
        config, sizes, seeds = _record(content.pop(RECORD, b""), path)
        learned = _vocabularies(config, content)
        wanted = sources.sizes_of(config, learned) if learned else sizes
        if any(size < found for size, found in zip(sizes, wanted, strict=True)):
            raise ValueError(f"its vocabularies have {list(wanted)} tokens, and its model {list(sizes)}")
        run = resolve(config, sizes if learned is not None else None)
        if run.sizes != sizes:
            raise ValueError(f"its model has {list(sizes)} tokens, and its task {list(run.sizes)}")
        params = _params(run, len(seeds), content)
    except RunError as error:
        raise DataError(str(error)) from None
    except ConfigError as error:
        raise DataError(f"{path} is not of this version: {error}; export the run again") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise DataError(f"{path} is damaged, or no exported run: {error}; export it again") from None
    return Stored(path, run, learned, seeds, params)


def named(params: dict) -> dict[str, np.ndarray]:
    """Returns {dotted name: array} of parameters."""
    return {jax.tree_util.keystr(at, simple=True, separator="."): leaf for at, leaf in jax.tree.leaves_with_path(params)}


def _tokens(sizes: VocabularySizes, found: Vocabularies | None) -> list[list[str]]:
    """What each id of a source and of a target adds to a text."""
    if found is not None:
        sides = [list(vocabulary.texts) for vocabulary in found]
        return sides if sizes.source == len(sides[0]) else [[], sides[1]]  # a signal's source has no tokens
    return [["" if i == EOS else f" {text}" for i, text in enumerate(spelling.spelled(range(V), None))] for V in sizes]


def _record(data: bytes, path: Path) -> tuple[Config, VocabularySizes, tuple[int, ...]]:
    if not data:
        raise ValueError(f"it has no {RECORD}")
    found = results.json_object(data)
    if wrong := [name for name, kind in FIELDS.items() if type(found.get(name)) is not kind]:
        raise ValueError(f"{RECORD} has no {', '.join(wrong)}")
    formats.check(found, path)
    seeds, sizes, config = found["seeds"], found["sizes"], settings.validate(settings.from_json(found["config"]))
    if not seeds or len(seeds) > rules.SIZE or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise ValueError("its seeds are no whole numbers")
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed occurs twice")
    if len(sizes) != 2 or not all(type(size) is int and 0 < size <= rules.SIZE for size in sizes):
        raise ValueError("its sizes are no two whole numbers")
    return config, VocabularySizes(*sizes), tuple(seeds)


def _vocabularies(config: Config, content: dict[str, bytes]) -> Vocabularies | None:
    """Takes the vocabularies of a corpus out of the content."""
    if sources.is_drawn(config.data):
        return signals.fixed(config)
    names = [file.name for file in vocabularies.paths(config.text, "")]
    if absent := [name for name in names if name not in content]:
        raise ValueError(f"it has no {absent[0]}")
    return vocabularies.from_bytes(config.text, [content.pop(name) for name in names])


def _params(run: Resolved, R: int, content: dict[str, bytes]) -> dict:
    """The parameters of the model: what else there is, or lacks, or has another shape, is an error before any of it is made an array."""
    shapes = jax.eval_shape(run.model.init, jax.random.key(0))
    wanted = {f"{PREFIX}{name}.npy": ((R, *leaf.shape), leaf.dtype) for name, leaf in named(shapes).items()}
    if other := sorted(wanted.keys() ^ content.keys()):
        raise ValueError(f"{other[0]!r} is {'absent' if other[0] in wanted else 'no parameter of its model'}")
    leaves = [_array(name, content[name], shape, dtype) for name, (shape, dtype) in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def _array(name: str, data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The array of a .npy, which is of this shape and type; nothing is made as its header says, and nothing in it is evaluated."""
    found = HEADER.match(data)
    if found is None or int.from_bytes(found["size"], "little") != found.end() - found.end("size"):
        raise ValueError(f"{name} is no .npy of version 1.0")
    there = f"{found['kind'].decode()}[{found['shape'].decode().strip(', ')}]"
    wanted = f"{np.dtype(dtype).str}[{', '.join(map(str, shape))}]"
    if there != wanted or found["order"] != b"False":
        raise ValueError(f"{name} is {there}, and its model needs {wanted}, row by row")
    if len(data) - found.end() != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {len(data) - found.end()} bytes of numbers, not {math.prod(shape) * dtype.itemsize}")
    array = np.frombuffer(data, dtype, offset=found.end()).reshape(shape)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has numbers that are not finite")
    return array
