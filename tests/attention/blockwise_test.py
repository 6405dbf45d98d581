"""Additive scores in blocks: values and gradients of the plain form, whatever the blocks, and the memory they need."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.extend.core import jaxprs_in_params

from attention_jax import attention
from attention_jax.attention import blockwise, mechanism
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system import machine

SIZES = st.integers(1, 5000)


def drawn(B: int, T: int, S: int, A: int, lead: tuple = (), dtype=jnp.float32, scale: float = 1.0):
    """(v_Ax1, keys_BxSxA, query_BxTxA), ∂L/∂e_BxTxS of normal numbers, with axes before them."""
    keys = jax.random.split(jax.random.key(B + 10 * T + 100 * S), 4)
    shapes = (A, 1), (B, S, A), (B, T, A), (B, T, S)
    *inputs, gradient = (scale * jax.random.normal(key, lead + shape, dtype) for key, shape in zip(keys, shapes, strict=True))
    return inputs, gradient


@partial(jax.jit, static_argnums=0)
def with_gradients(score, inputs, gradient):
    """(e, ∂v, ∂keys, ∂query), compiled in one piece."""
    e, backward = jax.vjp(score, *inputs)
    return e, *backward(gradient)


def close(ours, theirs, rtol=1e-5, atol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), ours, theirs)


@pytest.mark.parametrize(
    ("sizes", "block"),
    [
        ((2, 5, 7, 3), (2, 3)),  # ragged both ways
        ((2, 5, 7, 3), (1, 7)),
        ((2, 5, 7, 3), (5, 2)),
        ((2, 5, 7, 3), (5, 7)),  # one block
        ((1, 4, 6, 8), (2, 3)),
        ((1, 1, 9, 4), (1, 4)),  # one look
        ((3, 6, 1, 4), (4, 1)),  # one place
        ((3, 2, 4, 1), (1, 3)),
        ((0, 3, 4, 2), (2, 3)),  # an empty batch
    ],
)
def test_blocks_are_the_plain_form(sizes, block, evidence):
    inputs, gradient = drawn(*sizes)
    ours, theirs = (with_gradients(f, inputs, gradient) for f in (partial(blockwise.by_blocks, *block), blockwise.at_once))
    for x, y in zip(ours, theirs, strict=True):
        evidence("attention=additive", "blocks against the plain form: scores and gradients", x, y)


def test_gradients_in_float64():
    """∂e_ts = v ∘ (1 - tanh²), by hand; far out the tanh is flat, and the gradient exactly zero."""
    inputs, gradient = drawn(2, 3, 4, 5, scale=2.0)
    inputs[2] = inputs[2].at[1].set(100.0)
    v, k, q, g = (np.asarray(x, np.float64) for x in (*inputs, gradient))
    tanh = np.tanh(q[:, :, None] + k[:, None])
    u = g[..., None] * (1 - tanh**2) * v[:, 0]
    theirs = (tanh @ v)[..., 0], (g[..., None] * tanh).sum((0, 1, 2))[:, None], u.sum(1), u.sum(2)
    ours = with_gradients(partial(blockwise.by_blocks, 2, 3), inputs, gradient)
    close(ours, theirs)
    assert not ours[3][1].any() and not ours[2][1].any()


@given(T=SIZES, S=SIZES, B=st.integers(0, 200), A=st.integers(1, 1000), backend=st.sampled_from(("cpu", "gpu")))
def test_blocks_have_room(T, S, B, A, backend):
    looks, places = blockwise.block(B, T, S, A, backend)
    most = machine.block("scores", backend)
    assert 1 <= looks <= T and 1 <= places <= S
    assert B * looks * places * A <= max(most, B * A) or T == 1
    assert places == S or T > 1
    assert looks == 1 or backend == "gpu"


@given(n=SIZES, most=st.integers(0, 6000))
def test_even_parts(n, most):
    size = blockwise.even(n, most)
    parts = -(-n // size)
    assert 1 <= size <= max(most, 1)
    assert parts == -(-n // max(most, 1))  # as few as possible
    assert size * parts - n < parts  # less than one number of padding for each


@pytest.mark.long
@pytest.mark.parametrize("T", [1, 3])
def test_one_look_and_more_under_every_transformation(T):
    """jit, a seeds' or heads' axis, a scan's body, rematerialisation, and a second derivative."""
    R, sizes = 2, (2, T, 5, 3)
    inputs, gradient = drawn(*sizes, lead=(R,))
    each = [with_gradients(blockwise.at_once, [x[r] for x in inputs], gradient[r]) for r in range(R)]
    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *each)
    for score in (blockwise.through_tanh, jax.checkpoint(blockwise.through_tanh)):
        run = partial(with_gradients, score)
        close(jax.jit(jax.vmap(run))(inputs, gradient), stacked)
        close(jax.lax.map(lambda x, run=run: run(*x), (inputs, gradient)), stacked)

    def bend(score, query_BxTxA):
        return (score(inputs[0][0], inputs[1][0], query_BxTxA) ** 2).sum()

    ours, theirs = (jax.jacrev(jax.grad(partial(bend, f)))(inputs[2][0]) for f in (blockwise.through_tanh, blockwise.at_once))
    close(ours, theirs, atol=1e-4)


@pytest.mark.long
def test_keys_shared_by_all_seeds():
    inputs, _ = drawn(2, 3, 5, 4, lead=(2,))
    ours, theirs = (
        jax.grad(lambda v, k, q, f=f: jax.vmap(f, (0, None, 0))(v, k, q).sum(), (0, 1, 2))(inputs[0], inputs[1][0], inputs[2])
        for f in (blockwise.through_tanh, blockwise.at_once)
    )
    close(ours, theirs)


@pytest.mark.parametrize("block", [(1, 20), (3, 8)])
def test_bfloat16(block):
    """Results are bfloat16, and as near to those of float32 as bfloat16 is: sums are taken in float32."""
    inputs, gradient = drawn(2, 7, 20, 6, dtype=jnp.bfloat16)
    ours = with_gradients(partial(blockwise.by_blocks, *block), inputs, gradient)
    assert all(x.dtype == jnp.bfloat16 for x in ours)
    exact = with_gradients(blockwise.at_once, [x.astype(jnp.float32) for x in inputs], gradient.astype(jnp.float32))
    for x, y in zip(ours, exact, strict=True):
        np.testing.assert_allclose(x.astype(jnp.float32), y, rtol=0.02, atol=0.02 * float(np.abs(y).max()))


def test_gradients_have_the_dtypes_of_their_inputs():
    """Parameters in float32, activations in bfloat16."""
    (v, k, q), gradient = drawn(1, 2, 3, 4)
    e, *gradients = with_gradients(partial(blockwise.by_blocks, 1, 2), (v, k.astype(jnp.bfloat16), q.astype(jnp.bfloat16)), gradient)
    assert e.dtype == jnp.float32
    assert [x.dtype for x in gradients] == [jnp.float32, jnp.bfloat16, jnp.bfloat16]


def largest(function, *shapes) -> int:
    """Numbers of the largest array that any operation of the function makes."""

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (math.prod(v.aval.shape) for v in equation.outvars)
            for inner in jaxprs_in_params(equation.params):
                yield from sizes(inner)

    return max(sizes(jax.make_jaxpr(function)(*shapes).jaxpr))


LONG = 1024
WIDE = 512
LONG_SHAPES = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((WIDE, 1), (1, LONG, WIDE), (1, LONG, WIDE)))


def gradient_of(score):
    return jax.grad(lambda *inputs: (score(*inputs) ** 2).sum(), (0, 1, 2))


def test_no_array_of_all_looks_places_and_widths():
    """T = S = 1024, A = 512: the plain form makes arrays of T·S·A numbers, ours of T·S, and of one block elsewhere."""
    assert largest(gradient_of(blockwise.at_once), *LONG_SHAPES) == LONG * LONG * WIDE
    assert largest(gradient_of(blockwise.through_tanh), *LONG_SHAPES) <= LONG * LONG
    elsewhere = partial(blockwise.by_blocks, *blockwise.block(1, LONG, LONG, WIDE, "gpu"))
    assert largest(gradient_of(elsewhere), *LONG_SHAPES) <= machine.block("scores", "gpu") < LONG * LONG * WIDE


def test_memory_of_the_compiled_program():
    """… and so says the compiler: a few arrays of T·S floats for forward and backward together."""
    compiled = jax.jit(gradient_of(blockwise.through_tanh)).lower(*LONG_SHAPES).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 12 * 4 * LONG * LONG


@pytest.mark.parametrize(
    "settings",
    [{"normaliser": n} for n in ("softmax", "smoothing", "sparsemax", "entmax15", "entmax")]
    + [{"window": "local_p"}, {"estimator": "gumbel"}, {"estimator": "reinforce"}],
    ids=lambda settings: "=".join(*settings.items()),
)
def test_no_stage_of_a_block_of_looks_makes_more(settings):
    """Normalisers, windows, estimators and contexts of 1024 looks at 1024 places: none makes more than T·S numbers at a time."""
    built = attention.build(ModelConfig(attention="additive", alpha=1.7, **settings), Sizes(WIDE, WIDE, WIDE))

    def loss(params, memory_BxSxM, query_BxTxH):
        prepared = built.prepare(params, memory_BxSxM, jnp.ones((1, LONG), bool))
        keys_BxT = jax.random.split(jax.random.key(0), (1, LONG))
        looks = mechanism.look_at_all(built, params, prepared, built.initial(prepared, keys_BxT[:, 0]), query_BxTxH, keys_BxT)
        return (looks.context_BxTxC**2).sum() + (looks.weights_BxTxS**2).sum() + looks.terms.log_draw.sum()

    params = jax.eval_shape(built.init, jax.random.key(0))
    assert largest(jax.grad(loss, (0, 1, 2)), params, *LONG_SHAPES[1:]) <= LONG * LONG
