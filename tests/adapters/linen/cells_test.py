"""Cells as modules: `flax.linen.RNN` over one is the encoders' own loop over its functions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.adapters.linen.cells import Cell
from attention_jax.adapters.linen.parameters import from_flax
from attention_jax.layers import cells, recurrence
from attention_jax.system.errors import ConfigError

B, S, E, H = 3, 5, 3, 4
KEY = jax.random.key(0)
INPUTS = jax.random.normal(KEY, (B, S, E))
LENGTHS = jnp.array([5, 3, 1])
MASK = jnp.arange(S)[None, :] < LENGTHS[:, None]
ROWS = pytest.mark.parametrize("name", cells.TABLE)


def parameters_of(layer: nn.Module):
    """Random parameters of the shapes that `init` makes."""
    draw = np.random.default_rng(0).normal
    return jax.tree.map(lambda leaf: jnp.asarray(draw(0, 0.4, leaf.shape), jnp.float32), jax.eval_shape(layer.init, KEY, INPUTS))


@ROWS
def test_flax_scans_it_as_we_do(name, evidence):
    layer = nn.RNN(Cell(features=H, cell=name), return_carry=True)
    functions = cells.TABLE[name](E, H)

    @jax.jit
    def both(variables):
        params = from_flax(variables["params"]["cell"], jax.eval_shape(functions.init, KEY))
        return layer.apply(variables, INPUTS, seq_lengths=LENGTHS), recurrence.run(functions, params, INPUTS, MASK)

    (theirs_BxF, states_BxSxH), (ours_BxSxH, ours_BxF) = both(parameters_of(layer))
    evidence(f"cell={name}", "flax.linen.RNN as the loop", ours_BxF, theirs_BxF)
    evidence(f"cell={name}", "flax.linen.RNN as the loop", ours_BxSxH, jnp.where(MASK[:, :, None], states_BxSxH, 0))


@ROWS
def test_shapes_and_dtypes(name):
    """Any number of batch axes; the scan keeps its carry's dtype in bf16 too."""
    for batch in [(), (2, 3)]:
        layer = nn.RNN(Cell(H, name, dtype=jnp.bfloat16), reverse=True, keep_order=True)
        variables = jax.eval_shape(layer.init, KEY, jnp.zeros((*batch, S, E)))
        states = jax.eval_shape(layer.apply, variables, jax.ShapeDtypeStruct((*batch, S, E), jnp.float32))
        assert states.shape == (*batch, S, H) and states.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_both_directions_and_gradients():
    layer = nn.Bidirectional(nn.RNN(Cell(H, "lstm")), nn.RNN(Cell(H, "mingru")))
    variables = parameters_of(layer)
    gradients = jax.jit(jax.grad(lambda v: (layer.apply(v, INPUTS, seq_lengths=LENGTHS) ** 2).sum()))(variables)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
    assert jax.eval_shape(layer.apply, variables, INPUTS).shape == (B, S, 2 * H)


def test_an_unknown_cell_is_refused():
    with pytest.raises(ConfigError, match=r"cell='lstmm' is unknown \(did you mean 'lstm'\?\)"):
        nn.RNN(Cell(H, "lstmm")).init(KEY, INPUTS)
