"""Child processes, for measurements that must start from nothing: commands of the experiments, and memory."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from attention_jax.system.errors import RunError


def experiment(flags: Sequence[str], settings: Sequence[str], compiled: Path, report: Path | None = None) -> str:
    """Runs `experiments.run` with these flags, and a --set for each setting; returns its standard error.

    Programs are kept in the folder `compiled`. With `report`, a listener writes there what JAX compiled (see listener.py). Raises
    `RunError` where the command fails.
    """
    module = ["experiments.run"] if report is None else ["benchmarks.listener", str(report)]
    command = [*module, *flags, *(part for setting in settings for part in ("--set", setting))]
    return _run(command, JAX_COMPILATION_CACHE_DIR=str(compiled)).stderr


def answer(module: str, *arguments: str) -> dict:
    """Returns the last line that `python -m module arguments` prints, as JSON. Raises `RunError` where it fails."""
    return json.loads(_run([module, *arguments]).stdout.splitlines()[-1])


def _run(command: list[str], **environment: str) -> subprocess.CompletedProcess:
    finished = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, env=os.environ | environment)
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RunError(f"{' '.join(command)} ended with {finished.returncode}: {last}")
    return finished
