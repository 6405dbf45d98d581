"""Decoding 1,000 sentences, greedily and with a beam of 5, against joeynmt: the same weights, the same outputs.

The model of `training`, H = E = 256, V = 8000; sources of 30 words, batches of 64, outputs of 30 words each: EOS is impossible before. Our
weights are copied into joeynmt, whose logits get our bias: it forbids PAD and BOS, as joeynmt does, and is otherwise zero. At least
99 % of the outputs are the same, and log p of all of them; the rest are ties to the last bits.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from attention_jax.config import SearchConfig
from attention_jax.model import search
from attention_jax.running.resolved import resolve
from attention_jax.system import machine
from attention_jax.system.errors import RunError
from attention_jax.training import parallel
from attention_jax.types import BOS, FIRST_SYMBOL, PAD
from attention_jax.types.signatures import Array, Params
from benchmarks import apart, flops, measure, peers, training
from benchmarks.options import Options, check_vocabulary
from benchmarks.rows import Row, Target

LETTERS = "VHBS"  # E = H, T = S
SIZES = ((8000, 256, 64, 30),)
SENTENCES, BEAM, SAME = 1000, 5, 0.99
TARGETS = {"greedy": Target("ratio", "≥", 3.5), "beam": Target("ratio", "≥", 4.0)}
OURS, JOEYNMT = "ours", "joeynmt"


def run(options: Options) -> Iterator[Row]:
    """Yields rows of both methods at every size."""
    for V, H, B, S in options.sizes or SIZES:
        check_vocabulary(V)
        params = sharpened(resolve(training.settings(V, H, H, B)).model.init(jax.random.key(0)))
        source_NxS = np.random.default_rng(1).integers(FIRST_SYMBOL, V, (SENTENCES, S), dtype=np.int32)
        for method, target in TARGETS.items():
            functions: dict[str, Any] = {OURS: ours(params, source_NxS, method, V, H, B)}
            with ExitStack() as context:
                if peers.installed("joeynmt"):
                    made = context.enter_context(apart.beside(JOEYNMT, joeynmt, params, source_NxS, method, V, H, B, kept=False))
                    for column, searches in made.items():
                        assert_same_outputs(method, functions[OURS](), searches["decode"].result())
                        functions[column] = searches["decode"]
                sizes = f"{SENTENCES} sentences V={V} H={H} B={B} S=T={S}" + f" K={BEAM}" * (method == "beam")
                flop = flops.decoding(V, H, H, SENTENCES, S, S, BEAM if method == "beam" else 1)
                yield from measure.compare("decoding", method, sizes, functions, options.seconds, {JOEYNMT: (target,)}, flop)


def sharpened(params: dict) -> dict:
    """Returns weights that joeynmt can have, with larger logits, so that ties are rare, and PAD and BOS impossible."""
    params = peers.without_extras(params)
    logits = params["logits"]
    bias_V = logits["bias"].at[jnp.array([PAD, BOS])].set(-1e9)
    return params | {"logits": {"weight": 10 * logits["weight"], "bias": bias_V}}


def batches(source_NxS: Array, B: int) -> list:
    """Splits sentences into batches of B."""
    return [source_NxS[first : first + B] for first in range(0, len(source_NxS), B)]


def ours(params: Params, source_NxS: Array, method: str, V: int, H: int, B: int) -> Callable:
    """Builds () → (tokens_NxT, log_p_N) of our search. The batch is split over all devices; the last one is filled up."""
    N, T = source_NxS.shape
    model = resolve(training.settings(V, H, H, B)).model
    settings = SearchConfig(method=method, beam_size=BEAM, min_length=T, max_length=T)
    mesh, whole, split = parallel.data_mesh(), PartitionSpec(), PartitionSpec(parallel.AXIS)
    decode = partial(search.decode, model, positions=T, settings=settings)
    mapped = jax.shard_map(decode, mesh=mesh, in_specs=(whole, split, split), out_specs=split, check_vma=False)
    compiled = jax.jit(mapped, compiler_options=machine.compiler_options(mesh.size))
    params = jax.device_put(params, NamedSharding(mesh, whole))
    filled_NxS = np.concatenate([source_NxS, source_NxS[: -N % B]])

    def function():
        found = [compiled(params, batch_BxS, np.ones(batch_BxS.shape, bool)) for batch_BxS in batches(filled_NxS, B)]
        tokens, log_p = zip(*((np.asarray(one.tokens_BxNxT[:, 0]), np.asarray(one.log_p_BxN[:, 0])) for one in found), strict=True)
        return np.concatenate(tokens)[:N], np.concatenate(log_p)[:N]

    return function


def joeynmt(params: Params, source_NxS: Array, method: str, V: int, H: int, B: int) -> dict[str, Callable]:
    """Builds decode() → (tokens_NxT, log_p_N) of joeynmt's own search."""
    import torch
    from joeynmt.search import search as joeynmt_search

    model = peers.joeynmt_model(params, V, H, H).eval()
    biased = torch.nn.Linear(H, V, device=peers.device())
    biased.load_state_dict(peers.tensors({"weight": params["logits"]["weight"].T, "bias": params["logits"]["bias"]}))
    model.decoder.output_layer = biased
    T = source_NxS.shape[1]
    settings = {"max_output_length": T, "min_output_length": T, "beam_alpha": -1, "return_prob": "hyp"}
    settings["beam_size"] = BEAM if method == "beam" else 1

    def decode():
        found = []
        for batch_BxS in batches(source_NxS, B):
            n, S = batch_BxS.shape
            batch = SimpleNamespace(**peers.tensors({"src": batch_BxS.astype(np.int64), "src_mask": np.ones((n, 1, S), bool)}))
            batch.src_length, batch.has_trg = torch.full((n,), S), False
            tokens, log_p, _ = joeynmt_search(model=model, batch=batch, **settings)
            found.append((tokens, log_p.sum(1)))  # greedy: of each token; beam: of all of them
        return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))

    return {"decode": decode}


def assert_same_outputs(method: str, ours: tuple, theirs: tuple) -> None:
    """Raises `RunError` unless nearly all outputs are the same, and the log-probabilities of those that are."""
    (tokens_NxT, log_p_N), (their_tokens_NxT, their_log_p_N) = ours, theirs
    if tokens_NxT.shape != their_tokens_NxT.shape:
        raise RunError(f"{method}: outputs are of shape {tokens_NxT.shape} here and {their_tokens_NxT.shape} in {JOEYNMT}")
    same_N = (tokens_NxT == their_tokens_NxT).all(1)
    if same_N.mean() < SAME:
        raise RunError(f"{method}: only {same_N.mean():.1%} of the outputs are those of {JOEYNMT}")
    measure.assert_equal_work(method, {"log p": log_p_N[same_N]}, {"log p": their_log_p_N[same_N]})
