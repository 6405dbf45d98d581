"""Answers to questions by key: what is right without recall, and what an accuracy over keys and values says of the values."""

import math


def without_keys(pairs: int, values: int) -> float:
    """Returns the accuracy of always answering with the commonest value of a source: E[largest count] / pairs.

    P(no value more often than m) = L! [xᴸ] (Σ_{j ≤ m} xʲ / j!)ⱽ / Vᴸ, L pairs whose values are uniform among V.
    """
    below = 0.0
    for most in range(pairs):
        powers = [1.0] + [0.0] * pairs
        for _ in range(values):
            powers = [sum(powers[i - j] / math.factorial(j) for j in range(min(most, i) + 1)) for i in range(pairs + 1)]
        below += math.factorial(pairs) * powers[pairs] / values**pairs
    return (pairs - below) / pairs


def of_values(accuracy: float) -> float:
    """Returns the least accuracy of the values where so many of all symbols are right, half of them keys: 2 a − 1, all keys being right."""
    return max(0.0, 2 * accuracy - 1)
