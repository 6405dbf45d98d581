"""The price of the vector: planted rows through score and figures, and what the presets hold equal."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from attention_jax.config import formats
from attention_jax.report import capacities
from attention_jax.running import selection
from attention_jax.statistics import laws
from attention_jax.sweeps import sweep
from experiments import capacity, run
from experiments.capacity import Kind, Part

GRID = capacity.TINY.training.learning_rates
BEST = 1.6e-2
SIZES, BUDGETS = (4, 6, 8, 12, 16, 24), (400, 1600, 6400)


def symbols(d, budget, per_doubling=3.0):
    """The planted L*: 2.5 at d = 4 and 400 updates, and 1.5 more with every doubling of the budget."""
    return 2.5 + per_doubling * math.log2(d / 4) + 1.5 * math.log2(budget / 400)


def rows(
    half=symbols, sizes=SIZES, budgets=BUDGETS, measured=(8, 16), rates=BEST, seeds=4, arm="summary", alphabet=16, longest=None, **fields
):
    """What a series leaves: exact match falls with length about `half`; curves of the measured sizes are best at `BEST`."""
    random, found = np.random.default_rng(0), []
    for d in sizes:
        most = longest or capacity.longest(d, alphabet, fields.get("source_entropy", 0))
        lengths = [length for length in capacity.LENGTHS if 2 <= length <= most]
        for budget in budgets:
            run = {"attention": arm, "cell": "gru", "alphabet": alphabet, "hidden_size": 32, "vector_size": d, "state_size": d}
            run |= {"longest": most, "task": "copy", "budget": budget, "parameters": 10_000, "seconds": 2.0, "run": f"d{d}-u{budget}"}
            run |= fields
            log_odds = 8.5 * (np.log(max(half(d, budget), 0.1)) - np.log(lengths))

            def tested(seed, shift, of_run, lengths=lengths, log_odds=log_odds):
                counts = zip(lengths, random.binomial(512, special.expit(log_odds + shift)).tolist(), strict=True)
                of_seed = of_run | {"seed": seed, "seen": True, "mode": "free", "examples": 512}
                return [of_seed | {"length": length, "exact": exact} for length, exact in counts]

            for seed in range(seeds):
                found += tested(seed, 0.2 * random.standard_normal(), run | {"role": "reported", "learning_rate": rates})
            for rate in GRID if d in measured else ():
                for seed in range(4):
                    off = abs(math.log2(rate / BEST))
                    trial = run | {"role": "selection", "learning_rate": rate, "seed": selection.PILOT_SEED + seed, "grown": False}
                    found += tested(seed + selection.PILOT_SEED, -off, trial)
                    found.append(trial | {"validation_loss": math.exp(off + 0.01 * random.standard_normal())})
    return found


def table(score, title):
    (found,) = [each for each in score.tables if each.title.startswith(title)]
    return [dict(zip(found.header, line, strict=True)) for line in found.rows]


def number(text):
    return float(text.split()[0])


def test_a_planted_law_is_found_and_said():
    score = capacity.score(rows())
    assert score.verdict.value == "a law" and not score.verdict.failed
    assert str(score.verdict).startswith("a law: +") and str(score.verdict).endswith("symbols per doubling of d at 6,400 updates")
    law = laws.per_doubling(capacities.read(rows(), capacity.series)[0].at(6400))
    assert law.slope.low <= 3 <= law.slope.high and law.slope.high - law.slope.low < 0.7
    assert f"+{law.slope.mean:.1f} [" in str(score.verdict)
    assert "a price at this budget: 0 of 6 sizes have stopped growing with the budget" in score.verdict.reason
    (price,) = table(score, "The price")
    assert number(price["per doubling of d"]) == pytest.approx(3, abs=0.15)
    assert number(price["per doubling of the budget"]) == pytest.approx(1.5, abs=0.1)
    assert price["converged"] == "0 of 6"
    assert score.budget == "with 4 seeds, summary gru V16 h32 at 400, 1,600, 6,400 updates, each budget a run of its own"


def test_findings_are_of_the_law_and_of_what_vectors_could_hold():
    data = rows()
    longer, twice = capacity.findings(data)
    assert (longer.number, longer.bar) == ("symbols of L* per doubling of d, copy, summary gru V16 h32, 6,400 updates", 0)
    assert longer.word(longer.p) == "holds" and longer.interval.low < 3 < longer.interval.high
    assert (twice.bar, twice.word(twice.p)) == (1, "does not hold")  # + 3 symbols a doubling is no doubling
    proportional = capacity.findings(rows(lambda d, budget: d))
    assert [each.word(each.p) for each in proportional] == ["holds", "undecided"]
    for rise, word in ((0.9, "holds"), (0.0, "undecided")):  # symbols per doubling of d; the oracle is ahead in both
        optimised = []
        for row in data:
            if row["role"] == "reported" and row["budget"] == 1600:
                own = symbols(row["vector_size"], 1600)
                middle = own + 1 + rise * math.log2(row["vector_size"])
                right = [round(4096 * special.expit(8.5 * np.log(each / row["length"]))) for each in (middle, own)]
                counts = dict(zip(("exact", "encoder_exact"), right, strict=True))
                optimised.append(row | counts | {"role": "measured", "examples": 4096, "mode": None})
        spare = capacity.findings(data + optimised)[2]
        assert spare.interval.n == 6 and spare.interval.mean == pytest.approx(rise, abs=0.15)
        assert spare.word(spare.p) == word
    assert capacity.findings(rows(arm="additive", sizes=(8,))) == []


def test_numbers_of_the_tables_are_those_of_the_rows():
    data = rows()
    score = capacity.score(data)
    lines = table(score, "Critical lengths, summary gru V16 h32")
    assert [(line["d"], line["updates"]) for line in lines[:4]] == [("4", "400"), ("4", "1,600"), ("4", "6,400"), ("6", "400")]
    (line,) = [line for line in lines if (line["d"], line["updates"]) == ("12", "6,400")]
    ours = [row for row in data if (row["vector_size"], row["budget"], row["role"]) == (12, 6400, "reported")]
    lengths = sorted({row["length"] for row in ours})
    counts = np.array([[row["exact"] for row in ours if row["seed"] == seed] for seed in range(4)])
    found = laws.pooled(lengths, counts, np.full_like(counts, 512))
    assert line["L*, symbols"] == f"{found.length:.1f} [{found.low:.1f}, {found.high:.1f}]" and line["seeds"] == "4"
    assert found.length == pytest.approx(symbols(12, 6400), rel=0.04)
    bits = found.length * 4
    assert [line[name] for name in ("bits", "a number", "of float32", "a parameter")] == [
        f"{bits:.0f}",
        f"{bits / 12:.2f}",
        f"{bits / 384:.1%}",
        f"{bits / 10_000:.4f}",
    ]
    assert number(line["L* at 0.9"]) < found.length
    by_size = table(score, "Laws by size")
    assert [line["exact sizes"] for line in by_size] == ["6 of 6"] * 3 and {line["rates not measured"] for line in by_size} == {"0 of 6"}
    forms = table(score, "Forms")
    assert [line["form"] for line in forms if line["Δ AICc"] == "0.0"] == ["logarithmic"] * 3
    assert {line["d"] for line in table(score, "Rate curves")} == {"8", "16"}
    assert all(line["0.016"].endswith("*") and line["best"] == "" for line in table(score, "Rate curves"))


def test_bounds_are_shown_and_are_no_points():
    score = capacity.score(rows(lambda d, budget: symbols(d, budget) if d < 24 else 200))
    (line,) = [line for line in table(score, "Critical") if (line["d"], line["updates"]) == ("24", "6,400")]
    assert line["L*, symbols"] == ">= 40.0" and line["bits"] == ">= 160"
    assert table(score, "Laws by size")[2]["exact sizes"] == "5 of 6" and not any(each.title.startswith("Forms") for each in score.tables)
    assert score.verdict.value == "a law" and "from 5 sizes, 1 bounds left out" in score.verdict.reason


def test_too_few_sizes_are_inconclusive_and_named():
    verdict = capacity.score(rows(sizes=(4, 8, 16))).verdict
    assert verdict.value == "inconclusive" and verdict.failed == ("missing",) and "3 of 3 sizes have an exact L*" in verdict.reason
    verdict = capacity.score(rows(lambda d, budget: symbols(d, budget) if d < 12 else 200)).verdict
    assert verdict.failed == ("missing",) and "d = 24: >= 40.0" in verdict.reason
    assert [need.budget for need in verdict.needs] == [6400] and "longer training lengths" in verdict.needs[0].why
    (longer, _) = capacity.score(rows(lambda d, budget: symbols(d, budget) if d > 12 else 0.5)).verdict.needs
    assert (longer.budget, longer.role) == (12_800, "reported") and "d = 4, 6, 8, 12 lies below" in longer.why


def test_a_flat_and_a_scattered_law():
    flat = capacity.score(rows(lambda d, budget: 6.0)).verdict
    assert flat.value == "no law" and str(flat).startswith("no law: ")
    assert "a capacity: 6 of 6 sizes have stopped growing with the budget" in flat.reason
    scattered = capacity.score(rows(lambda d, budget: {4: 4, 6: 9, 8: 5, 12: 11, 16: 4, 24: 9}[d])).verdict
    assert scattered.value == "inconclusive" and scattered.failed == ("law",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rates": 4e-3}, "d = 4 at 400 updates: ran at 0.004, and the curve at d = 8 chooses 0.016"),
        ({"measured": ()}, "d = 4 at 400 updates: no rate curve"),
    ],
)
def test_rates_that_no_curve_supports_are_inconclusive(change, reason):
    verdict = capacity.score(rows(**change)).verdict
    assert verdict.value == "inconclusive" and verdict.failed == ("rates",) and reason in verdict.reason and "15 more" in verdict.reason
    assert [(need.budget, need.role) for need in verdict.needs] == [(budget, "selection") for budget in BUDGETS]


def test_a_best_rate_at_an_edge_is_inconclusive():
    data = [row for row in rows() if row["role"] == "reported" or row["learning_rate"] >= BEST]
    assert "lies at an edge" in capacity.score(data).verdict.reason


@pytest.mark.long
def test_series_are_told_apart_and_attention_stands_beside():
    four, at = (4, 8, 16, 32), (1600,)
    data = rows() + rows(sizes=four, budgets=at, alphabet=4)
    data += [row | {"longest": 2 * row["longest"]} for row in rows(lambda d, budget: 0.8 * symbols(d, budget), four, at, measured=())]
    hidden = [row | {"vector_size": 0, "hidden_size": row["state_size"] // 2} for row in rows(sizes=four, budgets=at)]
    attention = rows(lambda d, budget: 200, (8,), (200, 400), (8,), arm="additive")
    score = capacity.score(data + hidden + attention)
    names = ["gru V16 h32", "gru V4 h32", "gru V16 h32, twice as long", "gru V16 by hidden size"]
    assert [line["series"] for line in table(score, "Laws by size")] == [f"summary {name}" for name in (names[0], *names)][:1] * 2 + [
        f"summary {name}" for name in names
    ]
    assert {line["L*, symbols"] for line in table(score, "Critical lengths, additive")} == {">= 28.0"}
    assert score.verdict.value == "a law" and "summary gru V16 h32 at 6,400" in score.verdict.reason
    drawn = capacity.figures(data + hidden + attention)
    assert list(drawn) == ["sizes_and_budgets_summary_gru_V16_h32", "bits_by_size"]
    (axes,) = drawn["bits_by_size"].axes
    assert axes.get_title(loc="left") == "Bits of the longest string, after 1,600 updates"
    assert any(text.get_text().startswith("above: 5 bits a parameter") for text in axes.texts)  # it would squeeze all else to the floor
    assert axes.get_ylim()[1] < 1500  # 32 bits a number are 1,024


def test_the_picture_holds_lengths_intervals_and_bounds():
    data = rows(lambda d, budget: symbols(d, budget) if d < 24 else 200)
    (series,) = capacities.read(data, capacity.series)
    left, right = capacity.figures(data)["sizes_and_budgets_summary_gru_V16_h32"].axes
    *lines, one_a_number = [line.get_xydata().tolist() for line in left.lines if len(line.get_xdata()) > 2]
    assert one_a_number == [[d, d] for d in SIZES]
    assert lines == [[[d, each.length] for d, each in series.at(budget).items() if d < 24] for budget in BUDGETS]
    bars = [line.get_xydata().tolist() for line in left.lines if len(line.get_xdata()) == 2]
    assert [[12, series.half[12, 400].low], [12, series.half[12, 400].high]] in bars and len(bars) == 15
    hollow = {line.get_xdata()[0] for line in left.lines if len(line.get_xdata()) == 1 and line.get_markerfacecolor() == "white"}
    assert hollow == {24}
    assert {text.get_text() for text in left.texts} == {"400 updates", "1,600 updates", "6,400 updates", "≥ 40"}
    assert {text.get_text() for text in right.texts} == {f"d = {d}" for d in SIZES} | {"≥ 40"}
    assert len({line.get_marker() for line in left.lines if len(line.get_xdata()) == 1}) == 3


@pytest.mark.parametrize("preset", capacity.PRESETS)
def test_configs_are_valid_and_named_apart(preset):
    runs = sweep.plan(capacity, preset)
    assert len({each.config.run for each in runs}) == len(runs) and len(runs) == len(capacity.sweep(preset))
    for each in runs:
        config, fields = each.config, each.fields
        assert config.training.schedule == "cosine" and config.training.pilot_updates == 0
        assert (fields["alphabet"], fields["longest"]) == (config.data.symbols, config.data.longest) and "symbols" not in fields
        assert max(config.data.eval_lengths) == config.data.longest, "only trained lengths"
        assert "to length" not in capacity.series({"attention": config.model.attention, **fields})


@pytest.mark.parametrize("preset", ["tiny", "small", "full"])
def test_only_size_budget_and_lengths_differ_within_a_series(preset):
    found = {}
    for each in sweep.plan(capacity, preset):
        config = each.config
        name = config.model.attention, capacity.series({"attention": config.model.attention, **each.fields})
        model = replace(config.model, slots=0)
        model = replace(model, vector_size=1) if config.model.vector_size else replace(model, hidden_size=1)
        data = replace(config.data, longest=1, eval_lengths=(1,))
        training = replace(config.training, updates=1, learning_rates=(1.0,))
        found.setdefault(name, set()).add(replace(config, run="", model=model, data=data, training=training))
    assert all(len(configs) == 1 for configs in found.values())


@pytest.mark.parametrize("preset", ["tiny", "small", "full"])
def test_every_run_has_a_curve_or_takes_the_rate_of_one(preset, monkeypatch):
    measured = {capacity.name(config) for config in capacity.sweep(preset) if len(config.training.learning_rates) > 1}
    monkeypatch.setattr(capacity, "RATES", {name: 1e-4 * i for i, name in enumerate(sorted(measured), 1)})
    taken = {config.training.learning_rates[0] for config in capacity.sweep(preset) if len(config.training.learning_rates) == 1}
    assert taken <= set(capacity.RATES.values()) and len(taken) > 1


@pytest.mark.long
def test_rates_are_what_the_kept_curves_choose():
    curves, found = selection.kept(run.HOME / "curves" / "capacity.jsonl"), set()
    for preset in ("tiny", "small", "full"):
        for each in sweep.plan(capacity, preset):
            if adopted := selection.adopted(curves, each.config, each.fields):
                assert capacity.RATES[each.config.run] == selection.choice(each.config, adopted).rate, each.config.run
                found.add(each.config.run)
    assert found == set(capacity.RATES)  # a setting that is new leaves what is kept
    assert set(capacity.RATES) <= {config.run for preset in capacity.PRESETS for config in named(preset)}


def test_rows_from_before_the_factors_are_completed():
    run = sweep.plan(capacity, "tiny")[0]
    old = {name: value for name, value in run.fields.items() if name not in ("source_entropy", "vector_bits", "slots")}
    assert len(old) == len(run.fields) - 3 and formats.completed(old, run.fields) == run.fields


def named(preset):
    return [each.config for each in sweep.plan(capacity, preset)]


def test_the_runs_with_curves_are_part_of_small():
    rates, small = (sweep.plan(capacity, preset) for preset in ("rates", "small"))
    by_name = {each.config.run: each for each in small}
    assert len(rates) < len(small) and all(by_name[each.config.run] == each for each in rates)
    assert {each.config for each in small if len(each.config.training.learning_rates) > 1} == {each.config for each in rates}


def test_the_longest_length_follows_size_and_alphabet():
    assert [capacity.longest(d) for d in (4, 8, 16, 32, 64)] == [20, 28, 36, 48, 56]
    assert capacity.longest(8, 4) == 40 and capacity.longest(8, 256) == 20
    config = capacity._config("small", "summary", Part(Kind(by="hidden_size"), (8,), (4,)), 8, 1600)
    assert config.data.longest == capacity.longest(16) and config.model.vector_size == 0
