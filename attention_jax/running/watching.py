"""What a run shows of itself while it trains: the losses of every seed so far, and one example as it is learned.

    watched.json    what `Watched` holds, replaced whole at checkpoints, where somebody watches

Training never waits for a reader, and nothing that is shown goes back into it. Whatever fails here is warned about once, and training
goes on unwatched.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from attention_jax.running import examples, results
from attention_jax.running.examples import Example
from attention_jax.running.replays import SeedsExample
from attention_jax.system import files
from attention_jax.system.errors import DataError, RunError
from attention_jax.types.signatures import Array

FILE = "watched.json"
POINTS = 200  # of a curve at most; where there are more, neighbours are joined
SNAPSHOTS = 24  # of the example at most; where there are more, every second is left out

logger = logging.getLogger(__name__)


class Snapshot(NamedTuple):
    """The example of every seed after so many updates."""

    update: int
    examples: list[Example]


class Watched(NamedTuple):
    """What is shown of a run: each point of a curve is (the last of its updates, their mean loss for each seed, in nats per token)."""

    updates: int  # the budget
    seeds: list[int]
    done: int
    points: list[tuple[int, list[float]]]
    snapshots: list[Snapshot]
    trial: Sequence[float] = ()  # the learning rates that are tried just now, before training begins


class Watch:
    """Follows one run. `written` is called whenever its `watched.json` is new; only the process that `writes` does either."""

    def __init__(self, directory: Path, seeds: Sequence[int], updates: int, writes: bool, written: Callable[[], object]):
        self.file, self.writes, self.written = directory / FILE, writes, written
        self.shown = Watched(updates, list(seeds), 0, [], [])
        self.size = 1  # updates of a point
        self.open: list[Sequence[float]] = []  # losses of the updates since the last point
        self.works = True

    def resume(self, step: int) -> None:
        """Goes on from update `step` with what an earlier process has shown up to it, if that can be read."""
        try:
            before = read(self.file) if self.writes and step else None
        except (DataError, RunError) as error:
            logger.info("the curves of %s begin anew: %s", self.file.parent, error)
            return
        if before and (before.updates, before.seeds) == self.shown[:2]:
            points = [point for point in before.points if point[0] <= step]
            snapshots = [each for each in before.snapshots if each.update <= step]
            self.shown = self.shown._replace(done=step, points=points, snapshots=snapshots)
            self.size = max([1, *(later - update for (update, _), (later, _) in pairwise(points))])

    def add(self, step: int, losses_UxR: Array) -> None:
        """Adds the losses of the updates behind update `step`."""
        for update, losses_R in enumerate(losses_UxR, start=step + 1):
            self.open.append([float(loss) for loss in losses_R])
            if len(self.open) >= self.size:
                self.shown.points.append((update, _mean(self.open)))
                self.open = []
        while len(self.shown.points) > POINTS:
            if len(self.shown.points) % 2:  # the last one waits for its neighbour
                self.open = [self.shown.points.pop()[1]] * self.size + self.open
            self.shown.points[:] = _joined(self.shown.points)
            self.size *= 2

    def tries(self, rates: Sequence[float]) -> None:
        """Shows that these learning rates are tried or, where there are none, that training begins."""
        self._safely(lambda: self._write(trial=sorted(set(rates))))

    def snapshot(self, step: int, replay: Callable[[], list[SeedsExample]]) -> float:
        """Shows what `replay` returns, the example after update `step`; returns the seconds that it took. All processes must call."""
        began = time.monotonic()
        self._safely(lambda: self._show(step, replay))
        return time.monotonic() - began

    def _safely(self, show: Callable[[], object]) -> None:
        if self.works:
            try:
                show()
            except Exception as error:  # whatever it is, it is not training that failed
                self.works = False
                logger.warning("%s is watched no longer (%s): training goes on", self.file.parent, error)

    def _show(self, step: int, replay: Callable[[], list[SeedsExample]]) -> None:
        found = Snapshot(step, [example for _, _, example in replay()])
        kept = [each for each in self.shown.snapshots if each.update < step]
        if len(kept) >= SNAPSHOTS:
            kept = kept[::2]
        self._write(done=step, snapshots=[*kept, found])

    def _write(self, **shown: Any) -> None:
        self.shown = self.shown._replace(**shown)
        if self.writes:
            write(self.file, self.shown)
            self.written()


def _mean(losses: Sequence[Sequence[float]]) -> list[float]:
    return [float(f"{sum(of_seed) / len(losses):.5g}") for of_seed in zip(*losses, strict=True)]


def _joined(points: Sequence[tuple[int, list[float]]]) -> list[tuple[int, list[float]]]:
    """Joins neighbours, two and two, of an even number."""
    pairs = zip(points[::2], points[1::2], strict=True)
    return [(update, _mean([first_R, second_R])) for (_, first_R), (update, second_R) in pairs]


def write(path: Path, shown: Watched) -> None:
    """Writes a `watched.json`, replacing it whole. Raises `StorageError` for a disk that refuses."""
    snapshots = [{"update": each.update, "examples": [examples.to_json(example) for example in each.examples]} for each in shown.snapshots]
    content = shown._asdict() | {"snapshots": snapshots}
    files.write_bytes(path, json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def read(path: Path) -> Watched | None:
    """Reads a `watched.json`; None where there is none. Raises `DataError` or `RunError` for anything else."""
    if not path.exists():
        return None
    found = results.read_json(path)
    seeds, points, snapshots = (_list(found.get(name), path) for name in ("seeds", "points", "snapshots"))
    numbers = [found.get("updates"), found.get("done"), *seeds]
    for point in points:
        numbers.append(point[0] if isinstance(point, list) and len(point) == 2 and _are_losses(point[1], len(seeds)) else None)
    read_snapshots = []
    for each in snapshots:
        each = each if isinstance(each, dict) else {}
        shown = [examples.from_json(example, str(path)) for example in _list(each.get("examples"), path)]
        numbers.append(each.get("update") if len(shown) == len(seeds) else None)
        read_snapshots.append(Snapshot(each.get("update", 0), shown))
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise DataError(f"{path} is no record of a training: updates, losses or examples are not those of {len(seeds)} seeds; remove it")
    trial = _list(found.get("trial", []), path)  # which older ones have not
    if not _are_losses(trial, len(trial)):
        raise DataError(f"{path} is no record of a training: trial must be learning rates; remove it")
    return Watched(found["updates"], seeds, found["done"], [(update, losses_R) for update, losses_R in points], read_snapshots, trial)


def _list(value: Any, path: Path) -> list:
    if not isinstance(value, list):
        raise DataError(f"{path} is no record of a training: seeds, points and snapshots must be lists; remove it")
    return value


def _are_losses(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(type(loss) is float and abs(loss) < examples.LARGEST for loss in value)
