"""Functions → samples of their time; the peak of this machine; memory as the operating system counts it."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.system.errors import RunError
from attention_jax.training import parallel
from benchmarks import apart, rows
from benchmarks.rows import Row, Sample, Target

TURN = 0.1  # seconds: fast functions are called several times before it is another's turn
LEAST, FEWER, MOST = 5, 2, 1000  # turns; fewer where LEAST would take three times the time that was given
TOLERANCE = {"cpu": 1e-4, "gpu": 0.05}  # of equal work, relative to the largest number of an array; GPUs round products to TF32


def alternate(functions: Mapping[str, Callable | apart.Peer], seconds: float) -> dict[str, Sample]:
    """Times each function in turns A B A B … for about `seconds`, at least five turns each (two, if they are long).

    Results that are JAX arrays are waited for. Two calls of each come before, and are not counted: they compile and warm up.
    """
    calls = {}
    for name, function in functions.items():
        _timed(function)
        calls[name] = max(1, round(TURN / max(_timed(function), 1e-6)))
    found = {name: [] for name in functions}
    began = time.monotonic()
    for turn in range(MOST):
        spent = time.monotonic() - began
        if spent > seconds and (turn >= LEAST or (turn >= FEWER and spent > 3 * seconds)):
            break
        for name, function in functions.items():
            found[name] += [_timed(function) for _ in range(calls[name])]
    return {name: rows.sample(values) for name, values in found.items()}


def _timed(function: Callable | apart.Peer) -> float:
    return function.seconds() if isinstance(function, apart.Peer) else apart.timed(function)


def compare(
    name: str,
    what: str,
    sizes: str,
    functions: Mapping[str, Callable | apart.Peer],
    seconds: float,
    targets: Mapping[str, Sequence[Target]],
    flop: float | None = None,
    note: str = "",
) -> list[Row]:
    """Returns a row per peer: the first of `functions` is ours, `targets` belong to the peers they name ("" where there is no peer)."""
    (_, ours), *others = alternate(functions, seconds).items()
    peak = matrix_peak() if flop else None
    others = others or [("", None)]
    return [
        Row(name, what, sizes, ours, peer, theirs, tuple(targets[peer]) if peer in targets else (), flop=flop, peak=peak, note=note)
        for peer, theirs in others
    ]


@cache
def matrix_peak(repeats: int = 7) -> float:
    """Measures FLOP/s of an n×n matrix product over all devices, at JAX's precision for float32: the best of several, 2n³ each."""
    mesh, n = parallel.data_mesh(), 3072 if jax.default_backend() == "cpu" else 16384
    rows_split = jax.NamedSharding(mesh, jax.P(parallel.AXIS))
    n -= n % mesh.size
    a, b = jax.device_put(factors(n), (rows_split, jax.NamedSharding(mesh, jax.P())))
    product = jax.jit(jnp.matmul, out_shardings=rows_split)
    jax.block_until_ready(product(a, b))
    return 2 * n**3 / min(_timed(lambda: product(a, b)) for _ in range(repeats))


def factors(n: int) -> tuple[jax.Array, jax.Array]:
    """Draws two nxn matrices of normal numbers; with ones a GPU needs less power, and multiplies up to 13 % faster than in use."""
    left, right = jax.random.split(jax.random.key(0))
    return jax.random.normal(left, (n, n)), jax.random.normal(right, (n, n))


def assert_equal_work(what: str, ours: Mapping, theirs: Mapping, tolerance: float | None = None) -> None:
    """Raises `RunError` unless the arrays of both agree, name by name, to `tolerance`, by default that of float32 on this backend."""
    tolerance = tolerance or TOLERANCE[jax.default_backend()]
    if set(ours) != set(theirs):
        raise RunError(f"{what}: not the same arrays: {sorted(set(ours) ^ set(theirs))}")
    for name, wanted in theirs.items():
        ours_x, theirs_x = np.asarray(ours[name], np.float64), np.asarray(wanted, np.float64)
        if ours_x.shape != theirs_x.shape:
            raise RunError(f"{what}: {name} is of shape {ours_x.shape} here and {theirs_x.shape} there")
        difference = np.abs(ours_x - theirs_x).max() / max(np.abs(theirs_x).max(), 1e-30)
        if not difference <= tolerance:
            raise RunError(f"{what}: work is not equal, {name} differs by {difference:.1e} of its largest number (≤ {tolerance:g})")


def peak_memory_mb() -> float:
    """Returns the peak memory: on a GPU that of JAX's allocator; else resident memory of this process, VmHWM of Linux."""
    if (stats := device_memory()) is not None:
        return stats["peak_bytes_in_use"] / 2**20
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def reset_peak_memory_mb() -> float:
    """Resets the peak of `peak_memory_mb`, and returns memory in use; on a GPU the peak stays that of the whole process."""
    if (stats := device_memory()) is not None:
        return stats["bytes_in_use"] / 2**20
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory_mb()


def available_mb() -> float:
    """Returns available memory: on a GPU what JAX's allocator may still take; else memory without swapping, by Linux."""
    if (stats := device_memory()) is not None:
        return (stats["bytes_limit"] - stats["bytes_in_use"]) / 2**20
    return int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0]) / 1024


def device_memory() -> dict[str, int] | None:
    """Returns the statistics of JAX's allocator on the first device; None where that has no memory of its own."""
    return jax.local_devices()[0].memory_stats()
