"""A user's own text through the command line: checked, trained with official splits, concluded, decoded."""

import csv
import io
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from attention_jax import model, trained
from attention_jax.data import sources
from attention_jax.running import results
from attention_jax.statistics import hypotheses
from attention_jax.sweeps import claims, sweep
from attention_jax.trained import translation
from experiments import run
from tests.experiments import command

pytestmark = pytest.mark.long

SETTINGS = (
    "model.hidden_size=6 model.embedding_size=4 data.task=parallel_text data.eval_lengths=2,3,4 training.seeds=2 training.updates=4 "
    "training.batch_size=4 training.learning_rates=0.01 training.warmup=1 training.chunk=2 training.checkpoint_every=4 "
    "text.join_max=1 text.max_words=0 text.buckets=12 text.cut=12 text.unit=word text.vocabularies=separate text.vocabulary_size=30 "
    "text.source_file=train.a text.target_file=train.b text.validation_source=dev.tsv text.test_sources=one.tsv,two.tsv"
).split()
DOCS = Path(__file__).resolve().parents[2] / "docs"
NUMBERS = "ein zwei drei vier".split()


def call(folder, *arguments: object) -> int:
    """Exit status of a command on the user's text in `folder`."""
    asked = ["--experiment=translation_length", "--arms=additive", *(f"--set={setting}" for setting in SETTINGS)]
    folders = [f"--workdir={folder / 'runs'}", f"--data_dir={folder}", f"--cache_dir={folder / 'cache'}"]
    return command.call(*asked, *folders, *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tfds):
    """Files of three splits and a second test set; the target has more words than the source, which it spells in capitals."""
    path = tmp_path_factory.mktemp("own")
    for name, count in (("train", 40), ("dev", 6), ("one", 8), ("two", 5)):
        rows = [
            (" ".join([*NUMBERS[: 1 + i % 4], name]), " ".join(word.upper() for word in NUMBERS[: 1 + i % 4]) + " !") for i in range(count)
        ]
        (path / f"{name}.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in rows))
        for side, ending in enumerate("ab"):
            (path / f"{name}.{ending}").write_text("".join(f"{row[side]}\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def finished(folder):
    """The folder, once its sweep is trained."""
    assert call(folder) == 0
    return folder


def test_it_is_checked_first(folder, capsys):
    assert call(folder, "--check_data") == 0
    page = re.sub(" +", " ", capsys.readouterr().out)
    assert "train 40 40\nvalidation 6 6\none.tsv 8 8\ntwo.tsv 5 5\n" in page
    assert "source 9 30\ntarget 9 30\n" in page  # ein to vier and train, EIN to VIER and !, with 4 special tokens
    (folder / "bad.tsv").write_text("a\tb\nc\n")
    assert call(folder, "--check_data", "--set=text.test_sources=bad.tsv") == 2
    printed = capsys.readouterr()
    assert f"{folder / 'bad.tsv'}, line 2 has no tab" in printed.out and printed.err.startswith("error: 1 lines or files are wrong")
    assert call(folder, "--check_data", "--set=data.task=copy") == 2


def test_each_test_set_has_its_rows_and_verdicts_are_about_the_first(finished):
    directory = next((finished / "runs" / "translation_length").glob("additive*"))
    rows = results.read(directory / "rows.jsonl")
    for name, role, count in (("one.tsv", "reported", 8), ("two.tsv", "further", 5)):
        own = [row for row in rows if row["test"] == name]
        assert {row["role"] for row in own} == {role} and {row["seed"] for row in own} == {0, 1}
        for mode in ("free", "forced"):
            assert sum(row["examples"] for row in own if row["mode"] == mode and row["seed"] == 0) == count
    merged = results.read(finished / "runs" / "translation_length" / "rows.jsonl")
    assert [row for row in merged if row["run"] == directory.name] == rows


def test_parameters_are_counted_once_the_text_is_read(finished, folder, capsys):
    directory = next((finished / "runs" / "translation_length").glob("additive*"))
    loaded = trained.load(directory)
    assert loaded.sizes == (9, 9) and sorted(path.name for path in directory.glob("*.txt")) == ["source.txt", "target.txt"]
    assert {row["parameters"] for row in results.read(directory / "rows.jsonl")} == {model.parameters(loaded.config.model, loaded.sizes)}
    capsys.readouterr()
    assert call(finished, "--list") == 0
    assert f"{model.parameters(loaded.config.model, loaded.sizes):,}" in capsys.readouterr().out
    assert call(finished, "--list", f"--workdir={folder / 'elsewhere'}") == 0
    assert "by the text" in capsys.readouterr().out


def test_it_decodes_and_says_what_is_unknown(finished):
    loaded = trained.load(next((finished / "runs" / "translation_length").glob("additive*")), seed=1)
    (decoded,) = loaded.decode(["ein fünf zwei"])
    assert decoded.source_tokens == ["▁ein", "<unk>", "▁zwei", "⏎"]
    assert set(decoded.text.split()) <= {word.upper() for word in NUMBERS} | {"!", "⁇"}


def test_it_goes_on_and_is_concluded_again(finished, capsys):
    assert call(finished, "--conclude") == 0
    assert "chrF, two.tsv, 4 updates" in capsys.readouterr().out


def test_arms_on_text_are_matched_by_the_sizes_of_its_vocabularies(folder):
    wide = ["match=parameters", "model.hidden_size=24"]
    given = [*(f"--set={setting}" for setting in [*SETTINGS, *wide]), f"--data_dir={folder}", f"--cache_dir={folder / 'cache'}"]
    with command.flags_of(*given):
        _, runs = run.planned("translation_length")
    totals = [model.parameters(each.config.model, (9, 9)) for each in runs]
    assert len(set(totals)) > 1 and max(totals) / min(totals) < 1.03
    assert all("parameters" not in each.fields for each in runs)


def test_what_was_written_is_kept_and_scores_follow_from_it(finished):
    """For each test set, by seed: BLEU and chrF of rows are sacreBLEU's of the file's texts."""
    directory = next((finished / "runs" / "translation_length").glob("additive*"))
    rows = [row for row in results.read(directory / "rows.jsonl") if row["mode"] == "free"]
    for file, name in (("hypotheses.gz", "one"), ("hypotheses1.gz", "two")):
        kept = hypotheses.read(directory / file)
        assert kept.seeds == (0, 1) and list(kept.sources) == (finished / f"{name}.a").read_text().splitlines()
        assert [reference for (reference,) in kept.references] == (finished / f"{name}.b").read_text().splitlines()
        for row in (row for row in rows if row["test"] == f"{name}.tsv"):
            edges = {2: (0, 2), 3: (2, 3), 4: (3, 4), 5: (4, 99)}[row["length"]]
            chosen = [i for i, source in enumerate(kept.sources) if edges[0] < len(source.split()) <= edges[1]]
            texts, wanted = [kept.hypotheses[row["seed"]][i] for i in chosen], [kept.references[i][0] for i in chosen]
            assert row["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, [wanted]).score)
            assert row["chrf"] == pytest.approx(sacrebleu.corpus_chrf(texts, [wanted]).score)


def test_searches_are_measured_on_each_test_set(finished):
    """Greedy BLEU is that of what evaluation wrote, and perplexity that of the losses in rows."""
    directory = next((finished / "runs" / "translation_length").glob("additive*"))
    loaded = trained.load(directory, seed=1)
    source = sources.build(loaded.config, directory, finished, finished / "cache")
    rows = results.read(directory / "rows.jsonl")
    found = translation.measured(loaded, source, tried=(0.0,))
    assert [(row["test"], row["search"]) for row in found] == [
        (f"{n}.tsv", search) for n in ("one", "two") for search in ("greedy", "beam")
    ]
    for row, file in zip(found[::2], ("hypotheses.gz", "hypotheses1.gz"), strict=True):
        kept = hypotheses.read(directory / file)
        wanted = [reference for (reference,) in kept.references]
        assert row["bleu"] == pytest.approx(sacrebleu.corpus_bleu(list(kept.hypotheses[1]), [wanted]).score)
        forced = [each for each in rows if (each["test"], each["mode"], each["seed"]) == (row["test"], "forced", 1)]
        tokens = sum(each["symbols"] + each["examples"] for each in forced)
        nll = sum(each["loss"] * (each["symbols"] + each["examples"]) for each in forced)
        assert np.log(row["perplexity"]) == pytest.approx(nll / tokens, rel=1e-4)


def test_the_best_seed_is_chosen_on_the_text_of_validation(finished):
    directory = next((finished / "runs" / "translation_length").glob("additive*"))
    best = trained.load(directory, "best", finished, finished / "cache")
    lines, targets = ((finished / f"dev.{side}").read_text().splitlines() for side in "ab")
    losses = {}
    for seed in (0, 1):
        nll_N, tokens_N = trained.load(directory, seed).losses(lines, targets)
        losses[seed] = nll_N.sum() / tokens_N.sum()
    assert best.seed == min(losses, key=losses.__getitem__)


@pytest.fixture
def listed(folder):
    """The sweep on text that using.md has, saved beside a user's files."""
    file = folder / "inflection.py"
    file.write_text(re.search(r'^```python title="inflection.py"\n(.*?)^```', (DOCS / "using.md").read_text(), re.MULTILINE | re.DOTALL)[1])
    yield file
    sys.modules.pop(f"{claims.PACKAGE}.inflection", None)


def test_what_the_page_s_commands_train_is_what_it_says(listed):
    """(runs, seeds, rates) of data.md's inflection command, and of the short way."""
    (written,) = re.findall(
        r"^(python -m experiments.run [^`]*--workdir=runs/inflection [^`]*)", (DOCS / "data.md").read_text(), re.MULTILINE
    )
    with command.flags_of(*shlex.split(written)[3:]):
        _, whole = run.planned("translation_length")
    short = sweep.plan(claims.load(listed))
    for runs, count, seeds, rates in ((whole, 6, 8, 5), (short, 2, 2, 1)):
        assert len(runs) == count
        assert {(each.config.training.seeds, len(each.config.training.learning_rates)) for each in runs} == {(seeds, rates)}
    assert sum(each.config.text.blind for each in whole) == 2 and len({each.config.training.updates for each in whole}) == 2


def test_a_sweep_of_ones_own_shows_every_test_set(listed, folder, capsys):
    (folder / "unseen.tsv").write_text((folder / "two.tsv").read_text())
    (folder / "test.tsv").write_text((folder / "one.tsv").read_text())
    small = "model.hidden_size=6 model.embedding_size=4 training.updates=4 training.batch_size=4 training.warmup=1 training.chunk=2"
    given = [f"--experiment={listed}", f"--data_dir={folder}", f"--cache_dir={folder / 'cache'}", f"--workdir={folder / 'listed'}"]
    assert command.call(*given, *(f"--set={setting}" for setting in small.split())) == 0
    printed = capsys.readouterr().out
    for test in ("test.tsv", "unseen.tsv"):
        for what in ("Exact match of the typical seed", "error_rate", "chrf", "Arms and budgets"):
            assert re.search(rf"^{what},.* lengths \d+ to \d+, {test}", printed, re.MULTILINE), (what, test)
    assert "bleu" not in printed
    assert sorted(path.name for path in (folder / "listed").glob("inflection/*.svg") if path.name[0] == "e") == [
        "error_rate_1.svg",
        "error_rate_2.svg",
    ]
    asked = [*given, "--table_format=csv", "--table_lengths=all", "--table_metric=chrf"]
    for more, tests in (([], {"test.tsv", "unseen.tsv"}), (["--table_where=test=unseen.tsv"], {"unseen.tsv"})):
        assert command.call(*asked, "--table=test,attention", *more) == 0
        assert {row["test"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))} == tests
