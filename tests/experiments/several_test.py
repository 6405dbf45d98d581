"""--experiment names several claims: they are run one after the other."""

import sys

import pytest
from absl.testing import flagsaver

from attention_jax.sweeps import claims
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped, StorageError
from experiments import launch, run
from tests.experiments.command import call


@pytest.fixture(autouse=True)
def two(monkeypatch):
    of_data = claims.of_data
    monkeypatch.setitem(run.SEVERAL, "two", "of two")
    monkeypatch.setattr(claims, "of_data", lambda kind, *rest: ("bottleneck", "echo") if kind == "of two" else of_data(kind, *rest))
    monkeypatch.setattr(run, "train_runs", lambda *_: None)  # contract_test and others train


def test_they_are_planned_one_after_the_other(capsys, tmp_path):
    assert call("--experiment=two", "--list", f"--workdir={tmp_path}") == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line.startswith("---")] == ["--- bottleneck", "--- echo"]
    assert printed.count("summary-gru-h16-d8-u100") == 1 and printed.count("summary-lstm-h150-constant-b1-u5000") == 1


@pytest.mark.parametrize(("kind", "status"), [(RunError, 1), (DataError, 2), (ConfigError, 2)])
def test_where_one_fails_the_others_go_on(capsys, tmp_path, monkeypatch, kind, status):
    seen = []

    def train(name, stop):
        seen.append(name)
        if name == "bottleneck":
            raise kind("it broke")

    monkeypatch.setattr(run, "train", train)
    assert call("--experiment=two", f"--workdir={tmp_path}") == status and seen == ["bottleneck", "echo"]
    assert "error: it broke\nerror: 1 of 2 experiments failed: bottleneck\n" in capsys.readouterr().err


def test_a_failed_run_counts_more_than_what_the_user_can_mend(capsys, tmp_path, monkeypatch):
    def train(name, stop):
        raise {"bottleneck": RunError, "echo": DataError}[name]("it broke")

    monkeypatch.setattr(run, "train", train)
    assert call("--experiment=two", f"--workdir={tmp_path}") == 1
    assert "error: 2 of 2 experiments failed: bottleneck, echo\n" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [Stopped, StorageError])
def test_a_stop_and_a_full_disk_end_all_of_them(tmp_path, monkeypatch, kind):
    seen = []

    def train(name, stop):
        seen.append(name)
        raise kind("no more")

    monkeypatch.setattr(run, "train", train)
    assert call("--experiment=two", f"--workdir={tmp_path}") in (74, 75) and seen == ["bottleneck"]


def test_a_corpus_that_is_missing_leaves_the_others(capsys, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")
    monkeypatch.setattr(claims, "of_data", lambda kind, *rest: ("alignment", "translation_length"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "other.txt").touch()
    folders = [f"--data_dir={tmp_path / 'data'}", f"--cache_dir={tmp_path / 'cache'}", f"--workdir={tmp_path}"]
    assert call("--experiment=two", "--check_data", *folders) == 2
    printed = capsys.readouterr()
    assert printed.out == "--- alignment\n--- translation_length\n"
    told = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in told[:2]] == ["hansards", "multi30k"] and all(" is missing" in line for line in told[:2])
    assert told[2] == "error: 2 of 2 experiments failed: alignment, translation_length"


def test_each_has_its_own_command_on_file(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run", "--experiment=two", "--preset=small", "--workdir=runs/two"])
    with flagsaver.flagsaver(experiment="two"):
        assert run.command("echo") == "python -m experiments.run --experiment=echo --preset=small --workdir=runs/two"


def test_flags_of_one_experiment_are_refused(refuses):
    assert "--index is of one experiment, and --experiment=two is bottleneck, echo" in refuses("--experiment=two", "--index=0")


def test_their_name_is_among_the_valid_ones(refuses):
    assert "study" in refuses("--experiment=studies", "--list") and "study" in refuses("--list")


def test_every_experiment_is_run_with_those_of_its_data():
    study, real = (claims.of_data(kind, "experiments", run.CLAIMS) for kind in (run.SEVERAL["study"], run.SEVERAL["all-real"]))
    assert sorted((*study, *real)) == run.CLAIMS
    assert "bottleneck" in study and {"multi30k", "translation_length"} <= set(real)


def test_several_are_not_launched_as_one():
    with flagsaver.flagsaver(experiment="all-real"), pytest.raises(ConfigError, match=r"is several sweeps: launch each of .*multi30k"):
        launch.launch(["launch"])
