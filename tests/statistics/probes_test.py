"""Fits against SciPy's optimum in float64, planted codes whose accuracy is known, and a control task that is a table."""

import jax
import numpy as np
import pytest
from scipy import optimize, special, stats

from attention_jax.statistics import probes


def optimum(vector_NxD: np.ndarray, label_N: np.ndarray, classes: int, penalty: float) -> np.ndarray:
    """Logits of the same vectors by a probe of one position, its loss minimised by BFGS in float64."""
    units = (vector_NxD - vector_NxD.mean(0)) / vector_NxD.std(0)
    x = np.column_stack([units, np.ones(len(units))])
    goal = np.eye(classes)[label_N]

    def loss(flat):
        weight = flat.reshape(x.shape[1], classes)
        logits = x @ weight
        off = special.softmax(logits, axis=1) - goal
        slope = x.T @ off
        slope[:-1] += penalty * weight[:-1]
        return (special.logsumexp(logits, axis=1) - (goal * logits).sum(1)).sum() + penalty / 2 * (weight[:-1] ** 2).sum(), slope.ravel()

    found = optimize.minimize(loss, np.zeros(x.shape[1] * classes), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14})
    return x @ found.x.reshape(x.shape[1], classes)


@pytest.mark.parametrize(("penalty", "steps"), [(0.1, 2000), (1.0, probes.STEPS), (30.0, probes.STEPS)])
def test_a_fit_is_the_minimum_that_another_optimiser_finds(penalty, steps):
    random = np.random.default_rng(0)
    label_NxT = random.integers(0, 5, (400, 2))
    codes_2x5xD = random.normal(size=(2, 5, 6))
    vector_NxD = np.tanh(codes_2x5xD[0][label_NxT[:, 0]] + codes_2x5xD[1][label_NxT[:, 1]] + 0.3 * random.normal(size=(400, 6)))
    probe = probes.fit(vector_NxD.astype(np.float32), label_NxT, 5, penalty, steps)
    ours_UxN = probes.inputs(vector_NxD.astype(np.float32), probe.mean_D, probe.deviation_D)
    for t in range(2):
        theirs = special.softmax(optimum(vector_NxD, label_NxT[:, t], 5, penalty), axis=1)
        np.testing.assert_allclose(special.softmax(np.asarray(probe.weight_TxVxU[t] @ ours_UxN).T, axis=1), theirs, atol=0.01)
        assert (np.asarray(probes.read(probe, vector_NxD.astype(np.float32)))[:, t] == theirs.argmax(1)).mean() > 0.99


def test_a_planted_code_is_read_as_well_as_it_can_be_and_what_is_not_there_by_luck_alone():
    """One number a symbol of two, at ±a with unit noise: right with probability Φ(a). The last symbol is not in the vector."""
    random, a = np.random.default_rng(1), np.array([3.0, 1.0, 0.3])

    def drawn(n):
        label_NxT = random.integers(0, 2, (n, 4))
        return (2 * label_NxT[:, :3] - 1) * a + random.normal(size=(n, 3)), label_NxT

    probe = probes.fit(*drawn(4096), 2)
    vector_NxD, label_NxT = drawn(20_000)
    accuracy_T = (np.asarray(probes.read(probe, vector_NxD)) == label_NxT).mean(0)
    np.testing.assert_allclose(accuracy_T, [*stats.norm.cdf(a), 0.5], atol=0.012)


def test_numbers_that_never_change_are_let_pass():
    random = np.random.default_rng(2)
    label_NxT = random.integers(0, 3, (300, 1))
    vector_NxD = np.column_stack([np.eye(3)[label_NxT[:, 0]], np.full(300, 7.0)])
    assert (np.asarray(probes.read(probes.fit(vector_NxD, label_NxT, 3), vector_NxD)) == label_NxT).all()


def test_labels_of_the_control_task_are_a_table_of_position_and_pair():
    random = np.random.default_rng(3)
    symbol_NxT = random.integers(0, 4, (5000, 3))
    label_NxT = np.asarray(probes.control(jax.random.key(5), symbol_NxT, 4))
    table = {}
    for symbols, labels in zip(symbol_NxT.tolist(), label_NxT.tolist(), strict=True):
        for t, label in enumerate(labels):
            assert table.setdefault((t, symbols[t], symbols[(t + 1) % 3]), label) == label
    assert len(table) == 3 * 16 and set(table.values()) == set(range(4))
    assert (np.asarray(probes.control(jax.random.key(6), symbol_NxT, 4)) != label_NxT).any()


@pytest.mark.long
def test_a_probe_of_the_control_task_gets_little_more_than_the_commonest_labels_of_single_symbols():
    """A vector that holds every symbol, one number a symbol and position, is read to the last; its control labels can only be memorised."""
    random, V = np.random.default_rng(4), 16

    def drawn(n):
        symbol_NxT = random.integers(0, V, (n, 3))
        return np.eye(V)[symbol_NxT].reshape(n, -1), symbol_NxT, np.asarray(probes.control(jax.random.key(0), symbol_NxT, V))

    (vector_NxD, symbol_NxT, label_NxT), (held_out_NxD, *held_out) = drawn(2048), drawn(4096)
    accuracy, control = (
        (np.asarray(probes.read(probes.fit(vector_NxD, labels, V), held_out_NxD)) == right).mean(0)
        for labels, right in zip((symbol_NxT, label_NxT), held_out, strict=True)
    )
    assert (accuracy == 1).all() and (control < 0.5).all() and (control > 1 / V).all()
