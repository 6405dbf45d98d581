"""Test sets behind the first one: each has its tables, of the numbers that its rows have."""

from attention_jax.report import further


def rows(test: str, role: str, **numbers: float) -> list[dict]:
    shared = {"attention": "dot", "seed": 0, "length": 2, "budget": 9, "seen": True, "examples": 5, "test": test, "role": role}
    return [shared | {"mode": "forced", "loss": 0.5}, shared | {"mode": "free", "loss": None, **numbers}]


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
