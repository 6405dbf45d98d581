"""Kills training processes at random moments, restarts them by the same command, and compares what they end with: `make faults`.

    python -m tests.faults.chains --kills=60 --seed=1

A chain is one run: it is killed once or several times, each time begun again by the same command, and at last left to finish. The
seed makes the same chains again; moments by the clock fall where the machine's speed puts them.
"""

import argparse
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.faults import scenarios
from tests.faults.driver import MOMENTS
from tests.faults.scenarios import Place


class Clock(NamedTuple):
    """So many seconds after the start."""

    seconds: float


class Seen(NamedTuple):
    """So many seconds after a path like this, below the run's directory, was first seen."""

    pattern: str
    seconds: float


class At(NamedTuple):
    """Within the nth operation of this name in `driver.MOMENTS`."""

    moment: str
    nth: int


Kill = Clock | Seen | At

SEEN = (".lock", "config.json", "rates.jsonl", "trials", "checkpoint/.draft/*", "checkpoint/[0-9]*", "checkpoint/.trash", "rows.jsonl")
OPERATIONS = 250  # of a whole run on files, or fewer
TAKEN = 4  # named moments in one chain of `covering`


class Outcome(NamedTuple):
    """What became of a chain: the kills that struck, those that came too late, and what is wrong at the end."""

    struck: list[Kill]
    missed: list[Kill]
    wrong: list[str]


def play(place: Place, kills: list[Kill], reference: dict[str, object]) -> Outcome:
    """Starts and kills the run once for each of `kills`, lets it finish, and compares it with the reference."""
    struck, missed = [], list(kills)
    while missed:
        code, said = strike(place, missed[0])
        if code not in (0, -signal.SIGKILL) or "Traceback" in said:
            return Outcome(struck, missed, [f"exit code {code} before {missed[0]}: {said}"])
        if code == 0:
            break
        struck.append(missed.pop(0))
    code, said = place.finish()
    if code or "Traceback" in said:
        return Outcome(struck, missed, [f"exit code {code} at the end: {said}"])
    return Outcome(struck, missed, scenarios.differences(place.run, reference))


def strike(place: Place, kill: Kill) -> tuple[int, str]:
    """(exit code, what it said) of one start: -SIGKILL where the kill struck before the run was finished."""
    launch = place.start(kill._asdict() if isinstance(kill, At) else None)
    began, seen = time.monotonic(), None
    while not isinstance(kill, At) and launch.process.poll() is None:
        now = time.monotonic()
        if isinstance(kill, Seen) and seen is None and any(place.run.glob(kill.pattern)):
            seen = now
        since = began if isinstance(kill, Clock) else seen
        if since is not None and now - since >= kill.seconds:
            launch.process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    return launch.end()


def covering(rng: random.Random) -> list[tuple[str, list[Kill]]]:
    """(scenario, kills): chains that strike every named moment; in each of them one start is struck at once, wherever it is."""
    named = [moment for moment in MOMENTS if moment != "any operation"]
    count = -(-len(named) // TAKEN)
    chains = []
    for first in range(count):
        moments = named[first::count]
        fitting = [name for name, scenario in scenarios.SCENARIOS.items() if all(scenario.has(moment) for moment in moments)]
        kills: list[Kill] = [At(moment, 1) for moment in moments]
        kills.insert(rng.randint(1, len(kills)), Clock(round(rng.uniform(0, 1), 3)))
        chains.append((rng.choice(fitting), kills))
    return chains


def draw(rng: random.Random, name: str, life: float) -> list[Kill]:
    """The kills of one chain; `life`: seconds that a whole run of the scenario takes."""
    kills: list[Kill] = []
    named = [moment for moment in MOMENTS if scenarios.SCENARIOS[name].has(moment)]
    for _ in range(rng.choice((1, 2, 2, 3, 4))):
        kind = rng.random()
        if kind < 0.45:
            kills.append(Clock(round(rng.uniform(0, life), 3)))
        elif kind < 0.65:
            kills.append(Seen(rng.choice(SEEN), round(rng.expovariate(1 / 0.1), 3)))
        elif kind < 0.85:
            kills.append(At("any operation", rng.randint(1, OPERATIONS)))
        else:
            kills.append(At(rng.choice(named), rng.randint(1, 3)))
    return kills


def whole(name: str, folder: Path, warm: bool = True) -> tuple[float, dict[str, object]]:
    """(seconds, state) of a run that is never interrupted; with `warm` of a second one, which has nothing to compile."""
    place = scenarios.prepare(name, folder)
    for _ in range(1 + warm):
        shutil.rmtree(place.workdir, ignore_errors=True)
        began = time.monotonic()
        code, said = place.finish()
        if code:
            raise SystemExit(f"{name} fails without any fault: {said}")
    return time.monotonic() - began, scenarios.state(place.run)


class Campaign:
    """Chains, several at once, until so many kills have struck; `covering` comes first."""

    def __init__(self, kills: int, seed: int, folder: Path):
        self.kills, self.folder = kills, folder
        self.struck, self.missed, self.wrong = 0, 0, 0
        self.wholes = {name: whole(name, folder / f"{name}-whole") for name in scenarios.SCENARIOS}
        self.guard, self.chains = threading.Lock(), self._chains(random.Random(seed))

    def _chains(self, rng: random.Random) -> Iterator[tuple[int, str, list[Kill]]]:
        fixed = covering(rng)
        for number in itertools.count(1):
            if fixed:
                yield number, *fixed.pop()
            elif self.struck < self.kills:
                name = rng.choice(list(self.wholes))
                yield number, name, draw(rng, name, self.wholes[name][0])
            else:
                return

    def work(self) -> None:
        """Plays one chain after the other, and says what came of it."""
        while True:
            with self.guard:
                number, name, kills = next(self.chains, (0, "", []))
            if not number:
                return
            place = scenarios.prepare(name, self.folder / str(number))
            outcome = play(place, kills, self.wholes[name][1])
            with self.guard:
                self.struck, self.missed = self.struck + len(outcome.struck), self.missed + len(outcome.missed)
                self.wrong += bool(outcome.wrong)
                print(f"{number:3} {name}: {said(outcome)}", flush=True)
            if not outcome.wrong:
                shutil.rmtree(place.folder)


def said(outcome: Outcome) -> str:
    """One line of what struck and how it ended."""
    struck = ", ".join(str(kill) for kill in outcome.struck) or "nothing"
    missed = f"; ended before {', '.join(map(str, outcome.missed))}" if outcome.missed else ""
    return f"{struck}{missed}: {'DIFFERENT in ' + ', '.join(outcome.wrong) if outcome.wrong else 'identical'}"


def main() -> int:
    """0 if every run ended as one that was left alone; the folder of one that did not is kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=60, help="how many kills have to strike, at least (60)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="makes the same chains again")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="chains at once (one per core)")
    options = parser.parse_args()
    print(f"--kills={options.kills} --seed={options.seed} --jobs={options.jobs}", flush=True)
    folder, began = Path(tempfile.mkdtemp(prefix="faults-")), time.monotonic()
    campaign = Campaign(options.kills, options.seed, folder)
    with ThreadPoolExecutor(options.jobs) as threads:
        for done in [threads.submit(campaign.work) for _ in range(options.jobs)]:
            done.result()
    print(
        f"{campaign.struck} kills struck, {campaign.missed} came too late, {campaign.wrong} runs ended differently; "
        f"{time.monotonic() - began:.0f} s, --seed={options.seed}"
    )
    if campaign.wrong:
        print(f"their folders are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
