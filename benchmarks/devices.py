"""A batch split over many devices: bytes that an update sends, from its compiled program, and the predicted efficiency.

The program is compiled for n simulated CPU devices, in a process of its own; nothing is timed there. All its collective operations are
counted, and the bytes that each device gives to them. The prediction is arithmetic, for a batch that grows with n and no overlap:

    t_sent = 2 (n - 1) / n · bytes / bandwidth + 2 ⌈log₂ n⌉ · latency        (a ring's bytes, a tree's latency)
    efficiency = t_step / (t_step + t_sent)
"""

import json
import math
import os
import re
import sys
from collections.abc import Iterator

import jax

from attention_jax import training
from attention_jax.running.resolved import resolve
from attention_jax.training import parallel
from benchmarks import children, rows
from benchmarks import training as steps
from benchmarks.options import Options
from benchmarks.rows import Row, Target

LETTERS = "VEHBS"
SIZES = (steps.SIZES[0],)
DEVICES, PREDICTED = (2, 8), (8, 64, 512)
NETWORKS = {"10 Gbit/s Ethernet": (1.25e9, 50e-6), "400 Gbit/s InfiniBand": (50e9, 10e-6)}
"""Bandwidth in bytes per second and latency in seconds, of each device's own link; assumed, not measured."""
STEPS = (1.5, 0.05)
"""Seconds of an update: about what a CPU of two cores takes, and a GPU might; assumed."""
COLLECTIVE = re.compile(r"= (.*?) (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute|collective-broadcast)(-start)?\(")
NUMBER = re.compile(r"\b(?:bf|f|s|u)(\d+)\[([\d,]*)\]")


def run(options: Options) -> Iterator[Row]:
    """Yields counts and bytes for some numbers of devices, then predictions in percent."""
    for size in options.sizes or SIZES:
        sizes = " ".join(f"{letter}={value}" for letter, value in zip(LETTERS, size, strict=True))
        total = 0
        for n in DEVICES:
            sent = children.answer("benchmarks.devices", str(n), *map(str, size))
            count, total = sum(map(len, sent.values())), sum(map(sum, sent.values()))
            yield Row(
                "devices", "collectives", f"{n} devices {sizes}", rows.sample([count]), targets=(Target("ours", "≤", 1),), unit="a step"
            )
            yield Row("devices", "sent by each", f"{n} devices {sizes}", rows.sample([total / 1e6]), unit="MB a step")
        for network, seconds in ((network, seconds) for network in NETWORKS for seconds in STEPS):
            for n in PREDICTED:
                share = 100 * efficiency(n, seconds, total, *NETWORKS[network])
                what = f"predicted, {network}"
                yield Row("devices", what, f"{n} devices, a step of {seconds:g} s", rows.sample([share]), unit="% efficient")


def efficiency(n: int, seconds: float, sent: float, bandwidth: float, latency: float) -> float:
    """Returns the predicted share of its time that a device computes."""
    waiting = 2 * (n - 1) / n * sent / bandwidth + 2 * math.ceil(math.log2(n)) * latency
    return seconds / (seconds + waiting)


def collectives(program: str) -> dict[str, list[int]]:
    """Returns {name: bytes of each operation of that name} of a compiled program's text."""
    found = {}
    for shapes, name, _ in COLLECTIVE.findall(program):
        sizes = [int(bits) // 8 * math.prod(map(int, filter(None, shape.split(",")))) for bits, shape in NUMBER.findall(shapes)]
        found.setdefault(name, []).append(sum(sizes))
    return found


def main(arguments: list[str]) -> None:
    """Runs the child: prints the collectives of an update on so many devices."""
    n, V, E, H, B, S = map(int, arguments)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", n)
    config, batch = steps.settings(V, E, H, B), steps.full_batch(V, -(-B // n) * n, S)
    update = parallel.sharded(steps.update_of(config), parallel.data_mesh())
    compiled = update.lower(training.init(resolve(config).model, config.training, 0, 0.0), batch).compile()
    print(json.dumps(collectives(compiled.as_text())))


if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
    main(sys.argv[1:])
