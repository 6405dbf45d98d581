"""Error rates over all sentences against sums by hand, and differences of arms whose errors are planted."""

import numpy as np
import pytest

from attention_jax.report import error_rates
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text.measures import ERRORS

LENGTHS, N = (4, 6, 8, 10), 1600


def sentences(rate: float, seed: int = 0, R: int = 4) -> Sentences:
    """Words of 3 to 10 letters, of as many symbols, each wrong with this probability."""
    random = np.random.default_rng(seed)
    length_N = np.tile(np.arange(3, 11, dtype=np.int32), N // 8)
    edits_RxN = random.binomial(length_N, rate, (R, N)).astype(np.int32)
    count_N = np.arange(N, dtype=np.int32)
    exact_RxN = (edits_RxN == 0).astype(np.int32)
    return Sentences(tuple(range(R)), edits_RxN * 1.5, length_N + 1, length_N, count_N, count_N * 0 + 1, exact_RxN, edits_RxN, length_N)


def rows_of(arm: str, found: Sentences, budget: int = 100) -> list[dict]:
    """The rows that a run leaves of these sentences."""
    rows, below = [], 0
    assert found.edits_RxN is not None and found.symbols_N is not None and found.exact_RxN is not None
    for length in LENGTHS:
        is_in_N = (found.length_N > below) & (found.length_N <= length)
        below = length
        for seed, edits_N, exact_N in zip(found.seeds, found.edits_RxN[:, is_in_N], found.exact_RxN[:, is_in_N], strict=True):
            counts = {"edits": int(edits_N.sum()), "reference_symbols": int(found.symbols_N[is_in_N].sum()), "exact": int(exact_N.sum())}
            counts |= {"error_rate": counts["edits"] / counts["reference_symbols"], "examples": int(is_in_N.sum()), "mode": "free"}
            place = {"attention": arm, "run": f"{arm}-{budget}", "budget": budget, "seed": seed, "length": length, "seen": True}
            rows.append(place | counts | {"role": "reported", "learning_rate": 0.01, "parameters": 9})
    return rows


FOUND = {"soft": sentences(0.10), "hard": sentences(0.05, 1), "same": sentences(0.10, 2)}
ROWS = [row for arm, found in FOUND.items() for row in rows_of(arm, found)]
KEPT = {f"{arm}-100": found for arm, found in FOUND.items()}


def test_rates_are_over_all_sentences():
    found = error_rates.overall(ROWS, "soft", 100)
    edits_RxN, symbols_N = FOUND["soft"].edits_RxN, FOUND["soft"].symbols_N
    assert edits_RxN is not None and symbols_N is not None
    assert list(found.symbols.values()) == pytest.approx((edits_RxN.sum(1) / symbols_N.sum()).tolist())
    assert list(found.sequences.values()) == pytest.approx((edits_RxN > 0).mean(1).tolist())
    table = error_rates.by_budget(ROWS, ["soft", "hard"], {"chance": error_rates.Rates({0: 0.6}, {0: 1.0})}, "title", ("PER", "WER"))
    assert table.header[-2:] == ("PER", "WER") and [line[:2] for line in table.rows] == [("soft", "100"), ("hard", "100"), ("chance", "–")]
    assert table.rows[0][5].startswith(f"{np.mean(list(found.symbols.values())):.3f} [") and table.rows[2][5:] == ("0.600", "1.000")


def test_differences_are_paired_and_named():
    pairs = [("hard", "soft"), ("soft", "hard"), ("same", "soft"), ("absent", "soft")]
    found = error_rates.differences(ROWS, KEPT, pairs, LENGTHS, ERRORS)
    assert list(found) == pairs[:3]
    soft, hard = (np.mean(list(error_rates.overall(ROWS, arm, 100).symbols.values())) for arm in ("soft", "hard"))
    assert found["hard", "soft"].value == pytest.approx(hard - soft)
    table, words = error_rates.compared(found, 0.01, "title")
    assert words == {pairs[0]: "fewer errors", pairs[1]: "more errors", pairs[2]: "no difference"}
    assert table.rows[0][2].startswith(f"{hard - soft:.4f} [") and table.rows[0][4] == "fewer errors"


def test_pairs_without_sentences_are_left_out():
    assert error_rates.differences(ROWS, {"soft-100": FOUND["soft"]}, [("hard", "soft")], LENGTHS, ERRORS) == {}
    old = {name: found._replace(edits_RxN=None, symbols_N=None) for name, found in KEPT.items()}
    assert error_rates.differences(ROWS, old, [("hard", "soft")], LENGTHS, ERRORS) == {}
