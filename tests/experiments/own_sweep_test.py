"""A sweep as a list of configs, as docs/using.md has it: from its file to its report and its table."""

import csv
import io
import re
import sys
from pathlib import Path

import pytest

from attention_jax.running import results
from attention_jax.sweeps import claims
from tests.experiments.command import call

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "using.md").read_text()
SWEEP, SCORE = (re.search(rf'^```python title="{name}.py"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL)[1] for name in ("widths", "score"))
SMALL = "model.hidden_size=4 model.embedding_size=3 training.updates=4 training.seeds=2 training.batch_size=4 data.eval_examples=8".split()


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Flags of the finished sweep, with a score of its own."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "widths.py").write_text(f"{SWEEP}\n{SCORE}")
    given = [f"--experiment={folder}/widths.py", f"--workdir={folder}/runs", *(f"--set={setting}" for setting in SMALL)]
    before, sys.stdout = sys.stdout, io.StringIO()
    try:
        assert call(*given) == 0
        (folder / "printed.txt").write_text(sys.stdout.getvalue())
    finally:
        sys.stdout = before
    yield given
    sys.modules.pop(f"{claims.PACKAGE}.widths", None)


def folder_of(flags: list[str]) -> Path:
    return Path(flags[1].removeprefix("--workdir=")) / "widths"


@pytest.mark.long
def test_the_example_is_short_and_complete(flags):
    statements = [line for line in SWEEP.splitlines() if line.strip() and not line.startswith(("from ", '"""'))]
    assert len(statements) <= 10
    folder = folder_of(flags)
    assert len({row["run"] for row in results.read(folder / "rows.jsonl")}) == 4
    printed = (folder.parent.parent / "printed.txt").read_text()
    assert printed.index("Exact outputs") < printed.index("Exact match of the typical seed, free running")
    assert "Verdict: none, with 2 seeds" in printed
    assert "Does a wider vector carry" in (folder / "report.html").read_text() and list(folder.glob("exact_match_1.svg"))


@pytest.mark.long
def test_it_is_not_trained_again_and_concluded(flags, capsys):
    assert call(*flags, "--status") == 0 and "4 runs: 4 finished" in capsys.readouterr().out
    assert call(*flags, "--conclude", "--arms=additive") == 0 and "summary-" not in capsys.readouterr().out


@pytest.mark.long
def test_it_is_compared_with_itself(flags, capsys):
    folder = folder_of(flags)
    assert call(*flags, "--conclude") == 0
    assert call(f"--compare={folder}", f"--with={folder}", flags[0], f"--workdir={folder.parent}") == 0
    assert "same verdict" in capsys.readouterr().out


@pytest.mark.long
def test_its_table(flags, capsys):
    assert call(*flags[:2], "--table=attention,vector_size", "--table_format=csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {(row["attention"], row["vector_size"]) for row in rows} == {(arm, d) for arm in ("summary", "additive") for d in ("4", "8")}
    assert {row["seeds"] for row in rows} == {"2"}


def test_a_table_of_nothing_is_one_line(refuses, tmp_path):
    assert "to tabulate: give a --workdir" in refuses("--table=cell,vector_size", f"--workdir={tmp_path}/nowhere")
    assert "holds no finished run" in refuses("--table=cell,vector_size", f"--workdir={tmp_path}")
    assert "--table=cell: give the setting of rows" in refuses("--table=cell", "--table_of=docs/results/bottleneck")


def test_a_writer_that_there_is_none_of_is_one_line(refuses, tmp_path):
    said = refuses("--experiment=bottleneck", "--writers=magic", f"--workdir={tmp_path}")
    assert said.startswith("--writers='magic' is unknown; valid: tensorboard, wandb") and not list(tmp_path.iterdir())
