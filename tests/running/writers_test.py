"""Writers beside rows: a stand-in for wandb sees our calls, and nothing it does keeps a run from training."""

import logging
import sys
from types import SimpleNamespace

import pytest

from attention_jax.config import Config
from attention_jax.running import weights_and_biases, writers
from attention_jax.system.errors import ConfigError

CONFIG = Config(experiment="claim", run="one")


class Wandb(SimpleNamespace):
    """Notes what is called; `refuses` names the call that raises."""

    def __init__(self, refuses: str = ""):
        super().__init__(calls=[], refuses=refuses, Settings=lambda **given: given)

    def note(self, what: str, *arguments):
        self.calls.append((what, *arguments))
        if what == self.refuses:
            raise RuntimeError(f"{what} is\nrefused")

    def init(self, **given):
        self.note("init", given)
        return SimpleNamespace(log=lambda numbers, step: self.note("log", step, numbers), finish=lambda: self.note("finish"))


@pytest.fixture
def wandb(monkeypatch, request):
    found = Wandb(getattr(request, "param", ""))
    monkeypatch.setitem(sys.modules, "wandb", found)
    return found


def test_a_run_is_named_by_its_settings_and_gets_numbers_and_an_end(wandb, tmp_path):
    writer = writers.Writers(["wandb"], writers.Place(CONFIG, tmp_path, 0))
    writer.add(3, {"loss/seed_0": 1.5})
    writer.close()
    (_, given), *rest = wandb.calls
    assert (given["project"], given["name"], given["dir"], given["resume"]) == ("claim", "one", str(tmp_path), "allow")
    assert given["config"]["model.cell"] == "gru" and rest == [("log", 3, {"loss/seed_0": 1.5}), ("finish",)]
    again = Wandb()
    sys.modules["wandb"] = again  # pyright: ignore[reportArgumentType]
    weights_and_biases.Losses(CONFIG, tmp_path)
    assert again.calls[0][1]["id"] == given["id"]


@pytest.mark.parametrize("wandb", ["log", "finish"], indirect=True)
def test_what_it_refuses_is_said_once(wandb, tmp_path, caplog):
    losses = weights_and_biases.Losses(CONFIG, tmp_path)
    with caplog.at_level(logging.WARNING):
        for update in range(3):
            losses.add(update, {"loss": 1.0})
        losses.close()
        losses.close()
    assert len(caplog.records) == 1 and f"{wandb.refuses} is\\nrefused" in caplog.text


@pytest.mark.parametrize("wandb", ["init"], indirect=True)
def test_where_it_does_not_begin_is_one_line(wandb, tmp_path):
    with pytest.raises(ConfigError, match=r"--writers=wandb: wandb does not begin .*WANDB_MODE=offline") as error:
        writers.Writers(["wandb"], writers.Place(CONFIG, tmp_path, 0))
    assert "\n" not in str(error.value)


def test_a_package_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="--writers=wandb needs wandb: pip install wandb"):
        writers.Writers(["wandb"], writers.Place(CONFIG, tmp_path, 0))
    with pytest.raises(ConfigError, match=r"--writers='magic' is unknown; valid: tensorboard, wandb"):
        writers.Writers(["magic"], writers.Place(CONFIG, tmp_path, 0))


def test_those_opened_before_one_that_is_not_there_are_closed(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setitem(writers.TABLE, "first", lambda place: SimpleNamespace(close=lambda: closed.append(place)))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError):
        writers.Writers(["first", "wandb"], writers.Place(CONFIG, tmp_path, 0))
    assert len(closed) == 1


def test_results_are_means_over_seeds():
    rows = [{"mode": "free", "length": 2, "exact_match": share, "loss": None} for share in (0.5, 1.0)]
    rows.append({"mode": "forced", "length": 2, "exact_match": 0.0, "loss": 3.0})
    assert writers.of_rows(rows) == {"exact_match/length_2": 0.75, "loss/length_2": 3.0}
    text = [row | {"bleu": 10.0, "chrf": 20.0, "test": "b.tsv", "role": "further"} for row in rows[:2]]
    of_text = {f"b.tsv/{name}/length_2": value for name, value in (("exact_match", 0.75), ("bleu", 10.0), ("chrf", 20.0))}
    assert writers.of_rows([*rows, *text]) == writers.of_rows(rows) | of_text
