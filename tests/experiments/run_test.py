"""The command line, in one process: what it prints, what it leaves, and one line for whatever a user can get wrong."""

import gzip
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from absl import flags

from attention_jax.running import finished
from attention_jax.sweeps import claims, sweep
from attention_jax.training import compiled
from experiments import run
from tests.experiments.command import call, flags_of

SETTINGS = (
    "model.hidden_size=6 model.embedding_size=4 data.symbols=3 data.longest=3 data.eval_lengths=1,2 data.eval_examples=4 "
    "training.seeds=2 training.updates=4 training.batch_size=4 training.learning_rates=0.01 training.warmup=1 training.chunk=2 "
    "training.checkpoint_every=4 data.held_out=0 model.vector_size=0"
).split()
TINY = ["--experiment=bottleneck", "--arms=none,summary,additive", *(f"--set={setting}" for setting in SETTINGS)]
ONE = [*TINY, "--set=model.attention=additive"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A finished sweep of three arms, and what the command printed."""
    path = tmp_path_factory.mktemp("runs")
    before, sys.stdout = sys.stdout, io.StringIO()
    try:
        assert call(*TINY, f"--workdir={path}") == 0
        (path / "printed.txt").write_text(sys.stdout.getvalue())
    finally:
        sys.stdout = before
    return path


def files(path: Path) -> dict:
    return {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file() and file.name != ".lock"}


@pytest.mark.long
def test_a_sweep_prints_and_leaves_its_conclusion(workdir):
    printed, folder = (workdir / "printed.txt").read_text(), workdir / "bottleneck"
    assert "Exact match of the typical seed, free running, gru h6 d0" in printed and "additive, 4" in printed
    assert "Verdict: inconclusive, with 2 seeds, none, summary, additive at 4 updates" in printed
    assert "lengths = (1, 2); needed are four" in printed
    names = [
        "vector_and_budget_gru_h6.png",
        "vector_and_budget_gru_h6.svg",
        "sweep.json",
        "alignments.png",
        "alignments.svg",
        "report.html",
    ]
    for file in [folder / name for name in [*names, "rows.jsonl"]]:
        assert file.stat().st_size > 0 and f"  {file}\n" in printed + "\n"
    page = (folder / "report.html").read_text()
    assert "inconclusive" in page and "python -m experiments.run" in page and 'src="http' not in page


@pytest.mark.long
def test_a_second_call_trains_nothing(workdir, capsys, monkeypatch):
    before = {file: time for file, time in files(workdir).items() if file.parent != workdir / "bottleneck"}
    monkeypatch.setattr(compiled, "advance", None)
    assert call(*TINY, f"--workdir={workdir}") == 0
    assert {file: time for file, time in files(workdir).items() if file.parent != workdir / "bottleneck"} == before
    assert capsys.readouterr().out.strip() == (workdir / "printed.txt").read_text().strip()


@pytest.mark.long
def test_list_and_index(workdir, tmp_path, capsys):
    before = files(workdir)
    assert call(*TINY, f"--workdir={workdir}", "--list") == 0
    _, _, *lines = capsys.readouterr().out.splitlines()
    assert [(line.split()[0], line.split()[1], line.split()[-1]) for line in lines] == [
        (str(i), f"bottleneck/{arm}-gru-h6-d0-u4", "finished") for i, arm in enumerate(("none", "summary", "additive"))
    ]
    assert files(workdir) == before
    assert call(*TINY, f"--workdir={tmp_path}", "--index=2") == 0
    assert [path.name for path in (tmp_path / "bottleneck").iterdir()] == ["additive-gru-h6-d0-u4"]  # no conclusion from a part
    assert capsys.readouterr().out == ""
    here, there = (Path(p) / "bottleneck/additive-gru-h6-d0-u4/config.json" for p in (tmp_path, workdir))
    assert here.read_text() == there.read_text()


COUNT = """
import collections, json, logging, sys
import jax
from jax import monitoring
missed, compiled = [], collections.Counter()
monitoring.register_event_listener(lambda event, **more: missed.append(event) if event.endswith("/cache_misses") else None)

class Compiled(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("Finished XLA compilation of "):
            compiled[record.getMessage().split()[4]] += 1

logger = logging.getLogger("jax._src.dispatch")
logger.addHandler(Compiled())
logger.setLevel(logging.DEBUG)
logger.propagate = False
from experiments import run
out, sys.argv = sys.argv[1], ["run", *sys.argv[2:]]
try:
    run.cli()
finally:
    json.dump([len(missed), compiled], open(out, "w"))
"""


@pytest.mark.long
def test_few_compilations_and_none_on_a_second_start(tmp_path):
    """Arms and a pilot of more candidates than seeds; JAX's own log and its own count of cache misses."""
    settings = ["model.hidden_size=5", "training.learning_rates=0.01,0.02", "training.pilot_updates=2", "training.pilot_seeds=2"]
    command = [*TINY, "--arms=none,additive", f"--cache_dir={tmp_path}/cache"]
    command += [f"--set={setting}" for setting in [*settings, "data.eval_lengths=1,2,3,4,6"]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    root = Path(run.__file__).resolve().parent.parent
    for start in ("first", "second"):
        arguments = [str(tmp_path / start), *command, f"--workdir={tmp_path}/runs-{start}"]
        subprocess.run([sys.executable, "-c", COUNT, *arguments], cwd=root, env=environment | {"PYTHONPATH": str(root)}, check=True)
    (missed, compiled), (missed_again, compiled_again) = (json.loads((tmp_path / start).read_text()) for start in ("first", "second"))
    arms, sizes = 2, 2  # sources up to the trained length are padded to that, longer ones to the longest
    assert {name: compiled[f"jit({name})"] for name in ("init", "train_on_device")} == dict.fromkeys(("init", "train_on_device"), arms)
    assert {name: compiled[f"jit({name})"] for name in ("forced", "free")} == dict.fromkeys(("forced", "free"), arms * sizes)
    assert compiled["jit(draw)"] == sizes + 1  # of all arms together: the tested ones and the validation's
    assert compiled["jit(known)"] == arms  # the replay of examples, all lengths at once
    assert sum(compiled.values()) <= 7 * arms + sizes + 3 and missed == sum(compiled.values())
    assert missed_again == 0 and compiled_again == compiled


@pytest.mark.parametrize(("text", "settings"), [(None, []), ("5", ["training.seeds=5"])])
def test_how_many_seeds(text, settings):
    assert claims.seed_settings(text) == settings


def test_which_seeds(tmp_path, capsys):
    assert claims.seed_settings("100-107") == ["training.first_seed=100", "training.seeds=8"]
    assert call(*TINY, f"--workdir={tmp_path}", "--seeds=100-102", "--list") == 0
    assert all(line.split()[3] == "3" for line in capsys.readouterr().out.splitlines()[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            f"which experiment? --experiment={', '.join([*run.CLAIMS, *run.SEVERAL])}, or a file: ",
        ),
        (["--experiment=botleneck"], "--experiment='botleneck' is unknown (did you mean 'bottleneck'?)"),
        ([*TINY, "--preset=huge"], "--preset='huge' is unknown; valid: tiny, verdict, small, full"),
        ([*TINY, "surplus"], "unexpected argument 'surplus'"),
        ([*TINY, "--index=3"], "--index=3 is no run of this sweep; valid: 0 to 2"),
        ([*TINY, "--index=-1"], "--index=-1 is no run of this sweep"),
        ([*TINY, "--seeds=x"], "--seeds=x does not fit"),
        ([*TINY, "--seeds=1-²"], "--seeds=1-² does not fit"),
        ([*TINY, f"--seeds=1-{'9' * 5000}"], "does not fit: give a number (8) or a range (100-107)"),
        ([*TINY, "--coordinator=nowhere"], "--coordinator=nowhere does not fit: it must be host:port"),
        ([*TINY, "--coordinator=localhost:99999"], "--coordinator=localhost:99999 does not fit"),
        ([*TINY, "--seeds=0"], "training.seeds=0 is impossible"),
        ([*TINY, "--seeds=8-3"], "training.seeds=-4 is impossible"),
        ([*TINY, "--set=model.attention=magic"], "model.attention='magic' is unknown"),
        ([*TINY, "--set=model.cell=magic"], "model.cell='magic' is unknown"),
        ([*TINY, "--set=data.task=magic"], "data.task='magic' is unknown"),
        ([*TINY, "--set=model.hiddensize=3"], "unknown setting 'model.hiddensize'; did you mean model.hidden_size"),
        ([*TINY, "--set=model.hidden_size=big"], "model.hidden_size='big' does not fit: it must be a whole number"),
        ([*TINY, "--set=model.residual=yes"], "model.residual='yes' does not fit: it must be true or false"),
        ([*TINY, "--set=model.hidden_size=0"], "model.hidden_size=0 is impossible"),
        ([*TINY, "--set=data.shortest=0"], "data.shortest=0 is impossible"),
        ([*TINY, "--set=data.eval_lengths=0,1"], "data.eval_lengths=(0, 1) is impossible"),
        ([*TINY, "--set=data.shortest=9"], "data.shortest=9 is above data.longest=3"),
        ([*TINY, "--set=nonsense"], "is not of the form path=value"),
        (["--experiment=translation_length", "--set=text.max_words=500"], "text.max_words=500 does not fit the longest bucket"),
        (["--decode=x", "--alignments=x.pdf"], "--alignments=x.pdf must end in .html, .png, .svg, .gif"),
        (["--decode=x", "--beside=y"], "--beside=y needs --alignments=page.html"),
        (["--decode=x", "--beside=y", "--alignments=x.png"], "--alignments=x.png shows one run; give a .html for 2 side by side"),
        ([*TINY, "--watch=page.txt"], "--watch=page.txt must end in .html"),
        ([*TINY, "--list", "--alignments=x.html"], "--alignments needs --decode"),
        ([*TINY, "--list", "--seed=1"], "--seed needs --decode"),
        ([*TINY, "--list", "--table_of=x"], "--table_of needs --table"),
        (["--decode=x", "--watch=x.html"], "--watch has no meaning with --decode"),
        (["--decode=x", "--list"], "--list has no meaning with --decode"),
        (["--decode=x"], "--decode: x is no run: it does not exist"),
    ],
)
def test_settings_that_cannot_be(refuses, tmp_path, arguments, message):
    assert message in refuses(f"--workdir={tmp_path}/runs", *arguments)
    assert not (tmp_path / "runs").exists()


TEXT = ["--experiment=translation_length", "--set=model.attention=additive", "--set=model.hidden_size=6", "--set=training.seeds=2"]


def good_lines(count: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(count))


@pytest.mark.usefixtures("tfds")
@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (None, good_lines(9), "a.src is missing"),
        (b"", good_lines(9), "a.src is empty"),
        (good_lines(9), good_lines(8), "line 9 of"),
        (good_lines(4) + b"\n" + good_lines(4), good_lines(9), "a.src, line 5 is empty"),
        (good_lines(4) + b"\xff\xfe\n" + good_lines(4), good_lines(9), "a.src, line 5, byte 1: not UTF-8"),
        ("line\n".encode("utf-16-le") * 9, good_lines(9), "a.src, line 1: holds a NUL character"),
    ],
    ids="missing empty unequal gap encoding utf16".split(),
)
def test_bad_parallel_text(refuses, tmp_path, source, target, message):
    for name, content in (("a.src", source), ("a.tgt", target)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    arguments = [f"--set=text.source_file={tmp_path}/a.src", f"--set=text.target_file={tmp_path}/a.tgt", "--set=data.task=parallel_text"]
    assert message in refuses(*TEXT, *arguments, f"--workdir={tmp_path}/runs", f"--cache_dir={tmp_path}/cache")


@pytest.mark.usefixtures("tfds")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "train.de.gz is missing; get it from https://"),
        (gzip.compress(good_lines(2000), mtime=0)[:200], "is truncated; get it again"),
        (b"<html>not found</html>", "is damaged or no gzip file"),
        (gzip.compress(good_lines(9), mtime=0), "has other content than expected (sha256 "),
    ],
    ids="missing truncated page content".split(),
)
def test_bad_corpus(refuses, tmp_path, content, message):
    raw = tmp_path / "raw" / "multi30k"
    raw.mkdir(parents=True)
    if content is not None:
        (raw / "train.de.gz").write_bytes(content)
    folders = [f"--workdir={tmp_path}/runs", f"--cache_dir={tmp_path}/cache"]
    assert message in refuses(*TEXT, *folders, f"--data_dir={tmp_path}/raw")
    assert "is no folder, or an empty one" in refuses(*TEXT, *folders, f"--data_dir={tmp_path}/absent")


@pytest.mark.long
def test_a_workdir_of_another_config(refuses, workdir):
    line = refuses(*TINY, f"--workdir={workdir}", "--set=training.batch_size=8", status=1)
    assert "belongs to another config: training.batch_size is 4 there, 8 here" in line


def test_a_workdir_that_cannot_be_written(refuses, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file/bottleneck" in refuses(*ONE, f"--workdir={tmp_path}/file", status=74)


def test_a_loss_that_is_not_finite(refuses, tmp_path):
    line = refuses(*ONE, f"--workdir={tmp_path}", "--set=training.learning_rates=3e38", status=1)
    assert "the loss of seed 0 is not finite at update 2; there is no checkpoint yet" in line


@pytest.mark.long
def test_a_signal_saves_and_says_so(tmp_path):
    """The one test with a process of its own: exit status 75, and the same command goes on."""
    command = [sys.executable, "-m", "experiments.run", *ONE, f"--workdir={tmp_path}", "--set=training.updates=1000000"]
    root = Path(run.__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)}) as process:
        directory = tmp_path / "bottleneck" / "additive-gru-h6-d0-u1000000"
        while process.poll() is None and not any((directory / "checkpoint").glob("[0-9]*")):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    assert "stopped: " in errors and "of 1000000 (SIGTERM); the same command goes on" in errors and "Traceback" not in errors
    assert not finished.is_finished(sweep.plan(importlib.import_module("experiments.bottleneck"), "tiny", SETTINGS)[0].config, directory)


@pytest.mark.parametrize("asked", ["--help", "-h", "--helpshort", "--helpfull"])
def test_help_shows_every_flag_of_ours_and_is_no_failure(asked, capsys):
    for script in ("experiments/run.py", "/usr/bin/attention-jax"):
        with pytest.raises(SystemExit) as end:
            run.parsed([script, asked])
        assert end.value.code == 0
        said = capsys.readouterr().out
        ours = [holder.name for holder in vars(run).values() if isinstance(holder, flags.FlagHolder)]
        assert len(ours) > 30 and said.startswith(run.__doc__.strip())
        assert [name for name in ours if f"--{name}:" not in said and f"--[no]{name}:" not in said] == []


def test_a_path_begins_at_home(tmp_path, monkeypatch, refuses):
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = "workdir data_dir cache_dir decode rows export alignments reproduce compare with keep_rates".split()
    given = [*(f"--{name}=~/x.png" for name in paths), "--input=~/a", "--input=~/b", "--references=~/c,~/d,e", "--table_of=~/f"]
    with flags_of(*given):
        assert [flags.FLAGS[name].value for name in paths] == [f"{tmp_path}/x.png"] * len(paths)
        assert flags.FLAGS["input"].value == [f"{tmp_path}/a", f"{tmp_path}/b"] and flags.FLAGS["table_of"].value == [f"{tmp_path}/f"]
        assert flags.FLAGS["references"].value == [f"{tmp_path}/c,{tmp_path}/d,e"]
        with pytest.raises(flags.IllegalFlagValueError, match="a path must be UTF-8"):
            flags.FLAGS(["run", "--workdir=\udcff"])
