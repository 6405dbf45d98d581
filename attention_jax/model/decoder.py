"""Memory and inputs → states and contexts: one scan that calls `attend` and cannot tell which mechanism it got.

    timing = before  (Bahdanau 2015):  c_i = attend(s_{i-1});   s_i = f(s_{i-1}, [y_{i-1}; c_i])
    timing = after   (Luong 2015):     s_i = f(s_{i-1}, y_{i-1});   c_i = attend(s_i)
    timing = between (Sennrich 2017):  s'_i = f(s_{i-1}, y_{i-1});  c_i = attend(s'_i);  s_i = g(s'_i, c_i)

    start = zero:      s_0 = 0
    start = bridge:    s_0 = tanh(W final + b), of the encoder's whole final state, or of its vector (model.vector_size)
    start = backward:  s_0 = tanh(W h←_1 + b), of the reversed direction's state at the first real position (Bahdanau 2015, A.2.2)

y_{i-1} is the embedded previous token, or a learned constant (the embedding of BOS) where `feedback` is off. With `feeding` the
readout of step i-1 is a further input of step i (Luong 2015, §3.3). Of several layers each reads the one below; `residual` adds a
layer's input, the context aside, to its output. decoder = stacked: the top layer asks (in timing = between the bottom one), residual
connections start at the second layer; decoder = gnmt (Wu 2016, §3): the bottom layer asks, the context is an input of every layer, and
residual connections start at the third, as those of its encoder do.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.attention import no_attention
from attention_jax.attention.mechanism import look_at_all
from attention_jax.config import ModelConfig, check, choose
from attention_jax.layers import activations, cells, deferred, transition
from attention_jax.layers.affine import affine, dense, glorot
from attention_jax.model import readout
from attention_jax.types import Attention, Cell, DrawTerms, Memory
from attention_jax.types.citations import cites
from attention_jax.types.signatures import Array, Key, Params, Tree


class Steps(NamedTuple):
    """What a decoder computes at one position, or at T of them. Axes are B, or B and T, then those that the comments name."""

    h: Array  # the state, and H
    query: Array  # and H
    context: Array  # and C
    weights: Array  # and S
    terms: DrawTerms
    read: Array | None  # the readout of these contexts where the loop had to make it (`feeding`), and R


class Decoder(NamedTuple):
    """The functions of a decoder.

    init(key) → params;  start(params, memory, keys_B or None) → (prepared, state);
    step(params, prepared, state, embedded_BxE, keys_B or None) → (state, Steps of one position);
    unroll(params, prepared, state, embedded_BxTxE, keys_BxT or None) → Steps of T positions;
    readout(params, h_…xH, context_…xC, embedded_…xE) → read_…xR, the vector that logits are computed from;
    norm(state) → norm_B, the Euclidean norm of the top layer's h.
    """

    init: Callable
    start: Callable
    step: Callable
    unroll: Callable
    readout: Callable
    norm: Callable


class Layers(NamedTuple):
    """The parts of a decoder."""

    config: ModelConfig
    attention: Attention
    bottom: Cell
    second: Cell | None  # g of timing = between
    upper: tuple[Cell, ...]  # those above the bottom one, in order
    out: readout.Readout
    start_size: int  # of the vector that the start reads; 0 where it reads none

    @property
    def gnmt(self) -> bool:
        """Whether the context is an input of every layer."""
        return self.config.decoder == "gnmt"

    @property
    def looks_last(self) -> bool:
        """Whether no state depends on a context: then a scan makes all states first, and all attention steps follow at once."""
        return self.config.timing == "after" and not self.config.feeding and not self.gnmt


class Look(NamedTuple):
    """One attention step: the query, and what `types.Attention.attend` returned for it."""

    query_BxH: Array
    context_BxC: Array
    weights_BxS: Array
    state: Tree
    terms: DrawTerms


def build(config: ModelConfig, attention: Attention, memory_size: int, final_size: int) -> Decoder:
    """Builds the decoder that `config` describes around a mechanism: its cell and layers, size, start, timing and feeding.

    `memory_size` and `final_size` are those of the encoder. Raises `ConfigError` for settings that cannot be.
    """
    check(config)
    if config.decoder_cell:
        config = replace(config, cell=choose("model.decoder_cell", config.decoder_cell, cells.TABLE))
    H, C = config.decoder_size or config.hidden_size, attention.context_size
    layers = Layers(
        config,
        attention,
        bottom=transition.build(config, config.embedding_size, H),
        second=transition.build(config, C, H) if config.timing == "between" else None,
        upper=tuple(transition.build(config, H + C if config.decoder == "gnmt" else H, H) for _ in range(config.decoder_layers - 1)),
        out=readout.build(config, H, C),
        start_size={"zero": 0, "bridge": config.vector_size or final_size, "backward": config.hidden_size}[config.start],
    )

    def read(params, h_xH, context_xC, embedded_xE):
        return layers.out.apply(params["readout"], h_xH, context_xC, embedded_xE)

    functions = partial(init, layers), partial(start, layers), partial(step, layers), partial(unroll, layers)
    return Decoder(*functions, read, partial(norm, layers))


def init(layers: Layers, key: Key) -> Params:
    """Draws parameters: "cell", "attention" and "readout"; by settings "context", "second", "start", "feed" and "upper"."""
    config, L, P = layers.config, layers.config.decoder_layers, layers.bottom.projected_size
    keys = jax.random.split(key, 7)
    params = {
        "cell": layers.bottom.init(keys[0]),
        "attention": layers.attention.init(keys[1]),
        "readout": layers.out.init(keys[2]),
    }
    if config.timing == "before" and layers.attention.context_size:
        params["context"] = glorot(keys[3], (layers.attention.context_size, P))
    if layers.second:
        params["second"] = layers.second.init(keys[3])
    if layers.start_size:
        params["start"] = dense(keys[4], layers.start_size, L * layers.bottom.carry_size)
    if config.feeding:
        params["feed"] = glorot(keys[5], (layers.out.size, P))
    if layers.upper:
        upper_keys = jax.random.split(keys[6], L - 1)
        params["upper"] = {f"layer{i}": cell.init(k) for i, (k, cell) in enumerate(zip(upper_keys, layers.upper, strict=True), 1)}
    return params


def start(layers: Layers, params: Params, memory: Memory, keys_B: Key | None = None) -> tuple[Tree, Tree]:
    """Prepares a memory, and returns (prepared, state) before the first position.

    The state is (carries_BxF of all layers, the mechanism's state, fed): `fed` is the last readout, zeros here, and () without `feeding`.
    """
    L, states_BxSxM, mask_BxS = layers.config.decoder_layers, memory.states_BxSxM, memory.mask_BxS
    prepared = layers.attention.prepare(params["attention"], states_BxSxM, mask_BxS)
    B, dtype = mask_BxS.shape[0], states_BxSxM.dtype
    if layers.config.start == "zero":
        carry_BxLF = jnp.zeros((B, L * layers.bottom.carry_size), dtype)
    else:
        carry_BxLF = activations.tanh(affine(params["start"], starts_from(layers, params, memory)))
    fed = jnp.zeros((B, layers.out.size), dtype) if layers.config.feeding else ()
    return prepared, (tuple(jnp.split(carry_BxLF, L, axis=1)), layers.attention.initial(prepared, keys_B), fed)


def starts_from(layers: Layers, params: Params, memory: Memory) -> Array:
    """Returns the vector that the start projects: the final state, the one vector of `model.vector_size`, or the reversed state."""
    states_BxSxM, mask_BxS = memory.states_BxSxM, memory.mask_BxS
    if layers.config.start == "backward":
        return no_attention.end("reversed", states_BxSxM[:, :, -layers.start_size :], mask_BxS)
    if layers.attention.handed:
        return layers.attention.handed(params["attention"], states_BxSxM, mask_BxS)
    return memory.final_BxD


def step(layers: Layers, params: Params, prepared: Tree, state: Tree, embedded_BxE: Array, keys_B: Key | None = None) -> tuple[Tree, Steps]:
    """Computes one position: (state, Steps). `embedded_BxE` is the embedded token before it."""
    return advance(layers, params, prepared, state, embedded_BxE, layers.bottom.project(params["cell"]["input"], embedded_BxE), keys_B)


def norm(layers: Layers, state: Tree) -> Array:
    """Computes ‖h‖ of the top layer, norm_B, in a state that `step` returned."""
    carries, _, _ = state
    return jnp.linalg.norm(carries[-1][:, : layers.bottom.hidden_size].astype(jnp.float32), axis=1)


def unroll(layers: Layers, params: Params, prepared: Tree, state: Tree, embedded_BxTxE: Array, keys_BxT: Key | None = None) -> Steps:
    """Computes T positions whose previous tokens are known, `embedded_BxTxE`; equals T times `step`."""
    projected_TxBxP = layers.bottom.project(params["cell"]["input"], embedded_BxTxE).swapaxes(0, 1)
    if layers.looks_last:
        return states_first(layers, params, prepared, state, projected_TxBxP, keys_BxT)
    keys_TxB = None if keys_BxT is None else keys_BxT.T
    inputs = embedded_BxTxE.swapaxes(0, 1), projected_TxBxP, keys_TxB
    _, outputs = deferred.scan(lambda state, x: advance(layers, params, prepared, state, *x), state, inputs)
    return jax.tree.map(lambda x: x.swapaxes(0, 1), outputs)


def states_first(layers: Layers, params: Params, prepared: Tree, state: Tree, projected_TxBxP: Array, keys_BxT: Key | None) -> Steps:
    """Computes `unroll` where `Layers.looks_last` holds: a scan makes all states, the queries, and then all attention steps follow."""
    carries, attention_state, _ = state

    def body(carries, projected_BxP):
        return move_upper(layers, params, carries, move_bottom(layers, params, carries, projected_BxP), None)

    _, h_TxBxH = deferred.scan(body, carries, projected_TxBxP)
    h_BxTxH = h_TxBxH.swapaxes(0, 1)
    attended = look_at_all(layers.attention, params["attention"], prepared, attention_state, h_BxTxH, keys_BxT)
    return Steps(h_BxTxH, h_BxTxH, attended.context_BxTxC, attended.weights_BxTxS, attended.terms, None)


def advance(
    layers: Layers, params: Params, prepared: Tree, state: Tree, embedded_BxE: Array, projected_BxP: Array, keys_B: Key | None
) -> tuple[Tree, Steps]:
    """Computes one position: (state, Steps). `projected_BxP` is what the embedded previous token contributes to the bottom cell."""
    carries, attention_state, fed = state

    def look(query_BxH):
        return Look(query_BxH, *layers.attention.attend(params["attention"], prepared, attention_state, query_BxH, keys_B))

    if layers.config.feeding:
        projected_BxP = projected_BxP + fed @ params["feed"]
    carries, h_BxH, found = TIMINGS[layers.config.timing](layers, params, look, carries, projected_BxP)
    read_BxR = None
    if layers.config.feeding:
        fed = read_BxR = layers.out.apply(params["readout"], h_BxH, found.context_BxC, embedded_BxE)
    return (carries, found.state, fed), Steps(h_BxH, found.query_BxH, found.context_BxC, found.weights_BxS, found.terms, read_BxR)


Moved = tuple[tuple[Array, ...], Array, Look]
"""(carries of all layers, h_BxH of the top one, the look that was made on the way)."""


@cites("bahdanau2015")
def before(layers: Layers, params: Params, look: Callable, carries: tuple[Array, ...], projected_BxP: Array) -> Moved:
    """Attends with the previous state, then moves: c_i = attend(s_{i-1});   s_i = f(s_{i-1}, [y_{i-1}; c_i])  (Bahdanau 2015)."""
    asking_BxF = carries[0 if layers.gnmt else -1]
    found = look(asking_BxF[:, : layers.bottom.hidden_size])
    if layers.attention.context_size:
        projected_BxP = projected_BxP + found.context_BxC @ params["context"]
    bottom_BxF = move_bottom(layers, params, carries, projected_BxP)
    return *move_upper(layers, params, carries, bottom_BxF, found.context_BxC), found


@cites("luong2015")
def after(layers: Layers, params: Params, look: Callable, carries: tuple[Array, ...], projected_BxP: Array) -> Moved:
    """Moves, then attends with the new state: s_i = f(s_{i-1}, y_{i-1});   c_i = attend(s_i)  (Luong 2015)."""
    bottom_BxF = move_bottom(layers, params, carries, projected_BxP)
    if layers.gnmt:
        found = look(bottom_BxF[:, : layers.bottom.hidden_size])
        return *move_upper(layers, params, carries, bottom_BxF, found.context_BxC), found
    carries, h_BxH = move_upper(layers, params, carries, bottom_BxF, None)
    return carries, h_BxH, look(h_BxH)


@cites("sennrich2017")
def between(layers: Layers, params: Params, look: Callable, carries: tuple[Array, ...], projected_BxP: Array) -> Moved:
    """Moves, attends, and moves once more: s'_i = f(s_{i-1}, y_{i-1});   c_i = attend(s'_i);   s_i = g(s'_i, c_i)  (Sennrich 2017)."""
    second: Any = layers.second
    bottom_BxF = move_bottom(layers, params, carries, projected_BxP)
    found = look(bottom_BxF[:, : layers.bottom.hidden_size])
    context_BxP = second.project(params["second"]["input"], found.context_BxC)
    bottom_BxF = second.step(params["second"]["recurrent"], bottom_BxF, context_BxP)
    return *move_upper(layers, params, carries, bottom_BxF, found.context_BxC), found


TIMINGS = {"before": before, "after": after, "between": between}
"""Row: row(layers, params, look, carries, projected_BxP) → (carries, h_BxH, Look): one position. `look(query_BxH)` asks the mechanism."""


def move_bottom(layers: Layers, params: Params, carries: tuple[Array, ...], projected_BxP: Array) -> Array:
    """Moves the bottom layer by one position, and returns its carry_BxF."""
    return layers.bottom.step(params["cell"]["recurrent"], carries[0], projected_BxP)


def move_upper(
    layers: Layers, params: Params, carries: tuple[Array, ...], bottom_BxF: Array, context_BxC: Array | None
) -> tuple[tuple[Array, ...], Array]:
    """Moves the layers above the bottom one by one position: (carries of all layers, h_BxH of the top one).

    `bottom_BxF` is the bottom layer's carry at this position. Only the layers of `gnmt` read the context.
    """
    H, first_residual = layers.bottom.hidden_size, 2 if layers.gnmt else 1
    new, below_BxH = [bottom_BxF], bottom_BxF[:, :H]
    for i, cell in enumerate(layers.upper, 1):
        inputs_BxI = below_BxH if context_BxC is None or not layers.gnmt else jnp.concatenate([below_BxH, context_BxC], axis=1)
        layer = params["upper"][f"layer{i}"]
        new.append(cell.step(layer["recurrent"], carries[i], cell.project(layer["input"], inputs_BxI)))
        below_BxH = new[i][:, :H] + below_BxH if layers.config.residual and i >= first_residual else new[i][:, :H]
    return tuple(new), below_BxH
