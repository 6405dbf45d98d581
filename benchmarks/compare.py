"""Compares two files of rows: what moved beyond noise. `make bench` does it with the rows of docs/performance; for any two files:

  python -m benchmarks.compare docs/performance/rows.jsonl runs/benchmarks.jsonl

Runs are compared by what each measured within itself: ratios, shares of the matrix peak, memory, counts. Times and rates of rows that have
neither ratio nor share are compared only where both runs had the same machine: the same processor, as many cores, and a matrix peak that
differs by no more than `SCATTER`.

A quantity moved if it changed by more than its noise: `SCATTER`, by which rows move from run to run, and beside it the spread of the
samples of both runs, half the distance of their quartiles over the median, added as independent errors are. Of a row that a file has twice
the last one counts.

Exit status: 0, whatever moved; 1 where a file is missing or damaged; 2 where there are not two.
"""

import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from attention_jax.system.errors import DataError
from benchmarks import rows, stored

SCATTER = 0.2
"""By so much of itself a ratio, a share or a time moves from run to run on a shared virtual machine (docs/performance.md)."""
OF_THE_MACHINE = ("s", "GFLOP/s", "GB/s")
"""Units that say nothing on another machine."""
POINTS = {"as exponent": 0.1, "% of the time": 1.0}
"""Units whose noise is absolute, not a share of the value."""
EXACT = ("programs", "a step", "MB a step", "% efficient")
"""Units of what is counted or calculated: no change is noise."""
RISING = ("", "GFLOP/s", "GB/s", "% efficient")
"""Units of which more is better; "" is that of ratios and shares."""


class Value(NamedTuple):
    """A quantity of a row, and half its interquartile range as a share of it."""

    number: float
    spread: float
    unit: str
    row: dict


class Moved(NamedTuple):
    """A quantity that changed by more than its noise. `which` is benchmark, what, sizes, quantity."""

    which: tuple[str, ...]
    before: Value
    now: Value
    change: float
    noise: float

    @property
    def better(self) -> bool:
        """True where the change is an improvement."""
        return (self.now.number > self.before.number) == (self.now.unit in RISING)


class Run(NamedTuple):
    """Machine, matrix peak and versions of a file of rows."""

    machine: str  # several, if rows name several
    peak: float | None  # FLOP/s, median of those in the rows
    versions: dict[str, str]


def values(row: dict) -> dict[str, Value]:
    """Returns {quantity: value} of a row: ratio and share of the peak, or where it has neither, its own measurement."""
    ours, found = _spread(row, "ours"), {}
    if row["ratio"] is not None:
        found[f"ratio to {row['peer']}"] = Value(row["ratio"], math.hypot(ours, _spread(row, "theirs")), "", row)
    if row["share_of_peak"] is not None:
        found["share of the peak"] = Value(row["share_of_peak"], ours, "", row)
    return found or {"ours": Value(row["ours"], ours, row["unit"], row)}


def _spread(row: dict, name: str) -> float:
    if not row[name]:
        return 0.0
    low, high = row[f"{name}_quartiles"]
    return (high - low) / 2 / row[name]


def quantities(found: Sequence[dict]) -> dict[tuple[str, ...], Value]:
    """Returns {(benchmark, what, sizes, quantity): value}; our share of the peak is in the row of every peer, and counts once."""
    return {(*stored.key(row)[:3], name): value for row in found for name, value in values(row).items()}


def moved(before: Sequence[dict], now: Sequence[dict]) -> list[Moved]:
    """Returns the quantities of both files that differ by more than noise, in the order of `before`."""
    here, same, found = quantities(now), same_machine(run_of(before), run_of(now)), []
    for which, old in quantities(before).items():
        new = here.get(which)
        if new is None or (old.unit in OF_THE_MACHINE and not same):
            continue
        one = Moved(which, old, new, change(old, new), noise(old, new))
        if one.change > one.noise:
            found.append(one)
    return found


def noise(old: Value, new: Value) -> float:
    """Returns the largest change that is noise: in points for a unit of `POINTS`, 0 for one of `EXACT`, else a share."""
    return 1e-6 if old.unit in EXACT else POINTS.get(old.unit, SCATTER + math.hypot(old.spread, new.spread))


def change(old: Value, new: Value) -> float:
    """Returns the change: in points, or as the share by which the larger exceeds the smaller."""
    low, high = sorted((old.number, new.number))
    return high - low if old.unit in POINTS or low <= 0 else high / low - 1


def run_of(found: Sequence[dict]) -> Run:
    """Returns the machine, its peak and versions of rows."""
    machines = sorted({f"{row['device']}, {row['cores']} core{'s' * (row['cores'] != 1)}" for row in found})
    peaks = [row["peak_flop_per_s"] for row in found if row["peak_flop_per_s"]]
    versions = {name: str(version) for row in found for name, version in row["versions"].items()}
    return Run(" and ".join(machines), statistics.median(peaks) if peaks else None, versions)


def same_machine(before: Run, now: Run) -> bool:
    """True where times of both can be compared; processors of one name can differ, which the peak shows."""
    if before.machine != now.machine or " and " in now.machine:
        return False
    return not (before.peak and now.peak) or max(before.peak, now.peak) <= (1 + SCATTER) * min(before.peak, now.peak)


def report(before: Sequence[dict], now: Sequence[dict]) -> str:
    """Returns the comparison as text: rows of one side only, machines, versions, then what moved."""
    there, here = ({stored.key(row): row for row in found} for found in (before, now))
    both = [key for key in there if key in here]
    if not both:
        return "Nothing to compare: no row is in both."
    lines = [f"Rows in both: {len(both)}."]
    lines += _lacking("Stored, and not measured now", [key for key in there if key not in here])
    lines += _lacking("Measured now, and not stored", [key for key in here if key not in there])
    before, now = [there[key] for key in both], [here[key] for key in both]
    lines += _circumstances(run_of(before), run_of(now))
    found = moved(before, now)
    if not found:
        return "\n".join([*lines, "Nothing moved beyond noise."])
    better = sum(one.better for one in found)
    lines.append(f"Moved beyond noise: {better} for the better, {len(found) - better} for the worse.")
    headings = ("benchmark", "what", "sizes", "quantity", "stored", "now", "change", "noise", "ours", "theirs", "")
    return "\n".join([*lines, "", rows.columns([headings, *map(_cells, found)])])


def _lacking(what: str, keys: list[tuple[str, ...]]) -> list[str]:
    names = [", ".join(filter(None, key)) for key in keys]
    return [f"{what}: {len(names)} ({'; '.join(names[:5])}{'; …' if len(names) > 5 else ''})."] if names else []


def _circumstances(before: Run, now: Run) -> list[str]:
    peaks = [f"{run.peak / 1e9:.0f} GFLOP/s" if run.peak else "peak unknown" for run in (before, now)]
    if same_machine(before, now):
        lines = [f"The same machine: {now.machine}, {peaks[0]} stored, {peaks[1]} now."]
    else:
        lines = [f"Another machine: {before.machine}, {peaks[0]} stored; {now.machine}, {peaks[1]} now."]
        lines.append("So times are not compared; ratios and shares of the peak may differ for no other reason.")
    names = [name for name in before.versions if before.versions[name] != now.versions.get(name)]
    changed = [f"{name} {before.versions[name]} stored, {now.versions.get(name)} now" for name in names]
    return lines + ([f"Other versions: {'; '.join(changed)}."] if changed else [])


def _cells(one: Moved) -> tuple[str, ...]:
    old, new, unit = one.before.row, one.now.row, one.now.unit
    ours = "" if unit else _both(old, new, "ours")
    theirs = _both(old, new, "theirs") if one.which[3].startswith("ratio") else ""
    numbers = (*(_number(value) for value in (one.before, one.now)), *(_apart(x, unit) for x in (one.change, one.noise)))
    return (*one.which, *numbers, ours, theirs, "better" if one.better else "WORSE")


def _number(value: Value) -> str:
    return rows.quantity(value.number, value.unit).rstrip()


def _apart(x: float, unit: str) -> str:
    return "" if unit in EXACT else f"{x:.2f}" if unit in POINTS else f"{x:.0%}"


def _both(old: dict, new: dict, name: str) -> str:
    return f"{rows.quantity(old[name], old['unit'])} → {rows.quantity(new[name], new['unit'])}"


def main(arguments: list[str]) -> int:
    """Prints the report; see above for the exit status."""
    if len(arguments) != 2:
        print("error: give two files of rows: python -m benchmarks.compare STORED NOW", file=sys.stderr)
        return 2
    try:
        print(report(*(stored.read(Path(name)) for name in arguments)))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
