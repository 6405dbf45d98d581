"""Encoders as modules: what the functions compute, with Flax's ways of saying what is real, what is drawn and in which dtype."""

from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import encoders
from attention_jax.adapters.linen.encoder import Encoder
from attention_jax.adapters.linen.parameters import from_flax
from attention_jax.layers import cells
from attention_jax.system.errors import ConfigError

B, S, E, H = 3, 4, 3, 4  # S: an image of 2 x 2
LENGTHS = jnp.array([4, 2, 0])
MASK = jnp.arange(S)[None, :] < LENGTHS[:, None]
KEY = jax.random.key(0)
INPUTS = jax.random.normal(KEY, (B, S, E))
ROWS = {f"encoder={name}": {"encoder": name, "cell": "rnn"} for name in encoders.TABLE}
ROWS |= {f"cell={name}": {"cell": name, "layers": 1, "direction": "forward"} for name in cells.TABLE}
EVERY = pytest.mark.parametrize("row", ROWS)


def module_of(row: str, **changes) -> Encoder:
    """The row's module, of two layers where it can have them."""
    for layers in (2, 1):
        module = Encoder(**{"hidden_size": H, "layers": layers} | ROWS[row] | changes)
        try:
            encoders.build(module.config, E)
        except ConfigError:
            continue
        return module
    raise AssertionError(f"{row} cannot be built")


def squares(memory) -> jax.Array:
    """Something to differentiate."""
    return (memory.states_BxSxM**2).sum() + (memory.final_BxD**2).sum()


@cache
def computed(row: str):
    """(variables, the module's memory, its gradients by parameters and inputs), jitted."""
    module = module_of(row)
    variables = parameters_of(module)

    def loss(variables, inputs_BxSxE):
        memory = module.apply(variables, inputs_BxSxE, seq_lengths=LENGTHS)
        return squares(memory), memory

    gradients, memory = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables, INPUTS)
    return variables, memory, gradients


def parameters_of(module: nn.Module):
    """Random parameters of the shapes that `init` makes; starting values are tested in parameters_test.py, and take long to compile."""
    draw = np.random.default_rng(0).normal
    return jax.tree.map(lambda leaf: jnp.asarray(draw(0, 0.4, leaf.shape), jnp.float32), jax.eval_shape(module.init, KEY, INPUTS))


@pytest.mark.long
@EVERY
def test_it_computes_what_the_functions_do(row):
    """The functions go through `vmap` (one example each), `grad` and `remat`."""
    variables, memory, (gradients, inputs_gradient) = computed(row)
    encoder = encoders.build(module_of(row).config, E)
    params = from_flax(variables["params"], jax.eval_shape(encoder.init, KEY))

    @jax.checkpoint
    def loss(inputs_SxE, mask_S):
        memory = encoder.apply(params, inputs_SxE[None], mask_S[None])
        return squares(memory), memory

    expected_gradient, expected = jax.jit(jax.vmap(jax.grad(loss, has_aux=True)))(INPUTS, MASK)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda ours, theirs: close(ours, theirs[:, 0]), memory, expected)
    close(inputs_gradient, expected_gradient)
    assert memory.states_BxSxM.shape[2] == encoder.memory_size and memory.final_BxD.shape == (B, encoder.final_size)
    assert jax.tree.structure(gradients) == jax.tree.structure(variables)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
    assert any(np.any(g != 0) for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize("row", ["encoder=pyramidal", "encoder=image"])
def test_numpy_s_arrays_are_arrays(row):
    module, variables = module_of(row), parameters_of(module_of(row))
    by_numpy = module.apply(*jax.tree.map(np.asarray, (variables, INPUTS, MASK)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), by_numpy, module.apply(variables, INPUTS, MASK))


@EVERY
def test_dtypes(row):
    variables = jax.eval_shape(module_of(row).init, KEY, INPUTS)
    for dtype, param_dtype, inputs, expected in [
        (None, jnp.float32, jnp.bfloat16, jnp.float32),
        (None, jnp.bfloat16, jnp.bfloat16, jnp.bfloat16),
        (jnp.bfloat16, jnp.float32, jnp.float32, jnp.bfloat16),
    ][0 if row == "encoder=recurrent" else 2 :]:
        module = module_of(row, dtype=dtype, param_dtype=param_dtype)
        kept = jax.tree.map(lambda leaf, d=param_dtype: jax.ShapeDtypeStruct(leaf.shape, d), variables)
        memory = jax.eval_shape(module.apply, kept, jax.ShapeDtypeStruct(INPUTS.shape, inputs), MASK)
        assert memory.states_BxSxM.dtype == memory.final_BxD.dtype == expected


def test_dropout_draws_from_its_stream_for_each_example():
    module, (variables, memory, _) = module_of("encoder=recurrent", dropout=0.5), computed("encoder=recurrent")
    run = jax.jit(lambda key, inputs, mask: module.apply(variables, inputs, mask, deterministic=False, rngs={"dropout": key}).states_BxSxM)
    dropped = run(jax.random.key(1), INPUTS, MASK)
    assert np.any(dropped != memory.states_BxSxM)
    np.testing.assert_array_equal(dropped, run(jax.random.key(1), INPUTS, MASK))
    assert np.any(dropped != run(jax.random.key(2), INPUTS, MASK))
    np.testing.assert_allclose(run(jax.random.key(1), INPUTS[:2], MASK[:2]), dropped[:2], rtol=1e-5, atol=1e-6)
    with pytest.raises(Exception, match="dropout"):
        module.apply(variables, INPUTS, MASK, deterministic=False)


def test_without_a_mask_everything_is_real():
    variables, module = computed("encoder=image")[0], module_of("encoder=image")
    unmasked, whole = module.apply(variables, INPUTS), module.apply(variables, INPUTS, seq_lengths=[S] * B)
    jax.tree.map(np.testing.assert_array_equal, unmasked, whole)


def test_nan_in_padding_changes_nothing():
    module, variables = module_of("encoder=recurrent"), computed("encoder=recurrent")[0]
    loss = jax.jit(jax.value_and_grad(lambda variables, inputs: squares(module.apply(variables, inputs, MASK))))
    clean, dirty = (loss(variables, jnp.where(MASK[:, :, None], INPUTS, anything)) for anything in (0, jnp.nan))
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)


@pytest.mark.long
def test_remat_and_ensembles():
    """`nn.remat` changes nothing; `nn.vmap` with split parameters gives members of their own."""
    variables = computed("encoder=recurrent")[0]
    settings = {"hidden_size": H, "layers": 2, "cell": "rnn"}

    def loss(variables):
        return squares(nn.remat(Encoder)(**settings).apply(variables, INPUTS, MASK))

    gradients = jax.jit(jax.grad(loss))(variables)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), gradients, computed("encoder=recurrent")[2][0])
    members = nn.vmap(Encoder, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=2)(**settings)
    split = jax.tree.map(lambda x: jnp.stack([0.5 * x, x]), variables)
    assert jax.tree.map(jnp.shape, split) == jax.tree.map(jnp.shape, jax.eval_shape(members.init, KEY, INPUTS))
    states_NxBxSxM = jax.jit(members.apply)(split, INPUTS, MASK).states_BxSxM
    assert np.any(states_NxBxSxM[0] != states_NxBxSxM[1])
    np.testing.assert_allclose(states_NxBxSxM[1], computed("encoder=recurrent")[1].states_BxSxM, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "settings, arguments, message",
    [
        ({"encoder": "recurent"}, (INPUTS,), r"model.encoder='recurent' is unknown \(did you mean 'recurrent'\?\)"),
        ({"hidden_size": 0}, (INPUTS,), "model.hidden_size=0 is impossible"),
        ({}, (INPUTS[0],), r"inputs of shape BxSxE, not \(4, 3\)"),
        ({}, (INPUTS, MASK[:, :2]), r"a mask of shape \(3, 4\), as its inputs, not \(3, 2\)"),
        ({}, (INPUTS, MASK, LENGTHS), "a mask or seq_lengths, not both"),
    ],
)
def test_what_cannot_be_is_refused(settings, arguments, message):
    with pytest.raises(ConfigError, match=message):
        Encoder(**settings).init(KEY, *arguments)


def test_fields_are_settings():
    with pytest.raises(TypeError, match="hiden_size"):
        Encoder(hiden_size=3)
    assert Encoder(cell="lstm", hidden_size=5).config.cell == "lstm" and Encoder().config == Encoder().config
