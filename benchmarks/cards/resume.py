"""Part c: a run that is killed while it saves and begun again by the same command ends bit-identical with one that is left alone.

The run, the kill and the comparison are those of `make faults` (tests/faults). What is compared is all that a run leaves: rows, parameters
and the optimizer's averages of every checkpoint, the decoded example. Without --deterministic that is not promised on a GPU: the row says
what happened.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax

from attention_jax.system.errors import RunError
from benchmarks import rows
from benchmarks.cards.task import Task
from benchmarks.rows import Row, Target
from tests.faults import chains, scenarios

SCENARIO, KILL = "plain", chains.At("between seal and renaming", 2)
FLAGS = {"--deterministic": ("--deterministic",), "as it is": ()}


def items(task: Task) -> dict[str, Callable]:
    """With the flag, and without it; the rehearsal has the first."""
    if jax.default_backend() == "gpu":
        os.environ["JAX_PLATFORMS"] = "cuda"  # which tests/faults hands on; a CPU otherwise
    names = list(FLAGS)[:1] if task.small else FLAGS
    return {name: partial(resumed, name, task.folder(f"resume{number}")) for number, name in enumerate(names)}


def resumed(name: str, folder: Path) -> Iterator[Row]:
    """How much differs."""
    shutil.rmtree(folder, ignore_errors=True)
    whole = scenarios.prepare(SCENARIO, folder / "whole", *FLAGS[name])
    code, said = whole.finish()
    if code:
        raise RunError(f"the run that is left alone ends with {code}: {said}")
    killed = scenarios.prepare(SCENARIO, folder / "killed", *FLAGS[name])
    outcome = chains.play(killed, [KILL], scenarios.state(whole.run))
    if not outcome.struck:
        raise RunError(f"the run ended before it was killed: {chains.said(outcome)}")
    targets = (Target("ours", "≤", 0),) if FLAGS[name] else ()
    wrong = rows.sample([len(outcome.wrong)])
    yield Row("resume", name, SCENARIO, wrong, unit="things that differ", targets=targets, note=chains.said(outcome)[:1000])
    shutil.rmtree(folder)
