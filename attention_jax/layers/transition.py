"""The cell of a config, deep in its transition where `config.transition` asks for more than one.

    h_{t,1} = cell_1(h_{t-1,k}, x_t);   h_{t,i} = cell_i(h_{t,i-1}) for i = 2 … k;   h_t = h_{t,k}

Only the first cell reads the input; the others are cells of no inputs, so that their input affine is a bias. What is carried
passes through all of them, the LSTM's c too. The result is a cell like any other: further cells keep their affines among the
recurrent ones, under prefixed names. Pascanu 2014, "How to Construct Deep Recurrent Neural Networks"; Miceli Barone 2017 (Nematus).
"""

from collections.abc import Sequence

import jax

from attention_jax.config import ModelConfig, check, choose
from attention_jax.layers import cells
from attention_jax.system.errors import ConfigError
from attention_jax.types import Cell


def build(config: ModelConfig, inputs: int, hidden: int) -> Cell:
    """Makes the cell of `config.cell` and `transition`. Raises `ConfigError` for impossible settings: a linear recurrence is never deep."""
    check(config)
    new_cell = cells.TABLE[choose("model.cell", config.cell, cells.TABLE)]
    cell = new_cell(inputs, hidden)
    if cell.gates and config.transition > 1:
        loops = ", ".join(name for name, new in cells.TABLE.items() if not new(inputs, hidden).gates)
        raise ConfigError(
            f"model.transition={config.transition} needs a cell that is a loop, and model.cell={config.cell!r} is a linear recurrence; "
            f"valid: {loops}"
        )
    return deep(cell, [new_cell(0, hidden) for _ in range(config.transition - 1)])


def deep(first: Cell, further: Sequence[Cell]) -> Cell:
    """Chains `first` and each of `further` (cells of no inputs and of equal carry) within one position."""

    def init(key):
        key, *keys = jax.random.split(key, 1 + len(further))
        params = first.init(key)
        for i, (cell, k) in enumerate(zip(further, keys, strict=True), 2):
            inner = cell.init(k)
            affines = {"input": inner["input"], **inner["recurrent"]}
            params["recurrent"] |= {_name(i, name): affine for name, affine in affines.items()}
        return params

    def step(recurrent, carry_BxF, projected_BxP):
        carry_BxF = first.step(recurrent, carry_BxF, projected_BxP)
        for i, cell in enumerate(further, 2):
            own = {name.removeprefix(_name(i, "")): affine for name, affine in recurrent.items() if name.startswith(_name(i, ""))}
            carry_BxF = cell.step(own, carry_BxF, cell.project(own["input"], carry_BxF))
        return carry_BxF

    return first._replace(init=init, step=step, is_lstm=False, formula=None) if further else first


def _name(i: int, name: str) -> str:
    return f"transition{i}_{name}"
