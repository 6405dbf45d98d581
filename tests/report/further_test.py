"""Test sets behind the first one: each has its tables, of the numbers that its rows have."""

from attention_jax.report import further
from attention_jax.report.standings import Group


def rows(test: str, role: str, **numbers: float) -> list[dict]:
    shared = {"attention": "dot", "seed": 0, "length": 2, "budget": 9, "seen": True, "examples": 5, "test": test, "role": role}
    return [shared | {"mode": "forced", "loss": 0.5}, shared | {"mode": "free", "loss": None, **numbers}]


def test_exact_match_of_trained_lengths_on_every_test_set():
    """A dash where a test set has none of them."""
    data = [row | {"exact": 4} for test, role in (("a", "reported"), ("b", "further")) for row in rows(test, role)]
    longer = [row | {"exact": 1, "length": 3, "seen": False} for row in rows("c", "further")]
    shown = further.exact_match(Group("g", data[:2], ()), [*data[2:], *longer])
    assert shown.header == ("arm", "a", "b", "c") and shown.rows[0][0::3] == ("dot", "–") and shown.rows[0][1] == shown.rows[0][2]
    assert shown.rows[0][1].startswith("0.7") or shown.rows[0][1].startswith("0.8")
    named = further.exact_match(Group("g", data[:2], ()), data[2:], "By width", "as trained")
    assert named.header == ("arm", "as trained", "b") and named.title.startswith("By width, g: ")


def test_each_has_a_table_of_each_of_its_numbers():
    found = [*rows("a", "reported", chrf=9.0), *rows("b", "further", chrf=8.0, error_rate=0.25), *rows("c", "further", chrf=7.0)]
    shown = further.by_length(found, ["dot"], None, 9)
    error_rate = "Error rate, edits per symbol of the reference"
    assert [table.title for table in shown] == [
        f"{what}, 9 updates" for what in ("Loss, b", "chrF, b", f"{error_rate}, b", "Loss, c", "chrF, c")
    ]
    assert [table.rows[0][-1] for table in shown] == ["0.500", "8.0", "0.250", "0.500", "7.0"]
    assert [table.title for table in further.by_length(found, ["dot"], None, 9, ("error_rate",))] == [f"{error_rate}, b, 9 updates"]
    assert not further.by_length(found[:2], ["dot"], None, 9)
