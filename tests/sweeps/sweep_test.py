"""A claim's sweep becomes runs: overridden, told apart, matched, listed with how far they are."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from attention_jax import config as settings
from attention_jax import model
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.running import finished, results
from attention_jax.sweeps import provenance, sweep
from attention_jax.system.errors import ConfigError, DataError

BASE = Config(
    model=ModelConfig(hidden_size=16, embedding_size=8),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2, 4)),
    training=TrainingConfig(seeds=2, updates=6),
)


def claim(*configs: Config):
    """A claim as `experiments/` has them, with these runs for every preset and arms."""
    return SimpleNamespace(
        __name__="experiments.pretend",
        PRESETS=("tiny", "full"),
        ARMS=tuple(config.model.attention for config in configs),
        sweep=lambda preset, arms: list(configs),
        name=lambda config: config.model.attention,
    )


def ladder(*budgets: int):
    """A claim of one fixed arm and attention at these budgets, whatever arms are asked for besides."""
    return SimpleNamespace(
        __name__="experiments.pretend",
        PRESETS=("tiny",),
        ARMS=("summary", "additive"),
        sweep=lambda preset, arms: [_of(arm, updates) for arm in arms for updates in budgets],
        name=lambda config: f"{config.model.attention}-u{config.training.updates}",
    )


def _of(arm: str, updates: int) -> Config:
    return replace(BASE, model=replace(BASE.model, attention=arm), training=replace(BASE.training, updates=updates))


def arms(*names: str):
    return claim(*(replace(BASE, model=replace(BASE.model, attention=name)) for name in names))


def test_plan_names_places_and_describes(tmp_path):
    runs = sweep.plan(arms("none", "additive"), "tiny", ["training.updates=7", "data.task=reverse"], tmp_path)
    assert [run.config.run for run in runs] == ["none", "additive"]
    assert [run.directory for run in runs] == [tmp_path / "pretend" / "none", tmp_path / "pretend" / "additive"]
    for run in runs:
        assert (run.config.experiment, run.config.training.updates, run.config.data.task) == ("pretend", 7, "reverse")
        assert run.fields == {
            "match": "state",
            "attention": run.config.model.attention,
            "cell": "gru",
            "hidden_size": 16,
            "vector_size": 0,
            "task": "reverse",
            "optimizer": "adam",
            "schedule": "constant",
            "warmup": 50,
            "clip": 1.0,
            "precision": "highest",
            "state_size": model.state_size(run.config.model),
            "parameters": model.parameters(run.config.model, sources.own_sizes(run.config)),
            "fingerprint": settings.fingerprint(run.config)[:16],
        }


def test_doublings_lengthen_the_ladder_of_every_arm():
    def names(**asked):
        return [run.config.run for run in sweep.plan(ladder(2, 4), **asked)]

    assert names() == ["summary-u2", "summary-u4", "additive-u2", "additive-u4"]
    assert names(doublings=2) == [f"{arm}-u{updates}" for arm in ("summary", "additive") for updates in (2, 4, 8, 16)]
    assert names(arms=["general", "none"], doublings=1) == [f"{arm}-u{updates}" for arm in ("general", "none") for updates in (2, 4, 8)]
    assert names(assignments=["training.updates=6"], doublings=1) == ["summary-u6", "summary-u12", "additive-u6", "additive-u12"]
    with pytest.raises(ConfigError, match=r"--arms='dott' is unknown \(did you mean 'dot'\?\)"):
        names(arms=["dott"])


def test_doublings_go_on_from_the_largest_budget_whatever_its_rate():
    configs = [_of("summary", updates) for updates in (2, 4)]
    slow = replace(configs[1], training=replace(configs[1].training, learning_rates=(1e-4,)))
    found = [(config.training.updates, config.training.learning_rates) for config in sweep.doubled([configs[0], slow], 1)]
    assert found == [(2, configs[0].training.learning_rates), (4, (1e-4,)), (8, (1e-4,))]


def test_arms_of_different_budgets_are_matched():
    runs = sweep.plan(ladder(2, 4), assignments=["match=parameters", "model.hidden_size=48"], doublings=1)
    totals = [run.fields["parameters"] for run in runs]
    assert len(runs) == 6 and max(totals) / min(totals) < 1.02 and len(set(totals[:3])) == 1
    heads = sweep.plan(ladder(2, 4), assignments=["match=parameters", "model.hidden_size=48", "model.heads=2"])
    totals = [run.fields["parameters"] for run in heads]
    assert max(totals) / min(totals) < 1.02, "how an arm looks does not keep it from being matched"


def test_swept_settings_are_fields():
    wide = replace(BASE, model=replace(BASE.model, attention="general"), data=replace(BASE.data, eval_lengths=(1, 2)), match="state")
    runs = sweep.plan(claim(BASE, wide), "full")
    assert [run.fields["eval_lengths"] for run in runs] == [[1, 2, 4], [1, 2]]
    assert "updates" not in runs[0].fields and "run" not in runs[0].fields


def test_the_alphabet_of_a_row_is_not_its_count_of_symbols():
    runs = sweep.plan(
        claim(
            *(
                replace(BASE, data=replace(BASE.data, symbols=n), model=replace(BASE.model, attention=arm))
                for n, arm in ((4, "none"), (16, "summary"))
            )
        ),
        "tiny",
    )
    assert [run.fields["alphabet"] for run in runs] == [4, 16] and "symbols" not in runs[0].fields


def test_a_claim_names_settings_that_do_not_differ():
    alone = arms("none", "summary")
    assert "longest" not in sweep.plan(alone)[0].fields
    alone.FIELDS = ("data.longest", "data.symbols")
    fields = sweep.plan(alone)[0].fields
    assert (fields["longest"], fields["alphabet"]) == (BASE.data.longest, BASE.data.symbols)
    assert sweep.placed([BASE], "runs", sweep.named(alone))[0].fields["longest"] == BASE.data.longest


def test_runs_made_equal_are_listed_once():
    runs = sweep.plan(arms("none", "summary", "additive"), "tiny", ["model.attention=general"])
    assert [run.config.run for run in runs] == ["general"]


def test_what_says_how_to_look_leaves_the_fixed_arms_alone():
    asked = ["model.normaliser=entmax15", "model.copy=true", "training.guided=0.5", "model.readout=maxout", "search.forward_window=3"]
    runs = sweep.plan(arms("none", "summary", "additive"), "tiny", asked)
    for run in runs:
        looks = run.config.model.attention == "additive"
        assert run.config.model.normaliser == run.fields["normaliser"] == ("entmax15" if looks else "softmax")
        assert (run.config.model.copy, run.config.training.guided) == ((True, 0.5) if looks else (False, 0.0))
        assert run.config.search.forward_window == (3 if looks else -1)
        assert run.config.model.readout == "maxout"
    with pytest.raises(ConfigError, match=r"attention=summary looks nothing up, so model\.normaliser=entmax15 has no meaning"):
        sweep.plan(arms("additive"), "tiny", ["model.attention=summary", "model.normaliser=entmax15"])


def test_different_runs_of_one_name_are_refused():
    with pytest.raises(ConfigError, match=r"two different runs would be called additive: pretend\.name must tell them apart"):
        sweep.plan(claim(BASE, replace(BASE, training=replace(BASE.training, updates=7))), "tiny")


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_matched_by_parameters(cell):
    claim = arms("none", "summary", "additive", "general")
    wide = [f"model.cell={cell}", "model.hidden_size=48"]  # one unit more is less than 2 %
    by_state = sweep.plan(claim, "tiny", wide)
    matched = sweep.plan(claim, "tiny", [*wide, "match=parameters"])
    totals = [run.fields["parameters"] for run in matched]
    largest = max(run.fields["parameters"] for run in by_state)
    assert all(abs(total / largest - 1) <= 0.02 for total in totals)
    assert max(run.fields["parameters"] for run in by_state) / min(run.fields["parameters"] for run in by_state) > 1.02
    for run, other in zip(matched, by_state, strict=True):
        assert run.fields["parameters"] == model.parameters(run.config.model, sources.own_sizes(run.config))
        assert run.fields["match"] == "parameters" and run.fields["state_size"] == other.fields["state_size"]
        assert replace(run.config.model, decoder_size=0) == other.config.model  # the encoder stays


@pytest.mark.parametrize(
    ("preset", "assignments", "message"),
    [
        ("huge", [], "--preset='huge' is unknown; valid: tiny, full"),
        ("tiny", ["model.hiden_size=3"], "unknown setting 'model.hiden_size'; did you mean model.hidden_size"),
        ("tiny", ["model.hidden_size=3.5"], "must be a whole number"),
        ("tiny", ["model.hidden_size"], "is not of the form path=value"),
        ("tiny", ["model.hidden_size=0"], "must be at least 1"),
        ("tiny", ["model.attention=magic"], "model.attention='magic' is unknown.*additive"),
        ("tiny", ["model.cell=magic"], "model.cell='magic' is unknown.*lstm"),
        ("tiny", ["data.task=magic"], "data.task='magic' is unknown.*copy"),
        ("tiny", ["data.eval_lengths=4,8"], r"0 of data\.eval_lengths=\(4, 8\) are trained lengths"),
        ("tiny", ["data.task=multi30k", "text.max_words=500"], "text.max_words=500 does not fit the longest bucket"),
    ],
)
def test_what_cannot_be_is_refused(preset, assignments, message):
    with pytest.raises(ConfigError, match=message):
        sweep.plan(arms("none", "additive"), preset, assignments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": "</script>"}, "the row run=none, .*: attention is '</script>', not 'none'; remove"),
        ({"parameters": None}, "parameters is None, not "),
        ({"exact_match": "high"}, "exact_match is no number"),
        ({"exact_match": None, "seconds": []}, "exact_match is no number; seconds is no number"),
        ({"signature": ["x"]}, "signature is a list or an object"),
        ({"run": "other"}, "run is 'other', not 'none or additive'"),
        ({"exact_match": 7.5}, r"the row run=none, .*: exact_match is 7\.5, which is not in \[0, 1\]; remove"),
        ({"token_accuracy": -0.01}, r"token_accuracy is -0\.01, which is not in \[0, 1\]"),
        ({"alignment_agreement": 2}, r"alignment_agreement is 2, which is not in \[0, 1\]"),
        ({"alignment_mass": 1.1}, r"alignment_mass is 1\.1, which is not in \[0, 1\]"),
        ({"bleu": 100.1}, r"bleu is 100\.1, which is not in \[0, 100\]"),
        ({"chrf": -1}, r"chrf is -1, which is not in \[0, 100\]"),
        ({"loss": -0.1}, r"loss is -0\.1, which is not 0 or more"),
        ({"alignment_entropy": -0.1, "seconds": -1}, "seconds is -1, which is not 0 or more; alignment_entropy|alignment_entropy"),
        ({"examples": 2.5}, r"examples is 2\.5, which is no whole number"),
        ({"step": -1, "examples": -3}, "examples is -3, which is not 0 or more; step is -1"),
        ({"loss": "low"}, "loss is no number"),
    ],
)
def test_rows_of_something_else_are_refused(change, message):
    runs = sweep.plan(arms("none", "additive"), "tiny")
    row = {"run": "none", "seed": 0, "length": 1, "mode": "free", "budget": 3, **dict.fromkeys(provenance.MEASURED, 1), **runs[0].fields}
    provenance.check([row], runs)
    with pytest.raises(DataError, match=message):
        provenance.check([row, row | change], runs)


@pytest.mark.parametrize(
    "change",
    [
        {"bleu": 100.00000000000004, "chrf": 0.0},
        {"loss": None, "alignment_mass": None, "alignment_entropy": -1e-7},
        {"exact_match": 1.0000001, "token_accuracy": 0, "examples": 0, "loss": 1e9, "seconds": 0.0},
    ],
)
def test_the_edges_of_what_is_measured_are_not_refused(change):
    runs = sweep.plan(arms("none", "additive"), "tiny")
    row = {"run": "none", "seed": 0, "length": 1, "mode": "free", "budget": 3, **dict.fromkeys(provenance.MEASURED, 1), **runs[0].fields}
    provenance.check([row | change], runs)


def test_weights_without_a_sum_have_no_share_at_gold():
    runs = sweep.plan(claim(replace(BASE, model=replace(BASE.model, attention="gaussian", normaliser="exponential"))), "tiny")
    row = {
        "run": "gaussian",
        "seed": 0,
        "length": 1,
        "mode": "forced",
        "budget": 3,
        **dict.fromkeys(provenance.MEASURED, 1),
        **runs[0].fields,
    }
    provenance.check([row | {"alignment_mass": 3.0}], runs)
    with pytest.raises(DataError, match=r"alignment_agreement is 3\.0"):
        provenance.check([row | {"alignment_agreement": 3.0}], runs)


def test_rows_of_rate_curves_belong_to_a_run(tmp_path):
    runs = sweep.plan(arms("none", "additive"), "tiny")
    row = {**runs[0].fields, "run": "none", "role": "selection", "seed": 5, "budget": 6, "learning_rate": 0.1, "validation_loss": 1.0}
    provenance.check([row, row | {"length": 2, "exact": 3}], runs, ())
    for change, message in (({"attention": "dot"}, "attention is 'dot'"), ({"exact": -1}, "exact is -1"), ({"run": "x"}, "run is 'x'")):
        with pytest.raises(DataError, match=message):
            provenance.check([row | change], runs, ())


def test_status_and_listing(tmp_path):
    runs = sweep.plan(arms("none", "summary", "additive"), "tiny", workdir=tmp_path)
    assert [(state.name, state.update) for state in sweep.states(runs)] == [("waiting", 0)] * 3
    for step in (2, 4):
        (runs[1].directory / "checkpoint" / str(step)).mkdir(parents=True)
    rows = [
        {"run": "additive", "seed": s, "length": n, "mode": m, "budget": 6, "fingerprint": runs[2].fields["fingerprint"]}
        for s in (0, 1) for m in ("free", "forced") for n in runs[2].config.data.eval_lengths
    ]  # fmt: skip
    runs[2].directory.mkdir()
    results.append(runs[2].directory / "rows.jsonl", rows)
    assert [state.name for state in sweep.states(runs)] == ["waiting"] * 3
    results.write_json(runs[2].directory / "example.json", {})
    assert [(state.name, state.update) for state in sweep.states(runs)] == [("waiting", 0), ("waiting", 4), ("finished", 6)]
    header, _, *lines = sweep.listing(runs).splitlines()
    assert header.split() == ["index", "run", "attention", "seeds", "updates", "d", "parameters", "status"]
    statuses = ["waiting", "waiting, update 4", "finished"]
    for index, (line, run, status) in enumerate(zip(lines, runs, statuses, strict=True)):
        cells = line.split(maxsplit=7)
        expected = [str(index), f"pretend/{run.config.run}", run.config.model.attention, "2", "6", str(run.fields["state_size"])]
        assert cells == [*expected, f"{run.fields['parameters']:,}", status]


def test_finished_runs_are_listed_without_parsing_a_row(tmp_path, monkeypatch):
    runs = sweep.plan(arms("none", "additive"), "tiny", workdir=tmp_path)
    for run in runs:
        own = {"run": run.config.run, "budget": run.config.training.updates, "fingerprint": run.fields["fingerprint"]}
        rows = [own | {"seed": s, "length": n, "mode": m} for s in (0, 1) for m in ("free", "forced") for n in run.config.data.eval_lengths]
        results.replace(run.directory / "rows.jsonl", rows)
        results.write_json(run.directory / "example.json", {})
        finished.mark(run.config, run.directory)
    monkeypatch.setattr(results, "parse", None)
    assert [state.name for state in sweep.states(runs)] == ["finished"] * 2
    assert sweep.progress(runs).endswith("2 runs: 2 finished") and sweep.listing(runs).count("finished") == 2


def test_the_parameters_of_models_that_are_alike_are_counted_once(monkeypatch):
    counted, count = [], sweep.model.parameters
    monkeypatch.setattr(sweep.model, "parameters", lambda *arguments: counted.append(arguments) or count(*arguments))
    budgets = [replace(BASE, run=f"u{n}", training=replace(BASE.training, updates=n)) for n in range(4, 9)]
    assert len({run.fields["parameters"] for run in sweep.placed(budgets, "runs")}) == len(counted) == 1


def test_a_report_says_where_its_runs_differ():
    stored = [
        {"config": {"run": run, "training": {"precision": precision}}, "environment": {"jax": "0.10.2", "device_kind": kind}}
        for run, precision, kind in (("a", "highest", "cpu"), ("b", "highest", "cpu"), ("c", "tf32", "H100"))
    ]
    assert provenance.unlike(stored[:2]) == ""
    assert provenance.unlike(stored).splitlines() == [
        "Not all runs were made alike:",
        "  device_kind: cpu in a, b; H100 in c",
        "  precision: highest in a, b; tf32 in c",
    ]
    assert provenance.made_with(stored)["jax"] == "0.10.2"
