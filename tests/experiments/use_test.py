"""A trained run from the command line: what is shown, scored, written, exported, and refused. No test here trains."""

import html
import json
import re

import pytest

from attention_jax import config as settings
from attention_jax import trained
from attention_jax.running import results
from attention_jax.statistics import hypotheses
from tests.built import SMALL, untrained
from tests.experiments import command

LINES, FIRST, SECOND = ["0 1 2", "2", "1 0"], ["0 1 2", "2", "1 0"], ["2 1 0", "2 2", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An exported run of two seeds, and files of lines."""
    path = tmp_path_factory.mktemp("use")
    trained.export(path / "run.npz", untrained(SMALL))
    for name, lines in {"in": LINES, "first": FIRST, "second": SECOND, "short": FIRST[:2], "other": LINES[::-1]}.items():
        (path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return path


def call(folder, *arguments: str) -> int:
    """Exit status of the command with these arguments; {} stands for the folder."""
    return command.call(f"--decode={folder}/run.npz", *(text.replace("{}", str(folder)) for text in arguments))


def texts(folder, seed, lines=LINES) -> list[str]:
    return [output.text for output in trained.load(folder / "run.npz", seed).decode(lines)]


@pytest.mark.long
def test_outputs_alone_are_on_standard_output(folder, tmp_path, capsys):
    rows = tmp_path / "scores.jsonl"
    assert call(folder, "--input={}/in.txt", "--references={}/first.txt,{}/second.txt", f"--rows={rows}") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == texts(folder, None)
    assert "mean of 2 seeds and 95 % interval" in printed.err and f"written: {rows}\n" in printed.err and "nrefs:2" in printed.err
    found = results.read(rows, ours=True)
    assert {(row["role"], row["seed"]) for row in found} == {("seed", 7), ("seed", 8), ("mean", None)}
    kept = hypotheses.read(tmp_path / "scores.hypotheses.gz")
    assert kept.hypotheses == [texts(folder, 7), texts(folder, 8)] and kept.references == [
        list(pair) for pair in zip(FIRST, SECOND, strict=True)
    ]
    assert f"--rows: {rows} is there already" in refused(folder, capsys, "--input={}/in.txt", "--references={}/first.txt", f"--rows={rows}")


def test_two_runs_side_by_side(folder, capsys, tmp_path):
    """Outputs are shown as ever; the page has those of both runs, with what their decoders knew."""
    (tmp_path / "other.npz").write_bytes((folder / "run.npz").read_bytes())
    page = tmp_path / "page.html"
    assert call(folder, "--input={}/in.txt", f"--alignments={page}", f"--beside={tmp_path}/other.npz", "--seed=8") == 0
    assert capsys.readouterr().out.splitlines() == texts(folder, 8)
    found = json.loads(html.unescape(re.search(r'<div id="data" hidden>(.*?)</div>', page.read_text(), re.DOTALL)[1]))
    assert found["panels"] == ["run.npz", "other.npz"] and len(found["views"]) == 2 * len(LINES)
    output = trained.load(folder / "run.npz", 8).decode(LINES)[0]
    ours, others = ([view for view in found["views"] if view[0] == panel] for panel in (0, 1))
    assert [view[1:] for view in ours] == [view[1:] for view in others]
    assert [found["tokens"][i] for i in ours[0][3]] == output.output_tokens and len(ours[0][8]) == len(output.output_tokens)
    assert [found["tokens"][i] for i in ours[0][9][::5]] == output.output_tokens, "greedy search says the likeliest"


@pytest.mark.long
@pytest.mark.parametrize("seed", ["8", "best", "ensemble"])
def test_a_seed_of_ones_choice(seed, folder, capsys, tmp_path):
    chosen = trained.load(folder / "run.npz", int(seed) if seed.isdecimal() else seed)
    arguments = ["--input={}/in.txt", "--references={}/first.txt", f"--seed={seed}", f"--rows={tmp_path}/scores.jsonl"]
    assert call(folder, *arguments) == 0
    assert capsys.readouterr().out.splitlines() == [output.text for output in chosen.decode(LINES)]
    seeds = {row["seed"] for row in results.read(tmp_path / "scores.jsonl") if row["role"] == "seed"}
    assert seeds == {"ensemble" if seed == "ensemble" else chosen.seed}


def test_several_pairs_of_files(folder, capsys, tmp_path):
    pairs = ["--input={}/in.txt", "--references={}/first.txt", "--input={}/other.txt", "--references={}/second.txt"]
    assert call(folder, *pairs, f"--rows={tmp_path}/scores.jsonl") == 0
    assert capsys.readouterr().out.splitlines() == [*texts(folder, None), *texts(folder, None, LINES[::-1])]
    rows = results.read(tmp_path / "scores.jsonl")
    assert {(row["input"], *row["references"]) for row in rows} == {
        (f"{folder}/in.txt", f"{folder}/first.txt"),
        (f"{folder}/other.txt", f"{folder}/second.txt"),
    }
    assert hypotheses.read(tmp_path / "scores.hypotheses1.gz").sources == LINES[::-1]


@pytest.mark.long
def test_several_outputs_of_each_line_are_numbered_through(folder, capsys):
    beam = ["--set=search.method=beam", "--set=search.n_best=2", "--set=search.beam_size=2"]
    assert call(folder, "--input={}/in.txt", "--input={}/in.txt", *beam) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [int(number) for number, _, _ in rows] == [n for n in range(1, 7) for _ in range(2)]
    assert [row[1:] for row in rows[:6]] == [row[1:] for row in rows[6:]]


def test_export(folder, capsys, tmp_path):
    for seed, seeds in ((None, [7, 8]), ("8", [8]), ("ensemble", [7, 8])):
        file = tmp_path / f"{seed}.npz"
        assert call(folder, f"--export={file}", *([f"--seed={seed}"] if seed else [])) == 0
        assert capsys.readouterr() == ("", f"exported: {file}\n")
        assert list(trained.read(file).seeds) == seeds
    assert f"--export: {file} is there already, and is not replaced" in refused(folder, capsys, f"--export={file}")


def refused(folder, capsys, *arguments: str, status: int = 2) -> str:
    assert call(folder, *arguments) == status
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1, printed
    return printed.err


def test_what_cannot_be_asked(folder, capsys, tmp_path):
    for arguments, message in {
        ("--input={}/in.txt", "--references={}/short.txt"): "short.txt has 2 lines, and --input=",
        ("--input={}/in.txt", "--input={}/in.txt", "--references={}/first.txt"): "--references is given 1 times, and --input 2 times",
        ("--input={}/in.txt", "--references={}/absent.txt"): "absent.txt cannot be read: No such file",
        ("--input={}/in.txt", f"--rows={tmp_path}/x"): "needs --references",
    }.items():
        assert message in refused(folder, capsys, *arguments)
    (tmp_path / "odd.txt").write_text("0\n7\n1\n")
    said = refused(folder, capsys, "--input={}/in.txt", f"--references={tmp_path}/odd.txt")
    assert "reference line 2: '7' is no symbol of copy; valid: 0 to 2" in said
    assert "has no seed 9; valid: 7 to 8" in refused(folder, capsys, "--input={}/in.txt", "--seed=9")
    assert "has no seed 'x'; valid: 7 to 8, best, ensemble" in refused(folder, capsys, "--input={}/in.txt", "--seed=x")


def test_pages_and_pictures_are_not_replaced_nor_decoded_for_in_vain(folder, capsys, tmp_path):
    (tmp_path / "there.html").write_text("mine")
    for name, message in {
        "there.html": "is there already, and is not replaced",
        "there.html/page.html": "there.html is no folder that can be written to",
    }.items():
        assert message in refused(folder, capsys, "--input={}/absent.txt", f"--alignments={tmp_path}/{name}")
        assert message in refused(folder, capsys, "--input={}/in.txt", "--references={}/first.txt", f"--rows={tmp_path}/{name}")
    assert (tmp_path / "there.html").read_text() == "mine"


def test_runs_beside_are_others_that_read_the_same_tokens(folder, capsys, tmp_path):
    trained.export(tmp_path / "four.npz", untrained(settings.override_all(SMALL, ["data.symbols=4"])))
    page = f"--alignments={tmp_path}/page.html"
    for beside, message in {
        f"{tmp_path}/four.npz": "four.npz does not read the same tokens as",
        "{}/run.npz": "run.npz is named twice",
        f"{tmp_path}/absent": "--beside: " + f"{tmp_path}/absent is no run: it does not exist",
    }.items():
        assert message in refused(folder, capsys, "--input={}/in.txt", page, f"--beside={beside}")


def test_the_record_of_an_exported_file_is_json(folder):
    import zipfile

    with zipfile.ZipFile(folder / "run.npz") as archive:
        record = json.loads(archive.read("run.json"))
    assert record["tokens"]["source"][4:] == [" 0", " 1", " 2"] and record["seeds"] == [7, 8] and record["positions"] == 0
