"""A sweep as one job array of Slurm, an index per run, and a job after it that concludes.

  python -m experiments.launch --experiment=bottleneck --preset=full --partition=gpu --gpus=1 --time=12:00:00 --concurrency=4
  python -m experiments.launch --experiment=bottleneck --preset=full --dry_run              prints both scripts, submits nothing
  python -m experiments.launch --experiment=bottleneck --preset=full --gpus=h100:1 --time=auto   time limits by a forecast
  python -m experiments.launch --experiment=bottleneck --processes=8 --nodes=2 --gpus=4     each run over 8 processes

Flags of experiments.run go to every run as they are; those below go to Slurm, which gets only the runs that are neither finished nor
running. A run that exits with 75 (saved: preempted, near its time limit, --max_seconds) is requeued and goes on where it was; one that
exits with anything else is not. The second job starts when no run of the array is left, whatever became of them: it merges the rows and
makes tables, figures and report, or names what is unfinished. Launching again submits the rest.

With --time=auto runs are timed on this machine for a minute (`forecast`), on so many cores as --cpus says. Limits are --margin times what
a run takes, rounded up to 10, 20, 40, … minutes; there is an array for each limit.

Exit status: 0 submitted, or nothing to submit; 1 Slurm refused; 2 for what the user can mend; 74 a disk refused.
"""

import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import app, flags, logging

from attention_jax.running import exits
from attention_jax.sweeps import claims, forecast, limits, sweep
from attention_jax.system import machine, output, signals
from attention_jax.system.errors import ConfigError, RunError

from . import run

AUTO = "auto"
"""The word of --time for limits that a forecast says."""

NOT_HERE = (
    "index list status conclude check_data cite decode input references rows seed export alignments beside distributed coordinator process "
    "reproduce compare with keep_rates "
    "table table_of table_format table_metric table_lengths table_where"
).split()
"""Flags of experiments.run that a sweep as a whole cannot have."""

for _flag in flags.FLAGS.get_flags_for_module(run.__name__):
    if _flag.name not in NOT_HERE:
        flags.declare_key_flag(_flag.name)  # so that --help lists it
PARTITION = flags.DEFINE_string("partition", None, "Slurm's partition, or several: a,b.")
ACCOUNT = flags.DEFINE_string("account", None, "The account to charge.")
QOS = flags.DEFINE_string("qos", None, "Quality of service.")
TIME = flags.DEFINE_string(
    "time", None, "Time limit of a job, e.g. 12:00:00; a run that needs longer is requeued before. auto: by a forecast made here."
)
MARGIN = flags.DEFINE_float("margin", 2.0, "With --time=auto: limits are so many times the forecast; 0.5 if jobs run four times as fast.")
GPUS = flags.DEFINE_string("gpus", None, "GPUs on each node of a run, e.g. 1 or a100:4 or h100:1.")
CPUS = flags.DEFINE_integer("cpus", None, "CPU cores of each process.", 1)
MEMORY = flags.DEFINE_string("memory", None, "Memory on each node, e.g. 16G.")
NODES = flags.DEFINE_integer("nodes", None, "Nodes of each run; --processes says how many processes are shared out over them.", 1)
CONCURRENCY = flags.DEFINE_integer("concurrency", None, "At most so many runs at a time.", 1)
REQUEUES = flags.DEFINE_integer("requeues", 100, "Requeue a run that saved and left at most so many times.", 0)
SBATCH = flags.DEFINE_multi_string("sbatch", [], "Any other option of sbatch, e.g. --sbatch=--constraint=a100; can be repeated.")


def main(argv: list[str]) -> int:
    """Launches, and returns the exit status of the module's docstring."""
    logging.set_verbosity(logging.WARNING)
    return exits.ended(lambda: launch(argv))


def launch(argv: list[str]) -> int:
    """Submits both jobs, and prints how to watch and cancel them; with --dry_run prints their scripts."""
    if len(argv) > 1:
        raise ConfigError(f"unexpected argument {argv[1]!r}; flags look like --name=value, see --help")
    if (asked := run.EXPERIMENT.value or "") in run.SEVERAL:
        members = claims.of_data(run.SEVERAL[asked], run.PACKAGE, run.CLAIMS)
        raise ConfigError(f"--experiment={asked} is several sweeps: launch each of {', '.join(members)}")
    command = ["-m", run.COMMAND, *experiment_flags()]
    limits.check_gpus(GPUS.value)
    if not 0 < MARGIN.value < float("inf"):
        raise ConfigError(f"--margin={MARGIN.value:g} must be a finite number above 0")
    if TIME.value == AUTO:  # devices are set before anything touches them
        machine.prepare(run.folders()[1], run.KEEP_COMPILED.value, run.DETERMINISTIC.value, CPUS.value)
    claim, runs = run.planned(asked)
    name = claim.__name__.rpartition(".")[2]
    logs = Path(run.WORKDIR.value) / name / "logs"
    if not (indices := waiting(runs)):
        output.show(f"nothing to submit; for tables and figures: {shlex.join(['python', *command, '--conclude'])}")
        return 0
    limited = time_limits(runs, indices, asked) if TIME.value == AUTO else {TIME.value: indices}
    arrays = [array_script(name, len(runs), each, command, logs, limit) for limit, each in limited.items()]
    conclusion_limit = limits.text(limits.CONCLUSION) if TIME.value == AUTO else TIME.value
    concluding = conclusion_script(name, command, logs, conclusion_limit)
    if run.DRY_RUN.value:
        named = [f"array{f'_{number}' if number > 1 else ''}.sbatch" for number in range(1, len(arrays) + 1)]
        shown = zip([*named, "conclude.sbatch"], [*arrays, concluding], strict=True)
        output.show("\n".join(f"==> {file} <==\n{script}" for file, script in shown))
        return 0
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {logs}, where logs are kept: {error.strerror}; choose another --workdir") from None
    jobs = submit_all(arrays, concluding)
    *submitted, conclusion = jobs
    output.show(
        f"job array {', '.join(submitted)}: {len(indices)} of {len(runs)} runs; job {conclusion} concludes after it\n"
        f"watch:  {shlex.join(['python', *command, '--status'])}\n"
        f"        squeue --jobs={','.join(jobs)}; logs in {logs}\n"
        f"cancel: scancel {' '.join(jobs)}"
    )
    return 0


def submit_all(arrays: Sequence[str], concluding: str) -> list[str]:
    """Submits job arrays and, behind all of them, the job that concludes; returns their numbers. Raises `RunError` as `submit` does."""
    jobs: list[str] = []
    try:
        for script in arrays:
            jobs.append(submit(script))
        return [*jobs, submit(concluding, f"--dependency=afterany:{':'.join(jobs)}")]
    except RunError as error:
        if not jobs:
            raise
        raise RunError(f"{error}; the job array {', '.join(jobs)} is submitted, but nothing will conclude") from None


def time_limits(runs: Sequence[sweep.Run], indices: Sequence[int], asked: str) -> dict[str, list[int]]:
    """Returns {time limit: runs}, of a forecast that is made on this machine; one limit with --concurrency, which is of one array."""
    found = forecast.forecast(runs, run.kept_rates(asked), *run.folders(), output.tell)
    limited = limits.of_runs(found, indices, MARGIN.value)
    limited = limits.joined(limited) if CONCURRENCY.value else limited
    for seconds, several in limited.items():
        longest = max(found.seconds_of(found.lines[index]) for index in several)
        output.tell(
            f"--time={limits.text(seconds)} for {len(several)} runs: the longest takes {longest / 60:.1f} minutes "
            f"on this machine, times a margin of {MARGIN.value:g}"
        )
    return {limits.text(seconds): several for seconds, several in limited.items()}


def experiment_flags() -> list[str]:
    """Returns the given flags of experiments.run, which go to every run. Raises `ConfigError` for those of `NOT_HERE`."""
    given = []
    for flag in flags.FLAGS.get_flags_for_module(run.__name__):
        if not flag.present:
            continue
        if flag.name in NOT_HERE:
            raise ConfigError(f"--{flag.name} has no meaning here: a sweep is launched as a whole; see python -m {run.COMMAND} --help")
        if flag.name not in (run.PROCESSES.name, run.DRY_RUN.name):
            given += [f"--{flag.name}={each}" for each in flag.value or ()] if flag.name == run.SET.name else [flag.serialize()]
    return given


def waiting(runs: Sequence[sweep.Run]) -> list[int]:
    """Returns the indices of unfinished runs, and prints why others are left out."""
    indices = []
    for index, (each, state) in enumerate(zip(runs, sweep.states(runs), strict=True)):
        if state.name == "running" or (state.name == "failed" and not run.RETRY_FAILED.value):
            hint = "" if state.name == "running" else "; --retry_failed begins it again"
            output.tell(f"left out: run {index}, {each.directory}, is {state.name} ({state.note}){hint}")
        elif state.name != "finished":
            indices.append(index)
    return indices


ARRAY = """\
#!/bin/bash
# {experiment}: one run of the sweep for each index of the array, {total} runs in all. Submit it in the project's folder:
#     mkdir -p <folder of --output> && sbatch <this file>
{directives}

{launcher} &
run=$!

# Slurm signals this shell alone two minutes before the time limit, and that is passed on. When it preempts, requeues or cancels, it
# signals the run as well; the shell only has to outlive that.
trap 'kill -USR1 "$run"' USR1
trap : TERM
while kill -0 "$run" 2> /dev/null; do wait "$run"; done
wait "$run"
code=$?

# 75: saved, the same command goes on. Only a job that still counts as running is requeued: after preemption Slurm has done so itself, and
# a cancelled one would come back. The name with _ is that of this index; a job's plain number can be that of the whole array.
job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
if [[ $code -eq {stopped} && $(squeue --noheader --jobs="$job" --format=%T) == RUNNING ]]; then
    if [[ ${{SLURM_RESTART_COUNT:-0}} -lt {requeues} ]]; then
        scontrol requeue "$job"
    else
        echo "saved, but not requeued: that happened $SLURM_RESTART_COUNT times" >&2
    fi
fi
exit "$code"
"""

CONCLUSION = """\
#!/bin/bash
# {experiment}: merged rows, tables, figures and report, once no run is left. Submit it after the array:
#     sbatch --dependency=afterany:<number of the array> <this file>
{directives}

exec {launcher}
"""


def array_script(name: str, total: int, indices: Sequence[int], command: Sequence[str], logs: Path, limit: str | None) -> str:
    """Returns the batch script that trains one run for each of `indices`, each within a time `limit`."""
    processes = run.PROCESSES.value or 1
    at_once = f"%{CONCURRENCY.value}" if CONCURRENCY.value else ""
    chosen = {
        "job-name": name,
        "array": ranges(indices) + at_once,
        "output": f"{pattern(logs)}/%A_%a.log",
        "open-mode": "append",
        "requeue": "",
        "signal": "B:USR1@120",
        "nodes": NODES.value,
        "ntasks": processes,
        "cpus-per-task": CPUS.value,
        "gres": GPUS.value and f"gpu:{GPUS.value}",
    }
    launcher = [sys.executable, *command]
    if processes > 1:
        cores = [f"--cpus-per-task={CPUS.value}"] if CPUS.value else []
        launcher = ["srun", "--kill-on-bad-exit=0", *cores, *launcher, "--distributed"]
    return ARRAY.format(
        experiment=name,
        total=total,
        directives=directives(chosen, limit),
        launcher=f'{lines(launcher)} \\\n    --index="$SLURM_ARRAY_TASK_ID"',
        stopped=signals.STOPPED,
        requeues=REQUEUES.value,
    )


def conclusion_script(name: str, command: Sequence[str], logs: Path, limit: str | None) -> str:
    """Returns the batch script that concludes; it asks for neither GPUs nor many cores."""
    chosen = {"job-name": f"{name}-conclude", "output": f"{pattern(logs)}/%j_conclude.log", "open-mode": "append", "requeue": ""}
    return CONCLUSION.format(
        experiment=name, directives=directives(chosen, limit), launcher=lines([sys.executable, *command, "--conclude"])
    )


def lines(command: Sequence[str]) -> str:
    """Formats a command for bash, its flags a line each."""
    words = [shlex.quote(word) for word in command]
    first = next((i for i, word in enumerate(words) if word.startswith("--")), len(words))
    return " \\\n    ".join([" ".join(words[:first]), *words[first:]])


def ranges(indices: Sequence[int]) -> str:
    """Formats [0, 1, 2, 5] as 0-2,5."""
    spans: list[list[int]] = []
    for index in indices:
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def pattern(path: Path) -> str:
    """Escapes a path for Slurm's --output, where % has a meaning."""
    return str(path).replace("%", "%%")


def directives(own: Mapping[str, object], limit: str | None) -> str:
    """Returns the #SBATCH lines of a script: `own`, those of both jobs, then --sbatch, so that the user's options win."""
    shared = {"partition": PARTITION.value, "account": ACCOUNT.value, "qos": QOS.value, "time": limit, "mem": MEMORY.value}
    options = [f"--{name}={value}" if value != "" else f"--{name}" for name, value in {**own, **shared}.items() if value is not None]
    return "\n".join(f"#SBATCH {directive(option)}" for option in [*options, *SBATCH.value])


def directive(option: str) -> str:
    """Quotes an option for a line of sbatch. Raises `ConfigError` for characters that would end that line."""
    name, equals, value = option.partition("=")
    if not re.fullmatch("--[a-z][a-z-]*", name):
        raise ConfigError(f"--sbatch={option} is no option of sbatch: it looks like --sbatch=--name=value")
    if not value.isprintable() or set(value) & set('"\\'):
        raise ConfigError(f"{name}={value!r} cannot stand in a batch script: leave out double quotes, backslashes and line breaks")
    plain = re.fullmatch(r"[\w@%+=:,./*&|!~^\[\]-]*", value)
    return f"{name}{equals}{value if plain else chr(34) + value + chr(34)}"


def submit(script: str, *options: str) -> str:
    """Submits a script, and returns the job's number. Raises `ConfigError` where there is no sbatch, `RunError` where it refuses."""
    try:
        done = subprocess.run(["sbatch", "--parsable", *options], input=script, capture_output=True, text=True)
    except FileNotFoundError:
        raise ConfigError("there is no sbatch here: launch where jobs are submitted to Slurm, or see the scripts with --dry_run") from None
    if done.returncode:
        raise RunError(f"sbatch refused: {'; '.join(done.stderr.strip().splitlines())}")
    return done.stdout.strip().partition(";")[0]


def cli() -> None:
    """Parses the flags, then calls `main`: entry point."""
    output.prepare()
    app.run(main, flags_parser=functools.partial(run.parsed, about=__doc__ or "", of=("sbatch", "experiment")))


if __name__ == "__main__":
    cli()
