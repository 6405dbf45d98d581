"""Refuses each kind of system call on each file of a run, with each of several errors: `python -m tests.faults.refusals`.

A small library that is loaded before all others (refuse.c) fails one call, once or from then on. However that ends, it ends with one line
and an exit code that has a cluster start the run again, and the next start ends bit-identical with a run that was never refused.
"""

import argparse
import errno
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.faults import chains, scenarios
from tests.faults.chains import At
from tests.faults.scenarios import Place

SOURCE = Path(__file__).with_name("refuse.c")
ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT", "EACCES", "EINTR")
BEGINNINGS = {"anew": None, "again": At("between example.json and rows", 1)}
"""Where the refused start begins: in an empty workdir, or where a kill left the run."""


class Refusal(NamedTuple):
    """A call on a path below the run's directory, as refuse.c names both, and what becomes of it."""

    beginning: str
    call: str
    path: str
    error: str
    ever: bool = False

    def environment(self, library: Path, place: Place) -> dict[str, str]:
        """What refuse.c reads."""
        found = {"LD_PRELOAD": str(library), "REFUSE_BELOW": str(place.run), "REFUSE_CALL": self.call, "REFUSE_PATH": self.path}
        found |= {"REFUSE_NTH": "1", "REFUSE_ERRNO": str(getattr(errno, self.error))}
        return found | ({"REFUSE_EVER": "1"} if self.ever else {})


def build(folder: Path) -> Path | None:
    """The library; None where there is no C compiler."""
    if (compiler := shutil.which("cc")) is None or sys.platform != "linux":
        return None
    library = folder / "refuse.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def begun(name: str, folder: Path, beginning: str) -> Place:
    """A place as the refused start finds it."""
    place = scenarios.prepare(name, folder)
    if kill := BEGINNINGS[beginning]:
        code, said = chains.strike(place, kill)
        assert code < 0, said
    return place


def calls(place: Place, library: Path) -> list[tuple[str, str]]:
    """Each (call, path) of a start that is left alone, in order."""
    log = place.folder / "calls"
    code, said = place.finish(more={"LD_PRELOAD": str(library), "REFUSE_BELOW": str(place.run), "REFUSE_LOG": str(log)})
    assert code == 0, said
    found = [tuple(line.split(" ", 1)) for line in log.read_text().splitlines()]
    return list(dict.fromkeys(found))


def play(place: Place, refusal: Refusal, library: Path, reference: dict[str, object]) -> str:
    """What is wrong with how a refused start ended, or with the end of the next one; empty where nothing is."""
    code, said = place.finish(more=refusal.environment(library, place))
    lines = [line for line in said.split("\n") if line and not line.startswith("warning")]
    if code not in (0, 74) or len(lines) != (code == 74) or any(not line.startswith("error: ") for line in lines):
        return f"exit code {code}: {said}"
    code, said = place.finish()
    if code or "Traceback" in said:
        return f"exit code {code} at the next start: {said}"
    return ", ".join(scenarios.differences(place.run, reference))


def every(name: str, folder: Path, library: Path, errors: int) -> Iterator[Refusal]:
    """Each call of each beginning, with so many of the errors, another choice from call to call; every other one is refused for ever."""
    turn = itertools.cycle(ERRORS)
    for beginning in BEGINNINGS:
        for number, (call, path) in enumerate(calls(begun(name, folder / f"calls-{beginning}", beginning), library)):
            for error in itertools.islice(turn, errors):
                # EINTR is tried again until it works
                yield Refusal(beginning, call, path, error, ever=bool(number % 2) and error != "EINTR")


def main() -> int:
    """0 if nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--errors", type=int, default=1, help="how many of the errors each call is refused with (1)")
    parser.add_argument("--part", type=int, default=1, help="one in so many of the refusals (all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="starts at once (one per core)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="refusals-"))
    if (library := build(folder)) is None:
        print("there is no C compiler here (cc), or this is no Linux")
        return 0
    reference = chains.whole("plain", folder / "whole", warm=False)[1]
    refusals = list(every("plain", folder, library, options.errors))[:: options.part]

    def one(number: int, refusal: Refusal) -> bool:
        place = begun("plain", folder / str(number), refusal.beginning)
        wrong = play(place, refusal, library, reference)
        print(f"{number:3} {' '.join(map(str, refusal))}: {wrong or 'identical'}", flush=True)
        if not wrong:
            shutil.rmtree(place.folder)
        return bool(wrong)

    with ThreadPoolExecutor(options.jobs) as threads:
        wrong = sum(threads.map(partial(one), range(len(refusals)), refusals))
    print(f"{len(refusals)} refusals, {wrong} ended wrongly{f'; their folders are in {folder}' if wrong else ''}")
    if not wrong:
        shutil.rmtree(folder)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
