"""The file of rows: what happened is written at once, and what is on file for the same card, versions and sources is known.

Lines are appended as those of runs are (`results.append`): on disk on return, a torn last line cut off, a checksum each.
"""

import hashlib
import subprocess
from pathlib import Path

from attention_jax.running import results
from attention_jax.system.errors import DataError
from benchmarks.rows import Row, sample

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("attention_jax", "experiments", "benchmarks")
COMMIT = ROOT / "COMMIT"
"""Written by a bundle, which has no .git."""
ENDED = ("done", "failed", "cut")
"""What may have become of an item."""


class Book:
    """The rows in a folder, and those that this process adds."""

    def __init__(self, folder: Path):
        self.folder, self.file = folder, folder / "rows.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = read(self.file)
        self.here = {"code": sources(), "commit": commit()}

    def done(self, step: str, machine: dict) -> set[str]:
        """Items of a step that need not be worked on again."""
        same = {name: machine[name] for name in ("device", "versions")} | {"step": step, "outcome": "done", "code": self.here["code"]}
        return {row["item"] for row in self.rows if all(row[name] == value for name, value in same.items())}

    def write(self, row: dict, part: str, step: str, item: str, outcome: str) -> None:
        """Adds a row, with what it belongs to."""
        row = row | {"part": part, "step": step, "item": item, "outcome": outcome} | self.here
        results.append(self.file, [row])
        self.rows.append(row)

    def close(self, machine: dict, part: str, step: str, item: str, outcome: str, seconds: float, words: str = "") -> None:
        """A row that says what became of an item, and after how long; its words are those of an error."""
        row = Row(step, f"{item}: {outcome}", "", sample([seconds]), note=words)
        unknown = {"device": "", "cores": 0, "versions": {}, "environment": {}}  # of a process that was cut before it said anything
        self.write(row.measured() | {"precision": None} | unknown | machine, part, step, item, outcome)


def read(file: Path) -> list[dict]:
    """Its rows; none where there is no file, and `DataError` where it is damaged."""
    found = results.read(file) if file.exists() else []
    for row in found:
        if not {"item", "outcome", "code", "device", "versions"} <= row.keys():
            raise DataError(f"{file} holds rows of something else: choose another --out")
    return found


def sources() -> str:
    """A digest of all Python files that are measured: a commit that changes none of them measures nothing anew."""
    found = hashlib.sha256()
    for file in sorted(file for folder in SOURCES for file in (ROOT / folder).rglob("*.py")):
        found.update(f"{file.relative_to(ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:16]


def commit() -> str:
    """Of this checkout, or of the one that a bundle was made of; "unknown" where nobody says."""
    if COMMIT.exists():
        return COMMIT.read_text().strip()
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
