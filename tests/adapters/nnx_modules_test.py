"""NNX modules beside the Linen modules of the same parameters: outputs, gradients, steps, draws, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from attention_jax import attention, encoders
from attention_jax.adapters import nnx_modules
from attention_jax.adapters.linen.attention import Attention
from attention_jax.adapters.linen.encoder import Encoder
from attention_jax.system.errors import ConfigError

B, S, T, M, H, E = 2, 5, 3, 6, 6, 4
draw = np.random.default_rng(0).normal
QUERY_BxTxH, MEMORY_BxSxM = draw(size=(B, T, H)).astype(np.float32), draw(size=(B, S, M)).astype(np.float32)
INPUTS_BxSxE = draw(size=(B, S, E)).astype(np.float32)
MASK_BxS = np.arange(S)[None, :] < np.array([[5], [3]])
SETTINGS = {name: {"attention": name} for name in ("additive", "location_aware", "cosine", "summary", "gmm_v2")} | {
    "heads": {"attention": "scaled_dot", "heads": 2},
    "stepwise": {"normaliser": "stepwise"},
    "slots": {"slots": 2, "attention_size": 3},
}


LAYERED = ("gnmt", "pyramidal")  # encoders of two layers and more


def params_of(module) -> dict:
    """A module's parameters as Linen has them."""
    return nnx.to_pure_dict(nnx.state(module, nnx.Param)).get("params", {})


@pytest.mark.parametrize("name", SETTINGS)
def test_attention_is_that_of_linen(name):
    attend = nnx_modules.Attention(M, H, rngs=nnx.Rngs(1), **SETTINGS[name])
    module, params = Attention(**SETTINGS[name]), params_of(attend)
    expected = jax.jit(module.apply)({"params": params}, QUERY_BxTxH, MEMORY_BxSxM, MASK_BxS)

    def three_ways(attend):
        prepared = attend.prepare(MEMORY_BxSxM, MASK_BxS)
        state, steps = attend.initial(prepared), []
        for t in range(T):
            context_BxC, _, state, _ = attend.attend(prepared, state, QUERY_BxTxH[:, t])
            steps.append(context_BxC)
        together, one = (attend(query, MEMORY_BxSxM, MASK_BxS) for query in (QUERY_BxTxH, QUERY_BxTxH[:, 0]))
        return together, jnp.stack(steps, axis=1), one[0]

    found, steps_BxTxC, one_BxC = nnx.jit(three_ways)(attend)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), found, expected)
    np.testing.assert_allclose(steps_BxTxC, found[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one_BxC, found[0][:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["recurrent", "self_attention"])
def test_an_encoder_is_that_of_linen(name):
    settings = {"encoder": name, "hidden_size": 4, "cell": "lstm"}
    encode = nnx_modules.Encoder(E, rngs=nnx.Rngs(1), **settings)
    expected = jax.jit(Encoder(**settings).apply)({"params": params_of(encode)}, INPUTS_BxSxE, MASK_BxS)
    found = nnx.jit(lambda encode: encode(INPUTS_BxSxE, MASK_BxS))(encode)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), found, expected)
    assert (encode.memory_size, encode.final_size) == (found.states_BxSxM.shape[2], found.final_BxD.shape[1])


def test_gradients_and_training():
    attend = nnx_modules.Attention(M, H, rngs=nnx.Rngs(0), attention="additive")

    def loss(attend):
        return (attend(QUERY_BxTxH, MEMORY_BxSxM, MASK_BxS)[0] ** 2).sum()

    expected = jax.jit(jax.grad(lambda params: (Attention().apply({"params": params}, QUERY_BxTxH, MEMORY_BxSxM, MASK_BxS)[0] ** 2).sum()))(
        params_of(attend)
    )
    gradients = nnx.jit(nnx.grad(loss))(attend)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), params_of_state(gradients), expected)
    optimizer, judge = nnx.Optimizer(attend, optax.sgd(1e-3), wrt=nnx.Param), nnx.jit(loss)
    before = judge(attend)
    optimizer.update(attend, gradients)
    assert judge(attend) < before


def params_of_state(state) -> dict:
    return nnx.to_pure_dict(state)["params"]


@pytest.mark.long
def test_draws_follow_a_key_and_nothing_is_drawn_without():
    attend = nnx_modules.Attention(M, H, rngs=nnx.Rngs(0), estimator="gumbel")
    ask = nnx.jit(lambda attend, key=None: attend(QUERY_BxTxH, MEMORY_BxSxM, MASK_BxS, key)[0])
    first, again, other = (ask(attend, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (ask(attend) == ask(attend)).all()
    encode = nnx_modules.Encoder(E, rngs=nnx.Rngs(0), hidden_size=4, layers=2, dropout=0.5)
    read = nnx.jit(lambda encode, key=None: encode(INPUTS_BxSxE, None, key).states_BxSxM)
    assert (read(encode, jax.random.key(1)) != read(encode)).any()


def test_types():
    attend = nnx_modules.Attention(M, H, rngs=nnx.Rngs(0), dtype=jnp.bfloat16, param_dtype=jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(params_of(attend))} == {jnp.dtype(jnp.float32)}
    assert jax.eval_shape(lambda: attend(QUERY_BxTxH, MEMORY_BxSxM))[0].dtype == jnp.bfloat16


def test_every_row_starts():
    for name in attention.TABLE:
        made = nnx.eval_shape(lambda name=name: nnx_modules.Attention(M, H, rngs=nnx.Rngs(0), attention=name))
        assert made.config.attention == name
    for name in encoders.TABLE:
        made = nnx.eval_shape(
            lambda name=name: nnx_modules.Encoder(E, rngs=nnx.Rngs(0), encoder=name, hidden_size=4, layers=1 + (name in LAYERED))
        )
        assert made.memory_size > 0 and made.config.encoder == name


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: nnx_modules.Attention(M, H, rngs=nnx.Rngs(0), atention="dot"),
            r"setting='atention' is unknown \(did you mean 'attention'",
        ),
        (lambda: nnx_modules.Attention(M, 3, rngs=nnx.Rngs(0), attention="dot"), "attention=dot needs memory vectors as wide as"),
        (lambda: made()(QUERY_BxTxH[:, :, :2], MEMORY_BxSxM), r"with B=2 and H=6, not \(2, 3, 2\)"),
        (lambda: made()(QUERY_BxTxH, MEMORY_BxSxM[0]), r"needs a memory of shape BxSxM with M=6, not \(5, 6\)|needs a query"),
        (lambda: made().prepare(MEMORY_BxSxM[:, :, :2]), r"needs a memory of shape BxSxM with M=6, not \(2, 5, 2\)"),
        (lambda: made().prepare(MEMORY_BxSxM, MASK_BxS[:, :2]), r"needs a mask of shape \(2, 5\), as its memory, not \(2, 2\)"),
        (lambda: nnx_modules.Encoder(E, rngs=nnx.Rngs(0), heads=2), "setting='heads' is unknown"),
        (lambda: nnx_modules.Encoder(E, rngs=nnx.Rngs(0))(MEMORY_BxSxM), r"needs inputs of shape BxSxE with E=4, not \(2, 5, 6\)"),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises(ConfigError, match=said) as error:
        call()
    assert "\n" not in str(error.value)


def made():
    return nnx_modules.Attention(M, H, rngs=nnx.Rngs(0))
