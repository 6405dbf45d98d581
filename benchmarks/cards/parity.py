"""Part b: small models against float64 (references.npz): losses, gradients, log p, weights, what searches find.

A difference is the largest of an array, relative to the largest number of that array, all gradients being one array; a row's is that of
its worst array. At `highest` a search has to find the same tokens as well; in TF32 outputs may change places that are as likely.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import jax
import numpy as np

from attention_jax.config import Config
from attention_jax.layers import precision
from attention_jax.system import machine
from benchmarks import rows
from benchmarks.cards import cases, references
from benchmarks.cards.task import Task
from benchmarks.rows import Row, Target

BOUNDS = {"highest": 1e-5, "tf32": 3e-3}
THREADS = machine.cores()
SMALL = ("normaliser sparsemax", "search beam")


def items(task: Task) -> dict[str, Callable]:
    """An item per case; the rehearsal has two."""
    stored = references.load()
    return {
        name: partial(compared, name, config, stored, task.argument)
        for name, config in cases.cases().items()
        if not task.small or name in SMALL
    }


def compared(name: str, config: Config, stored: dict[str, np.ndarray], digits: str) -> Iterator[Row]:
    """The row of a case in one precision, and of a search how many tokens differ."""
    config = replace(config, training=replace(config.training, precision=digits))
    with jax.default_matmul_precision(precision.named(digits)):
        found = jax.jit(cases.function(name, config))(cases.parameters(config), cases.batch())
        wanted = references.of(stored, name)
        tokens, expected = found.pop("tokens", None), wanted.pop("tokens", None)
        differences = {what: difference(np.asarray(found[what]), array) for what, array in wanted.items()}
        sizes, note = f"B={cases.B} S={cases.S} T={cases.T} H={cases.H}", ", ".join(f"{what} {d:.1e}" for what, d in differences.items())
        target = Target("ours", "≤", BOUNDS[digits])
        yield Row("parity", f"{name}, {digits}", sizes, rows.sample([max(differences.values())]), unit="", targets=(target,), note=note)
        if tokens is not None:
            differ = int((np.asarray(tokens) != expected).sum())
            targets = (Target("ours", "≤", 0),) if digits == "highest" else ()
            yield Row("parity", f"{name}, {digits}, tokens", sizes, rows.sample([differ]), unit="tokens that differ", targets=targets)


def difference(ours: np.ndarray, reference: np.ndarray) -> float:
    """The largest, relative to the reference's largest number; what is no number differs by 1e30."""
    largest = np.abs(reference, dtype=np.float64).max()
    found = np.abs(ours.astype(np.float64) - reference).max() / (largest or 1.0)
    return float(found) if np.isfinite(found) else 1e30
