"""Everything that a resume needs, on disk: a pytree of arrays and a JSON record per step, kept by Orbax.

A step is whole or absent: Orbax writes it beside and renames it, and old ones are renamed before they are deleted. Its files
are sealed with their digests all the same, since Orbax reads a changed byte without complaint; a step that is not what was
saved is set aside, and the one before it used.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from attention_jax.types import RunError

TRASH, SEAL = ".trash", "seal.json"

log = logging.getLogger(__name__)


def steps(directory: Path) -> list[int]:
    """The steps that `directory` holds, ascending; none where it does not exist."""
    directory = Path(directory)
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit()) if directory.is_dir() else []


def save(directory: Path, step: int, states: Any, extra: dict, keep: int = 2) -> None:
    """Writes `states` (any pytree of arrays, typed keys included) and `extra` (JSON); on disk when the function returns.

    The last `keep` steps stay; a step that is there already is left as it is. One process writes at a time.
    Raises `RunError` where nothing can be written.
    """
    directory = Path(directory).absolute()
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, todelete_subdir=TRASH, cleanup_tmp_directories=True, enable_async_checkpointing=False
    )
    leaves = _leaves(states)
    record = {"extra": extra, "arrays": _describe(leaves)}
    items = ocp.args.Composite(arrays=ocp.args.StandardSave(_stored(leaves)), record=ocp.args.JsonSave(record))
    try:
        if step in steps(directory):
            return
        with _quiet(), ocp.CheckpointManager(directory, options=options) as manager:
            manager.save(step, args=items, force=True)
        _seal(directory / str(step))
        shutil.rmtree(directory / TRASH, ignore_errors=True)
    except (OSError, ValueError) as error:  # a full disk is TensorStore's ValueError
        raise RunError(f"cannot write a checkpoint to {directory}: {_reason(error)}") from error


def restore(directory: Path, like: Any, step: int | None = None) -> tuple[int, Any, dict] | None:
    """(step, states, extra) of the newest readable step, or of `step` alone; None where there is none.

    `like` gives structure, shapes and types, as arrays or as `jax.eval_shape` makes them. Arrays come back bit for bit, on the
    sharding that `like` names, else on the first device. An unreadable step is logged and moved to `<directory>.corrupt`.
    Raises `RunError` where a step holds other arrays than `like`, or where an unreadable one cannot be moved.
    """
    directory = Path(directory).absolute()
    for candidate in reversed(steps(directory)):
        if step in (None, candidate):
            try:
                return candidate, *_read(directory / str(candidate), like)
            except RunError:
                raise
            except Exception as error:  # whatever a damaged file makes its decoder raise
                _set_aside(directory / str(candidate), error)
    return None


def _read(path: Path, like: Any) -> tuple[Any, dict]:
    _check_seal(path)
    wanted = _leaves(like)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    targets = {name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None) or device) for name, x in wanted.items()}
    with _quiet(), ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        record = reader.restore(path, args=ocp.args.Composite(record=ocp.args.JsonRestore())).record
        here, there = _describe(wanted), record["arrays"]
        for name in [*here, *there]:
            if here.get(name) != there.get(name):
                found, asked = (side.get(name, "absent") for side in (there, here))
                raise RunError(f"{path} belongs to another config: {name} is {found} there, {asked} here; use another workdir")
        arrays = reader.restore(path, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(_stored(targets)))).arrays
    arrays |= {name: jnp.zeros(x.shape, x.dtype, device=x.sharding) for name, x in targets.items() if not x.size}
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted]), record["extra"]


def _set_aside(path: Path, error: Exception) -> None:
    reason = _reason(error)
    aside = path.parent.with_name(f"{path.parent.name}.corrupt") / f"{path.name}.corrupt"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(exist_ok=True)
        path.rename(aside)
    except OSError as failure:
        raise RunError(f"checkpoint {path} is unreadable ({reason}) and cannot be set aside: {failure}") from failure
    log.warning("checkpoint %s is unreadable (%s); moved to %s", path, reason, aside)


def _reason(error: Exception) -> str:
    """One line; TensorStore's messages go on with its specification in brackets."""
    return f"{type(error).__name__}: {error}".splitlines()[0].partition(" [tensorstore_spec")[0]


def _leaves(states: Any) -> dict[str, Any]:
    """{name of a leaf: leaf}, in the order of the tree."""
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in jax.tree.leaves_with_path(states)}


def _describe(leaves: dict[str, Any]) -> dict[str, str]:
    return {name: f"{x.dtype}{list(x.shape)}" for name, x in leaves.items()}


def _stored(leaves: dict[str, Any]) -> dict[str, Any]:
    """Leaves with content: Orbax refuses arrays of size 0 (a mechanism without context has one)."""
    return {name: x for name, x in leaves.items() if x.size}


def _digests(path: Path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != SEAL)
    return {file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _seal(path: Path) -> None:
    draft = path / f".{SEAL}"
    draft.write_text(json.dumps(_digests(path), indent=1))
    os.replace(draft, path / SEAL)


def _check_seal(path: Path) -> None:
    """Compares every file with the seal; a step without one (the process died between the two) is read as it is."""
    if (path / SEAL).exists():
        sealed, found = json.loads((path / SEAL).read_text()), _digests(path)
        if damaged := [name for name in sealed if sealed[name] != found.get(name)]:
            raise ValueError(f"damaged or missing: {', '.join(damaged)}")


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
