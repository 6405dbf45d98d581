"""Results are found in runs, workdirs, conclusions and files of rows, and say the same from each."""

import gzip
from dataclasses import replace

import pytest

from attention_jax import config as settings
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.running import loop, results
from attention_jax.sweeps import archive, gathered, sweep
from attention_jax.system.errors import ConfigError, DataError
from tests.house_test import ROOT

BASE = Config(
    experiment="mine",
    model=ModelConfig(hidden_size=4, embedding_size=3, attention="summary"),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2, 3), eval_examples=4),
    training=TrainingConfig(seeds=2, updates=2, batch_size=2, warmup=1, chunk=2, checkpoint_every=2),
)
FIELDS = ("vector_size", "cell")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Two finished runs and one that is not, and their conclusion in another folder, packed."""
    path = tmp_path_factory.mktemp("gathered")
    configs = [replace(BASE, run=f"d{d}", model=replace(BASE.model, vector_size=d)) for d in (2, 3, 4)]
    runs = sweep.placed(configs, path / "runs")
    rows = [row for run in runs[:2] for row in loop.run(run.config, run.directory, run.fields)]
    runs[2].directory.mkdir()
    results.claim_directory(runs[2].directory, settings.to_json(configs[2]), results.environment())
    archive.write(path / "kept" / "mine", archive.of_runs("mine", "", [run.directory for run in runs[:2]], rows, []), packed=True)
    (path / "alone.jsonl").write_bytes(results.lines(rows))
    (path / "alone.jsonl.gz").write_bytes(gzip.compress(results.lines(rows)))
    return path


@pytest.mark.long
def test_every_place_says_the_same(workdir):
    places = ["runs", "runs/mine", "kept", "kept/mine", "kept/mine/rows.jsonl.gz", "alone.jsonl", "alone.jsonl.gz"]
    shown = {place: gathered.shown(FIELDS, [workdir / place], which="all") for place in places}
    assert len(set(shown.values())) == 1 and "over 2 seeds" in shown["runs"]
    assert [line.split()[0] for line in shown["runs"].splitlines()[-2:]] == ["2", "3"]
    one = gathered.shown(FIELDS, [workdir / "runs" / "mine" / "d2"], which="all")
    assert one.splitlines()[-1].split() == shown["runs"].splitlines()[-2].split()


@pytest.mark.long
def test_settings_that_rows_do_not_name_come_from_the_config(workdir):
    (table, other) = (gathered.shown(("embedding_size", "vector_size"), [workdir / place], which="all") for place in ("runs", "kept"))
    assert table == other and table.splitlines()[-1].startswith("3 ")
    with pytest.raises(ConfigError, match="--table='embedding_size' is unknown"):
        gathered.shown(("embedding_size", "vector_size"), [workdir / "alone.jsonl"])


@pytest.mark.long
def test_the_same_runs_twice_are_not_pooled(workdir):
    with pytest.raises(ConfigError, match=r"vector_size=2, cell=gru: seed 0 is in .*d2 and in .*\(d2\); give one of them"):
        gathered.shown(FIELDS, [workdir / "runs", workdir / "kept"])


@pytest.mark.long
def test_places_without_results(workdir, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no .*nowhere to tabulate"):
        gathered.read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="holds no finished run"):
        gathered.read(workdir / "runs" / "mine" / "d4")
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match=r"has a row without run: it is no file of results"):
        gathered.read(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="is damaged"):
        gathered.read(tmp_path / "rows.jsonl.gz")


def test_each_test_set_of_a_file_of_rows_is_reached(tmp_path):
    """The same rows with another test set behind the first, whose outputs are all wrong."""
    row = {"experiment": "mine", "run": "a", "seed": 0, "budget": 2, "mode": "free", "length": 1, "seen": True, "attention": "dot"}
    row |= {"examples": 8, "exact": 8, "exact_match": 1.0, "role": "reported", "test": "a.tsv", "cell": "gru"}
    (tmp_path / "rows.jsonl").write_bytes(results.lines([row, row | {"exact": 0, "exact_match": 0.0, "role": "further", "test": "b.tsv"}]))
    shown = gathered.shown(("test", "attention"), [tmp_path / "rows.jsonl"], measure="mean_exact_match")
    assert [line.split() for line in shown.splitlines()[-2:]] == [["a.tsv", "1.00"], ["b.tsv", "0.00"]]
    first, other = (
        gathered.shown(("cell", "attention"), [tmp_path / "rows.jsonl"], measure="mean_exact_match", where=where)
        for where in ([], ["test=b.tsv"])
    )
    assert "test set a.tsv" in first and first.endswith("1.00") and "test set b.tsv" in other and other.endswith("0.00")


def test_stored_results_are_tabulated_as_their_page_says():
    """The number of docs/results/bottleneck/tables.md for summary of 8 numbers, on the long half, at the largest budget."""
    shown = gathered.shown(("attention", "vector_size"), [ROOT / "docs/results/bottleneck"], where=["budget=largest", "vector_size=8"])
    pooled = next(line for line in shown.splitlines() if line.startswith("summary")).split(maxsplit=1)[1]
    assert f"| {pooled} |" in (ROOT / "docs/results/bottleneck/tables.md").read_text()
