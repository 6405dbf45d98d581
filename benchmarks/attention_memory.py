"""Additive attention over long sources, forward + backward, against all B·T·S·A scores at once: memory, time, and how far it goes.

Scores v · tanh(q + k), softmax, contexts; gradients of weights, memory and queries. Ours is the block of the `additive` mechanism. The
materialised formula is written in JAX and in PyTorch; both get our weights, and outputs and gradients agree. Memory is what the process
needs beyond what it had before the call, at most, by the operating system's figure (VmHWM), on a GPU by that of JAX's allocator, in a child
process for each. Time is taken with as many of the T looks as leave room for the materialised scores and their gradients.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax import attention
from attention_jax.attention.mechanism import look_at_all
from attention_jax.attention.sizes import Sizes
from attention_jax.config import ModelConfig
from attention_jax.system import machine
from attention_jax.types import Attention
from attention_jax.types.signatures import Array, Params
from benchmarks import apart, children, flops, measure, peers, rows
from benchmarks.options import Options
from benchmarks.rows import Row, Target

LETTERS = "BTSA"  # M = H = A
SIZES = ((1, 2048, 2048, 512),)
LONG = (1, 64, 65_536, 512)
OURS, JAX, TORCH = "ours", "materialised JAX", "materialised torch"
COPIES = 3  # of the materialised scores, that the backward pass of the formula has at once


def run(options: Options) -> Iterator[Row]:
    """Yields rows of memory and time at every size; without --sizes, of the long source as well."""
    for B, T, S, A in options.sizes or SIZES:
        fits = COPIES * scores_mb(B, T, S, A) < 0.8 * measure.available_mb()
        theirs = child(JAX, B, T, S, A)["mb"] if fits else scores_mb(B, T, S, A)
        note = "" if fits else f"{JAX}: by formula, one copy: {COPIES} do not fit here"
        yield memory_row(B, T, S, A, theirs, (Target("ours", "≤", 512),), note)
        while T > 1 and COPIES * scores_mb(B, T, S, A) > 0.25 * measure.available_mb():
            T //= 2
        yield from timed(B, T, S, A, options.seconds)
    if not options.sizes:
        yield memory_row(*LONG, None, (Target("memory_mb", "≤", 4096),), "memory: of the whole process")


def scores_mb(B: int, T: int, S: int, A: int) -> float:
    """Returns the MB of B·T·S·A numbers of four bytes."""
    return 4 * B * T * S * A / 2**20


def memory_row(B: int, T: int, S: int, A: int, theirs: float | None, targets: tuple[Target, ...], note: str) -> Row:
    """Returns a row of extra memory; `memory_mb` is that of the whole process."""
    ours, peer = child(OURS, B, T, S, A), "" if theirs is None else JAX
    sampled_theirs = None if theirs is None else rows.sample([theirs])
    sizes, sampled = f"B={B} T={T} S={S} A={A}", rows.sample([ours["mb"]])
    return Row("attention_memory", "memory", sizes, sampled, peer, sampled_theirs, targets, "MB", ours["whole_mb"], note=note)


def timed(B: int, T: int, S: int, A: int, seconds: float) -> Iterator[Row]:
    """Asserts equal work, then takes turns."""
    functions: dict[str, Any] = {OURS: build(OURS, B, T, S, A), JAX: build(JAX, B, T, S, A)}
    measure.assert_equal_work(JAX, functions[OURS](), functions[JAX]())
    with ExitStack() as context:
        if peers.installed("torch"):
            (torch,) = context.enter_context(apart.beside(TORCH, torch_passes, *numbers(B, T, S, A), kept=False)).values()
            functions[TORCH] = torch["both"]
            measure.assert_equal_work(TORCH, functions[OURS](), functions[TORCH].result())
        flop = flops.training(flops.additive_attention(B, T, S, A, A))
        targets: dict[str, tuple[Target, ...]] = dict.fromkeys((JAX, TORCH), (Target("ratio", "≥", 1.0),))
        yield from measure.compare("attention_memory", "time", f"B={B} T={T} S={S} A={A}", functions, seconds, targets, flop)


def numbers(B: int, T: int, S: int, A: int) -> tuple:
    """Draws (parameters of the score, memory_BxSxM, query_BxTxH, gradient_BxTxM)."""
    keys = jax.random.split(jax.random.key(0), 4)
    arrays = (jax.random.normal(key, shape) for key, shape in zip(keys[1:], ((B, S, A), (B, T, A), (B, T, A)), strict=True))
    return mechanism(A).init(keys[0])["score"], *arrays


def mechanism(A: int) -> Attention:
    """Returns the additive mechanism with all widths A."""
    return attention.build(ModelConfig(attention="additive"), Sizes(A, A, A))


def build(which: str, B: int, T: int, S: int, A: int) -> Callable:
    """Builds () → {"context", and gradients "query_weight", "memory_weight", "v", "memory", "query"}."""
    made, (score, memory_BxSxM, query_BxTxH, gradient_BxTxM) = mechanism(A), numbers(B, T, S, A)
    params = made.init(jax.random.key(0)) | {"score": score}

    def ours(params, memory_BxSxM, query_BxTxH):
        prepared = made.prepare(params, memory_BxSxM, jnp.ones((B, S), bool))
        return look_at_all(made, params, prepared, made.initial(prepared), query_BxTxH).context_BxTxC

    def passes(params, memory_BxSxM, query_BxTxH, gradient_BxTxM):
        function = ours if which == OURS else materialised
        context_BxTxM, backward = jax.vjp(function, params, memory_BxSxM, query_BxTxH)
        d_params, d_memory, d_query = backward(gradient_BxTxM)
        score = d_params["score"]
        weights = {"query_weight": score["query"], "memory_weight": score["memory"], "v": score["v"]}
        return {"context": context_BxTxM, "memory": d_memory, "query": d_query} | weights

    arguments = params, memory_BxSxM, query_BxTxH, gradient_BxTxM
    return partial(jax.jit(passes).lower(*arguments).compile(), *arguments)


def materialised(params: Params, memory_BxSxM: Array, query_BxTxH: Array):
    """Computes the formula as it stands: all hidden vectors of the scores at once."""
    score = params["score"]
    query_BxTxA, keys_BxSxA = query_BxTxH @ score["query"], memory_BxSxM @ score["memory"]
    hidden_BxTxSxA = jnp.tanh(query_BxTxA[:, :, None] + keys_BxSxA[:, None])
    e_BxTxS = (hidden_BxTxSxA @ score["v"])[..., 0]
    return jax.nn.softmax(e_BxTxS, axis=2) @ memory_BxSxM


def torch_passes(score: dict, memory_BxSxM: Array, query_BxTxH: Array, gradient_BxTxM: Array) -> dict[str, Callable]:
    """Computes the formula and its gradients in PyTorch."""
    import torch

    names = {"query_weight": score["query"], "memory_weight": score["memory"], "v": score["v"]}
    leaves = peers.tensors(names | {"memory": memory_BxSxM, "query": query_BxTxH})
    gradient = peers.tensors({"gradient": gradient_BxTxM})["gradient"]
    for tensor in leaves.values():
        tensor.requires_grad_()

    def passes():
        for tensor in leaves.values():
            tensor.grad = None
        queries, keys = leaves["query"] @ leaves["query_weight"], leaves["memory"] @ leaves["memory_weight"]
        scores = (torch.tanh(queries[:, :, None] + keys[:, None]) @ leaves["v"])[..., 0]
        context = torch.softmax(scores, dim=2) @ leaves["memory"]
        context.backward(gradient)
        peers.wait()
        return {"context": context} | {name: tensor.grad for name, tensor in leaves.items()}

    return {"both": passes}


def child(which: str, B: int, T: int, S: int, A: int) -> dict:
    """Measures one call in a process of its own: {"mb": extra memory, "whole_mb": all of it, "seconds"}."""
    return children.answer("benchmarks.attention_memory", which, *map(str, (B, T, S, A)))


def main(arguments: list[str]) -> None:
    """Runs the child: prints what one call needs."""
    machine.prepare()
    passes = build(arguments[0], *map(int, arguments[1:]))
    before = measure.reset_peak_memory_mb()
    jax.block_until_ready(passes())
    whole = measure.peak_memory_mb()
    print(json.dumps({"mb": whole - before, "whole_mb": whole}))


if __name__ == "__main__":
    main(sys.argv[1:])
