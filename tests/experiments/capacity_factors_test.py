"""What else the price of the vector depends on: planted oracles, entropies, precisions and slots through score and figures."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from attention_jax.report import capacities
from attention_jax.statistics import laws
from attention_jax.sweeps import archive, sweep
from experiments import capacity
from tests.experiments.capacity_test import SIZES, number, rows, symbols, table


def test_stored_oracles_reach_at_least_as_far_as_the_encoders_on_the_same_strings():
    found = archive.read(Path(__file__).parents[2] / "docs" / "results" / "capacity")
    places = 0
    for series in capacities.read(found.all_rows, capacity.series):
        for place, each in series.oracle.items():
            own, times, places = series.encoder[place], series.times[place], places + 1
            assert each.length >= own.length and each.seeds == own.seeds == times.seeds
            assert times.length == pytest.approx(each.length / own.length)
            assert not times.low < 1
    assert places == 7


def of_oracle(times=1.6, sizes=SIZES, budget=1600, seeds=4):
    """What `measure` leaves: counts of 64 optimised vectors a length, right up to about `times` as many symbols as the encoder's."""
    random, found = np.random.default_rng(1), []
    for row in rows(sizes=sizes, budgets=(budget,), measured=(), seeds=seeds):
        own = symbols(row["state_size"], budget)
        chances = [special.expit(8.5 * (math.log(middle) - math.log(row["length"]))) for middle in (times * own, own)]
        exact, encoder = (int(random.binomial(64, chance)) for chance in chances)
        own = {name: value for name, value in row.items() if name not in ("mode", "exact", "examples", "learning_rate", "seen")}
        found.append(own | {"role": "measured", "exact": exact, "encoder_exact": encoder, "examples": 64, "rows_of_seed": 9})
    return found


@pytest.mark.long
def test_the_oracle_stands_beside_the_encoder_in_symbols_bits_and_times():
    data = rows() + of_oracle()
    score = capacity.score(data)
    lines = table(score, "Oracle")
    assert [(line["d"], line["updates"]) for line in lines] == [(str(d), "1,600") for d in SIZES]
    for line in lines:
        expected = 1.6 * symbols(int(line["d"]), 1600)
        assert number(line["L*, optimised"]) == pytest.approx(expected, rel=0.06) and number(line["times"]) == pytest.approx(1.6, rel=0.08)
        assert float(line["bits"]) == pytest.approx(4 * expected, rel=0.06)
        assert number(line["L*, encoder's"]) == pytest.approx(symbols(int(line["d"]), 1600), rel=0.06)
        counted = [row for row in data if row["role"] == "measured" and row["state_size"] == int(line["d"])]
        lengths = sorted({row["length"] for row in counted})
        exact = np.array([[row["encoder_exact"] for row in counted if row["seed"] == seed] for seed in range(4)])
        assert line["L*, encoder's"].startswith(f"{laws.pooled(lengths, exact, np.full_like(exact, 64)).length:.1f} [")
    (law,) = [line for line in table(score, "Laws by size") if "oracle" in line["series"]]
    assert number(law["symbols per doubling of d"]) == pytest.approx(1.6 * 3, abs=0.4)
    assert law["rates not measured"] == "0 of 6"  # those of the models whose vectors they are
    (law,) = [line for line in table(capacity.score(rows(measured=()) + of_oracle()), "Laws by size") if "oracle" in line["series"]]
    assert law["rates not measured"] == "6 of 6"
    plain = capacity.score(rows())
    assert score.verdict == plain.verdict and not any(each.title.startswith("Oracle") for each in plain.tables)
    assert list(capacity.figures(data)) == ["sizes_and_budgets_summary_gru_V16_h32", "bits_by_factor"]


def test_an_oracle_beyond_the_longest_length_is_a_bound():
    (line,) = table(capacity.score(rows(sizes=(8,), budgets=(1600,)) + of_oracle(20, sizes=(8,))), "Oracle")
    assert line["L*, optimised"] == ">= 28.0" and line["bits"] == ">= 112" and line["times"].startswith(">= ")


def chains(half, entropies=(1.0, 2.0, 3.0), sizes=(4, 8, 16, 32)):
    """Sources of h bits a symbol, whose L* is half(L*, h), L* that of 4 bits."""
    found = rows(sizes=sizes, budgets=(1600,), measured=(8,))
    for h in entropies:
        found += rows(lambda d, budget, h=h: half(symbols(d, budget), h), sizes, (1600,), (8,), source_entropy=h)
    return found


@pytest.mark.parametrize(
    ("half", "says"),
    [
        (lambda length, h: 1 + (4 * length - 4) / h, "bits fill it"),
        (lambda length, h: length, "symbols fill it"),
        (lambda length, h: length * (4 / h) ** 0.5, "between bits and symbols"),
    ],
)
def test_what_fills_a_vector(half, says):
    score = capacity.score(chains(half))
    (found,) = [each for each in score.tables if each.title.startswith("Entropy of the source")]
    assert found.title.endswith(f": {says}") and found.header == ("d", "h = 1", "h = 2", "h = 3", "h = 4")
    of_one = dict(zip(found.header, found.rows[1], strict=True))
    assert of_one["d"] == "8" and number(of_one["h = 4"]) == pytest.approx(symbols(8, 1600), rel=0.05)
    assert number(of_one["h = 2"]) == pytest.approx(half(symbols(8, 1600), 2), rel=0.05)
    assert float(of_one["h = 2"].split(": ")[1].removesuffix(" bits")) == pytest.approx(4 + 2 * (number(of_one["h = 2"]) - 1), abs=0.6)
    names = [line["series"] for line in table(score, "Laws by size")]
    assert names == [f"summary gru V16 h32{of}" for of in ("", ", 1 bit a symbol", ", 2 bits a symbol", ", 3 bits a symbol")]
    assert list(capacity.figures(chains(half))) == ["bits_by_factor"]


def test_what_fills_a_vector_is_inconclusive_where_sizes_scatter_or_are_missing():
    scattered = chains(lambda length, h: length * {1: 2.6, 2: 0.8, 3: 2.0}[h])
    titles = [each.title for each in capacity.score(scattered).tables]
    assert any(title.startswith("Entropy") and title.endswith("inconclusive") for title in titles)
    none = chains(lambda length, h: 500.0)
    (title,) = [each.title for each in capacity.score(none).tables if each.title.startswith("Entropy")]
    assert "inconclusive: sizes and budgets do not vary" in title
    assert not any(each.title.startswith("Entropy") for each in capacity.score(rows()).tables)


def test_precision_stands_beside_float32():
    sizes, data = (4, 8, 16, 32), rows(sizes=(4, 8, 16, 32), budgets=(1600,))
    for bits, share in ((4, 0.5), (8, 1.0), (16, 1.0)):
        data += rows(lambda d, budget, share=share: share * symbols(d, budget), sizes, (1600,), (8,), vector_bits=bits)
    score = capacity.score(data)
    lines = table(score, "Precision of the vector")
    assert [line["d"] for line in lines] == ["4", "8", "16", "32"] and list(lines[0]) == ["d", "4 bits", "8 bits", "16 bits", "float32"]
    assert number(lines[1]["4 bits"].split(": ")[1]) == pytest.approx(0.5, abs=0.05)
    assert number(lines[1]["8 bits"].split(": ")[1]) == pytest.approx(1, abs=0.06)
    (of_four,) = [each for each in score.tables if each.title.startswith("Critical lengths, summary gru V16 h32, 4 bits a number")]
    assert of_four.header[-2] == "of 4 bits"


def test_slots_are_a_series_of_their_own_by_all_that_they_hand_over():
    config = [each.config for each in sweep.plan(capacity, "small") if each.config.model.slots]
    assert [(each.model.slots, each.data.longest) for each in config] == [(1, 20), (2, 32), (4, 52), (8, 84)]
    assert [each.fields["state_size"] for each in sweep.plan(capacity, "small") if each.config.model.slots] == [4, 12, 20, 36]
    data = rows(sizes=(4, 8, 16, 32), budgets=(1600,))
    for K, d in ((1, 4), (2, 12), (4, 20), (8, 36)):
        longest = capacity.longest(4, slots=K)
        data += rows(lambda size, budget, K=K: 5.0 * K**0.8, (d,), (1600,), (20,), arm="additive", longest=longest, slots=K, vector_size=4)
    names = [line["series"] for line in table(capacity.score(data), "Laws by size")]
    assert names == ["summary gru V16 h32", "additive gru V16 h32, slots of 4"]
    assert list(capacity.figures(data)) == ["bits_by_factor"]


def test_the_oracle_is_measured_at_one_budget_of_the_first_series():
    for preset, sizes in (("tiny", 5), ("small", 7), ("full", 9)):
        runs = [each.config for each in sweep.plan(capacity, preset) if each.measure]
        parts = capacity.TABLE[preset]
        assert [each.model.vector_size for each in runs] == list(parts.parts[0].sizes) and len(runs) == sizes
        assert {each.training.updates for each in runs} == {(16 if preset == "tiny" else 4) * parts.unit}
