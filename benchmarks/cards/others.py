"""Part e: PyTorch with cuDNN, JoeyNMT, TorchRL and FlashRNN beside ours, in the same process, by the benchmarks that `make bench` has.

    layers      LSTM and GRU at FlashRNN's published size, at Bahdanau's and at the sweep's; first of all, which peers are installed
    models      a training step at Bahdanau's size and at the sweep's
    decoding    greedy and beam

Equal work is asserted, but of `kernels.py`, where sizes are equal and weights are not.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import decoding, gpu, layer, rows, training
from benchmarks.cards import kernels
from benchmarks.cards.task import Task
from benchmarks.options import Options
from benchmarks.rows import Row, Target

PEERS = ("torch", "joeynmt", "torchrl", "flashrnn")
LAYERS = {"lstm": ((16, 1024, 768, 768), (32, 50, 512, 1000), (128, 50, 64, 64)), "gru": ((32, 50, 512, 1000), (128, 50, 64, 64))}
MODELS = {"Bahdanau": gpu.BAHDANAU, "the sweep's": (32, 64, 64, 64, 20)}
SECONDS = 2.0  # of taking turns, for one comparison
LAYER = {layer.TORCH: (Target("ratio", "≥", 0.9),)}
MODEL = {"Bahdanau": (Target("ratio", "≥", 3.0),), "the sweep's": ()}


def items(task: Task) -> dict[str, Callable]:
    """The items of one of the three; the rehearsal has one layer, one model and one decoding, of a few units."""
    if task.argument == "layers":
        sizes = {"gru": ((4, 3, 2, 4),)} if task.small else LAYERS
        ours = {f"{cell} {size}": partial(layer.at_size, cell, *size, seconds(task), LAYER) for cell, row in sizes.items() for size in row}
        return {"peers": peers} | ours | ({} if task.small else kernels.items(LAYERS["lstm"][0], SECONDS))
    if task.argument == "models":
        models = {"a few units": (8, 4, 4, 2, 3)} if task.small else MODELS
        return {name: partial(training.at_size, *size, MODEL.get(name, ()), seconds(task)) for name, size in models.items()}
    sizes = ((8, 4, 960, 2),) if task.small else ()
    return {"decoding": partial(decoding.run, Options(seconds(task), sizes))}


def seconds(task: Task) -> float:
    """Of taking turns."""
    return 0.0 if task.small else SECONDS


def peers() -> Iterator[Row]:
    """Who is there: 1 or 0, and the version."""
    for name in PEERS:
        there = importlib.util.find_spec(name) is not None
        try:
            note = importlib.metadata.version(name) if there else f"{name} is not installed: nothing is compared with it"
        except importlib.metadata.PackageNotFoundError:
            note = "of no distribution"
        yield Row("peers", name, "", rows.sample([int(there)]), unit="installed", note=note)
