"""Everything that a resume needs, on disk: a pytree of arrays and a JSON record per step, kept by Orbax.

A step is whole or absent: it is written to a draft, sealed with the digests of its files, forced to disk and renamed; old ones
are renamed before they are deleted. The seal is there since Orbax reads a changed byte without complaint: a step that is not what
was saved is set aside, and the one before it used.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from attention_jax.config import formats
from attention_jax.system.errors import RunError, StorageError
from attention_jax.training import parallel

DRAFT, TRASH, SEAL = ".draft", ".trash", "seal.json"

NAME = re.compile(r"0|[1-9][0-9]*")
"""What the folder of a step is called."""

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO)
"""How the system says that a file is not there, or is lost; anything else that it refuses, such as an open file too many, is no damage."""

log = logging.getLogger(__name__)


class Damaged(Exception):
    """A step is not what was saved; the message says what is wrong."""


class Snapshot(NamedTuple):
    """Leaves of a pytree by name, as copies on the host; `kinds` are their types and shapes, a key's data being those of numbers."""

    arrays: dict[str, np.ndarray]
    kinds: dict[str, str]


class Saver:
    """Writes the checkpoints of one run, one at a time, in a thread of its own while training goes on."""

    def __init__(self, directory: Path, keep: int = 2):
        self.directory, self.keep = Path(directory), keep
        self.thread, self.pending = ThreadPoolExecutor(1, "checkpoint"), None

    def save(self, step: int, states: Any, extra: dict) -> None:
        """As `save`, but returns once `states` are copied to the host and the step before is on disk.

        What writing that one raised is raised here. Of several processes all must call it, and the first one writes.
        """
        taken = snapshot(states)
        self.wait()
        if parallel.first():
            self.pending = self.thread.submit(write, self.directory, step, taken, extra, self.keep)

    def wait(self) -> None:
        """Returns when everything is on disk; raises what kept it from there."""
        pending: Future | None
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()


def steps(directory: Path) -> list[int]:
    """The steps that `directory` holds, ascending; none where it does not exist."""
    directory = Path(directory)
    return sorted(int(path.name) for path in directory.iterdir() if NAME.fullmatch(path.name)) if directory.is_dir() else []


def snapshot(states: Any) -> Snapshot:
    """Copies any pytree of arrays, typed keys included, to the host: the arrays may be overwritten afterwards."""
    leaves = _leaves(states)
    arrays = {name: parallel.fetch(jax.random.key_data(x) if _is_key(x) else x) for name, x in leaves.items()}
    return Snapshot({name: np.array(x) for name, x in arrays.items()}, _kinds(leaves))


def save(directory: Path, step: int, states: Any, extra: dict, keep: int = 2) -> None:
    """Writes `states` (any pytree of arrays, typed keys included) and `extra` (JSON); on disk when the function returns.

    The last `keep` steps stay; a step that is there already is left as it is. One process writes at a time.
    Raises `StorageError` where nothing can be written.
    """
    write(directory, step, snapshot(states), extra, keep)


def write(directory: Path, step: int, taken: Snapshot, extra: dict, keep: int = 2) -> None:
    """`save` of what `snapshot` took."""
    directory = Path(directory).absolute()
    record = {"format": formats.FORMAT, "step": step, "extra": extra, "arrays": taken.kinds}
    items = ocp.args.Composite(arrays=ocp.args.StandardSave(taken.arrays), record=ocp.args.JsonSave(record))
    draft = directory / DRAFT / str(step)
    try:
        _remove(directory / DRAFT)
        if step in steps(directory):
            return
        draft.parent.mkdir(parents=True)
        with _quiet(), _orbax() as writer:
            writer.save(draft, args=items)
        _seal(draft)
        draft.rename(directory / str(step))
        draft.parent.rmdir()
        _to_disk(directory)
        tidy(directory, keep)
    except (OSError, ValueError) as error:  # a full disk is TensorStore's ValueError
        _remove(directory / DRAFT)
        reason = f"{_reason(error)}; once that is mended, the same command goes on"
        raise StorageError(f"cannot write a checkpoint to {directory}: {reason}") from error


def tidy(directory: Path, keep: int = 2) -> None:
    """Leaves the last `keep` steps, and nothing that a process left half done when it was killed; to be called once steps were read."""
    trash = directory / TRASH
    _remove(directory / DRAFT)
    _remove(trash)
    for step in steps(directory)[:-keep]:
        trash.mkdir(exist_ok=True)
        (directory / str(step)).rename(trash / str(step))
    _remove(trash)


def restore(directory: Path, like: Any, most: int | None = None) -> tuple[int, Any, dict] | None:
    """(step, states, extra) of the newest readable step, of those up to `most` if that is given; None where there is none.

    `like` gives structure, shapes and types, as arrays or as `jax.eval_shape` makes them. Arrays come back bit for bit, on the
    sharding that `like` names, else on the first device. A step that is not what was saved is logged and moved to `<directory>.corrupt`;
    one for which memory or open files do not suffice just now stays.
    Raises `RunError` where a step is of a newer format or holds other arrays than `like`, or where a damaged one cannot be moved, and
    `StorageError` where one cannot be read.
    """
    directory = Path(directory).absolute()
    for candidate in reversed(steps(directory)):
        if most is None or candidate <= most:
            try:
                return candidate, *_read(directory / str(candidate), like)
            except Damaged as damage:
                _set_aside(directory / str(candidate), damage)
    return None


def _read(path: Path, like: Any) -> tuple[Any, dict]:
    wanted = _leaves(like)
    with _reading(path), _quiet(), _orbax() as reader:
        _check_seal(path)
        record = reader.restore(path, args=ocp.args.Composite(record=ocp.args.JsonRestore())).record
        formats.check(record, path)
        if record["step"] != int(path.name):
            raise Damaged(f"it is that of step {record['step']}")
        here, there = _kinds(wanted), {name: kind for name, kind in record["arrays"].items() if not _empty(kind)}
        for name in [*here, *there]:
            if here.get(name) != there.get(name):
                found, asked = (side.get(name, "absent") for side in (there, here))
                raise RunError(f"{path} belongs to another config: {name} is {found} there, {asked} here; use another workdir")
        targets = {name: _host_like(x) for name, x in wanted.items()}
        arrays = reader.restore(path, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(targets))).arrays
    leaves = [_placed(arrays[name], x) for name, x in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), record["extra"]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What fails is `Damaged`, or a `StorageError` where the system refused: memory, or an open file too many, say nothing of the step."""
    try:
        yield
    except (RunError, Damaged):
        raise
    except Exception as error:  # whatever a damaged file makes its decoder raise
        if _refused(error):
            raise StorageError(f"cannot read the checkpoint {path}: {_reason(error)}") from error
        raise Damaged(_reason(error)) from error


def _refused(error: Exception) -> bool:
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return True
    code = error.errno if isinstance(error, OSError) else _code(error)
    return code is not None and code not in ABSENT


def _placed(array: np.ndarray, like: Any) -> jax.Array:
    sharding = getattr(like, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if not _is_key(like):
        return parallel.place(array, sharding)
    return jax.device_put(jax.random.wrap_key_data(parallel.place(array, sharding)), sharding)


def _host_like(x: Any) -> np.ndarray:
    data = jax.eval_shape(jax.random.key_data, x) if _is_key(x) else x
    return np.empty(data.shape, data.dtype)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def _set_aside(path: Path, reason: Damaged) -> None:
    aside = path.parent.with_name(f"{path.parent.name}.corrupt") / f"{path.name}.corrupt"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(exist_ok=True)
        path.rename(aside)
    except OSError as failure:
        raise RunError(f"checkpoint {path} is unreadable ({reason}) and cannot be set aside: {failure}") from failure
    log.warning("checkpoint %s is unreadable (%s); moved to %s", path, reason, aside)


def _reason(error: Exception) -> str:
    """One line: what the system said, where it did; TensorStore wraps that into half a page."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if code := _code(error):
        return os.strerror(code)
    return f"{type(error).__name__}: {error}".splitlines()[0].partition(" [tensorstore_spec")[0]


def _code(error: Exception) -> int | None:
    """The system's error number in a message of TensorStore."""
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return int(found[1]) if found else None


def _leaves(states: Any) -> dict[str, Any]:
    """{name of a leaf: leaf}, in the order of the tree."""
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in jax.tree.leaves_with_path(states)}


def _kinds(leaves: dict[str, Any]) -> dict[str, str]:
    return {name: f"{x.dtype}{list(x.shape)}" for name, x in leaves.items()}


def _empty(kind: str) -> bool:
    """Whether an array of format 1 has size 0: such have no numbers on disk, and there are none any more."""
    return 0 in json.loads(kind[kind.index("[") :])


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _orbax() -> ocp.Checkpointer:
    """For this process alone: it meets no other one, however many there are."""
    _hush()
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}")
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=alone))
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _hush() -> None:
    """Threads of a save or restore that failed go on, find its event loop closed, and would say so dozens of times after its own error."""
    before = sys.unraisablehook
    if getattr(before, "__name__", "") == "hushed":
        return

    def hushed(what: "sys.UnraisableHookArgs") -> None:
        if str(what.exc_value) != "Event loop is closed":
            before(what)

    sys.unraisablehook = hushed


def _digests(path: Path, force: bool = False) -> dict[str, str]:
    """{file: sha256}; with `force` they are on disk afterwards."""
    digests = {}
    for file in sorted(file for file in path.rglob("*") if file.is_file() and file.name != SEAL):
        with file.open("rb") as content:
            digests[file.relative_to(path).as_posix()] = hashlib.file_digest(content, "sha256").hexdigest()
            if force:
                os.fsync(content.fileno())
    return digests


def _seal(path: Path) -> None:
    with (path / SEAL).open("w") as seal:
        json.dump(_digests(path, force=True), seal, indent=1)
        seal.flush()
        os.fsync(seal.fileno())


def _check_seal(path: Path) -> None:
    if not (path / SEAL).is_file():
        raise Damaged(f"it has no {SEAL}")
    sealed, found = json.loads((path / SEAL).read_bytes()), _digests(path)
    if not isinstance(sealed, dict) or not sealed:
        raise Damaged(f"{SEAL} names no files")
    if damaged := [name for name in sealed if sealed[name] != found.get(name)]:
        raise Damaged(f"damaged or missing: {', '.join(damaged)}")


def _to_disk(directory: Path) -> None:
    """Forces a directory's names, renamings among them, to disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _quiet() -> Iterator[None]:
    """Orbax logs dozens of lines per step at level INFO (absl's `app.run` sets it), and tracebacks of what it raises anyway."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
