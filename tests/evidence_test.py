"""The page of evidence: what docs/make_evidence.py makes of records."""

import importlib.util
import json
from pathlib import Path

import pytest

from attention_jax import attention

FILE = Path(__file__).resolve().parent.parent / "docs" / "make_evidence.py"


@pytest.fixture(scope="module")
def make_evidence():
    spec = importlib.util.spec_from_file_location("make_evidence", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path: Path, *records: tuple[str, str, float]) -> None:
    lines = [json.dumps({"row": row, "reference": reference, "difference": d}) + "\n" for row, reference, d in records]
    path.write_text("".join(lines))


def test_the_largest_difference_of_all_processes_counts(make_evidence, tmp_path):
    write(tmp_path / "1.jsonl", ("cell=gru", "a loop", 1e-8), ("cell=gru", "a loop", 3e-8))
    write(tmp_path / "2.jsonl", ("cell=gru", "a loop", 2e-8), ("cell=gru", "another", 0.0))
    assert make_evidence.read(tmp_path) == {("cell=gru", "a loop"): 3e-8, ("cell=gru", "another"): 0.0}


@pytest.mark.parametrize(("difference", "text"), [(0.0, "0"), (2.34e-7, "2e-7"), (0.26, "3e-1"), (9.7e-8, "1e-7"), (12.0, "1e1")])
def test_one_significant_digit(make_evidence, difference, text):
    assert make_evidence.number(difference) == text


def test_the_page_has_its_rows_in_order_and_names_those_without_a_reference(make_evidence):
    largest = {
        (
            "slots=1",
            "x",
        ): 0.0,
        ("cell=gru", "p(a | b)"): 3e-8,
        ("estimator=reinforce baseline=learned", "y"): 1e-7,
        ("attention=dot", "z"): 1e-6,
    }
    page = make_evidence.page(largest)
    assert [line for line in page.splitlines() if line.startswith("| ") and "=" in line] == [
        "| attention=dot | z | 1e-6 |",
        "| estimator=reinforce baseline=learned | y | 1e-7 |",
        "| cell=gru | p(a \\| b) | 3e-8 |",
        "| slots=1 | x | 0 |",
    ]
    missing = page.partition("## Rows without")[2]
    assert "- attention=additive\n" in missing and "- cell=lstm\n" in missing
    assert not any(f"- {row}\n" in missing for row in ("attention=dot", "cell=gru", "estimator=reinforce", "attention=none"))


def test_every_row_of_every_table_is_asked_for(make_evidence):
    asked = make_evidence.unproved(set())
    assert {f"attention={name}" for name in attention.TABLE} - set(asked) == {"attention=none"}
    assert len(asked) == sum(map(len, make_evidence.TABLES.values())) - len(make_evidence.TRIVIAL)


def test_an_untrue_claim_fails_and_leaves_no_record(evidence):
    with pytest.raises(AssertionError, match="a row against a reference"):
        evidence("a row", "a reference", [1.0, 100.0], [1.0, 101.0])
