"""A claim in a file outside of the project: what it may add, what is refused in one line, and that tables are then as they were."""

import sys
from pathlib import Path

import pytest

from attention_jax import attention
from attention_jax.data import tasks
from attention_jax.sweeps import claims
from attention_jax.system.errors import ConfigError

CLAIM = """
PRESETS, ARMS = ("tiny",), ("summary", "additive")
sweep = name = score = figures = print
"""
OURS = ("bottleneck",)


@pytest.fixture
def write(tmp_path):
    """write(text, name) → the path of a file with it; what the file adds to tables is gone after the test."""
    before = [(table, dict(table)) for tables in claims.TABLES.values() for table in tables]
    modules = set(sys.modules)

    def file(text: str, name: str = "mine.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    yield file
    for table, rows in before:
        table.clear()
        table.update(rows)
    for name in set(sys.modules) - modules:
        if name.startswith(claims.PACKAGE):
            del sys.modules[name]


def test_a_file_is_a_claim_and_adds_rows(write):
    text = "from attention_jax import attention\nfrom attention_jax.data import tasks\n"
    path = write(text + CLAIM + "attention.SCORES['mine'] = attention.SCORES['dot']\ntasks.TABLE['mine'] = tasks.TABLE['copy']\n")
    claim = claims.load(path, OURS)
    assert claim.__name__.rpartition(".")[2] == "mine" and claim.ARMS == ("summary", "additive")
    assert attention.TABLE["mine"] is attention.SCORES["dot"] and tasks.TABLE["mine"] is tasks.TABLE["copy"]
    assert claims.load(path, OURS) is claim, "a file is imported once, and finds its own rows there"


REFUSED = {
    "def f(:\n": r", line 1: SyntaxError: ",
    CLAIM + "import nowhere_to_be_found\n": r", line 4: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    CLAIM + "def f():\n    return 1 / 0\nf()\n": r", line 5: ZeroDivisionError: division by zero",
    CLAIM.replace("ARMS", "ARM").replace(
        "score = ", ""
    ): r"it has no ARMS, score; an experiment has SWEEP, a list of configs, or else PRESETS, ARMS, sweep, name, score, figures",
    "": r"it has no PRESETS, ARMS, sweep, name, score, figures",
    CLAIM + "raise ValueError('two\\nlines')\n": r", line 4: ValueError: two",
}
ROWS = {
    "attention.SCORES['dot'] = print": "the name dot of model.attention is taken by another row",
    "attention.TABLE['summary'] = print": "the name summary of model.attention is taken by another row",
    "attention.MECHANISMS['general'] = print": "the name general of model.attention is taken by another row",
    "attention.NORMALISERS['softmax'] = print": "the name softmax of model.normaliser is taken by another row",
    "tasks.TABLE['multi30k'] = print": "the name multi30k of data.task is taken by another row",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_claim_is_refused_in_one_line(write, text):
    path = write(text)
    with pytest.raises(ConfigError) as error:
        claims.load(path, OURS)
    said = str(error.value)
    assert said.startswith(f"--experiment={path}") and REFUSED[text] in said and "\n" not in said
    assert f"{claims.PACKAGE}.mine" not in sys.modules


@pytest.mark.parametrize("line", ROWS)
def test_a_row_under_a_taken_name_is_refused_and_tables_are_as_they_were(write, line):
    before = {setting: [dict(table) for table in tables] for setting, tables in claims.TABLES.items()}
    text = "from attention_jax import attention\nfrom attention_jax.data import tasks\nattention.SCORES['mine'] = print\n"
    with pytest.raises(ConfigError, match=ROWS[line]):
        claims.load(write(text + CLAIM + line), OURS)
    assert {setting: [dict(table) for table in tables] for setting, tables in claims.TABLES.items()} == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bottleneck.py", "the name bottleneck is taken by an experiment of this project"),
        ("my-claim.py", "letters, digits and _, not 'my-claim'"),
        ("2nd.py", "not '2nd'"),
    ],
)
def test_names_that_cannot_be(write, name, said):
    with pytest.raises(ConfigError, match=said):
        claims.load(write(CLAIM, name), OURS)


def test_no_file(tmp_path):
    for path in (tmp_path / "nowhere.py", tmp_path, Path("~nobody-of-this-name/x.py")):
        with pytest.raises(ConfigError, match=r"there is no such file|letters, digits"):
            claims.load(path, OURS)


def test_results_are_of_ours_or_of_the_file_that_is_given(write):
    path = write(CLAIM)
    assert claims.find(str(path), "experiments", OURS, "mine").ARMS == ("summary", "additive")
    assert claims.find("", "experiments", OURS, "bottleneck").__name__ == "experiments.bottleneck"
    for name, results, said in (
        ("", "mine", "results of mine, which is no experiment of this project: give its file, --experiment=path/to/mine.py"),
        ("mine", "mine", "--experiment='mine' is unknown"),
        (str(path), "bottleneck", "these are results of bottleneck"),
        ("bottlenek", "", "did you mean 'bottleneck'"),
        ("", "", "which experiment"),
    ):
        with pytest.raises(ConfigError, match=said):
            claims.find(name, "experiments", OURS, results)
