"""Recurrent cells as a Flax module, every row of `layers.cells.TABLE`, for `flax.linen.RNN` and `nn.scan`.

    states_BxSxH = nn.RNN(Cell(features=64, cell="lstm"))(inputs_BxSxE, seq_lengths=lengths_B)

The carry is one array, the output its first `features` columns (the LSTM's memory cell follows them). The encoders' own loop
(`linen.encoder.Encoder`) is the faster one, and leaves zeros in padding.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from attention_jax.adapters.linen.encoder import cast
from attention_jax.adapters.linen.parameters import declared
from attention_jax.config import ModelConfig
from attention_jax.layers import transition
from attention_jax.types import Cell as Functions
from attention_jax.types.signatures import Array, Key


class Cell(nn.RNNCellBase):
    """A cell of `layers.cells.TABLE`: (carry, inputs) → (carry, output), any number of leading batch axes."""

    features: int
    cell: str = "gru"
    dtype: jax.typing.DTypeLike | None = None
    param_dtype: jax.typing.DTypeLike = jnp.float32

    @nn.nowrap
    def functions(self, inputs: int) -> Functions:
        """Returns the cell's functions for these inputs. Raises `ConfigError` for an unknown name, or features that are no hidden_size."""
        return transition.build(ModelConfig(cell=self.cell, hidden_size=self.features), inputs, self.features)

    @nn.compact
    def __call__(self, carry: Array, inputs: Array):
        """Returns (carry', h'): the carry keeps its dtype, the output has the dtype of the computation."""
        cell = self.functions(inputs.shape[-1])
        params = declared(self, cell.init, self.param_dtype)
        batch = inputs.shape[:-1]
        flat = carry.reshape(math.prod(batch), cell.carry_size)
        carry_BxF, inputs, params = cast(self.dtype, flat, inputs, params)
        projected_BxP = cell.project(params["input"], inputs).reshape(math.prod(batch), cell.projected_size)
        carry_BxF = cell.step(params["recurrent"], carry_BxF, projected_BxP)
        moved = carry_BxF.reshape(*batch, cell.carry_size)
        return moved.astype(carry.dtype), moved[..., : self.features]

    @nn.nowrap
    def initialize_carry(self, rng: Key, input_shape: tuple[int, ...]):
        """Returns zeros in `param_dtype`; `rng` is not used."""
        return jnp.zeros((*input_shape[:-1], self.functions(input_shape[-1]).carry_size), self.param_dtype)

    @property
    def num_feature_axes(self) -> int:
        """One feature axis, the last."""
        return 1
