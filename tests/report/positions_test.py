"""Tables by position and third against the same counted from the rows, one number at a time."""

import numpy as np
import pytest
from scipy import stats

from attention_jax.report import positions
from attention_jax.report.standings import Group
from attention_jax.statistics import intervals
from attention_jax.system.errors import DataError

LENGTH, SEEDS, EXAMPLES = 8, 5, 200


def rows(arm: str = "summary", length: int = LENGTH, seed: int = 0) -> list[dict]:
    """Measured rows of several seeds."""
    random, found = np.random.default_rng(seed), []
    for each in range(SEEDS):
        free = random.integers(50, 150, length)
        moved = random.binomial(free, 0.5)
        counts = {"forced": random.integers(0, 100, length), "free": free, "moved": moved, "absent": random.binomial(free - moved, 0.9)}
        counts |= {"absent_by_chance": free * 0.6, "probe": random.integers(100, 200, length)}
        place = {"role": "measured", "attention": arm, "budget": 800, "length": length, "seed": each, "examples": EXAMPLES}
        found.append(place | {name: values.tolist() for name, values in counts.items()})
    return found


def flat(data: list[dict]) -> list[dict]:
    """A row per position, last one first."""
    fields = ("forced", "free", "moved", "absent", "absent_by_chance", "probe")
    return [row | {"position": t + 1} | {field: row[field][t] for field in fields} for row in data for t in reversed(range(LENGTH))]


def counts(arm: str = "summary", seed: int = 0) -> positions.Counts:
    found = positions.read(flat(rows(arm, seed=seed)), arm, 800, LENGTH)
    assert found is not None
    return found


def test_shares_by_position_and_third():
    found, data = counts(), rows()
    assert found.seeds == tuple(range(SEEDS))
    ours = found.by_position("forced")
    assert list(ours) == list(range(1, LENGTH + 1))
    assert ours[3] == intervals.typical_seed([row["forced"][2] for row in data], [EXAMPLES] * SEEDS)
    thirds = found.by_third("forced")
    assert thirds["last"][4] == pytest.approx(sum(data[4]["forced"][6:]) / 2 / EXAMPLES)
    assert thirds["middle"][0] == pytest.approx(sum(data[0]["forced"][2:6]) / 4 / EXAMPLES)


def test_contrasts_of_thirds_are_paired_by_seed():
    data = rows()
    (line,) = positions.thirds_table([("a group", counts())], "forced", "Wrong").rows
    first, last = ([np.mean(row["forced"][places]) / EXAMPLES for row in data] for places in (slice(0, 2), slice(6, 8)))
    assert line[:4] == ("a group", "summary", "800", "8") and line[4].startswith(f"{np.mean(first):.2f} [")
    test = stats.ttest_rel(first, last)
    low, high = test.confidence_interval()
    assert line[9].startswith(f"{np.subtract(first, last).mean():.2f} [{low:.2f}, {high:.2f}], p ")


def test_what_wrong_symbols_are():
    data = rows()
    (line,) = positions.order_table([("a group", counts())]).rows
    totals = [{field: sum(row[field]) for field in ("free", "moved", "absent", "absent_by_chance")} for row in data]
    shares = [np.mean([each[field] / each["free"] for each in totals]) for field in ("moved", "absent")]
    assert [cell.split(" ")[0] for cell in line[5:7]] == [f"{share:.2f}" for share in shares]
    assert float(line[7].split(" ")[0]) == pytest.approx(1 - sum(shares), abs=0.011)
    order = np.mean([1 - each["absent"] / each["absent_by_chance"] for each in totals])
    assert line[9].startswith(f"{order:.2f} [")


def test_arms_without_errors_have_no_order():
    data = [row | dict.fromkeys(("free", "moved", "absent", "absent_by_chance"), [0] * LENGTH) for row in rows()]
    found = positions.read(flat(data), "summary", 800, LENGTH)
    assert found and positions.order_table([("a group", found)]).rows[0][4:] == ("0.00 [0.00, 0.00]", "–", "–", "–", "–", "–")


def test_gains_are_paired_by_seed():
    ours, theirs = rows("summary, forward"), rows("summary, reversed", seed=1)
    found = positions.gains_table([("a group", *map(counts, ("summary, forward", "summary, reversed"), (0, 1)))], "forced", "Wrong symbols")
    (line,) = found.rows
    first = [np.mean(a["forced"][:2]) / EXAMPLES - np.mean(b["forced"][:2]) / EXAMPLES for a, b in zip(ours, theirs, strict=True)]
    assert line[1] == "summary, forward − summary, reversed" and line[4].startswith(f"{np.mean(first):.2f} [")


def test_positions_have_a_line_each():
    table = positions.positions_table("a group", [counts(), counts("additive", 1)], {"forced": "wrong", "probe": "probe"})
    assert table.header == ("position", "summary, wrong", "additive, wrong", "summary, probe", "additive, probe")
    assert [line[0] for line in table.rows] == [str(t) for t in range(1, LENGTH + 1)]


def test_what_is_no_measurement_is_refused():
    assert positions.read(flat(rows()), "summary", 400, LENGTH) is None
    for wrong in (flat(rows()) * 2, flat(rows())[1:], [row | {"examples": 200 + row["seed"]} for row in flat(rows())]):
        with pytest.raises(DataError, match="every seed needs a row of each position"):
            positions.read(wrong, "summary", 800, LENGTH)
    with pytest.raises(DataError, match="length 8: control is not measured"):
        counts().array("control")


@pytest.mark.parametrize(("middle", "length"), [(6.2, 6), (9.2, 10), (40.0, None), (2.0, None)])
def test_the_nearest_length_to_the_critical_one(middle, length):
    data = []
    for seed in range(3):
        for tested in (2, 4, 6, 8, 10, 12):
            exact = round(500 / (1 + np.exp(6 * np.log(tested / middle))))
            place = {"attention": "summary", "budget": 800, "seed": seed, "length": tested, "mode": "free", "seen": True}
            data.append(place | {"exact": exact, "examples": 500})
    assert positions.nearest(Group("", data, ["summary"]), "summary", 800)[0] == length
