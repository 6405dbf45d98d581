"""`make gpu`, rehearsed on a CPU, part by part at the smallest sizes, where there is no tensorflow_datasets: what is written, shared, cut,
gone on with; references against their making anew; the bundle. What only a card can show is not shown here."""

import importlib
import importlib.abc
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from attention_jax.sweeps import sweep
from attention_jax.system import machine
from attention_jax.system.errors import RunError
from benchmarks.cards import book, bundle, cases, child, packages, parity, process, references, run, steps, sweeps, updates
from benchmarks.cards.book import Book
from benchmarks.cards.steps import PARTS, STEPS, Step
from benchmarks.cards.task import Task
from experiments import bottleneck

ROOT = Path(__file__).resolve().parent.parent
MACHINE = {"device": "a card", "cores": 2, "versions": {"jax": "1"}, "environment": {}}
TINY = Step("a", "card", "", 1)


class Absent(importlib.abc.MetaPathFinder):
    """Lets nobody find what a bare machine lacks."""

    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("tensorflow_datasets", "array_record", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    """This process is one of a bare machine."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tensorflow_datasets", "array_record")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, find=importlib.util.find_spec: None if name == "torch" else find(name))


def played(step: Step, tmp_path: Path, seconds: float = 300, skip: tuple[str, ...] = ()) -> list[dict]:
    """What a step says, played in this process."""
    said = []
    task = Task(step.argument, time.monotonic() + seconds, True, str(tmp_path), str(tmp_path / "work"), skip)
    child.play(importlib.import_module(f"benchmarks.cards.{step.module}"), task, lambda **event: said.append(event))
    return json.loads(json.dumps(said))


def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds neither of them."""
    for name in ("tensorflow_datasets", "array_record"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        (tmp_path / "bare" / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}')\n")
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path / "bare"), str(ROOT)))}


def command(tmp_path: Path, *flags: str) -> subprocess.Popen:
    """`make gpu` with these flags."""
    given = [sys.executable, "-m", "benchmarks.cards", f"--out={tmp_path / 'out'}", *flags]
    return subprocess.Popen(given, cwd=ROOT, env=bare(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.long
@pytest.mark.parametrize("step", [step for step in STEPS if step.part in "bde"], ids=lambda step: step.name)
def test_a_step_is_rehearsed(step, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ACCELERATOR_BLOCK", machine.ACCELERATOR_BLOCK)  # one of the ways moves it
    said = played(step, tmp_path)
    assert [event for event in said if event["event"] == "failed"] == []
    rows = [event["row"] for event in said if event["event"] == "row"]
    assert rows and {event["item"] for event in said} == {event["item"] for event in said if event["event"] == "done"}
    assert all(row["met"] in (None, True) for row in rows if row["name"] == "parity"), rows
    items = tuple({event["item"] for event in said})
    assert played(step, tmp_path, skip=items) == []


@pytest.mark.long
@pytest.mark.parametrize("step", [step for step in STEPS if step.name in ("resume", "sweeps tiny")], ids=lambda step: step.name)
def test_a_step_that_starts_processes_is_rehearsed(step, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", bare(tmp_path)["PYTHONPATH"])
    said = played(step, tmp_path)
    assert [event["event"] for event in said] == ["begun", "row", "done"], said
    row = said[1]["row"]
    if step.module == "resume":
        assert (row["ours"], row["met"]) == (0, True) and "At(moment='between seal" in row["note"]
    else:
        assert row["sizes"].startswith("2 of 2 runs") and row["note"].startswith("inconclusive"), row
        with zipfile.ZipFile(tmp_path / f"{step.argument}.zip") as packed:
            assert {"sweep.json", "rows.jsonl", "report.html"} <= set(packed.namelist())


@pytest.mark.parametrize("preset", sweeps.FOLDERS)
def test_every_preset_can_be_rehearsed(preset, tmp_path):
    runs = sweep.plan(bottleneck, preset, sweeps.SMALL, tmp_path)
    assert [run.config.model.attention for run in runs] == ["summary", "additive"]


@pytest.mark.parametrize("status, outcome, words", [(75, "cut", "the same command goes on"), (1, "failed", "ended with 1, see log.txt")])
def test_a_sweep_that_is_not_whole_says_how_far_it_is(status, outcome, words, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps.subprocess, "run", lambda command, **given: subprocess.CompletedProcess(command, status))
    said = played(next(step for step in STEPS if step.argument == "full"), tmp_path)
    assert [event["event"] for event in said] == ["begun", "row", outcome] and words in said[2]["words"]
    assert said[1]["row"]["sizes"] == "0 of 2 runs × 2 seeds" and "2 waiting" in said[1]["row"]["note"]


def test_a_sweep_without_time_says_so(tmp_path):
    said = played(next(step for step in STEPS if step.argument == "full"), tmp_path, seconds=1)
    assert [event["event"] for event in said] == ["begun", "cut"] and "no time is left" in said[1]["words"]


def test_parts_are_in_the_order_of_their_value_and_share_the_time():
    assert "".join(PARTS) == "abcdefg"
    assert steps.share(600, STEPS) == pytest.approx(600 * STEPS[0].weight / sum(step.weight for step in STEPS))
    left = 600.0
    for number in range(len(STEPS)):
        taken = steps.share(left, STEPS[number:])
        assert 0 < taken <= left
        left -= taken
    assert left == pytest.approx(0)
    assert steps.share(600, STEPS[-1:]) == 600  # what others leave is the last one's


def test_every_way_of_an_update_is_measured(monkeypatch):
    monkeypatch.setattr(machine, "ACCELERATOR_BLOCK", machine.ACCELERATOR_BLOCK)
    ways = {step.argument: step.flags for step in STEPS if step.part == "d"}
    assert ways == dict.fromkeys(updates.WAYS, "") | dict.fromkeys(["launched apart", "both"], steps.APART)
    monkeypatch.setattr(machine, "GPU_STEPS", machine.GPU_STEPS)
    updates.items(Task("single steps", 0, False, "", ""))
    assert machine.steps("gpu") == 1
    found = updates.items(Task("small blocks", 0, False, "", ""))
    assert len(found) == len(updates.ARMS) * len(updates.SIZES) and next(iter(found)) == "tiny additive"
    assert machine.block("projected", "gpu") == machine.block("projected", "cpu") < 50 * 128 * 768
    assert "WHILE" in machine.COMMANDS and "WHILE" not in steps.APART
    sizes = {size: updates.sizes(make("summary", False)) for size, make in updates.SIZES.items()}
    assert sizes == {
        "tiny": "R=8 H=16 B=32 S≤16",
        "H=64": "R=8 H=64 B=32 S≤16",
        "full H=256": "R=8 H=256 B=128 S≤50",
        "full H=64": "R=8 H=64 B=128 S≤50",
    }


def test_every_row_of_every_table_has_a_reference():
    stored = references.load()
    assert references.missing(stored) == [], "python -m benchmarks.cards.references"
    assert {key.partition("/")[0] for key in stored} == set(cases.cases())
    assert references.FILE.stat().st_size < 1e6
    with pytest.raises(RunError, match="no reference of other: python -m"):
        references.of(stored, "other")


@pytest.mark.long
@pytest.mark.parametrize("name", ["attention additive", "search beam"])
def test_references_are_what_they_were(name):
    stored = references.of(references.load(), name)
    made = references.made(name)
    assert set(made) == set(stored)
    for what, array in made.items():
        assert parity.difference(array, stored[what]) < 1e-6, what


def test_a_difference_is_relative_to_the_largest_number():
    assert parity.difference(np.array([1.0, 200.0]), np.array([0.0, 200.0])) == pytest.approx(1 / 200)
    assert parity.difference(np.array([np.nan]), np.array([0.0])) == 1e30


def test_what_is_on_file_is_known_again_on_the_same_card_with_the_same_versions_and_sources(tmp_path, monkeypatch):
    first = Book(tmp_path)
    for item, outcome in (("one", "done"), ("two", "cut"), ("three", "failed")):
        first.close(MACHINE, "a", "card", item, outcome, 1.0, "words")
    with first.file.open("a") as torn:
        torn.write('{"name": "half')
    again = Book(tmp_path)
    assert [row["outcome"] for row in again.rows] == ["done", "cut", "failed"]
    assert again.done("card", MACHINE) == {"one"} and again.done("parity", MACHINE) == set()
    assert again.done("card", MACHINE | {"device": "another"}) == again.done("card", MACHINE | {"versions": {"jax": "2"}}) == set()
    again.close(MACHINE, "a", "card", "two", "done", 1.0)
    assert Book(tmp_path).done("card", MACHINE) == {"one", "two"}
    monkeypatch.setattr(book, "sources", lambda: "other")
    assert Book(tmp_path).done("card", MACHINE) == set()


SCRIPT = """
import json, subprocess, sys, time
print(json.dumps({"event": "machine", "backend": "cpu", "machine": %r}), flush=True)
skip = json.loads(sys.stdin.readline())["skip"]
for item in ("good", "dies", "endless"):
    if item in skip:
        continue
    print(json.dumps({"event": "begun", "item": item}), flush=True)
    if item == "dies":
        sys.exit(139)
    if item == "endless":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(child.pid, "started", file=sys.stderr, flush=True)
        time.sleep(600)
    print(json.dumps({"event": "done", "item": item, "seconds": 1}), flush=True)
"""


def scripted(monkeypatch, script: str) -> None:
    """A step's process runs this instead."""
    start = subprocess.Popen
    monkeypatch.setattr(process.subprocess, "Popen", lambda command, **given: start([sys.executable, "-c", script], **given))


def test_what_kills_a_process_keeps_nothing_else_from_being_measured_and_a_cut_ends_all(tmp_path, monkeypatch, capsys):
    listen = process.events

    def until_the_endless(child, ends):
        for event in listen(child, ends):
            yield event
            if event.get("item") == "endless":
                while not (tmp_path / "out" / "log.txt").read_text().endswith("started\n"):
                    time.sleep(0.01)
                yield from listen(child, time.monotonic())  # its time is up
                return

    scripted(monkeypatch, SCRIPT % MACHINE)
    monkeypatch.setattr(process, "events", until_the_endless)
    held = Book(tmp_path / "out")
    failed = run.go([TINY], 600, held, tmp_path, True)
    assert failed == ["card, dies"]
    assert [(row["item"], row["outcome"]) for row in Book(tmp_path / "out").rows] == [
        ("good", "done"),
        ("dies", "failed"),
        ("endless", "cut"),
    ]
    assert "the process died with status 139" in held.rows[1]["note"]
    grandchild = Path("/proc") / (tmp_path / "out" / "log.txt").read_text().split()[-2]
    assert not grandchild.exists() or not (grandchild / "cmdline").read_bytes()  # nobody may have buried it yet
    assert "endless: cut" in capsys.readouterr().out


def test_without_a_card_it_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    scripted(monkeypatch, SCRIPT % MACHINE)
    assert run.main([f"--out={tmp_path / 'out'}"]) == 1
    assert capsys.readouterr().err == "error: no GPU: JAX runs on cpu; ALLOW_CPU=1 (--allow_cpu) rehearses, at the smallest sizes\n"
    assert run.main(["--parts=a,z", f"--out={tmp_path / 'out'}"]) == 2
    assert capsys.readouterr().err == "error: --parts=a,z: z is none; valid: a, b, c, d, e, f, g\n"


@pytest.mark.long
def test_the_command_goes_on_after_it_was_killed(tmp_path):
    rows = tmp_path / "out" / "rows.jsonl"
    killed = command(tmp_path, "--parts=a", "--allow_cpu", "--seconds=600")
    while not rows.exists() and killed.poll() is None:
        time.sleep(0.01)
    for number in [killed.pid, *process.descendants(killed.pid)]:
        os.kill(number, signal.SIGKILL)
    killed.communicate()
    again = command(tmp_path, "--parts=a", "--allow_cpu", "--seconds=600")
    out, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    found = book.read(rows)
    done = [(row["step"], row["item"]) for row in found if row["outcome"] == "done"]
    assert sorted(done) == [("card", "card"), ("card deterministic", "program")]
    assert "losses that differ" in out and len(list((tmp_path / "out").iterdir())) <= 8


def test_flags_of_every_step_are_known_to_xla():
    flags = " ".join({step.flags for step in STEPS})
    code = "import jax; print(jax.numpy.ones(3).sum())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"XLA_FLAGS": flags}, check=False)
    assert done.returncode == 0 and done.stdout == "3.0\n", done.stderr


def test_a_python_that_lacks_something_says_what(tmp_path, monkeypatch):
    assert packages.lacking() == []
    monkeypatch.setattr(packages, "installed", lambda name: name not in ("optax", "tensorflow-datasets"))
    assert packages.lacking() == ["optax>=0.2.8"]


def test_wheels_that_were_brought_along_are_unpacked_where_they_lack(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "before")
    for name in ("brought-1.0-py3-none-any", "brought_too-1.0-cp27-cp27mu-linux", "numpy-9.0-py3-none-any"):
        with zipfile.ZipFile(tmp_path / f"{name}.whl", "w") as wheel:
            wheel.writestr(f"{name.partition('-')[0]}_module.py", "x = 1\n")
    packages.unpack(tmp_path, tmp_path / "there")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["brought_module.py"]
    assert sys.path[-1] == str(tmp_path / "there") and os.environ["PYTHONPATH"] == f"before{os.pathsep}{tmp_path / 'there'}"


def test_the_bundle_holds_the_tree_and_what_could_be_fetched(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bundle, "tracked", lambda: [Path("Makefile"), Path("benchmarks/cards/run.py")])
    monkeypatch.setattr(bundle, "fetch", lambda name, python, folder: "tensorflow" not in name and (folder / f"{name}.whl").touch() is None)
    assert bundle.main([f"--out={tmp_path / 'b.tar.gz'}"]) == 0
    said = capsys.readouterr()
    assert (
        "tensorflow_datasets==4.9.10, tensorflow_metadata" in said.err
        and "there: tar xf b.tar.gz && cd attention_jax && make gpu" in said.out
    )
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        names = archive.getnames()
        assert archive.extractfile("attention_jax/COMMIT").read().decode().strip() == book.commit()
    assert {"attention_jax/Makefile", "attention_jax/benchmarks/cards/run.py", "attention_jax/wheels/promise.whl"} <= set(names)
    monkeypatch.setattr(bundle, "LARGEST", 10)
    assert bundle.main([f"--out={tmp_path / 'b.tar.gz'}", "--tree_alone"]) == 1
