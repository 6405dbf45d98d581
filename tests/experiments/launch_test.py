"""A sweep becomes scripts that bash runs as they are meant, whatever the user's text holds; a stand-in for sbatch records what it gets."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver

from attention_jax.sweeps import forecast, sweep
from attention_jax.sweeps.forecast import Pace
from attention_jax.sweeps.sweep import State
from attention_jax.system import machine
from experiments import launch, run

ROOT = Path(__file__).resolve().parent.parent.parent
HOSTILE = "a b'c`touch pwned`$(touch pwned);touch pwned #x*?[y]{z,w}~!&|<>(%A)é"
"""Everything that bash, sbatch or a name of a log could take for more than text."""

SBATCH = """#!/bin/sh
n=$(ls "$RECORDS" | grep -c script)
[ -e "$RECORDS/refuse-$n" ] && { echo "sbatch: error: invalid partition" >&2; echo "sbatch: error: not submitted" >&2; exit 1; }
ls -d "$LOGS" > /dev/null || exit 1
printf '%s\\n' "$@" > "$RECORDS/$n.arguments"
cat > "$RECORDS/$n.script"
echo "$((100 + n));somewhere"
"""

PROGRAM = """#!%s
import json, os, signal, sys, time
heard = []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, frame: heard.append(number))
json.dump(sys.argv[1:], open(os.environ["RECORDS"] + "/argv", "w"))
while os.environ.get("WAITS") and not heard:
    time.sleep(0.02)
sys.exit(75 if heard else int(os.environ.get("CODE", 0)))
"""

EXAMPLE = ["--experiment=bottleneck", "--preset=full", "--partition=gpu", "--gpus=1", "--cpus=4", "--memory=16G", "--time=12:00:00"]


THREE = ["--experiment=bottleneck", "--arms=none,summary,additive", "--set=training.updates=800"]
"""A sweep of three runs."""


def call(*arguments: object) -> int:
    """Exit status of `python -m experiments.launch` with these arguments; flags are as before afterwards."""
    with flagsaver.flagsaver():
        return launch.main(flags.FLAGS(["launch", *map(str, arguments)]))


@pytest.fixture
def records(tmp_path, monkeypatch):
    """A folder in which stand-ins for Slurm's commands, the only ones on the path besides the system's, leave what they were told."""
    programs, folder = tmp_path / "bin", tmp_path / "records"
    programs.mkdir()
    folder.mkdir()
    stand_ins = {
        "sbatch": SBATCH,
        "squeue": '#!/bin/sh\necho "${STATE:-RUNNING}"\n',
        "scontrol": '#!/bin/sh\necho "$@" >> "$RECORDS/scontrol"\n',
        "srun": '#!/bin/sh\nprintf "%s\\n" "$@" > "$RECORDS/srun"\n',
        "python": PROGRAM % sys.executable,
    }
    for name, text in stand_ins.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("RECORDS", str(folder))
    monkeypatch.setenv("LOGS", str(tmp_path / "runs/bottleneck/logs"))
    monkeypatch.chdir(tmp_path)
    return folder


def scripts(capsys, *arguments: object) -> list[str]:
    """The two scripts that --dry_run prints."""
    assert call("--experiment=bottleneck", *arguments, "--dry_run") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("==> array.sbatch <==\n")
    return printed.removeprefix("==> array.sbatch <==\n").split("\n==> conclude.sbatch <==\n")


def directives(script: str) -> list[str]:
    """What sbatch would take from a script."""
    return re.findall(r"^#SBATCH (.*)$", script, re.MULTILINE)


def execute(script: str, folder: Path, **environment: str) -> subprocess.Popen:
    """The script as a job of index 4 of array 123, in a folder of its own."""
    slurm = {"SLURM_ARRAY_JOB_ID": "123", "SLURM_ARRAY_TASK_ID": "4", "SLURM_JOB_ID": "123"}
    (folder / "job").mkdir(exist_ok=True)
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(["bash", "-c", script], cwd=folder / "job", env=os.environ | slurm | environment, text=True, **streams)


def finished(script: str, folder: Path, **environment: str) -> tuple[int, str]:
    """Exit status and errors of `execute`."""
    with execute(script, folder, **environment) as job:
        _, errors = job.communicate(timeout=30)
    return job.returncode, errors.strip()


def test_submits_an_array_and_a_conclusion(records, capsys):
    assert call(*THREE, "--seeds=3", "--set=model.cell=lstm", "--concurrency=2") == 0
    assert (records / "0.arguments").read_text().split() == ["--parsable"]
    assert (records / "1.arguments").read_text().split() == ["--parsable", "--dependency=afterany:100"]
    array, conclusion = ((records / f"{n}.script").read_text() for n in (0, 1))
    given = ["--experiment=bottleneck", "--arms=none,summary,additive", "--set=training.updates=800", "--set=model.cell=lstm", "--seeds=3"]
    for script, last in ((array, '--index="$SLURM_ARRAY_TASK_ID" &'), (conclusion, "--conclude")):
        line = re.search(r"^.*-m experiments.run(?:.*\\\n)*.*$", script, re.MULTILINE).group().replace("\\\n", "")
        assert line.removeprefix("exec ").split() == [sys.executable, "-m", "experiments.run", *given, *last.split()]
    assert {"--array=0-2%2", "--requeue", "--open-mode=append", "--signal=B:USR1@120", "--ntasks=1"} < set(directives(array))
    assert "--output=runs/bottleneck/logs/%A_%a.log" in directives(array)
    printed = capsys.readouterr().out
    assert "job array 100: 3 of 3 runs; job 101 concludes after it" in printed and "cancel: scancel 100 101" in printed
    assert f"python -m experiments.run {' '.join(given)} --status" in printed


def test_a_dry_run_prints_scripts_and_does_nothing(records, capsys):
    for script in scripts(capsys):
        assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).stderr == ""
    assert list(records.iterdir()) == [] and not Path("runs").exists()


def test_resources_become_directives(capsys, tmp_path):
    options = "--account=us --qos=long --nodes=2 --processes=8 --concurrency=3 --sbatch=--constraint=a100&nvme --sbatch=--exclusive"
    array, conclusion = map(directives, scripts(capsys, *EXAMPLE, *options.split(), f"--workdir={tmp_path}"))
    shared = ["--partition=gpu", "--account=us", "--qos=long", "--time=12:00:00", "--mem=16G", "--constraint=a100&nvme", "--exclusive"]
    own = ["--nodes=2", "--ntasks=8", "--cpus-per-task=4", "--gres=gpu:1"]
    assert array[:2] == ["--job-name=bottleneck", "--array=0-43%3"] and array[6:] == own + shared
    assert conclusion[0] == "--job-name=bottleneck-conclude" and conclusion[4:] == shared


def test_several_processes_go_through_srun(records, capsys):
    array, conclusion = scripts(capsys, "--processes=4", "--cpus=3")
    assert finished(array, records) == (0, "")
    arguments = (records / "srun").read_text().split("\n")[:-1]
    assert arguments[:4] == ["--kill-on-bad-exit=0", "--cpus-per-task=3", sys.executable, "-m"]
    assert arguments[4:] == ["experiments.run", "--experiment=bottleneck", "--distributed", "--index=4"]
    assert "srun" not in conclusion and "--distributed" not in conclusion


def test_hostile_text_stays_text(records, capsys, monkeypatch):
    monkeypatch.setattr(sys, "executable", "python")
    given = [f"--set=text.source_file={HOSTILE}\n#SBATCH --wrap\ntouch pwned", f"--data_dir={HOSTILE}\\", f"--workdir={HOSTILE}"]
    array, conclusion = scripts(capsys, *given, f"--partition={HOSTILE}")
    for script, own in ((array, "--index=4"), (conclusion, "--conclude")):
        assert finished(script, records) == (0, "")
        argv = json.loads((records / "argv").read_text())
        assert argv == ["-m", "experiments.run", "--experiment=bottleneck", given[0], given[2], given[1], own]
        assert list((records / "job").iterdir()) == []
        before_commands = script.partition("\n\n")[0].splitlines()
        assert all(line.startswith("#") for line in before_commands) and f'#SBATCH --partition="{HOSTILE}"' in before_commands
    assert f'--output="{HOSTILE.replace("%", "%%")}/bottleneck/logs/%A_%a.log"' in directives(array)


@pytest.mark.parametrize(
    ("environment", "requeued", "says"),
    [
        ({"CODE": "0"}, False, ""),
        ({"CODE": "1"}, False, ""),
        ({"CODE": "2"}, False, ""),
        ({"CODE": "70"}, False, ""),
        ({"CODE": "75"}, True, ""),
        ({"CODE": "75", "SLURM_RESTART_COUNT": "6"}, True, ""),
        ({"CODE": "75", "SLURM_RESTART_COUNT": "7"}, False, "saved, but not requeued: that happened 7 times"),
        ({"CODE": "75", "STATE": "COMPLETING"}, False, ""),  # cancelled, or requeued by Slurm itself
    ],
)
def test_only_what_saved_is_requeued(records, capsys, monkeypatch, environment, requeued, says):
    monkeypatch.setattr(sys, "executable", "python")
    script = scripts(capsys, "--requeues=7")[0]
    assert finished(script, records, **environment) == (int(environment["CODE"]), says)
    assert (records / "scontrol").exists() == requeued
    assert not requeued or (records / "scontrol").read_text() == "requeue 123_4\n"


@pytest.mark.parametrize(("number", "forwarded"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_the_shell_outlives_signals_and_passes_on_the_one_that_only_it_gets(records, capsys, monkeypatch, number, forwarded):
    monkeypatch.setattr(sys, "executable", "python")
    script = scripts(capsys)[0].replace("trap : TERM", 'trap : TERM\ntouch "$RECORDS/trapped"')
    with execute(script, records, WAITS="until a signal") as job:
        while not ((records / "argv").exists() and (records / "trapped").exists()):
            assert job.poll() is None
        job.send_signal(number)
        if not forwarded:
            with pytest.raises(subprocess.TimeoutExpired):
                job.wait(0.5)
            job.send_signal(signal.SIGUSR1)
        job.communicate(timeout=30)
    assert job.returncode == 75
    assert (records / "scontrol").read_text() == "requeue 123_4\n"


def state(name: str, note: str = "") -> State:
    return State(name, 0, None, note)


@pytest.mark.parametrize(
    ("names", "flag", "array", "left_out"),
    [
        ("waiting stale waiting", "", "0-2", []),
        ("finished waiting finished", "", "1", []),
        ("waiting finished stale", "", "0,2", []),
        ("running waiting finished", "", "1", ["run 0, runs/bottleneck/none-gru-h16-d8-u800, is running (why)"]),
        (
            "failed waiting waiting",
            "",
            "1-2",
            ["run 0, runs/bottleneck/none-gru-h16-d8-u800, is failed (why); --retry_failed begins it again"],
        ),
        ("failed waiting waiting", "--retry_failed", "0-2", []),
    ],
)
def test_only_runs_that_need_it_are_submitted(records, capsys, monkeypatch, names, flag, array, left_out):
    monkeypatch.setattr(sweep, "states", lambda runs: [state(name, "why") for name in names.split()])
    assert call(*THREE, *flag.split()) == 0
    assert f"--array={array}" in directives((records / "0.script").read_text())
    assert capsys.readouterr().err.splitlines() == [f"left out: {line}" for line in left_out]


def test_a_finished_sweep_is_not_submitted(records, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "states", lambda runs: [state("finished")] * len(runs))
    assert call("--experiment=bottleneck") == 0
    expected = "nothing to submit; for tables and figures: python -m experiments.run --experiment=bottleneck --conclude\n"
    assert capsys.readouterr().out == expected and list(records.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            f"which experiment? --experiment={', '.join(run.CLAIMS)}, or a file: ",
        ),
        (["--experiment=launch"], "--experiment='launch' is unknown"),
        (["--experiment=bottleneck", "surplus"], "unexpected argument 'surplus'"),
        *[
            (["--experiment=bottleneck", f"--{name}"], f"--{name} has no meaning here")
            for name in ("list", "status", "conclude", "distributed")
        ],
        *[(["--experiment=bottleneck", f"--{name}=1"], f"--{name} has no meaning here") for name in ("index", "decode", "process")],
        (["--experiment=bottleneck", "--set=model.cell=magic"], "model.cell='magic' is unknown"),
        (
            ["--experiment=bottleneck", "--partition=a\n#SBATCH --wrap=x"],
            "--partition='a\\n#SBATCH --wrap=x' cannot stand in a batch script",
        ),
        (["--experiment=bottleneck", '--workdir=a"b'], "--output='a\"b/bottleneck/logs/%A_%a.log' cannot stand in a batch script"),
        (["--experiment=bottleneck", "--sbatch=exclusive"], "--sbatch=exclusive is no option of sbatch"),
        (["--experiment=bottleneck", "--sbatch=--a b=c"], "--sbatch=--a b=c is no option of sbatch"),
    ],
)
def test_what_a_user_can_mend_is_one_line(records, capsys, arguments, message):
    assert call(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {message}") and printed.err.count("\n") == 1 and printed.out == ""
    assert list(records.iterdir()) == [] and not Path("runs").exists()


def test_without_sbatch_there_is_a_hint(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert call("--experiment=bottleneck", f"--workdir={tmp_path}/runs") == 2
    assert (
        capsys.readouterr().err
        == "error: there is no sbatch here: launch where jobs are submitted to Slurm, or see the scripts with --dry_run\n"
    )


def test_a_folder_for_logs_that_cannot_be_made(tmp_path, records, capsys):
    (tmp_path / "runs").write_text("a file")
    assert call("--experiment=bottleneck") == 2
    assert "cannot make runs/bottleneck/logs, where logs are kept: Not a directory; choose another --workdir" in capsys.readouterr().err


@pytest.mark.parametrize(("refused", "also"), [(0, ""), (1, "; the job array 100 is submitted, but nothing will conclude")])
def test_what_slurm_says_against_it_is_shown(records, capsys, refused, also):
    (records / f"refuse-{refused}").touch()
    assert call("--experiment=bottleneck") == 1
    said = "sbatch: error: invalid partition; sbatch: error: not submitted"
    assert capsys.readouterr().err == f"error: sbatch refused: {said}{also}\n"


@pytest.fixture
def paced(monkeypatch):
    """Half a second an update of any program: what is timed is no matter of Slurm's."""
    monkeypatch.setattr(forecast, "pace", lambda config, *folders, evaluates: Pace(30.0, 0.5, 0.0, 1e-9))
    monkeypatch.setattr(forecast, "WITHIN", 1e9)
    monkeypatch.setattr(machine, "prepare", lambda *_: None)  # of a process that does nothing else


LADDER = ["--experiment=bottleneck", "--arms=summary,additive", "--seeds=2"]


def test_time_limits_of_a_forecast_are_those_of_arrays(records, capsys, paced):
    """From 100 to 3,200 updates: 81 s to 27 minutes, twice that, and rounded up to 10, 20, 40 minutes, an hour and 20."""
    assert call(*LADDER, "--gpus=h100:1", "--time=auto") == 0
    numbers = sorted(int(path.stem) for path in records.glob("*.script"))
    *arrays, conclusion = [directives((records / f"{number}.script").read_text()) for number in numbers]
    limited = {next(line for line in array if "--time" in line): next(line for line in array if "--array" in line) for array in arrays}
    assert limited == {
        "--time=00:10:00": "--array=0-2,6-8",
        "--time=00:20:00": "--array=3",
        "--time=00:40:00": "--array=4",
        "--time=01:20:00": "--array=5",
    }
    assert all("--gres=gpu:h100:1" in array for array in arrays) and "--time=00:30:00" in conclusion
    assert (records / f"{numbers[-1]}.arguments").read_text().split() == ["--parsable", "--dependency=afterany:100:101:102:103"]
    printed = capsys.readouterr()
    assert "job array 100, 101, 102, 103: 9 of 9 runs; job 104 concludes after it" in printed.out
    assert "cancel: scancel 100 101 102 103 104" in printed.out
    assert "--time=01:20:00 for 1 runs: the longest takes 27." in printed.err and "times a margin of 2" in printed.err


def test_at_most_so_many_runs_at_a_time_are_of_one_array(records, capsys, paced):
    assert call(*LADDER, "--time=auto", "--concurrency=2", "--margin=0.5") == 0
    assert {"--array=0-8%2", "--time=00:20:00"} < set(directives((records / "0.script").read_text()))
    assert len(list(records.glob("*.script"))) == 2


def test_a_dry_run_prints_every_array(capsys, paced, tmp_path):
    assert call(*LADDER, "--time=auto", "--dry_run", f"--workdir={tmp_path}") == 0
    printed = capsys.readouterr().out
    assert re.findall("==> (.*) <==", printed) == ["array.sbatch", "array_2.sbatch", "array_3.sbatch", "array_4.sbatch", "conclude.sbatch"]


def test_devices_are_set_before_runs_are_planned(capsys, paced, tmp_path, monkeypatch):
    """JAX refuses to change its devices once something was computed."""
    order, planned = [], run.planned
    monkeypatch.setattr(machine, "prepare", lambda *_: order.append("devices"))
    monkeypatch.setattr(run, "planned", lambda *given: order.append("runs") or planned(*given))
    assert call(*LADDER, "--time=auto", "--dry_run", f"--workdir={tmp_path}") == 0
    assert order == ["devices", "runs"]


def test_where_a_later_array_is_refused_those_submitted_are_named(records, capsys, paced):
    (records / "refuse-2").touch()
    assert call(*LADDER, "--time=auto") == 1
    assert "the job array 100, 101 is submitted, but nothing will conclude" in capsys.readouterr().err


@pytest.mark.parametrize("gpus", ["h100", "h100:", ":1", "0", "h100:0", "-1", "a b:1", "h100:one"])
def test_gpus_are_a_number_or_a_type_and_a_number(records, capsys, gpus):
    assert call("--experiment=bottleneck", f"--gpus={gpus}") == 2
    assert f"error: --gpus={gpus} does not fit: give how many" in capsys.readouterr().err and list(records.iterdir()) == []


@pytest.mark.parametrize(("indices", "text"), [([3], "3"), ([0, 1, 2], "0-2"), ([0, 2, 3, 7], "0,2-3,7")])
def test_indices_as_slurm_writes_them(indices, text):
    assert launch.ranges(indices) == text


def test_every_flag_of_a_run_is_passed_on_or_refused():
    names = {flag.name for flag in flags.FLAGS.get_flags_for_module(run.__name__)}
    assert set(launch.NOT_HERE) < names and run.PROCESSES.name in names
    listed = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(launch.__name__)}
    assert names - set(launch.NOT_HERE) < listed and not listed & set(launch.NOT_HERE)


@pytest.mark.parametrize(("file", "which"), [("slurm_gpu.sbatch", 0), ("slurm_conclude.sbatch", 1)])
def test_the_ready_scripts_are_what_launch_prints(capsys, monkeypatch, file, which):
    monkeypatch.setattr(sys, "executable", "python")
    monkeypatch.setattr(run, "COMMAND", "attention_jax.experiments.run")
    monkeypatch.setattr(sweep, "states", lambda runs: [state("waiting")] * len(runs))
    command = [*EXAMPLE, "--concurrency=4", "--dry_run"]
    script = scripts(capsys, *command[1:-1])[which]
    shown = f"python -m attention_jax.experiments.launch {shlex.join(command)} > jobs/..."
    assert (ROOT / "jobs" / file).read_text().strip() == script.strip(), f"jobs/{file} is not what this prints: {shown}"
