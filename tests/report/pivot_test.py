"""Tables of runs by two settings: whole, unambiguous, and the same numbers in every layout."""

import csv
import io
import re

import numpy as np
import pytest

from attention_jax.report import layouts, pivot
from attention_jax.report.pivot import Measured
from attention_jax.statistics import intervals
from attention_jax.system.errors import ConfigError, DataError

LENGTHS = (2, 4, 6, 8, 12)
"""Of these, those up to 8 are trained."""


def run(exact, seeds=(0, 1, 2), where="a", **settings) -> Measured:
    """A run whose seed and length have exact(seed, length) outputs of 10 right, and a loss of a tenth of the length."""
    rows = []
    for seed in seeds:
        for length in LENGTHS:
            shared = {"seed": seed, "length": length, "seen": length <= 8, "examples": 10, "symbols": 10 * length}
            rows.append({**shared, "mode": "free", "exact": exact(seed, length), "exact_match": exact(seed, length) / 10, "loss": None})
            rows.append({**shared, "mode": "forced", "loss": length / 10 + seed, "symbol_errors": seed})
    own = {"cell": "gru", "vector_size": 4, "budget": 100, "run": where, "parameters": 9, "seeds": len(seeds)}
    return Measured(where, {**own, **settings}, rows)


def varied(d: int, cell: str) -> Measured:
    return run(lambda seed, length: (3 * seed + length + d + (cell == "lstm")) % 11, where=f"{cell}-{d}", cell=cell, vector_size=d)


RUNS = [varied(d, cell) for cell in ("gru", "lstm") for d in (16, 4)]


def test_a_number_is_that_of_its_cell_s_counts():
    (table,) = pivot.tables(RUNS, ("cell", "vector_size"))
    assert (table.rows, table.columns, table.lengths, table.seeds) == (["gru", "lstm"], [4, 16], (6, 8), 3)
    for one in RUNS:
        chosen = [
            [row for row in one.rows if row["mode"] == "free" and row["length"] in (6, 8) and row["seed"] == seed] for seed in range(3)
        ]
        expected = intervals.typical_seed([sum(row["exact"] for row in rows) for rows in chosen], [20] * 3)
        assert table.cells[one.settings["cell"], one.settings["vector_size"]].interval == expected
    assert table.title == ("exact match of the typical seed (½ added to counts), free running, lengths 6, 8; 95 % interval over 3 seeds")


def test_a_seed_that_is_always_right_is_1_in_the_plain_mean_alone():
    """Of 20 outputs that are right, (20 + ½) / (20 + 1) against 20 / 20; of unlike numbers of examples it is the share of all."""
    always = run(lambda seed, length: 10)
    (typical,) = pivot.tables([always], ("cell", "vector_size"))
    (plain,) = pivot.tables([always], ("cell", "vector_size"), "mean_exact_match")
    assert typical.cells["gru", 4].interval.mean == pytest.approx(20.5 / 21)
    assert plain.cells["gru", 4].interval == (1, 1, 1, 3) and plain.title.startswith("exact match, mean over seeds, free running")
    rows = [row | ({"examples": 30, "exact": 0} if row["length"] == 8 else {}) for row in always.rows]
    (unlike,) = pivot.tables([always._replace(rows=rows)], ("cell", "vector_size"), "mean_exact_match")
    assert unlike.cells["gru", 4].interval.mean == 10 / 40


def of_two_test_sets() -> list[Measured]:
    first = [run(lambda seed, length: 9, where=cell, cell=cell, test="a.tsv") for cell in ("gru", "lstm")]
    other = [run(lambda seed, length: 1, where=cell, cell=cell, test="b.tsv") for cell in ("gru", "lstm")]
    return [*first, *(each._replace(further=True) for each in other)]


def test_tables_are_of_the_first_test_set_unless_another_is_named():
    runs, mean = of_two_test_sets(), "mean_exact_match"
    (table,) = pivot.tables(runs, ("cell", "vector_size"), mean)
    assert table.cells["gru", 4].interval.mean == pytest.approx(0.9) and "free running, test set a.tsv, lengths" in table.title
    (table,) = pivot.tables(runs, ("cell", "vector_size"), mean, where=["test=b.tsv"])
    assert table.cells["gru", 4].interval.mean == pytest.approx(0.1) and "test set b.tsv" in table.title
    (table,) = pivot.tables(runs, ("test", "cell"), mean)
    assert table.rows == ["a.tsv", "b.tsv"] and table.cells["b.tsv", "lstm"].interval.mean == pytest.approx(0.1)
    assert "test set" not in table.title
    a, b = pivot.tables(runs, ("cell", "vector_size", "test"), mean)
    assert (a.title[:15], b.title[:15]) == ("test = a.tsv: e", "test = b.tsv: e") and "test set" not in a.title
    with pytest.raises(ConfigError, match=r"differ in test \(a.tsv, b.tsv\): they are not averaged. Choose, e.g. --table_where=test=a.tsv"):
        pivot.tables(runs, ("cell", "vector_size"), mean, where=["test=a.tsv,b.tsv"])
    mixed = [*runs[:1], run(lambda seed, length: 9, where="c", cell="lstm")]
    assert "test sets differ between cells" in pivot.tables(mixed, ("cell", "vector_size"), mean)[0].title


@pytest.mark.parametrize(
    ("which", "lengths"),
    [
        ("all", LENGTHS),
        ("trained", (2, 4, 6, 8)),
        ("long", (6, 8)),
        ("beyond", (12,)),
        ("2,12", (2, 12)),
        ("4-8", (4, 6, 8)),
        ("2,6-8", (2, 6, 8)),
    ],
)
def test_lengths_are_those_that_are_asked_for(which, lengths):
    assert pivot.tables(RUNS, ("cell", "vector_size"), "loss", which)[0].lengths == lengths


def test_other_measures_are_means_over_seeds():
    (table,) = pivot.tables(RUNS, ("cell", "vector_size"), "loss", "all")
    found = table.cells["gru", 4].interval
    expected = intervals.student([np.mean(LENGTHS) / 10 + seed for seed in range(3)])
    assert found.mean == pytest.approx(expected.mean) and found.high == pytest.approx(expected.high) and found.low == max(0, expected.low)
    (table,) = pivot.tables(RUNS, ("cell", "vector_size"), "symbol_error", "2,4")
    assert table.cells["gru", 4].interval.mean == pytest.approx(np.mean([0, 2 / 60, 4 / 60]))


def test_l50_is_of_all_trained_lengths_and_may_be_a_bound():
    falls = run(lambda seed, length: 10 if length < 4 + seed else 0)
    always = run(lambda seed, length: 10, vector_size=8)
    (table,) = pivot.tables([falls, always], ("cell", "vector_size"), "L50")
    assert 2 < table.cells["gru", 4].interval.mean < 8 and table.cells["gru", 4].bound == "="
    assert pivot.cell_text(table, ("gru", 8)) == ">= 8.0" and table.lengths == (2, 4, 6, 8)


def test_a_third_setting_makes_tables_and_one_that_lacks_a_run_a_dash():
    tables = pivot.tables(RUNS[:3], ("vector_size", "budget", "cell"))
    assert [table.third for table in tables] == [("cell", "gru"), ("cell", "lstm")]
    assert [table.rows for table in tables] == [[4, 16], [16]]
    (whole,) = pivot.tables(RUNS[:3], ("cell", "vector_size"))
    assert pivot.cell_text(whole, ("lstm", 4)) == "–"


def test_seeds_of_two_folders_are_pooled_and_counted():
    more = run(lambda seed, length: 5, seeds=(3, 4), where="b")
    (table,) = pivot.tables([run(lambda seed, length: 5), more, run(lambda seed, length: 5, vector_size=8)], ("cell", "vector_size"))
    assert table.cells["gru", 4].interval.n == 5 and table.seeds is None
    assert pivot.cell_text(table, ("gru", 4)).endswith("(n = 5)") and "over n seeds" in table.title


def test_what_differs_within_a_cell_is_named_and_not_averaged():
    several = [run(lambda seed, length: 5, budget=budget, cell=cell) for budget in (100, 200) for cell in ("gru", "lstm")]
    with pytest.raises(
        ConfigError, match=r"runs with cell=gru, vector_size=4 differ in budget \(100, 200\): they are not averaged\. Choose, e"
    ):
        pivot.tables(several, ("cell", "vector_size"))
    with pytest.raises(ConfigError, match=r"differ in cell \(gru, lstm\): .*"):
        pivot.tables(several, ("budget", "vector_size"))
    for where, budget in (("budget=200", 200), ("budget=largest", 200), ("budget=smallest", 100)):
        (table,) = pivot.tables(several, ("cell", "budget"), where=[where])
        assert table.columns == [budget]
    with pytest.raises(ConfigError, match=r"runs with cell=gru, vector_size=4: seed 0 is in a and in b; give one of them"):
        pivot.tables([run(lambda seed, length: 5), run(lambda seed, length: 5, where="b")], ("cell", "vector_size"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((("cell",),), "--table=cell: give the setting of rows and that of columns"),
        ((("cell", "cell"),), "--table=cell,cell: give the setting"),
        ((("cell", "vector"),), "--table='vector' is unknown .did you mean 'vector_size'"),
        ((("cell", "vector_size"), "accuracy"), "--table_metric='accuracy' is unknown"),
        ((("cell", "vector_size"), "loss", "nine"), "--table_lengths=nine must be one of long, trained, beyond, all, or lengths such as"),
        ((("cell", "vector_size"), "loss", "9"), "--table_lengths=9: length 9 was not tested; there are 2, 4, 6, 8, 12"),
        ((("cell", "vector_size"), "loss", "13-20"), "--table_lengths=13-20: no such length was tested"),
        ((("cell", "vector_size"), "loss", "all", ["cell"]), "--table_where=cell is not of the form setting=value"),
        ((("cell", "vector_size"), "loss", "all", ["cel=gru"]), "--table_where='cel' is unknown"),
        ((("cell", "vector_size"), "loss", "all", ["vector_size=5"]), "no run has vector_size=5; there are 4, 16"),
        ((("cell", "vector_size"), "loss", "all", ["cell=largest"]), "--table_where=cell=largest: cell is no number in every run"),
    ],
)
def test_what_a_user_can_mend_is_one_line(arguments, said):
    with pytest.raises(ConfigError, match=said) as error:
        pivot.tables(RUNS, *arguments)
    assert "\n" not in str(error.value)


def test_rows_that_lack_what_is_asked_for():
    with pytest.raises(DataError, match="rows have no bleu; choose another --table_metric"):
        pivot.tables(RUNS, ("cell", "vector_size"), "bleu")
    torn = RUNS[0]._replace(rows=RUNS[0].rows[:-3])
    with pytest.raises(DataError, match="every seed needs one free row at each of the lengths 6, 8"):
        pivot.tables([torn._replace(rows=[row for row in RUNS[0].rows if row["seed"] or row["length"] != 8])], ("cell", "vector_size"))


def test_layouts_hold_the_same_numbers():
    tables = pivot.tables(RUNS, ("vector_size", "budget", "cell"))
    text, latex, rows = layouts.text(tables), layouts.latex(tables), list(csv.DictReader(io.StringIO(layouts.csv_text(tables))))
    assert [(row["cell"], row["vector_size"], row["seeds"], row["lengths"]) for row in rows] == [
        (cell, d, "3", "6 8") for cell in ("gru", "lstm") for d in ("16", "4")
    ]
    for row in rows:
        number = f"{float(row['mean']):.2f} [{float(row['low']):.2f}, {float(row['high']):.2f}]"
        assert number in text and number.replace(" [", "{\\scriptsize [") in latex
    assert latex.count("\\begin{table}") == 2 == latex.count("\\end{table}")


def test_latex_is_whole_and_takes_any_name():
    hostile = 'a_b & 50 % #1 {x} ~ ^ \\ $ <|> "q" –'
    (table,) = pivot.tables([run(lambda seed, length: 5, cell=hostile), RUNS[0]], ("cell", "vector_size"))
    latex = layouts.latex([table])
    body = latex.partition("\\midrule")[2].partition("\\bottomrule")[0].strip().splitlines()
    assert len(body) == 2 and all(line.endswith(" \\\\") and len(re.findall(r"(?<!\\)&", line)) == 2 for line in body)
    plain = re.sub(r"\\[&%$#_{}]", "", latex)
    assert plain.count("{") == plain.count("}") and not re.search(r"(?<!\\)[#~^|<>]", latex.partition("\\begin{tabular}")[2])
    spelled = r"a\_b \& 50 \% \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$ \textless{}\textbar{}\textgreater{}"
    assert spelled in latex and "tabular}{lll}" in latex and latex.count("toprule") == 1
