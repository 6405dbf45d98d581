"""How to choose a mechanism: numbers of the page are those of the results, whose tables are made from rows."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "choosing.md").read_text().replace("−", "-").replace("\n", " ")
RESULTS = (DOCS / "results.md").read_text().replace("−", "-")
MEASURED = sorted(set(re.findall(r"-?\d+\.\d\d \[-?\d+\.\d\d, -?\d+\.\d\d\]", PAGE)))


def test_there_are_numbers():
    assert len(MEASURED) >= 10


@pytest.mark.parametrize("number", MEASURED)
def test_a_number_stands_in_the_results(number):
    assert number in RESULTS


@pytest.mark.parametrize("arm, so", [("stepwise", "carries"), ("location_aware", "undecided"), ("gmm_v2", "fails"), ("additive", "fails")])
def test_what_carries_is_what_the_table_says(arm, so):
    row = next(line for line in RESULTS.splitlines() if re.match(rf"\| {arm} \| 3,200 \|.*\| {so} \|$", line))
    assert row
    said = re.search(rf"- `{arm}`( and `summary`)? (is |fail|carr)(.*?)\. ", PAGE)[0]
    assert so[:4] in said
