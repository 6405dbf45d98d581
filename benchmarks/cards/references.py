"""What `parity` compares with: the cases in float64 on a CPU, stored beside this file, packed, rounded to float32 once they are computed.

python -m benchmarks.cards.references             makes those that are missing; each is on file before the next
python -m benchmarks.cards.references --list      names them, and makes none; exit status 1 where there are any
python -m benchmarks.cards.references --all       makes all of them anew
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import jax
import numpy as np

from attention_jax.system.errors import RunError
from benchmarks.cards import cases

FILE = Path(__file__).with_name("references.npz")


def load(file: Path = FILE) -> dict[str, np.ndarray]:
    """{"case/what": array}."""
    if not file.exists():
        return {}
    with np.load(file) as arrays:
        return dict(arrays)


def of(stored: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """{what: array} of a case; `RunError` where it is not stored."""
    found = {key.partition("/")[2]: array for key, array in stored.items() if key.partition("/")[0] == name}
    if not found:
        raise RunError(f"no reference of {name}: python -m benchmarks.cards.references makes it")
    return found


def missing(stored: Iterable[str]) -> list[str]:
    """Cases that have no reference."""
    there = {key.partition("/")[0] for key in stored}
    return [name for name in cases.cases() if name not in there]


@contextlib.contextmanager
def drawn_in_float32() -> Iterator[None]:
    """Within it, what is drawn as float64 is what float32 would draw, widened: else the same key draws other numbers."""
    with contextlib.ExitStack() as patches:
        for draw in (jax.random.gumbel, jax.random.normal):
            narrow = partial(_widened, draw)
            patches.enter_context(mock.patch.object(jax.random, draw.__name__, narrow))
        yield


def _widened(draw: Callable, key, shape, dtype) -> jax.Array:
    return draw(key, shape, np.float32).astype(dtype)


def made(name: str) -> dict[str, np.ndarray]:
    """A case in float64; `RunError` where anything of it is not."""
    config = cases.cases()[name]
    with jax.enable_x64(True), drawn_in_float32():
        found = jax.jit(cases.function(name, config))(cases.parameters(config, np.float64), cases.batch())
    arrays = {what: np.asarray(array) for what, array in found.items()}
    if wrong := [what for what, array in arrays.items() if array.dtype != (np.int32 if what == "tokens" else np.float64)]:
        raise RunError(f"{name}: {', '.join(wrong)} was not computed in float64")
    return {what: array if what == "tokens" else array.astype(np.float32) for what, array in arrays.items()}


def main(arguments: Sequence[str]) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cards.references", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="name what is missing, and make nothing")
    parser.add_argument("--all", action="store_true", help="make all anew")
    asked = parser.parse_args(arguments)
    if jax.default_backend() != "cpu":
        print("error: references are made on a CPU: set JAX_PLATFORMS=cpu", file=sys.stderr)
        return 2
    stored = {} if asked.all else load()
    lacking = missing(stored)
    for name in lacking:
        print(name, flush=True)
        if not asked.list:
            stored |= {f"{name}/{what}": array for what, array in made(name).items()}
            np.savez_compressed(FILE, **{key: stored[key] for key in sorted(stored)})  # pyright: ignore[reportArgumentType]  # names hold a slash
    return 1 if asked.list and lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
