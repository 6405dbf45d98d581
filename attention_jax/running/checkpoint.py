"""Everything that a resume needs, on disk: a pytree of arrays and a JSON record per step, kept by Orbax.

A step is whole or absent: it is written to a draft, sealed with the digests of its files, forced to disk and renamed; old ones
are renamed before they are deleted. The seal is there since Orbax reads a changed byte without complaint: instead of a step that is not
what was saved the one before it is used. Whoever holds the directory's lock sets such a step aside; all others only read, also while
steps are written and deleted.
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
from attention_jax.system import files
from attention_jax.system.errors import RunError, StorageError
from attention_jax.system.files import writing
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
        """Saves as `save` does, but returns once `states` are copied to the host and the step before is on disk.

        What writing that one raised is raised here. Of several processes all must call it, and the first one writes.
        """
        taken = snapshot(states)
        self.wait()
        if parallel.is_first():
            self.pending = self.thread.submit(write, self.directory, step, taken, extra, self.keep)

    def wait(self) -> None:
        """Returns when everything is on disk; raises what kept it from there."""
        pending: Future | None
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()


def steps(directory: Path) -> list[int]:
    """Lists the steps in `directory`, ascending; none where it does not exist."""
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
    """Writes what `snapshot` took, as `save` does."""
    directory = Path(directory).absolute()
    record = {"format": formats.FORMAT, "step": step, "extra": extra, "arrays": taken.kinds}
    items = ocp.args.Composite(arrays=ocp.args.StandardSave(taken.arrays), record=ocp.args.JsonSave(record))
    draft = directory / DRAFT / os.urandom(6).hex() / str(step)
    try:
        if step in steps(directory):
            return
        draft.parent.mkdir(parents=True)
        with _quiet(), _orbax() as writer:
            writer.save(draft, args=items)
        _seal(draft)
        try:
            draft.rename(directory / str(step))
        except OSError:
            if not (directory / str(step)).exists():  # a holder that was taken for dead, or its successor, has saved it
                raise
        _remove(draft.parent)
        with suppress(OSError):  # another writer's draft is there
            draft.parent.parent.rmdir()
        _to_disk(directory)
        _prune(directory, keep)
    except (OSError, ValueError) as error:  # a full disk is TensorStore's ValueError
        _remove(draft.parent)
        reason = f"{_reason(error)}; once that is mended, the same command goes on"
        raise StorageError(f"cannot write a checkpoint to {directory}: {reason}") from error


def tidy(directory: Path, keep: int = 2) -> None:
    """Leaves the last `keep` steps, and nothing that a process left half done when it was killed; to be called once steps were read.

    Needs the directory's lock. `StorageError` where the disk refuses.
    """
    _remove(directory / DRAFT)
    _remove(directory / TRASH)
    with writing(directory):
        _prune(directory, keep)


def _prune(directory: Path, keep: int) -> None:
    trash = directory / TRASH
    for step in steps(directory)[:-keep]:
        trash.mkdir(exist_ok=True)
        try:
            (directory / str(step)).rename(trash / str(step))
        except OSError:
            if (directory / str(step)).exists():  # else another writer has moved it
                raise
    _remove(trash)


def restore(directory: Path, like: Any, most: int | None = None, owned: bool = False) -> tuple[int, Any, dict] | None:
    """Restores (step, states, extra) of the newest readable step, of those up to `most` if that is given; None where there is none.

    `like` gives structure, shapes and types, as arrays or as `jax.eval_shape` makes them. Arrays come back bit for bit, on the
    sharding that `like` names, else on the first device. A step that is not what was saved is logged, and with `owned`, which needs the
    directory's lock, moved to `<directory>.corrupt`; one for which memory or open files do not suffice just now stays.
    Without `owned` nothing is changed, and a step that is deleted while it is read is followed by the newest there is then.
    Raises `RunError` where a step is of a newer format or holds other arrays than `like`, or where a damaged one cannot be moved, and
    `StorageError` where one cannot be read.
    """
    directory, tried = Path(directory).absolute(), set()
    while left := [step for step in steps(directory) if step not in tried and (most is None or step <= most)]:
        path = directory / str(left[-1])
        tried.add(left[-1])
        try:
            return left[-1], *_read(path, like)
        except Damaged as damage:
            if owned:
                _set_aside(path, damage)
            elif path.exists():
                log.warning("checkpoint %s is unreadable (%s); the one before it is used", path, damage)
    return None


def extra(directory: Path) -> dict:
    """Reads the `extra` of the newest step that has a readable one; {} where none has. Raises `RunError` for a step of a newer format."""
    for step in reversed(steps(directory)):
        path = Path(directory).absolute() / str(step)
        with suppress(Damaged), _reading(path), _quiet(), _orbax() as reader:
            record = reader.restore(path, args=ocp.args.Composite(record=ocp.args.JsonRestore())).record
            formats.check(record, path)
            return record["extra"]
    return {}


def _read(path: Path, like: Any) -> tuple[Any, dict]:
    wanted = _leaves(like)
    targets = {name: _host_like(x) for name, x in wanted.items()}
    with _reading(path), _quiet(), _orbax() as reader:
        _check_seal(path, files.LARGEST + 4 * sum(x.nbytes for x in targets.values()))
        record = reader.restore(path, args=ocp.args.Composite(record=ocp.args.JsonRestore())).record
        formats.check(record, path)
        if record["step"] != int(path.name):
            raise Damaged(f"it is that of step {record['step']}")
        here, there = _kinds(wanted), {name: kind for name, kind in record["arrays"].items() if not _empty(kind)}
        for name in [*here, *there]:
            if here.get(name) != there.get(name):
                found, asked = (side.get(name, "absent") for side in (there, here))
                raise RunError(f"{path} belongs to another config: {name} is {found} there, {asked} here; use another workdir")
        arrays = reader.restore(path, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(targets))).arrays
    leaves = [_placed(arrays[name], x) for name, x in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), record["extra"]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what fails into `Damaged`, or a `StorageError` where the system refused: too little memory is no damage."""
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
    """Returns the system's own words, where it said any, in one line; TensorStore wraps them into half a page."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if code := _code(error):
        return os.strerror(code)
    return f"{type(error).__name__}: {error}".splitlines()[0].partition(" [tensorstore_spec")[0]


def _code(error: Exception) -> int | None:
    """Returns the system's error number in a message of TensorStore."""
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return int(found[1]) if found else None


def _leaves(states: Any) -> dict[str, Any]:
    """Maps the name of each leaf to the leaf, in the order of the tree."""
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in jax.tree.leaves_with_path(states)}


def _kinds(leaves: dict[str, Any]) -> dict[str, str]:
    return {name: f"{x.dtype}{list(x.shape)}" for name, x in leaves.items()}


def _empty(kind: str) -> bool:
    """Returns whether an array of format 1 has size 0: such an array has no numbers on disk."""
    return 0 in json.loads(kind[kind.index("[") :])


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _orbax() -> ocp.Checkpointer:
    """Opens Orbax for this process alone: it waits for no other one, however many there are."""
    _hush()
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}")
    handler = ocp.CompositeCheckpointHandler(composite_options=ocp.CompositeOptions(multiprocessing_options=alone))
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _hush() -> None:
    """Silences the threads of a save or restore that failed: they find its event loop closed, and say so dozens of times."""
    before = sys.unraisablehook
    if getattr(before, "__name__", "") == "hushed":
        return

    def hushed(what: "sys.UnraisableHookArgs") -> None:
        if str(what.exc_value) != "Event loop is closed":
            before(what)

    sys.unraisablehook = hushed


def _digests(path: Path, force: bool = False) -> dict[str, str]:
    """Maps each file to its sha256; with `force` they are on disk afterwards."""
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


def _check_seal(path: Path, most: int) -> None:
    """Raises `Damaged` where files are not as they were sealed; those of more than `most` bytes together are not even read."""
    if not (path / SEAL).is_file():
        raise Damaged(f"it has no {SEAL}")
    if (size := sum(file.stat().st_size for file in path.rglob("*") if file.is_file())) > most:
        raise Damaged(f"its files have {size:,} bytes, which is no checkpoint of this config")
    sealed, found = json.loads(files.read_bytes(path / SEAL, files.LARGEST_JSON)), _digests(path)
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
    """Silences Orbax, which logs dozens of lines per step at level INFO (absl's `app.run` sets it) and tracebacks of its own errors."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
