"""Launches of an update on an H100, counted in the program that XLA compiles for one; no GPU is needed.

  python -m benchmarks.launches                                                every size and arm: a table; ten minutes
  python -m benchmarks.launches --only="H=64 additive,H=64 none"               some of them
  python -m benchmarks.launches --out=docs/performance/launches.jsonl          and a file of rows

Needs jax-cuda13-plugin and jax-cuda13-pjrt, of the version that jax has, without NVIDIA's libraries. A launch is a fusion, a call of a
library, or a copy. What is in a loop counts as often as the loop runs, and once where XLA does not know how often: strings are drawn again
until none is held out. Command buffers (`machine.COMMANDS`) launch many of these at once, and are left out. XLA tries no kernels out here:
tiles of products may differ on a card; which operations become one kernel does not.
Exit status: 0; 2 for flags that do not fit, or without the plugin.
"""

# pyright: reportOptionalSubscript=false
# What XLA writes is as the patterns below say; where it is not, this is to fail.

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from unittest import mock

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from attention_jax import training
from attention_jax.config import choose
from attention_jax.data import sources
from attention_jax.report import report
from attention_jax.running import results
from attention_jax.running.resolved import resolve
from attention_jax.system import files
from attention_jax.system.errors import ConfigError, RunError
from attention_jax.training import parallel
from benchmarks.cards import updates

CARD = Path(__file__).with_name("h100.textproto")
"""NVIDIA's figures of an H100 80GB HBM3, as XLA wants to know them."""

NO_LAUNCH = frozenset("parameter constant tuple get-tuple-element bitcast after-all partition-id replica-id".split())
NAMES = tuple(f"{size} {arm}" for size in updates.SIZES for arm in updates.ARMS)

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
OPERATION = re.compile(r"^ *(?:ROOT )?%?[\w.\-]+ = (?:\(.*?\)|\S+) ([a-z][\w\-]*)\(")
CALLED = re.compile(r"\b(?:body|to_apply)=%?([\w.\-]+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


def count(program: str) -> int:
    """Counts the launches of a compiled program, from its text."""
    computations: dict[str, list[str]] = {}
    entry = name = ""
    for line in program.splitlines():
        if head := COMPUTATION.match(line):
            name = head[2]
            entry, computations[name] = name if head[1] else entry, []
        elif name and OPERATION.match(line):
            computations[name].append(line)

    def launches(name: str) -> int:
        total = 0
        for line in computations[name]:
            kind = OPERATION.match(line)[1]
            if kind == "while":
                trips = TRIPS.search(line)
                total += (int(trips[1]) if trips else 1) * launches(CALLED.search(line)[1])
            elif kind == "call":
                total += launches(CALLED.search(line)[1])
            elif kind not in NO_LAUNCH and not kind.endswith("-done"):
                total += 1
        return total

    return launches(entry)


def compiled(size: str, arm: str) -> str:
    """Compiles the program that updates all seeds of a size and arm of `updates.SIZES` once, for the card; returns its text.

    Raises `ConfigError` where XLA has no compiler for it.
    """
    try:
        card = topologies.get_topology_desc("h100", "cuda", target_config=CARD.read_text(), topology="1x1x1").devices[0]
    except NotImplementedError:
        version = jax.__version__
        raise ConfigError(f"there is no compiler: pip install jax-cuda13-plugin=={version} jax-cuda13-pjrt=={version}") from None
    there = SingleDeviceSharding(card)
    with mock.patch.object(jax, "default_backend", return_value="gpu"):  # what is chosen for the machine at hand is chosen for that one
        config = updates.SIZES[size](arm, False)
        model, sample, R = resolve(config).model, cast(Any, sources.build(config).sample), config.training.seeds
        init = parallel.one_by_one(lambda seed: training.init(model, config.training, seed, 1e-2))
        states = jax.eval_shape(init, np.zeros(R, np.int32))
        states = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there), states)

        def update(state):
            state, sums = training.train_step(state, sample(state.key, state.step), model, config.training)
            return state, sums.nll

        traced = jax.jit(parallel.over_seeds(update), donate_argnums=0).trace(states)
        return traced.lower(lowering_platforms=("cuda",)).compile().as_text() or ""


def measured(name: str) -> dict:
    """Returns the row of a program of `NAMES`."""
    size, _, arm = name.rpartition(" ")
    began = time.monotonic()
    launches = count(compiled(size, arm))
    return {"program": name, "launches": launches, "compile_s": round(time.monotonic() - began), "jax": jax.__version__}


def main(arguments: Sequence[str]) -> int:
    """Compiles what was asked for, and prints a table; see above for the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(NAMES), help="programs, as the table names them: a,b")
    parser.add_argument("--out", default="", help="file for the rows, written anew, e.g. docs/performance/launches.jsonl")
    asked = parser.parse_args(arguments)
    rows = []
    try:
        for name in [choose("--only", name, NAMES) for name in asked.only.split(",")]:
            rows.append(measured(name))
            print(f"{name}: {rows[-1]['launches']:,} launches", file=sys.stderr, flush=True)
        if asked.out:
            files.write_bytes(asked.out, results.lines(rows))
    except (ConfigError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    header = ("program", "launches", "compiled in s", "JAX")
    print(report.text_table(header, [(row["program"], f"{row['launches']:,}", str(row["compile_s"]), row["jax"]) for row in rows]))
    return 0


if __name__ == "__main__":
    os.environ |= {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "CUDA_VISIBLE_DEVICES": "-1"}  # read when the plugin is loaded
    jax.config.update("jax_platforms", "cpu")
    sys.exit(main(sys.argv[1:]))
