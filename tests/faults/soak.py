"""Trains a sweep by several jobs at once, whose processes are killed at random, and compares it with one that was left alone.

    python -m tests.faults.soak --runs=200 --kills=100 --jobs=4 --seed=1

A job does what a cluster's does: it takes the next run of the sweep, starts it by its index, and starts it again after every exit code
after which docs/jobs.md says so. At the end the sweep is concluded, and its merged rows are those of the same sweep in one process.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attention_jax.running import results
from tests.faults import scenarios

CLAIM = '''"""A sweep of many small runs.

Its budgets differ, so that its jobs end at different times.
"""
from dataclasses import replace
from experiments.bottleneck import figures, score, sweep as ours
PRESETS, ARMS = ("tiny",), ("additive",)

def sweep(preset, arms):
    base = ours("tiny", arms)[0]
    return [replace(base, training=replace(base.training, updates=8 + n)) for n in range({runs})]

def name(config):
    return f"{{config.model.attention}}-u{{config.training.updates}}"

def figures(rows):
    return {{}}
'''
SETTINGS = [text for text in scenarios.SCENARIOS["plain"].settings.split() if not text.startswith("training.updates")]
AGAIN = (70, 74, 75, 134, -signal.SIGKILL)
"""Exit codes after which a run is started again."""
MOST = 30  # starts of one run


class Soak:
    """A sweep of so many runs below a folder, and how often its processes are still to be killed."""

    def __init__(self, folder: Path, runs: int, kills: int, seed: int):
        self.folder, self.runs, self.left, self.rng = folder, runs, kills, random.Random(seed)
        self.claim, self.guard, self.codes, self.wrong = folder / "soak.py", threading.Lock(), Counter(), []
        self.claim.write_text(CLAIM.format(runs=runs))
        self.pending = list(range(runs))
        self.rng.shuffle(self.pending)

    def command(self, where: str, *more: str) -> list[str]:
        """The sweep of a workdir, as a user would type it."""
        flags = [f"--experiment={self.claim}", f"--workdir={self.folder / where}", f"--cache_dir={self.folder / 'cache'}", *more]
        return [sys.executable, "-m", "experiments.run", *flags, *(f"--set={setting}" for setting in SETTINGS)]

    def start(self, where: str, *more: str) -> subprocess.Popen:
        """Starts it."""
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(self.command(where, *more), cwd=scenarios.ROOT, env=scenarios.environment(), **pipes)

    def job(self) -> None:
        """Trains one pending run after the other."""
        while True:
            with self.guard:
                if not self.pending:
                    return
                index = self.pending.pop()
            for _ in range(MOST):
                code, said = self.one(index)
                self.codes[code] += 1
                if code == 0:
                    break
                unheard = code == -signal.SIGTERM and not said  # before Python had started
                if (not unheard and code not in AGAIN) or "Traceback" in said:
                    self.wrong.append(f"run {index} ended with {code}: {said[-500:]}")
                    return
            else:
                self.wrong.append(f"run {index} was not finished after {MOST} starts")

    def one(self, index: int) -> tuple[int, str]:
        """(exit code, what it said) of a start of a run; it may be killed, or signalled, or started twice."""
        process = self.start("jobs", f"--index={index}")
        with self.guard:
            strikes = self.left > 0 and self.rng.random() < 0.6
            self.left -= strikes
            after, how = self.rng.uniform(0.5, 12), self.rng.choice(("kill", "kill", "term", "twice"))
        if strikes and how == "twice":
            other = self.start("jobs", f"--index={index}")
            other_said = other.communicate()[1]
            if other.returncode not in (0, *AGAIN):
                self.wrong.append(f"run {index}, started twice, ended with {other.returncode}: {other_said[-500:]}")
        elif strikes:
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < after:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
        said = process.communicate()[1]
        return process.returncode, said

    def rows(self, where: str) -> list[dict]:
        """The merged rows of a concluded sweep, but for times."""
        found = results.read(self.folder / where / "soak" / "rows.jsonl")
        return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def play(folder: Path, runs: int, kills: int, jobs: int, seed: int) -> list[str]:
    """What is wrong at the end; nothing is where the list is empty."""
    soak = Soak(folder, runs, kills, seed)
    clean = soak.start("clean")
    said = clean.communicate()[1]
    if clean.returncode:
        return [f"without any fault it ends with {clean.returncode}: {said[-500:]}"]
    with ThreadPoolExecutor(jobs) as threads:
        for done in [threads.submit(soak.job) for _ in range(jobs)]:
            done.result()
    concluded = soak.start("jobs", "--conclude")
    said = re.sub(r"\n.*", "", concluded.communicate()[1])
    if concluded.returncode:
        return [*soak.wrong, f"the conclusion ended with {concluded.returncode}: {said}"]
    print(f"{runs} runs; starts by exit code: {dict(sorted(soak.codes.items()))}", flush=True)
    return soak.wrong + ([] if soak.rows("jobs") == soak.rows("clean") else ["rows differ"])


def main() -> int:
    """0 if nothing is wrong; the folder of what is is kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200, help="how many runs the sweep has (200)")
    parser.add_argument("--kills", type=int, default=100, help="how often a process is killed, signalled or started twice (100)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="jobs at once (one per core)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="draws the same again")
    options = parser.parse_args()
    print(f"--runs={options.runs} --kills={options.kills} --jobs={options.jobs} --seed={options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    if wrong := play(folder, options.runs, options.kills, options.jobs, options.seed):
        print("\n".join([*wrong, f"its folder is {folder}"]))
        return 1
    shutil.rmtree(folder)
    print("its rows are those of a sweep that was left alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
