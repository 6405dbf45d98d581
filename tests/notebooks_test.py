"""The notebooks of docs/notebooks: what they say in both languages, and that they run. `make notebooks` runs them all, cold."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs import notebooks

ROOT = Path(__file__).resolve().parent.parent
ENGLISH = [path for path in notebooks.PATHS if not path.stem.endswith(".zh")]


def cells(path: Path, kind: str) -> list[str]:
    """The texts of a notebook's cells of a kind, "code" or "markdown"."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def test_there_are_three_in_two_languages():
    assert {path.stem for path in notebooks.PATHS} == {path.stem + zh for path in ENGLISH for zh in ("", ".zh")} and len(ENGLISH) == 3


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.stem)
def test_both_languages_have_the_same_code_questions_and_links(path):
    other = path.with_suffix(".zh.ipynb")
    assert cells(path, "code") == cells(other, "code")
    english, chinese = ("\n".join(cells(each, "markdown")) for each in (path, other))
    assert (
        len(re.findall(r"\*\*Question \d", english))
        == len(re.findall(r"\*\*问题 \d", chinese))
        == english.count("<summary>Answer</summary>")
    )
    assert chinese.count("<summary>") == chinese.count("</details>") == english.count("</details>")
    assert [link.replace(".zh", "") for link in links(chinese)] == links(english)


def links(text: str) -> list[str]:
    """Where the links of a text lead."""
    return re.findall(r"\]\(([^)#]+)", text)


@pytest.mark.parametrize("path", notebooks.PATHS, ids=lambda path: path.stem)
def test_links_lead_somewhere_and_nothing_that_ran_is_stored(path):
    for link in links("\n".join(cells(path, "markdown"))):
        assert (path.parent / link).resolve().is_file(), link
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs") and not cell.get("execution_count")


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.stem)
def test_what_a_student_changes_is_trained(path):
    """A folder is new, or that of its settings alone: else settings are refused, and a function shows the rows of the one before."""
    training = [cell for cell in cells(path, "code") if "loop.run(" in cell]
    assert training and all("finished.fingerprint(config)" in cell or "tempfile.TemporaryDirectory()" in cell for cell in training)


@pytest.mark.long
@pytest.mark.once
@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    pytest.importorskip("nbclient", reason="nbclient is not installed: pip install -e '.[dev]'")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install -e '.[dev]'")
    command = [sys.executable, "-m", "docs.notebooks", f"--out={tmp_path}", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    ran = json.loads((tmp_path / path.name).read_text())["cells"]
    kinds = [name for cell in ran for output in cell.get("outputs", []) for name in output.get("data", {})]
    assert "image/png" in kinds
