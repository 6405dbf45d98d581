"""Weights of recurrent networks from PyTorch and Flax, and back to PyTorch: the same numbers, transposed and reordered.

Attention's weights, of Keras and of PyTorch's tutorial, are in `attention_weights`.

    ours        input {"weight": IxP, "bias": P}     recurrent {"hidden": {"weight": HxP, "bias": P}}      P: the gates' columns
    torch.nn    weight_ih_l0 PxI, bias_ih_l0 P       weight_hh_l0 PxH, bias_hh_l0 P                        matrices transposed
    flax.nnx    dense_i {"kernel": IxP, "bias"}      dense_h {"kernel": HxP, "bias"}                       gates in PyTorch's order
    flax.linen  ii, if, … {"kernel": IxH, "bias"}    hi, hf, … {"kernel": HxH, "bias"}                     an affine for each gate

    cell    our gates     torch.nn            flax
    rnn     h             RNN    h            SimpleCell                      i;  h
    lstm    i, f, o, g    LSTM   i, f, g, o   LSTMCell, OptimizedLSTMCell     ii, if, ig, io;  hi, hf, hg, ho
    gru     r, z, n       GRU    r, z, n      GRUCell                         ir, iz, in;  hr, hz, hn

PyTorch's `_l0`, `_l1`, … are our layer0, layer1, …, its `_reverse` our reversed. A bias that the other side does not have is zero.
`flax.nnx.LSTMCell` has Linen's names, with if_ for if. Weights do not say which activation they were trained with: RNN and
SimpleCell must be tanh, as they are by default. GRUs reset after the product here; `gru_before` and the others have no counterpart, nor
has `proj_size`. Numbers keep their type: float64 needs JAX_ENABLE_X64=1.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.config import choose
from attention_jax.system.errors import DataError

OURS = {"rnn": "h", "lstm": "ifog", "gru": "rzn"}
"""The gates of a cell in the order of our columns."""

THEIRS = {"rnn": "h", "lstm": "ifgo", "gru": "rzn"}
"""The same in the order of PyTorch and of NNX."""

SIDES = {"ih": "input", "hh": "recurrent"}
"""PyTorch's name of an affine, and ours."""


def recurrent_from_torch(state_dict: Mapping, cell: str, layers: int = 1, bidirectional: bool = False, prefix: str = "") -> dict:
    """Converts the state dict of a torch.nn.LSTM, GRU or RNN, of anything NumPy reads as arrays, to parameters of `encoders.recurrent`.

    With a `prefix` ("encoder.rnn.") it takes the entries of a larger model that start so. Raises `DataError` for entries that
    are missing, left over, of a wrong shape or type, or of a `proj_size`, `ConfigError` for a cell that has no counterpart.
    """
    choose("cell", cell, OURS)
    found = {name.removeprefix(prefix): array_of(name, value) for name, value in state_dict.items() if name.startswith(prefix)}
    if "weight_ih_l0" not in found or found["weight_ih_l0"].ndim != 2:
        raise DataError(f"the state dict has no matrix {prefix}weight_ih_l0; it has {', '.join(list(state_dict)[:4]) or 'nothing'}, …")
    if projected := sorted(name for name in found if name.startswith("weight_hr_")):
        raise DataError(f"the state dict has {prefix}{projected[0]}, which comes of a proj_size: proj_size has no counterpart here")
    P, E = found["weight_ih_l0"].shape
    shapes = _torch_shapes(cell, layers, bidirectional, E, P // len(OURS[cell]))
    if not any(name.startswith("bias") for name in found):
        found |= {name: np.zeros(shape, found["weight_ih_l0"].dtype) for name, shape in shapes.items() if name.startswith("bias")}
    _check_state_dict(found, shapes, prefix, _spoken(cell, layers, bidirectional))
    params = {}
    for layer, direction, place in _places(layers, bidirectional):
        ih, hh = (_affine(found[f"weight_{side}_{place}"].T, found[f"bias_{side}_{place}"], THEIRS[cell], cell) for side in SIDES)
        params.setdefault(layer, {})[direction] = {"input": ih, "recurrent": {"hidden": hh}}
    return params


def _check_state_dict(found: Mapping[str, np.ndarray], shapes: Mapping[str, tuple], prefix: str, network: str) -> None:
    """Raises `DataError` unless the entries of a state dict are those of `shapes`."""
    for name, shape in shapes.items():
        if name not in found:
            raise DataError(f"the state dict lacks {prefix}{name}, which {network} has")
        if found[name].shape != shape:
            raise DataError(f"{prefix}{name} is of shape {found[name].shape}: {network} has {shape} there")
    if left := sorted(set(found) - set(shapes)):
        raise DataError(f"the state dict has {prefix}{left[0]}, which {network} has not")
    for name, array in found.items():
        check_dtype(prefix + name, array)


def recurrent_to_torch(params: dict, cell: str) -> dict[str, np.ndarray]:
    """Inverts `recurrent_from_torch`: returns a state dict of writable arrays, for `load_state_dict` after `torch.from_numpy` of each."""
    choose("cell", cell, OURS)
    state_dict = {}
    for layer, direction, place in _places(len(params), "reversed" in params["layer0"]):
        for side, name in SIDES.items():
            affine = params[layer][direction][name]
            affine = affine["hidden"] if side == "hh" else affine
            for kind in ("weight", "bias"):
                state_dict[f"{kind}_{side}_{place}"] = np.array(_reordered(affine[kind], OURS[cell], THEIRS[cell]).T, order="C")
    return state_dict


def cell_from_flax(params: Mapping, cell: str) -> dict:
    """Converts parameters of a cell of flax.linen (variables["params"]) or flax.nnx (`nnx.to_pure_dict`) to those of `layers.cells`.

    Raises `DataError` for entries that are missing, left over or of a wrong shape or type, `ConfigError` for a cell without counterpart.
    """
    choose("cell", cell, OURS)
    found = {name.rstrip("_"): affine for name, affine in params.items()}
    merged = "dense_i" in found
    names = _flax_names(cell, merged)
    if wrong := sorted(set(found) ^ {*names["i"], *names["h"]}):
        raise DataError(f"a Flax {cell} has {', '.join(names['i'] + names['h'])}; missing or left over: {', '.join(wrong)}")
    arrays = {name: {kind: array_of(f"{name}.{kind}", x) for kind, x in affine.items()} for name, affine in found.items()}
    for name in (names["i"][0], names["h"][0]):
        if "kernel" not in arrays[name] or arrays[name]["kernel"].ndim != 2:
            raise DataError(f"a Flax {cell} has a matrix {name}.kernel, and this one has not")
    I, P = arrays[names["i"][0]]["kernel"].shape
    shapes = {"i": (I, P), "h": (P // len(OURS[cell]) if merged else P, P)}
    joined = (_joined({name: arrays[name] for name in names[side]}, shapes[side]) for side in "ih")
    ih, hh = (_affine(weight, bias, THEIRS[cell] if merged else OURS[cell], cell) for weight, bias in joined)
    for name, parts in arrays.items():
        for kind, array in parts.items():
            check_dtype(f"{name}.{kind}", array)
    return {"input": ih, "recurrent": {"hidden": hh}}


def _flax_names(cell: str, merged: bool) -> dict[str, list[str]]:
    """Returns {"i" or "h": Flax's names of its affines}: one affine of all gates where `merged`, as in NNX, else one a gate."""
    if merged:
        return {side: [f"dense_{side}"] for side in "ih"}
    return {side: [side] if cell == "rnn" else [side + gate for gate in OURS[cell]] for side in "ih"}


def _joined(affines: Mapping[str, Mapping[str, np.ndarray]], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Concatenates the columns of kernels of one shape, and their biases, zero where there is none."""
    for name, affine in affines.items():
        if affine["kernel"].shape != shape:
            raise DataError(f"the kernel of {name} is of shape {affine['kernel'].shape}, where the others ask for {shape}")
    weight = np.concatenate([affine["kernel"] for affine in affines.values()], axis=1)
    return weight, np.concatenate([affine.get("bias", np.zeros(shape[1], weight.dtype)) for affine in affines.values()])


def _affine(weight, bias, order: str, cell: str) -> dict:
    """Returns our parameters of an affine whose columns hold the cell's gates in `order`."""
    return {"weight": _reordered(weight, order, OURS[cell]), "bias": _reordered(bias, order, OURS[cell])}


def _places(layers: int, bidirectional: bool) -> list[tuple[str, str, str]]:
    """Returns (our layer, our direction, PyTorch's suffix) of every direction of every layer."""
    suffixes = {"forward": "", "reversed": "_reverse"} if bidirectional else {"forward": ""}
    return [(f"layer{i}", direction, f"l{i}{suffix}") for i in range(layers) for direction, suffix in suffixes.items()]


def _torch_shapes(cell: str, layers: int, bidirectional: bool, E: int, H: int) -> dict[str, tuple[int, ...]]:
    """Returns {name: shape} of the whole state dict of a network of input size E and hidden size H."""
    P, shapes = len(OURS[cell]) * H, {}
    for layer, _, place in _places(layers, bidirectional):
        I = E if layer == "layer0" else (1 + bidirectional) * H
        shapes |= {f"weight_ih_{place}": (P, I), f"weight_hh_{place}": (P, H), f"bias_ih_{place}": (P,), f"bias_hh_{place}": (P,)}
    return shapes


def _spoken(cell: str, layers: int, bidirectional: bool) -> str:
    return f"torch.nn.{cell.upper()} of {layers} layer{'s' * (layers > 1)}{', bidirectional' * bidirectional}"


def _reordered(columns, order: str, wanted: str):
    """Reorders blocks of columns, one per gate, from one order of gates to another."""
    blocks = jnp.split(jnp.asarray(columns), len(order), axis=-1)
    return jnp.concatenate([blocks[order.index(gate)] for gate in wanted], axis=-1)


def array_of(name: str, value: Any) -> np.ndarray:
    """Reads a weight as a NumPy array. Raises `DataError` with its name where NumPy cannot."""
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError) as error:
        raise DataError(f"{name} cannot be read as a numpy array: {error}; for a tensor, try .detach().float().cpu()") from None


def check_dtype(name: str, array: np.ndarray) -> None:
    """Raises `DataError` where JAX would round these numbers to another type."""
    if (kept := jax.dtypes.canonicalize_dtype(array.dtype)) != array.dtype:
        raise DataError(f"{name} is {array.dtype}, which JAX would round to {kept}: convert it (.float()), or set JAX_ENABLE_X64=1")
