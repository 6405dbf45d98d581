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


SPOKEN = {"carries": ("are right on", "carries"), "fails": ("fails", "fail right behind", "lose their place")}
"""{word of the table: how the page says it}."""


def sentences() -> list[str]:
    """What the page says of lengths beyond training, arms under the names that the table has."""
    (section,) = re.findall(r"## Lengths beyond training (.*?) ## ", " ".join(PAGE.split()))
    names = {"`location_aware` decoded in a window": "`location_aware_window`", "the fixed vector": "`summary`"}
    for said, arm in names.items():
        section = section.replace(said, arm)
    return re.split(r"(?<=[.:]) ", section)


def judged() -> dict[str, str]:
    """{arm: its word} of the results' table."""
    (table,) = re.findall(r"<!-- results: extrapolation How_far.*?-->\n(.*?)<!-- end", RESULTS, re.DOTALL)
    return {line.split(" | ")[0].strip("| "): line.rstrip(" |").split(" | ")[-1] for line in table.splitlines()[2:]}


@pytest.mark.parametrize("arm", [arm for arm in judged() if arm != "additive_window"])
def test_what_carries_is_what_the_table_says(arm):
    said = [sentence for sentence in sentences() if f"`{arm}`" in sentence]
    words = {word for sentence in said for word, spoken in SPOKEN.items() if any(each in sentence for each in spoken)}
    assert words == {judged()[arm]}
