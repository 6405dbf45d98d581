"""The command line of the experiments, with a listener of what JAX compiles: `python -m benchmarks.listener FILE --flags …`.

At the end FILE holds {"programs": {name: how many times JAX asked for it to be compiled}, "hits", "misses" of the persistent cache,
"first_step": seconds from the start of the process to the first losses}. Names are those of JAX's own events.
"""

import atexit
import json
import sys
import time
from collections import Counter
from pathlib import Path

import jax

from attention_jax.training import compiled
from experiments import run

COMPILED = "/jax/core/compile/backend_compile_duration"
CACHE = {"/jax/compilation_cache/cache_hits": "hits", "/jax/compilation_cache/cache_misses": "misses"}


def listen(file: Path, started: float) -> None:
    """Registers the listeners; the report is written when the process ends."""
    asked, events, first_step = Counter(), Counter(), []

    def on_duration(event: str, duration_secs: float, **more: str | int):
        if event == COMPILED:
            asked[more.get("fun_name", "?")] += 1

    def on_event(event: str, **more):
        if event in CACHE:
            events[CACHE[event]] += 1

    def timed(config, source):
        inner = advance(config, source)

        def advanced(*arguments):
            result = jax.block_until_ready(inner(*arguments))
            first_step.append(time.time() - started)
            return result

        return advanced

    def report():
        counts = {name: events[name] for name in CACHE.values()}
        file.write_text(json.dumps({"programs": asked, "first_step": first_step[0] if first_step else None} | counts))

    advance, compiled.advance = compiled.advance, timed
    jax.monitoring.register_event_duration_secs_listener(on_duration)
    jax.monitoring.register_event_listener(on_event)
    atexit.register(report)


def process_started() -> float:
    """Returns the time at which this process started, by Linux."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    booted = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    return booted + ticks / 100


if __name__ == "__main__":
    listen(Path(sys.argv.pop(1)), process_started())
    run.cli()
