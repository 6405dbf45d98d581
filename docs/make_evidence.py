"""Records of the tests → docs/evidence.md: row · independent reference · largest difference. `make evidence` runs this after the tests.

A record is a line {"row", "reference", "difference"} of a .jsonl file, written by the fixture `evidence` of tests/conftest.py.
"""

import importlib.metadata
import json
import platform
import sys
from pathlib import Path

from attention_jax import attention, config, encoders
from attention_jax.layers import cells
from attention_jax.model import readout

ROOT = Path(__file__).resolve().parent.parent

TABLES = {
    "attention": tuple(attention.TABLE),
    "normaliser": tuple(attention.NORMALISERS),
    "window": tuple(attention.WINDOWS),
    "estimator": tuple(attention.ESTIMATORS),
    "encoder": tuple(encoders.TABLE),
    "cell": tuple(cells.TABLE),
    "readout": tuple(readout.TABLE),
    "search": tuple(config.METHODS.split()),
}
"""Every table of the library: its rows should all have a reference."""

TRIVIAL = {
    "attention=none": "no context: nothing to compare",
    "window=all": "no window: every test without one",
}
"""Rows that compute nothing."""

PACKAGES = ("jax", "jaxlib", "numpy", "flax", "torch", "keras", "entmax")


def read(folder: Path) -> dict[tuple[str, str], float]:
    """{(row, reference): largest difference} over all records of a folder."""
    largest: dict[tuple[str, str], float] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            key = record["row"], record["reference"]
            largest[key] = max(largest.get(key, 0.0), record["difference"])
    return largest


def number(difference: float) -> str:
    """One significant digit: 2.3e-07 → 2e-7, 0.0 → 0."""
    digit, _, power = f"{difference:.0e}".partition("e")
    return f"{digit}e{int(power)}" if difference else "0"


def place(row: str) -> tuple[int, str]:
    """Tables in their order, then everything else by name."""
    table = row.partition("=")[0]
    return (list(TABLES).index(table) if table in TABLES else len(TABLES)), row


def unproved(rows: set[str]) -> list[str]:
    """Rows of tables without a record; "estimator=reinforce baseline=learned" is one for estimator=reinforce."""
    seen = {row.split(" ")[0] for row in rows}
    every = [f"{table}={name}" for table, names in TABLES.items() for name in names]
    return [row for row in every if row not in seen and row not in TRIVIAL]


def versions() -> str:
    """ "Python 3.11.7, jax 0.10.2, …"."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)


def page(largest: dict[tuple[str, str], float]) -> str:
    """The text of docs/evidence.md."""
    rows = sorted(largest, key=lambda key: (place(key[0]), key[1]))
    lines = [f"| {row} | {reference.replace('|', chr(92) + '|')} | {number(largest[row, reference])} |" for row, reference in rows]
    missing = unproved({row for row, _ in rows})
    absent = "\n".join(f"- {row}" for row in missing) if missing else "None: every row of every table has one."
    trivial = "\n".join(f"- {row}: {why}" for row, why in TRIVIAL.items())
    return f"""# Evidence

Each row of each table against something that is independent of it: the published formula in a plain loop, an enumeration of every
alignment, finite differences in double precision, another library, another library's own expected values. The difference is the largest
over all that the tests compare, absolute between numbers up to 1 and relative above, ours in single precision where nothing else is said.
Where the reference is an expectation over draws, or is printed with few decimals, the difference is of that size; a bias that is stated
as known is no error at all. Tolerances stand in the tests.

This page is made by `make evidence`, which runs every test and reads their records; it is not edited.
Made with {versions()}.

| row | independent reference | largest difference |
|---|---|---|
{chr(10).join(lines)}

## Rows without an independent reference

{absent}

Rows that compute nothing:

{trivial}
"""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    records = read(folder)
    if not records:
        sys.exit(f"no records in {folder}: run `make evidence`, which makes them")
    (ROOT / "docs" / "evidence.md").write_text(page(records))
