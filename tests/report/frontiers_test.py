"""Contrasts against SciPy and Holm by hand; what a frontier reads from rows."""

import numpy as np
import pytest
from scipy import stats

from attention_jax.report import frontiers
from attention_jax.system.errors import DataError


def test_contrasts_are_paired_tests_corrected_by_holm():
    random = np.random.default_rng(0)
    shifts = (0.0, 0.4, 1.2)
    pairs = [(f"{s}", dict(enumerate(s + random.normal(size=6))), dict(enumerate(random.normal(size=6)))) for s in shifts]
    found = frontiers.contrasts(pairs)
    tests = [stats.ttest_rel(list(a.values()), list(b.values())) for _, a, b in pairs]
    largest, adjusted = 0.0, {}
    for rank, i in enumerate(np.argsort([test.pvalue for test in tests])):
        largest = min(1.0, max(largest, (3 - rank) * tests[i].pvalue))
        adjusted[i] = largest
    for i, (each, test) in enumerate(zip(found, tests, strict=True)):
        assert each.p == pytest.approx(adjusted[i], rel=1e-6)
        assert each.difference[1:3] == pytest.approx(tuple(test.confidence_interval()))
        assert each.sign(1.1) == np.sign(test.statistic) and each.sign(0.0) == 0


def test_pairs_need_the_same_seeds_and_names_of_their_own():
    with pytest.raises(DataError, match="seeds"):
        frontiers.contrasts([("a", {0: 1.0, 1: 2.0}, {0: 1.0})])
    with pytest.raises(DataError, match="one name"):
        frontiers.contrasts([("a", {0: 1.0, 1: 2.0}, {0: 1.0, 1: 1.0})] * 2)


def test_a_frontier_pools_the_long_half_by_seed():
    shared = {"task": "recall", "cell": "gru", "attention": "summary", "alphabet": 8, "state_size": 8, "budget": 4, "parameters": 9}
    rows = []
    for seed, (length, wrong, exact) in [(s, each) for s in (3, 5) for each in ((2, 1, 8), (4, 2 + s, 6), (6, 4, 4), (8, 5, 2), (9, 9, 0))]:
        own = shared | {"seed": seed, "length": length, "seen": length < 9, "learning_rate": 1e-3, "examples": 10}
        own |= {"symbols": 20, "symbol_errors": wrong, "exact": exact}
        rows += [own | {"mode": mode} for mode in ("free", "forced")]
    (found,) = frontiers.read(rows, lambda row: row["cell"])
    assert found.long == (6, 8) and found.right == {(8, 4): {3: (31, 40), 5: (31, 40)}}
    assert found.shares(8) == {3: 31 / 40, 5: 31 / 40} and found.sizes == [8] and found.name == "gru, summary"
    assert found.exact[8, 4].mean == pytest.approx(0.3, abs=0.02) and found.accuracy((8, 4)).mean == pytest.approx(31 / 40, abs=0.02)
    line = frontiers.table([found], 4).rows[0]
    assert line[:6] == ("gru", "summary", "8", "256", "9", "0.001")
