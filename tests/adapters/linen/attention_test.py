"""Attention as a module: what the functions compute for every row, in Flax's transformations, dtypes and streams."""

from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attention_jax import attention
from attention_jax.adapters.linen.attention import Attention
from attention_jax.adapters.linen.parameters import from_flax
from attention_jax.attention.sizes import Sizes
from attention_jax.system.errors import ConfigError

B, S, T, M, E, V = 3, 5, 2, 6, 3, 4
LENGTHS = jnp.array([5, 2, 0])
MASK = jnp.arange(S)[None, :] < LENGTHS[:, None]
KEY = jax.random.key(0)
MEMORY, QUERY = (jax.random.normal(jax.random.key(seed), (B, n, M)) for seed, n in enumerate((S, T)))
AXES = {"normaliser": attention.NORMALISERS, "window": attention.WINDOWS, "estimator": attention.ESTIMATORS}
ROWS = {f"attention={name}": {"attention": name} for name in attention.TABLE}
ROWS |= {f"{axis}={name}": {axis: name} for axis, table in AXES.items() for name in table if name not in ("softmax", "all", "soft")}
ROWS |= {"heads": {"heads": 2, "attention_size": 4}, "slots": {"slots": 2, "directions": ("forward", "reversed")}}
EVERY = pytest.mark.parametrize("row", ROWS)


def module_of(row: str, **changes) -> Attention:
    """The row's module, with the first score that it goes with."""
    for name in [ROWS[row]["attention"]] if "attention" in ROWS[row] else attention.SCORES:
        module = Attention(**{"attention": name, "embedding_size": E, "window_size": 1} | ROWS[row] | changes)
        try:
            functions_of(module)
        except ConfigError:
            continue
        return module
    raise AssertionError(f"{row} goes with no score")


def functions_of(module: Attention):
    return attention.build(module.config, Sizes(M, M, module.attention_size or M, module.directions, E))


def parameters_of(module: nn.Module, *arguments):
    """Random parameters of the shapes that `init` makes."""
    draw = np.random.default_rng(0).normal
    return jax.tree.map(lambda leaf: jnp.asarray(draw(0, 0.5, leaf.shape), jnp.float32), jax.eval_shape(module.init, KEY, *arguments))


class Decoder(nn.Module):
    """A decoder of someone's own: a cell of Flax that asks at every step, scanned, each step recomputed in the backward pass."""

    attend: Attention

    @nn.compact
    def __call__(self, inputs_BxTxE, memory_BxSxM, mask_BxS, deterministic: bool = True):
        prepared = self.attend.prepare(memory_BxSxM, mask_BxS, M)
        cell = nn.SimpleCell(M, name="cell")

        def step(module, carry, input_BxE, prepared):
            h_BxM, state = carry
            h_BxM, _ = cell(h_BxM, input_BxE)
            context_BxC, weights_BxS, state, _ = module.attend.attend(prepared, state, h_BxM, deterministic)
            return (h_BxM, state), (h_BxM, context_BxC, weights_BxS)

        steps = nn.scan(
            nn.remat(step, prevent_cse=False),
            variable_broadcast="params",
            split_rngs={"params": False, "attention": True},
            in_axes=(1, nn.broadcast),
            out_axes=1,
        )
        carry = (jnp.zeros((memory_BxSxM.shape[0], M), memory_BxSxM.dtype), self.attend.initial(prepared, deterministic))
        return steps(self, carry, inputs_BxTxE, prepared)[1]


def squares(looks) -> jax.Array:
    """Something to differentiate."""
    return sum((x**2).sum() for x in looks)


@cache
def computed(row: str):
    """(variables, the module's block of looks, a scanned decoder's looks and gradients, the pure functions' looks and gradient).

    The functions go through `vmap` (one example each), `grad`, `remat` and `scan`, all of it in one `jit`.
    """
    module, decoder = module_of(row), Decoder(module_of(row))
    variables = parameters_of(decoder, QUERY, MEMORY, MASK)

    @jax.jit
    def run(variables):
        def by_module(variables, memory_BxSxM):
            states_BxTxM, *looks = decoder.apply(variables, QUERY, memory_BxSxM, MASK)
            return squares(looks), (states_BxTxM, looks)

        gradients, (states_BxTxM, steps) = jax.grad(by_module, argnums=(0, 1), has_aux=True)(variables, MEMORY)
        own = {"params": variables["params"].get("attend", {})}
        functions = functions_of(module)
        params = from_flax(own["params"], jax.eval_shape(functions.init, KEY))

        def by_functions(memory_SxM, mask_S, states_TxM):
            prepared = functions.prepare(params, memory_SxM[None], mask_S[None])

            def step(state, query_M):
                context_1xC, weights_1xS, state, _ = functions.attend(params, prepared, state, query_M[None])
                return state, (context_1xC[0], weights_1xS[0])

            _, looks = jax.lax.scan(jax.checkpoint(step), functions.initial(prepared), states_TxM)
            return squares(looks), looks

        expected = jax.vmap(jax.grad(by_functions, has_aux=True))(MEMORY, MASK, states_BxTxM)
        return module.apply(own, states_BxTxM, MEMORY, MASK), (steps, gradients), expected

    return variables, *run(variables)


@pytest.mark.long
@EVERY
def test_it_computes_what_the_functions_do(row):
    """As a block, and step by step under `nn.scan` and `nn.remat`; gradients reach every parameter's place and are finite."""
    variables, block, (steps, (gradients, memory_gradient)), (expected_gradient, expected) = computed(row)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, tuple(block), expected)
    jax.tree.map(close, tuple(steps), expected)
    close(memory_gradient, expected_gradient)
    assert np.all(np.where(MASK[:, None], 0, block[1]) == 0)
    assert jax.tree.structure(gradients) == jax.tree.structure(variables)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


@EVERY
def test_dtypes(row):
    """`dtype` is that of context and weights, and of what is carried, so that a scan keeps its carry."""
    module = module_of(row, dtype=jnp.bfloat16)
    variables = jax.eval_shape(module.init, KEY, QUERY, MEMORY)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype(jnp.float32)}
    own = {} if not variables else {"attend": variables["params"]}
    cell = jax.eval_shape(nn.SimpleCell(M).init, KEY, QUERY[:, 0], QUERY[:, 0])["params"]
    steps = jax.eval_shape(Decoder(module).apply, {"params": own | {"cell": cell}}, QUERY, MEMORY, MASK)
    out = jax.eval_shape(module.apply, variables, QUERY, MEMORY, MASK)
    assert {x.dtype for x in (*out, *steps[1:])} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("row", [row for row in ROWS if "estimator" in row or row == "attention=additive"])
def test_training_draws_from_its_stream(row):
    """The same key gives the same draw, another one another where anything is drawn; deterministic needs no key at all."""
    module = module_of(row)
    own = parameters_of(module, QUERY, MEMORY, MASK)
    run = jax.jit(lambda key: module.apply(own, QUERY, MEMORY, MASK, deterministic=False, rngs={"attention": key})[0])
    draws = [np.asarray(run(jax.random.key(seed))) for seed in (1, 1, 2)]
    assert all(np.isfinite(draw).all() for draw in draws)
    np.testing.assert_array_equal(draws[0], draws[1])
    drawing = module.estimator in ("reinforce", "gumbel", "straight_through")
    assert np.any(draws[0] != draws[2]) == drawing
    with pytest.raises(Exception, match="attention"):
        module.apply(own, QUERY, MEMORY, MASK, deterministic=False)


@pytest.mark.long
def test_keys_of_the_old_kind_draw_the_same():
    """Of heads, too, and of looks that depend on each other."""
    module = Attention(normaliser="monotonic", heads=2)
    variables = parameters_of(module, QUERY, MEMORY)
    run = jax.jit(lambda key: module.apply(variables, QUERY, MEMORY, MASK, deterministic=False, rngs={"attention": key}))
    jax.tree.map(np.testing.assert_array_equal, run(jax.random.key(1)), run(jax.random.PRNGKey(1)))


def test_nan_in_padding_changes_nothing():
    module = Attention(heads=2)
    variables = parameters_of(module, QUERY, MEMORY)

    @jax.jit
    @jax.value_and_grad
    def loss(variables, memory_BxSxM):
        return (module.apply(variables, QUERY, memory_BxSxM, MASK)[0] ** 2).sum()

    clean, dirty = (loss(variables, jnp.where(MASK[:, :, None], MEMORY, anything)) for anything in (0, jnp.nan))
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)


@pytest.mark.long
def test_five_lines():
    attend = Attention(attention="additive", normaliser="sparsemax", attention_size=64)
    variables = attend.init(jax.random.key(0), QUERY, MEMORY, MASK)
    context_BxTxM, weights_BxTxS = attend.apply(variables, QUERY, MEMORY, MASK)
    assert context_BxTxM.shape == (B, T, M) and weights_BxTxS.shape == (B, T, S)
    np.testing.assert_allclose(weights_BxTxS.sum(2)[:2], 1, rtol=1e-5)
    shapes = jax.tree.map(jnp.shape, variables["params"], is_leaf=lambda x: hasattr(x, "shape"))
    assert shapes == {"score": {"query": {"kernel": (M, 64)}, "memory": {"kernel": (M, 64)}, "v": {"kernel": (64, 1)}}}
    np.testing.assert_allclose(attend.apply(variables, QUERY[:, 0], MEMORY, MASK)[0], context_BxTxM[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        attend.apply(variables, QUERY, MEMORY)[1], attend.apply(variables, QUERY, MEMORY, jnp.ones((B, S), bool))[1]
    )


@pytest.mark.parametrize("row", ["attention=location_aware", "normaliser=monotonic", "heads", "slots"])
def test_numpy_s_arrays_are_arrays_and_padding_may_stand_anywhere(row):
    module = module_of(row)
    variables, mask_BxS = parameters_of(module, QUERY, MEMORY, MASK), np.array([[c == "#" for c in r] for r in (".##.#", "#...#", ".....")])
    arguments = jax.tree.map(np.asarray, (variables, QUERY, MEMORY))
    context_BxTxC, weights_BxTxS = module.apply(*arguments, mask_BxS)
    front_BxSxM = np.zeros_like(MEMORY)
    for b, real_S in enumerate(mask_BxS):
        front_BxSxM[b, : real_S.sum()] = MEMORY[b][real_S]
    front = module.apply(variables, QUERY, jnp.asarray(front_BxSxM), jnp.arange(S)[None] < mask_BxS.sum(1)[:, None])
    np.testing.assert_allclose(context_BxTxC, front[0], rtol=1e-5, atol=1e-6)
    for b, real_S in enumerate(mask_BxS):
        np.testing.assert_allclose(weights_BxTxS[b][:, real_S], front[1][b, :, : real_S.sum()], rtol=1e-5, atol=1e-6)


def test_the_summary_as_d_numbers():
    """A start is for the caller's model to say: no parameters of one, where nothing else reads the vector."""
    summary = Attention(attention="summary", vector_size=2)
    variables = parameters_of(summary, QUERY, MEMORY, MASK)
    assert jax.tree.map(jnp.shape, variables["params"]) == {"vector": {"kernel": (M, 2), "bias": (2,)}}
    kernel, bias = (np.asarray(variables["params"]["vector"][name]) for name in ("kernel", "bias"))
    context_BxTxC, _ = summary.apply(variables, QUERY, MEMORY, MASK)
    for b, n in enumerate((5, 2)):
        np.testing.assert_allclose(context_BxTxC[b], [np.tanh(MEMORY[b, n - 1] @ kernel + bias)] * T, rtol=1e-5, atol=1e-6)
    assert "vector" not in parameters_of(Attention(vector_size=2), QUERY, MEMORY, MASK)["params"]


def test_an_objective_of_its_own():
    """What a hard estimator makes of the caller's readout: -Σ log Σ_s α_s p(y | h_s), by hand."""
    module = Attention(attention="dot", estimator="marginal")

    def both(module):
        prepared = module.prepare(MEMORY, MASK, M)
        looks = module.look(prepared, module.initial(prepared), QUERY)
        return looks, module.predict(prepared, lambda context: context[..., :V], looks, QUERY)

    looks, (logits_BxTxV, extra_BxT) = module.apply({}, method=both)
    p_BxSxV = jax.nn.softmax(MEMORY[..., :V])
    by_hand = np.einsum("bts,bsv->btv", looks.weights_BxTxS[:2], p_BxSxV[:2])
    np.testing.assert_allclose(jax.nn.softmax(logits_BxTxV)[:2], by_hand, rtol=1e-4, atol=1e-5)
    assert extra_BxT.shape == (B, T)


@pytest.mark.long
def test_in_nnx():
    """The bridge of Flax is all the adapter that NNX needs."""
    model = nnx.bridge.ToNNX(Attention(attention_size=4), rngs=nnx.Rngs(0, attention=1)).lazy_init(QUERY, MEMORY, MASK)
    context_BxTxM, weights_BxTxS = model(QUERY, MEMORY, MASK)
    state = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    by_linen = Attention(attention_size=4).apply({"params": state}, QUERY, MEMORY, MASK)
    np.testing.assert_array_equal(context_BxTxM, by_linen[0])
    gradients = nnx.grad(lambda model: (model(QUERY, MEMORY, MASK)[0] ** 2).sum())(model)
    assert any(np.any(g != 0) for g in jax.tree.leaves(gradients))
    prepared = model.prepare(MEMORY, MASK, M)
    step_BxM = model.attend(prepared, model.initial(prepared), QUERY[:, 0])[0]
    np.testing.assert_allclose(step_BxM, context_BxTxM[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "settings, arguments, message",
    [
        ({"attention": "aditive"}, (QUERY, MEMORY), r"model.attention='aditive' is unknown \(did you mean 'additive'\?\)"),
        ({"attention": "dot"}, (QUERY[..., :4], MEMORY), "attention=dot needs"),
        ({"score_temperature": 0.0}, (QUERY, MEMORY), "model.score_temperature=0.0 is impossible"),
        ({}, (QUERY[0, 0], MEMORY), r"a query of shape BxTxH or BxH with B=3, not \(6,\)"),
        ({}, (QUERY[:2], MEMORY), r"with B=3, not \(2, 2, 6\)"),
        ({}, (QUERY, MEMORY[0]), r"a memory of shape BxSxM, not \(5, 6\)"),
        ({}, (QUERY, MEMORY, MASK[:, :2]), r"a mask of shape \(3, 5\), as its memory, not \(3, 2\)"),
    ],
)
def test_what_cannot_be_is_refused(settings, arguments, message):
    with pytest.raises(ConfigError, match=message):
        Attention(**settings).init(KEY, *arguments)
