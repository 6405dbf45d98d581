"""A small sweep as a job array on a real Slurm, interrupted in every way, against the same sweep without Slurm: equal rows, bit for bit.

    python jobs/local_slurm/prove.py        (make slurm)

Starts a cluster of one node on loopback (`cluster.py`) and stops it at the end, whatever happens. In between: the array is launched,
cancelled, which has to end it, and launched again; its runs are preempted by an urgent job, requeued by hand and signalled as before a
time limit; the job that concludes has to wait for the last of them. At last one run is trained by two processes under srun.

Exit status: 0 proved; 1 not; 77 there can be no such cluster here, and one line says why.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cluster import Cluster, Unavailable, check, install

from attention_jax.running import checkpoint, results
from attention_jax.system import signals

ROOT = Path(__file__).resolve().parent.parent.parent
UNAVAILABLE = 77
PATIENCE = 600.0  # seconds that anything that is waited for may take

SECONDS = 25  # that the fastest arm alone needs for a run at the least: all interruptions fall into it, on any machine
SAVES = 200  # updates from one checkpoint to the next
SETTINGS = (
    "model.hidden_size=16 model.embedding_size=8 data.symbols=4 data.longest=6 data.eval_lengths=2,4,6 data.eval_examples=16 "
    "training.seeds=2 training.batch_size=16 training.learning_rates=0.01 training.warmup=10 "
    f"training.chunk=50 training.checkpoint_every={SAVES} data.held_out=0 model.vector_size=0"
).split()
ARMS = ("none", "summary", "additive")
ARRAY = "#1 of 2's $(false) 100%"
"""A workdir whose name sbatch, bash or the name of a log could misread."""


def main() -> int:
    """Exit status, as in the module's docstring."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that the cluster is stopped on the way out
    os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        check()
        install()
    except Unavailable as reason:
        print(f"no Slurm here, so nothing was proved: {reason}")
        return UNAVAILABLE
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    try:
        prove(folder)
    except BaseException:
        print(f"\nnot proved; everything is kept in {folder}", file=sys.stderr)
        for log in sorted([*folder.glob("*.log"), *folder.rglob("logs/*.log")]):
            print(f"==> {log} <==", *log.read_text(errors="replace").splitlines()[-15:], sep="\n", file=sys.stderr)
        raise
    shutil.rmtree(folder)
    say("proved; the daemons are stopped")
    return 0


def prove(folder: Path) -> None:
    """The scenario; `RuntimeError` says what did not hold."""
    updates = pace(folder)
    say(f"the sweep without Slurm, {updates} updates a run")
    python(os.environ, "experiments.run", *flags(folder, "local", updates))
    with Cluster(folder) as cluster:
        say(cluster.call("scontrol", "--version"), "runs")
        cancelled(cluster, folder, updates)
        interrupted(cluster, folder, updates)
        two_processes(cluster, folder, updates // 8)


def pace(folder: Path) -> int:
    """How many updates the fastest arm makes in `SECONDS`, its compilation included; a multiple of `SAVES`."""
    say(f"{ARMS[0]}, for {SECONDS} s")
    endless = 10**6
    limited = [f"--set=model.attention={ARMS[0]}", f"--max_seconds={SECONDS}"]
    python(os.environ, "experiments.run", *flags(folder, "pace", endless), *limited, expected=signals.STOPPED)
    return saved(folder / "pace", ARMS[0], endless) // SAVES * SAVES


def cancelled(cluster: Cluster, folder: Path, updates: int) -> None:
    """An array that is cancelled saves and stays away."""
    array, conclusion = launch(cluster, *flags(folder, ARRAY, updates), "--cpus=1", "--concurrency=2")
    cluster.wait("training", PATIENCE, lambda: saved(folder / ARRAY, ARMS[0], updates))
    cluster.call("scancel", array, conclusion)
    cluster.wait("the end of a cancelled array", PATIENCE, lambda: not cluster.call("squeue", "--noheader"))
    must(jobs(cluster, array)[0]["JobState"] == "CANCELLED", "a cancelled run is cancelled")
    say(f"array {array}: cancelled, saved and not requeued")


def interrupted(cluster: Cluster, folder: Path, updates: int) -> None:
    """An array whose runs are preempted, requeued and signalled ends with the rows of a sweep that was left alone."""
    array, conclusion = launch(cluster, *flags(folder, ARRAY, updates), "--cpus=1", "--concurrency=2")

    def step(index: int) -> int:
        return saved(folder / ARRAY, ARMS[index], updates)

    before = [step(0), step(1)]
    cluster.wait("training", PATIENCE, lambda: all(step(i) > before[i] for i in (0, 1)))
    must(jobs(cluster, array)[2]["JobState"] == "PENDING", "two runs at a time")
    cluster.call("sbatch", "--partition=urgent", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 1")
    cluster.wait("preemption", PATIENCE, lambda: all(jobs(cluster, array)[i]["JobState"] == "PENDING" for i in (0, 1)))
    say(f"array {array}: its two runs gave way to an urgent job")
    before = [step(0), step(1)]
    interruptions = {0: ("scontrol", "requeue", f"{array}_0"), 1: ("scancel", "--batch", "--signal=USR1", f"{array}_1")}
    while interruptions:  # whichever of them comes first
        cluster.wait("training", PATIENCE, lambda: any(step(i) > before[i] for i in interruptions))
        index = next(i for i in interruptions if step(i) > before[i])
        cluster.call(*interruptions.pop(index))
    say(f"array {array}: one was requeued by hand, one signalled as before its time limit")
    cluster.wait("all runs and the conclusion", PATIENCE, lambda: not cluster.call("squeue", "--noheader"))
    ended = jobs(cluster, array)
    restarts = [int(ended[index]["Restarts"]) for index in range(3)]
    must(all(each["JobState"] == "COMPLETED" for each in ended.values()), "all runs are finished")
    must(restarts == [2, 2, 0], f"two interruptions of two runs, and not {restarts}")
    last = jobs(cluster, conclusion)[None]
    must(last["JobState"] == "COMPLETED", "the conclusion succeeded")
    must(last["StartTime"] >= max(each["EndTime"] for each in ended.values()), "the conclusion came last")
    sweep = folder / ARRAY / "bottleneck"
    must((sweep / "report.html").exists() and list(sweep.glob("vector_and_budget*.png")), "there are a report and a figure")
    ours, local = (rows(folder / workdir / "bottleneck" / "rows.jsonl") for workdir in (ARRAY, "local"))
    must(ours == local, "merged rows are those without Slurm, bit for bit")
    say(f"array {array}: {len(ours)} merged rows equal those without Slurm, bit for bit; requeued {restarts} times")


def two_processes(cluster: Cluster, folder: Path, updates: int) -> None:
    """One run over two processes under srun, interrupted once, writes each row once. That processes agree is what other tests are for."""
    arm = ARMS[2]
    array, conclusion = launch(cluster, *flags(folder, "pair", updates), f"--set=model.attention={arm}", "--processes=2")
    cluster.wait("training", PATIENCE, lambda: saved(folder / "pair", arm, updates))
    cluster.call("scancel", "--batch", "--signal=USR1", array)
    cluster.wait("a run of two processes", PATIENCE, lambda: not cluster.call("squeue", "--noheader"))
    ended = jobs(cluster, array)[0]
    must((ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), "two processes save, are requeued and finish")
    must(jobs(cluster, conclusion)[None]["JobState"] == "COMPLETED", "the conclusion succeeded")
    places = {"pair": updates, "local": None}
    ours, local = (rows(next((folder / workdir).glob(f"bottleneck/{name(arm, n)}/rows.jsonl"))) for workdir, n in places.items())
    must([row["length"] for row in ours] == [row["length"] for row in local], "two processes write the rows that one writes")
    say(f"array {array}: two processes under srun saved, were requeued, and wrote each row once")


def flags(folder: Path, workdir: str, updates: int) -> list[str]:
    """The experiment flags of the sweep."""
    settings = [f"--set={setting}" for setting in (*SETTINGS, f"training.updates={updates}")]
    return [
        "--experiment=bottleneck",
        f"--arms={','.join(ARMS)}",
        *settings,
        f"--workdir={folder / workdir}",
        f"--cache_dir={folder / 'cache'}",
    ]


def python(environment: dict, module: str, *arguments: str, expected: int = 0) -> str:
    """What a command of ours prints; `RuntimeError` where it ends with another status than expected."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != expected:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def launch(cluster: Cluster, *arguments: str) -> tuple[str, str]:
    """The numbers of the array and of the job that concludes."""
    printed = python(cluster.environment, "experiments.launch", *arguments)
    say(printed.splitlines()[0])
    return re.search(r"job array (\d+): .* job (\d+) concludes", printed).groups()


def saved(workdir: Path, arm: str, updates: int) -> int:
    """The update of the newest checkpoint of a run, 0 before the first; a run that has made all its updates is too late to interrupt."""
    steps = checkpoint.steps(workdir / "bottleneck" / name(arm, updates) / "checkpoint")
    must(not steps or steps[-1] < updates, f"{arm} is not finished before it is interrupted")
    return steps[-1] if steps else 0


def name(arm: str, updates: int | None) -> str:
    """What a run is called, whatever its budget where that is None."""
    return f"{arm}-gru-h16-d0-u{updates or '*'}"


def jobs(cluster: Cluster, number: str) -> dict[int | None, dict[str, str]]:
    """What Slurm says of a job, or of each index of an array: {"JobState": "PENDING", …}."""
    found = {}
    for line in cluster.call("scontrol", "--oneliner", "show", "job", number).splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        found[int(fields["ArrayTaskId"]) if "ArrayTaskId" in fields else None] = fields
    return found


def rows(path: Path) -> list[dict]:
    """Rows without what the clock says."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in results.read(path)]


def must(held: object, what: str) -> None:
    """`RuntimeError` unless it held."""
    if not held:
        raise RuntimeError(f"this should have been: {what}")


_began = time.monotonic()


def say(*words: str) -> None:
    """A line with the time that has passed."""
    print(f"{time.monotonic() - _began:4.0f} s ", *words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
