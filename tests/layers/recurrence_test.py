"""The loop against a plain Python loop; deferred gradients and linear recurrences against `jax.lax.scan` and finite differences."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.test_util import check_grads

from attention_jax.layers import cells, recurrence
from attention_jax.layers.affine import affine
from attention_jax.system import machine

B, T, E, H = 3, 5, 4, 6
LENGTHS = (5, 3, 0)
ROWS = pytest.mark.parametrize("name", cells.TABLE)
PAIRS = pytest.mark.parametrize("name, reverse", [*((name, True) for name in cells.TABLE), ("gru", False)])
LOOPS = {"scan": partial(recurrence.loop, scan=jax.lax.scan), "deferred": recurrence.loop, "linear": recurrence.linear}
WAYS = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reversed"])


def mask(extra: int = 0):
    return jnp.arange(T + extra)[None, :] < jnp.array(LENGTHS)[:, None]


def random(*shape, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@cache
def cell_and_params(name: str):
    """A cell whose biases are not zero, so that a forgotten one shows."""
    cell = cells.TABLE[name](E, H)
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    return cell, jax.tree.map(lambda leaf: 0.4 * random(*leaf.shape, seed=leaf.size), shapes)


@cache
def with_gradients(name: str, reverse: bool, how: str):
    """Jitted: (outputs, gradients of a random linear functional of them) of one of LOOPS."""
    cell, _ = cell_and_params(name)
    loop = LOOPS[how]

    def both(recurrent, carry_BxF, projected_TxBxP, mask_TxBx1):
        def run(recurrent, carry_BxF, projected_TxBxP):
            return loop(cell, reverse, recurrent, carry_BxF, (projected_TxBxP, mask_TxBx1))

        outputs, backward = jax.vjp(run, recurrent, carry_BxF, projected_TxBxP)
        return outputs, backward(jax.tree.map(lambda x: random(*x.shape, seed=7), outputs))

    return jax.jit(both)


def fast(name: str) -> str:
    """The way that recurrence.run takes."""
    return "linear" if cell_and_params(name)[0].gates else "deferred"


def loop_arguments(name: str):
    cell, params = cell_and_params(name)
    return params["recurrent"], random(B, cell.carry_size, seed=2), random(T, B, cell.projected_size, seed=3), mask().T[:, :, None]


@ROWS
@WAYS
def test_run_is_a_python_loop_over_real_positions(name, reverse):
    cell, params = cell_and_params(name)
    inputs_BxTxE = random(B, T, E, seed=1)
    h_BxTxH, last_BxF = recurrence.run(cell, params, inputs_BxTxE, mask(), reverse)

    for b, length in enumerate(LENGTHS):
        carry_1xF, expected_TxH = jnp.zeros((1, cell.carry_size)), np.zeros((T, H))
        for t in reversed(range(length)) if reverse else range(length):
            carry_1xF = cell.step(params["recurrent"], carry_1xF, cell.project(params["input"], inputs_BxTxE[b : b + 1, t]))
            expected_TxH[t] = carry_1xF[0, :H]
        np.testing.assert_allclose(h_BxTxH[b], expected_TxH, atol=1e-5)
        np.testing.assert_allclose(last_BxF[b], carry_1xF[0], atol=1e-5)


@PAIRS
def test_values_and_gradients_are_those_of_the_scan(name, reverse):
    plain = with_gradients(name, reverse, "scan")(*loop_arguments(name))
    quick = with_gradients(name, reverse, fast(name))(*loop_arguments(name))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), plain, quick)
    assert all(np.abs(g).max() > 1e-3 for g in jax.tree.leaves(quick[1]) if g.size)


@pytest.mark.parametrize("name", ["gru_before", "diagonal"])
def test_gradients_agree_with_finite_differences(name):
    with jax.enable_x64(True):
        cell, params = cell_and_params(name)
        recurrent, carry_BxF, projected_TxBxP, mask_TxBx1 = jax.tree.map(
            lambda x: x if x.dtype == bool else x.astype(jnp.float64), loop_arguments(name)
        )

        def run(recurrent, carry_BxF, projected_TxBxP):
            return LOOPS[fast(name)](cell, True, recurrent, carry_BxF, (projected_TxBxP, mask_TxBx1))

        check_grads(jax.jit(run), (recurrent, carry_BxF, projected_TxBxP), order=1, modes=["rev"], atol=1e-7, rtol=1e-6, eps=1e-5)


@PAIRS
def test_padding_changes_nothing_bit_for_bit(name, reverse):
    recurrent, carry_BxF, projected_TxBxP, mask_TxBx1 = loop_arguments(name)
    garbage_TxBxP = jnp.where(mask_TxBx1, projected_TxBxP, 1e4)
    compiled = with_gradients(name, reverse, fast(name))
    clean, dirty = (compiled(recurrent, carry_BxF, x, mask_TxBx1) for x in (projected_TxBxP, garbage_TxBxP))
    assert jax.tree.all(jax.tree.map(np.array_equal, clean, dirty))
    (last_BxF, h_TxBxH), (_, _, d_projected_TxBxP) = clean
    assert not np.where(mask_TxBx1, 0, h_TxBxH).any() and not np.where(mask_TxBx1, 0, d_projected_TxBxP).any()
    assert np.array_equal(last_BxF[2], carry_BxF[2]), "a row of length 0 keeps its carry"


HOLES_BxT = np.array([[c == "#" for c in row] for row in ("..###", "#.##.", ".....")])


@ROWS
@WAYS
def test_padding_may_stand_anywhere(name, reverse):
    """The same states and last carry as of the real positions alone; NumPy's arrays are arrays."""
    cell, params = cell_and_params(name)
    inputs_BxTxE, front_BxTxE = np.asarray(random(B, T, E, seed=1)), np.zeros((B, T, E), np.float32)
    for b, real_T in enumerate(HOLES_BxT):
        front_BxTxE[b, : real_T.sum()] = inputs_BxTxE[b, real_T]
    by_numpy = jax.tree.map(np.asarray, params)
    h_BxTxH, last_BxF = recurrence.run(cell, by_numpy, inputs_BxTxE, HOLES_BxT, reverse)
    front_BxT = jnp.arange(T)[None] < HOLES_BxT.sum(1)[:, None]
    front_BxTxH, front_BxF = recurrence.run(cell, params, jnp.asarray(front_BxTxE), front_BxT, reverse)
    np.testing.assert_allclose(last_BxF, front_BxF, rtol=1e-5, atol=1e-6)
    assert not np.where(HOLES_BxT[:, :, None], 0, h_BxTxH).any()
    for b, real_T in enumerate(HOLES_BxT):
        np.testing.assert_allclose(h_BxTxH[b, real_T], front_BxTxH[b, : real_T.sum()], rtol=1e-5, atol=1e-6)


@PAIRS
@pytest.mark.parametrize("rows", [recurrence.ROWS, 1], ids=["at once", "in blocks"])
def test_whatever_stands_in_padding_changes_nothing_bit_for_bit(name, reverse, rows, monkeypatch):
    """Inputs of NaN, of infinity and of all that float32 holds: neither values nor gradients of weights and inputs."""
    monkeypatch.setattr(recurrence, "ROWS", rows)
    monkeypatch.setattr(machine, "block", lambda kind: 2**19 if rows > 1 else 1)
    cell, params = cell_and_params(name)
    weights = random(B, T, H, seed=5), random(B, cell.carry_size, seed=6)

    def run(params, inputs_BxTxE):
        return recurrence.run(cell, params, inputs_BxTxE, mask(), reverse)

    @jax.jit
    def differentiated(*arguments):
        results, backward = jax.vjp(run, *arguments)
        return results, backward(weights)

    inputs_BxTxE = random(B, T, E, seed=1)
    clean = differentiated(params, jnp.where(mask()[:, :, None], inputs_BxTxE, 0))
    for anything in (np.nan, np.inf, -1e38):
        dirty = differentiated(params, jnp.where(mask()[:, :, None], inputs_BxTxE, anything))
        assert jax.tree.all(jax.tree.map(np.array_equal, clean, dirty))


@ROWS
def test_further_columns_of_padding_change_nothing(name):
    cell, params = cell_and_params(name)
    inputs_BxTxE = random(B, T, E, seed=1)
    h_BxTxH, last_BxF = recurrence.run(cell, params, inputs_BxTxE, mask(), reverse=True)
    wider_BxTxE = jnp.concatenate([inputs_BxTxE, random(B, 2, E, seed=9)], axis=1)
    wider_h_BxTxH, wider_last_BxF = recurrence.run(cell, params, wider_BxTxE, mask(extra=2), reverse=True)
    np.testing.assert_allclose(wider_h_BxTxH[:, :T], h_BxTxH, atol=1e-6)
    np.testing.assert_allclose(wider_last_BxF, last_BxF, atol=1e-6)
    assert not wider_h_BxTxH[:, T:].any()


@ROWS
def test_large_inputs_give_finite_gradients(name):
    recurrent, carry_BxF, projected_TxBxP, mask_TxBx1 = loop_arguments(name)
    results = with_gradients(name, True, fast(name))(
        jax.tree.map(lambda p: 1e4 * p, recurrent), 100 * carry_BxF, 1e4 * projected_TxBxP, mask_TxBx1
    )
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(results))


@pytest.mark.parametrize("name", ["lstm", "diagonal"])
def test_seeds_side_by_side_are_seeds_one_by_one(name):
    _, carry_BxF, projected_TxBxP, mask_TxBx1 = loop_arguments(name)
    recurrent = cell_and_params(name)[1]["recurrent"]
    both = jax.tree.map(lambda p: jnp.stack([p, -0.5 * p]), recurrent)
    compiled = with_gradients(name, True, fast(name))
    together = jax.vmap(compiled, in_axes=(0, None, None, None))(both, carry_BxF, projected_TxBxP, mask_TxBx1)
    for r in range(2):
        alone = compiled(jax.tree.map(lambda p, r=r: p[r], both), carry_BxF, projected_TxBxP, mask_TxBx1)
        jax.tree.map(lambda a, b, r=r: np.testing.assert_allclose(a[r], b, rtol=1e-5, atol=1e-5), together, alone)


def test_the_weight_gradient_is_formed_after_the_loop():
    """No scan hands on an array of the shape of a recurrent weight (what it stacks has one dimension more)."""
    weight_shape = (H, 3 * H)

    def handed_on(how: str) -> list[tuple]:
        jaxpr = jax.make_jaxpr(with_gradients("gru", False, how))(*loop_arguments("gru"))
        return [v.aval.shape for eqn in scans(jaxpr.jaxpr) for v in eqn.outvars]

    def scans(jaxpr):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "scan":
                yield eqn
            for inner in jaxprs_in_params(eqn.params):
                yield from scans(inner)

    assert weight_shape in handed_on("scan")
    assert handed_on("deferred") and weight_shape not in handed_on("deferred")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("T, N", [(6, 3), (7, 3)])
def test_blocks_of_time_are_the_whole(T, N, reverse, monkeypatch):
    cell, params = cell_and_params("lstm")
    arguments = random(B, T, E, seed=1), jnp.arange(T)[None, :] < jnp.array([T, 3, 0])[:, None]

    def results():
        def both(params, inputs_BxTxE):
            outputs, backward = jax.vjp(lambda *x: recurrence.run(cell, *x, arguments[1], reverse), params, inputs_BxTxE)
            return outputs, backward(jax.tree.map(lambda x: random(*x.shape, seed=7), outputs))

        return jax.jit(both)(params, arguments[0])

    whole = results()
    monkeypatch.setattr(machine, "block", lambda kind: 3 * B * cell.projected_size)
    monkeypatch.setattr(recurrence, "ROWS", 1)
    assert recurrence.block(T, B, cell.projected_size) == N
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), results(), whole)


@pytest.mark.parametrize(
    "T, B, P, N",
    [
        (128, 32, 1024, 16),
        (50, 16, 4000, 50),
        (400, 16, 4000, 100),
        (400, 64, 256, 25),
        (127, 32, 1024, 16),
        (7, 2, 3, 7),
        (10, 1024, 2048, 2),
        (1, 1, 2**23, 1),
    ],
)
def test_blocks_fit_and_fill_up_little(T, B, P, N, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert recurrence.block(T, B, P) == N


def test_a_gpu_cuts_only_what_would_take_much_memory(monkeypatch):
    """The bottleneck's full size, a GRU of 256 over 50 positions; 4,000 positions of an LSTM of 1,000."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert recurrence.block(50, 64, 3 * 256) == 50
    assert recurrence.block(4000, 64, 4000) == 250


def loops(name: str) -> bool:
    cell, params = cell_and_params(name)
    jaxpr = jax.make_jaxpr(lambda x, m: recurrence.run(cell, params, x, m))(random(B, T, E), mask())
    return "scan" in str(jaxpr) or "while" in str(jaxpr)


def test_linear_recurrences_are_no_loop():
    assert {name for name in cells.TABLE if not loops(name)} == {name for name in cells.TABLE if cells.TABLE[name](E, H).gates}


@pytest.mark.parametrize("name", ["mingru", "minlstm", "diagonal"])
def test_a_long_linear_recurrence_is_still_that_of_the_scan(name):
    cell, params = cell_and_params(name)
    long = 300
    mask_TxBx1 = (jnp.arange(long)[:, None] < jnp.array([[long, 131, 0]]))[:, :, None]
    inputs = random(long, B, cell.projected_size, seed=3), mask_TxBx1
    arguments = params["recurrent"], random(B, cell.carry_size, seed=2), inputs
    results = [jax.jit(partial(loop, cell, True))(*arguments) for loop in (LOOPS["scan"], LOOPS["linear"])]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *results)


@ROWS
def test_bfloat16_stays_bfloat16(name):
    cell, params = cell_and_params(name)
    run = jax.jit(partial(recurrence.run, cell))
    exact = run(params, random(B, T, E, seed=1), mask())
    rough = run(*jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, random(B, T, E, seed=1))), mask())
    assert {x.dtype for x in rough} == {jnp.dtype(jnp.bfloat16)}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a.astype(jnp.float32), b, atol=0.05), rough, exact)


def test_gradients_of_many_blocks_are_added_up_in_float32(monkeypatch):
    """In bfloat16 a sum of 512 ones would stop at 256."""
    monkeypatch.setattr(recurrence, "block", lambda T, B, P: 1)
    adding = cells.rnn(1, 1)._replace(step=lambda recurrent, h_BxH, projected_BxP: projected_BxP)
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), adding.init(jax.random.key(0)))
    inputs_BxTxI, mask_BxT = jnp.ones((1, 512, 1), jnp.bfloat16), jnp.ones((1, 512), bool)
    gradient = jax.grad(lambda p: recurrence.run(adding, p, inputs_BxTxI, mask_BxT)[0].astype(jnp.float32).sum())(params)
    assert gradient["input"]["weight"].item() == gradient["input"]["bias"].item() == 512


def test_affine_of_any_rank():
    parameters = {"weight": random(E, H), "bias": random(H, seed=1)}
    for shape in [(E,), (B, E), (B, T, E)]:
        x = random(*shape, seed=2)
        expected = np.einsum("...i,io->...o", x, parameters["weight"]) + np.asarray(parameters["bias"])
        np.testing.assert_allclose(affine(parameters, x), expected, rtol=1e-5, atol=1e-6)
        constant = affine({"bias": parameters["bias"]}, x)
        np.testing.assert_array_equal(constant, np.broadcast_to(parameters["bias"], (*shape[:-1], H)))
