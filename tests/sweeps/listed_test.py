"""A list of configs in a file: an experiment, or one line that says which entry is wrong."""

import sys
from dataclasses import replace

import pytest
from matplotlib.text import Text

from attention_jax import config as settings
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.report import report
from attention_jax.report.tables import Score, Table
from attention_jax.sweeps import claims, listed, sweep
from attention_jax.system.errors import ConfigError

HEAD = """
from dataclasses import replace
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.report.tables import Table
from attention_jax.sweeps.listed import grid
BASE = Config(model=ModelConfig(hidden_size=6), data=DataConfig(longest=4, eval_lengths=(1, 2, 4, 6)), training=TrainingConfig(updates=8))
"""
BASE = Config(
    model=ModelConfig(hidden_size=6), data=DataConfig(longest=4, eval_lengths=(1, 2, 4, 6)), training=TrainingConfig(updates=8, seeds=3)
)


@pytest.fixture
def load(tmp_path):
    """Loads a file of this text behind `HEAD`, as the experiment `mine`."""

    def loaded(text: str):
        (tmp_path / "mine.py").write_text(f'"""What is asked."""\n{HEAD}{text}\n')
        return claims.load(tmp_path / "mine.py")

    yield loaded
    sys.modules.pop(f"{claims.PACKAGE}.mine", None)


def names(claim, **more) -> list[str]:
    return [run.config.run for run in sweep.plan(claim, **more)]


def test_a_list_is_an_experiment(load, tmp_path):
    claim = load('SWEEP = grid(BASE, {"model.attention": ("summary", "additive"), "model.vector_size": (2, 4)})')
    runs = sweep.plan(claim, workdir=tmp_path)
    found = [run.config.run for run in runs]
    assert found == ["summary-vector_size2", "summary-vector_size4", "additive-vector_size2", "additive-vector_size4"]
    assert [run.fields["vector_size"] for run in runs] == [2, 4, 2, 4] and claim.GROUP == ("attention", "vector_size")
    assert runs[0].directory == tmp_path / "mine" / "summary-vector_size2"
    assert names(claim, arms=["additive"]) == found[2:]
    with pytest.raises(ConfigError, match="--arms='general' is unknown"):
        names(claim, arms=["general"])


def test_a_function_gives_the_list_and_a_run_its_own_name(load):
    claim = load('def SWEEP():\n    return [replace(BASE, run="one"), replace(BASE, run="two", model=ModelConfig(hidden_size=7))]')
    assert names(claim) == ["one", "two"]
    assert names(claim, doublings=1) == ["one", "one-u16", "two", "two-u16"]
    assert names(claim, assignments=["training.updates=3"]) == ["one-u3", "two-u3"]


def test_lengths_beyond_the_trained_ones_alone_will_do(load):
    assert names(load("SWEEP = [replace(BASE, data=DataConfig(longest=4, eval_lengths=(6, 8)))]")) == ["run"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SWEEP = []", r"mine.py: SWEEP is empty"),
        ("SWEEP = BASE", r"SWEEP is one config; a list of one is \[config\]"),
        ("SWEEP = 3", r"SWEEP must be a list of configs, or a function that returns one, not a int"),
        ("SWEEP = [BASE, 'gru']", r"SWEEP\[1\] is no Config but a str: 'gru'"),
        ("SWEEP = [BASE, replace(BASE, run='other')]", r"SWEEP\[1\] has the settings of SWEEP\[0\]"),
        ("SWEEP = [replace(BASE, run='a'), replace(BASE, run='a', match='parameters')]", r"SWEEP\[1\] is called 'a', as SWEEP\[0\] is"),
        ("SWEEP = [replace(BASE, run='a/b')]", r"SWEEP\[0\] is called 'a/b': the name of a run is a folder's"),
        ("SWEEP = [BASE, replace(BASE, training=TrainingConfig(updates=0))]", r"SWEEP\[1\]: training.updates=0 is impossible"),
        (
            "SWEEP = [Config(model=ModelConfig(hiden_size=3))]",
            r"line \d+: unknown setting 'model.hiden_size'; did you mean model.hidden_size",
        ),
        ("SWEEP = grid(BASE, {'model.hiden_size': (3,)})", r"unknown setting 'model.hiden_size'; did you mean model.hidden_size"),
        ("SWEEP = grid(BASE, {'model.hidden_size': 3})", r"grid: model.hidden_size=3 must be one or more values"),
        ("SWEEP = grid(BASE, {'model.cell': ()})", r"grid: model.cell=\(\) must be one or more values"),
        ("VALUE, SWEEP = 'accuracy', [BASE]", r"VALUE='accuracy' is no number of a row; valid: exact_match"),
        ("", r"it has no PRESETS, .*an experiment has SWEEP, a list of configs, or else"),
    ],
)
def test_what_is_no_sweep_is_one_line(load, text, said):
    with pytest.raises(ConfigError, match=said) as error:
        load(text)
    assert ("\n" not in str(error.value) and str(error.value).startswith("--experiment=")) or "grid" in text


def rows(configs) -> list[dict]:
    """Rows as a run leaves them; the first run is always right, others never."""
    found = []
    for i, config in enumerate(configs):
        for seed in range(3):
            for length in config.data.eval_lengths:
                shared = {"run": f"r{i}", "attention": "additive", "seed": seed, "role": "reported", "length": length, "budget": 8}
                shared |= {"seen": length <= 4, "examples": 9, "exact": 9 * (i == 0), "exact_match": float(i == 0), "symbols": 9 * length}
                shared |= {"symbol_errors": 0, "state_size": 4, "parameters": 99, "learning_rate": 0.1, "seconds": 1.0}
                found += [{**shared, "mode": "free", "loss": None}, {**shared, "mode": "forced", "loss": float(i + seed)}]
    return found


@pytest.mark.long
def test_runs_are_tabulated_and_drawn_by_length():
    other = replace(BASE, data=DataConfig(longest=4, eval_lengths=(2, 3)))
    found = rows([BASE, BASE, other])
    shown = listed.tabulated(found, ("loss",))
    assert [table.title.split(",")[0] for table in shown] == ["Exact match of the typical seed", "loss", "Arms and budgets"] * 2
    by_length = shown[1]
    assert (
        by_length.header == ("length", "r0", "r1")
        and by_length.rows[0][1].startswith("1.000 [")
        and by_length.rows[0][2].startswith("2.000")
    )
    assert all(report.text_table(table.header, table.rows) for table in shown)
    assert set(listed.figures(found, "mine", ("exact_match",))) == {"exact_match_1", "exact_match_2"}


def test_each_test_set_has_tables_and_figures_of_its_own():
    """Where there are several, every title says which one it is of."""
    found = [row | {"test": "a.tsv"} for row in rows([BASE])]
    found += [row | {"test": "b.tsv", "role": "further", "exact": 0} for row in found]
    shown = listed.tabulated(found, ("exact_match",))
    assert [(table.title.split(",")[0], "a.tsv" in table.title, "b.tsv" in table.title) for table in shown] == [
        (what, *of) for of in ((True, False), (False, True)) for what in ("Exact match of the typical seed", "Arms and budgets")
    ]
    first, other = (float(table.rows[0][3].split()[0]) for table in shown[::2])
    assert first > 0.9 and other < 0.1
    drawn = listed.figures(found, "mine", ("exact_match",))
    assert list(drawn) == ["exact_match_1", "exact_match_2"]
    for test, each in zip(("a.tsv", "b.tsv"), drawn.values(), strict=True):
        assert any(test in text.get_text() for text in each.findobj(Text))


TEXT = replace(BASE, data=DataConfig(task="parallel_text"), text=TextConfig(vocabularies="separate"))


@pytest.mark.parametrize(
    ("unit", "target_unit", "numbers"),
    [
        ("subword", "same", ("bleu", "chrf")),
        ("character", "same", ("error_rate", "chrf")),
        ("character", "word", ("error_rate", "chrf")),
        ("subword", "word", ("error_rate", "chrf")),
        ("word", "subword", ("bleu", "chrf")),
    ],
)
def test_text_is_judged_by_the_unit_of_its_targets(unit, target_unit, numbers):
    config = replace(TEXT, text=replace(TEXT.text, unit=unit, target_unit=target_unit))
    assert listed.judged_by([config, config]) == numbers
    assert listed.judged_by([config, replace(TEXT, text=replace(TEXT.text, unit="word", target_unit="same"))])[-1] == "chrf"
    assert listed.judged_by([config, BASE]) == ("exact_match",)


def test_numbers_that_text_is_judged_by_are_tabulated_where_rows_have_them():
    """`--set text.unit=subword` takes the error rate away from the rows of a list in words."""
    found = [row | ({"chrf": 40.0, "bleu": 0.0, "error_rate": 0.5} if row["mode"] == "free" else {}) for row in rows([BASE])]
    lacking = [{name: value for name, value in row.items() if name != "error_rate"} for row in found]
    for given, numbers in ((found, ["error_rate", "chrf"]), (lacking, ["chrf"])):
        titles = [table.title.split(",")[0] for table in listed.tabulated(given, ("error_rate", "chrf"))]
        assert titles == ["Exact match of the typical seed", *numbers, "Arms and budgets"]
        assert list(listed.figures(given, "mine", ("error_rate", "chrf"))) == [f"{numbers[0]}_1"]


def test_a_score_of_ones_own_stands_before_the_tables():
    found, table = rows([BASE]), Table("Mine", ("a",), [("1",)])
    for own in (lambda rows: table, lambda rows, sentences: [table]):
        assert listed.scorer(own, "mine.py", ("exact_match",))(found, {}).tables[0] == table
    whole = Score(listed.NO_VERDICT, [], "")
    assert listed.scorer(lambda rows: whole, "mine.py", ("exact_match",))(found) is whole
    with pytest.raises(ConfigError, match=r"mine.py: its score returns a int; it must be a Score, a Table or a list"):
        listed.scorer(lambda rows: 3, "mine.py", ("exact_match",))(found)
    with pytest.raises(ConfigError, match=r"its score fails \(KeyError: 'nothing'\); all rows are kept: mend it"):
        listed.scorer(lambda rows: rows[0]["nothing"], "mine.py", ("exact_match",))(found)


def test_a_name_is_a_folder_s_whatever_the_values_are():
    configs = listed.grid(
        BASE, {"text.source_file": ("", "/a/b c.txt"), "training.learning_rates": ((0.1,), (0.1, 0.2)), "model.copy": (False,)}
    )
    found = [listed.namer(configs, listed.differing_settings(configs))(config) for config in configs]
    assert found == [
        "no_source_file-learning_rates0.1",
        "no_source_file-learning_rates0.1_0.2",
        "_a_b_c.txt-learning_rates0.1",
        "_a_b_c.txt-learning_rates0.1_0.2",
    ]


def test_a_grid_is_every_combination():
    configs = listed.grid(BASE, {"model.hidden_size": (2, "3"), "training.updates": (5, 6)})
    assert [(config.model.hidden_size, config.training.updates) for config in configs] == [(2, 5), (2, 6), (3, 5), (3, 6)]
    assert all(settings.check(config) for config in configs) and listed.grid(BASE, {}) == [BASE]
