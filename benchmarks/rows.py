"""Measurements → rows → table and JSON lines; stored.py reads them back.

A row compares us with one peer at one size, in one unit (seconds, MB, compilations). The ratio is peer / ours: above 1 we need less.
"""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax

from attention_jax.layers import precision
from attention_jax.system.errors import RunError
from attention_jax.system.machine import cores

PACKAGES = ("jax", "jaxlib", "numpy", "flax", "torch", "joeynmt")
ALLOCATOR = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "XLA_", "OMP_")
"""Environment variables that move timings start so."""


class Sample(NamedTuple):
    """Median, quartiles and number of repeated measurements."""

    median: float
    quartiles: tuple[float, float]
    repeats: int


def sample(values: Sequence[float]) -> Sample:
    """Returns median and quartiles of `values`."""
    if len(values) == 1:
        return Sample(values[0], (values[0], values[0]), 1)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Sample(statistics.median(values), (low, high), len(values))


class Target(NamedTuple):
    """A bound on a `quantity` of a row (ratio, share_of_peak, memory_mb, ours): at least, or at most, `bound`."""

    quantity: str
    sense: str  # ≥ or ≤
    bound: float

    def met(self, value: float | None) -> bool:
        """True where a value meets the target; an unmeasured one does not."""
        return value is not None and (value >= self.bound if self.sense == "≥" else value <= self.bound)

    def __str__(self) -> str:
        return f"{self.quantity} {self.sense} {self.bound:g}"


@dataclass(frozen=True)
class Row:
    """One comparison with a peer. Fields that do not apply are None, targets () where there are none."""

    name: str  # the benchmark
    what: str  # which part of it
    sizes: str
    ours: Sample
    peer: str = ""  # empty: nobody to compare with
    theirs: Sample | None = None
    targets: tuple[Target, ...] = ()
    unit: str = "s"
    memory_mb: float | None = None  # extra memory of ours, by the operating system's figure
    flop: float | None = None  # operations of one call, by formula
    peak: float | None = None  # FLOP/s of a large matrix product in the same run
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Median of the peer over ours."""
        return self.theirs.median / self.ours.median if self.theirs and self.ours.median else None

    @property
    def flop_per_s(self) -> float | None:
        """Operations per second of ours."""
        return self.flop / self.ours.median if self.flop and self.unit == "s" else None

    @property
    def share_of_peak(self) -> float | None:
        """Our rate as a share of that of a large matrix product."""
        return self.flop_per_s / self.peak if self.flop_per_s and self.peak else None

    @property
    def met(self) -> bool | None:
        """True where all targets are met; None without any."""
        values = {"ratio": self.ratio, "share_of_peak": self.share_of_peak, "memory_mb": self.memory_mb, "ours": self.ours.median}
        return all(target.met(values[target.quantity]) for target in self.targets) if self.targets else None

    def to_json(self) -> dict:
        """Returns the row as it is written, with its machine."""
        return self.measured() | {"precision": precision.current()} | asdict(machine())

    def measured(self) -> dict:
        """Returns the row without its machine, for a process that does not compute."""
        return {
            "name": self.name,
            "what": self.what,
            "sizes": self.sizes,
            "unit": self.unit,
            "ours": self.ours.median,
            "ours_quartiles": self.ours.quartiles,
            "peer": self.peer,
            "theirs": self.theirs.median if self.theirs else None,
            "theirs_quartiles": self.theirs.quartiles if self.theirs else None,
            "repeats": self.ours.repeats,
            "ratio": self.ratio,
            "target": ", ".join(map(str, self.targets)),
            "met": self.met,
            "memory_mb": self.memory_mb,
            "flop": self.flop,
            "flop_per_s": self.flop_per_s,
            "peak_flop_per_s": self.peak,
            "share_of_peak": self.share_of_peak,
            "note": self.note,
        }


@dataclass(frozen=True)
class Machine:
    """The machine that a row was measured on."""

    device: str
    cores: int
    versions: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)


@cache
def machine() -> Machine:
    """Returns this machine: name of the GPU, or of the CPU by Linux; versions; environment variables of memory and threads."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    device = jax.devices()[0].device_kind if jax.default_backend() == "gpu" else cpu_name()
    environment = {name: value for name, value in sorted(os.environ.items()) if name.startswith(ALLOCATOR)}
    return Machine(device, cores(), versions, environment)


def cpu_name() -> str:
    """Returns the processor's name, with family and model where Linux has them: a cloud calls several generations "AMD EPYC"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    numbers = f" (family {said['cpu family']}, model {said['model']})" if {"cpu family", "model"} <= said.keys() else ""
    return said["model name"] + numbers if "model name" in said else platform.machine()


def append(file: Path, row: Row) -> None:
    """Appends a line. Raises `RunError` where it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as lines:
            lines.write(json.dumps(row.to_json(), ensure_ascii=False) + "\n")
    except OSError as error:
        raise RunError(f"--out={file} cannot be written: {error.strerror}") from None


def peer_share(row: dict) -> float | None:
    """Returns the peer's share of the matrix peak: the same operations, by formula, in its time."""
    return row["share_of_peak"] / row["ratio"] if row["share_of_peak"] and row["ratio"] else None


HEADINGS = "benchmark, what, sizes, ours, of peak, peer, theirs, of peak, ratio, memory, GFLOP/s, target, met".split(", ")


def table(rows: Sequence[dict]) -> str:
    """Formats stored rows in columns."""
    return columns([HEADINGS, *(_cells(row) for row in rows)])


def columns(cells: Sequence[Sequence[str]]) -> str:
    """Aligns lines of texts under their headings, the first line."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])


def _cells(row: dict) -> tuple[str, ...]:
    ratio = row["ratio"]
    return (
        row["name"],
        row["what"],
        row["sizes"],
        quantity(row["ours"], row["unit"]),
        percent(row["share_of_peak"]),
        row["peer"] or "–",
        "" if row["theirs"] is None else quantity(row["theirs"], row["unit"]),
        percent(peer_share(row)),
        "" if ratio is None else f"{ratio:.2f}",
        "" if row["memory_mb"] is None else f"{row['memory_mb']:,.0f} MB",
        "" if row["flop_per_s"] is None else f"{row['flop_per_s'] / 1e9:.0f}",
        row["target"],
        {None: "", True: "yes", False: "NO"}[row["met"]],
    )


def line(row: dict) -> str:
    """Formats a stored row on one line."""
    return "   " + "  ".join(filter(None, _cells(row)[1:]))


def quantity(value: float, unit: str) -> str:
    """Formats a number in its unit, three digits; seconds as s or ms."""
    if unit == "s" and value < 1:
        value, unit = 1000 * value, "ms"
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"


def percent(share: float | None) -> str:
    """Formats a share of the matrix peak; "" where there is none."""
    return "" if share is None else f"{share:.0%}"
