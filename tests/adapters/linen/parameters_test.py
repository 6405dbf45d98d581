"""Names: every parameter of every row has Flax's name in the module, and finds its way back."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.adapters.linen.cells import Cell
from attention_jax.adapters.linen.encoder import Encoder
from attention_jax.adapters.linen.parameters import from_flax, to_flax
from attention_jax.layers import cells

KEY = jax.random.key(0)
NESTED = {
    "score": {"query": jnp.ones((3, 2)), "v": jnp.ones(2), "sharpness": jnp.ones(())},
    "feed": {"weight": jnp.ones((3, 2)), "bias": jnp.ones(2)},
    "heads": {"bias": jnp.ones((4, 2)), "query": jnp.ones((4, 3, 2))},
    "window": {},
}


def test_names_by_hand():
    names = jax.tree.map(jnp.shape, to_flax(NESTED), is_leaf=lambda x: not isinstance(x, dict))
    assert names == {
        "score": {"query": {"kernel": (3, 2)}, "v": (2,), "sharpness": ()},
        "feed": {"kernel": (3, 2), "bias": (2,)},
        "heads": {"bias": (4, 2), "query": {"kernel": (4, 3, 2)}},
    }


def test_and_back():
    back = from_flax(to_flax(NESTED), NESTED)
    assert jax.tree.structure(back) == jax.tree.structure(NESTED)
    assert all(a is b for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(NESTED), strict=True))


class Drawn(nn.Module):
    """The key that a module at its place makes its parameters of."""

    def __call__(self):
        return self.make_rng("params")


@pytest.mark.parametrize("name", ["gru_before", "diagonal"])
def test_a_module_starts_as_its_function_does(name):
    functions = cells.TABLE[name](3, 4)
    key, _ = Drawn().init_with_output(KEY)
    theirs = jax.jit(Cell(4, name).init)(KEY, jnp.zeros((1, functions.carry_size)), jnp.zeros((1, 3)))["params"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), to_flax(jax.jit(functions.init)(key)), theirs)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_parameters_are_kept_in_their_dtype(dtype):
    module = Encoder(hidden_size=4, param_dtype=dtype)
    variables = jax.eval_shape(module.init, KEY, jnp.zeros((1, 2, 3)))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(dtype)}


def test_two_calls_share_parameters_and_other_shapes_are_refused():
    module = Encoder(encoder="image", hidden_size=4)
    variables = module.init(KEY, jnp.ones((1, 4, 3)))
    twice = module.apply(variables, method=lambda m: (m(jnp.ones((1, 4, 3))), m(jnp.ones((1, 4, 3)))))
    np.testing.assert_array_equal(twice[0].states_BxSxM, twice[1].states_BxSxM)
    with pytest.raises(Exception, match="shape"):
        module.apply(variables, jnp.ones((1, 4, 5)))
    with pytest.raises(Exception, match="collection is empty"):
        module.apply({}, jnp.ones((1, 4, 3)))
    memory, made = module.apply({}, jnp.ones((1, 4, 3)), mutable=["params"], rngs={"params": KEY})
    jax.tree.map(np.testing.assert_array_equal, made, dict(variables))
    np.testing.assert_array_equal(memory.states_BxSxM, twice[0].states_BxSxM)
