"""README and docs say what the rows in docs/results say."""

import importlib.util
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once
ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
make_results = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_results)


@pytest.fixture(scope="module")
def found():
    return make_results.folders()


def test_every_block_is_what_its_rows_say(found):
    blocks = 0
    for path in make_results.PAGES:
        text = path.read_text()
        assert make_results.page(text, found) == text, f"{path.name} is stale: make results"
        blocks += len(make_results.MARK.findall(text))
    assert blocks >= 4


def test_tables_and_figures_stand_beside_their_rows(found):
    assert found
    for name, each in found.items():
        folder = make_results.RESULTS / name
        assert (folder / "tables.md").read_text() == make_results.all_tables(each), f"{name}/tables.md is stale: make results"
        for stem in make_results._claim(each).figures(each.all_rows):
            assert (folder / f"{stem}.svg").exists() and (folder / f"{stem}.png").exists()
        assert each.command.startswith("python -m experiments.run")
        assert all(stored["environment"]["jax"] for stored in each.stored.values())


def test_a_block_is_replaced_and_nothing_else(found):
    name = next(iter(found))
    before = f"# A\n<!-- results: {name} verdicts -->\nold\n<!-- end -->\nend"
    after = make_results.page(before, found)
    assert after.startswith(f"# A\n<!-- results: {name} verdicts -->\n| group |") and after.endswith("|\n<!-- end -->\nend")
    assert make_results.page(after, found) == after
    with pytest.raises(KeyError):
        make_results.page(before.replace(name, "nothing"), found)


def test_pictures_of_the_pages_exist():
    for path in make_results.PAGES:
        for place in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text()):
            assert (path.parent / place).exists(), f"{path.name}: {place}"
