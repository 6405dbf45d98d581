"""One training step (forward, backward, clipping, Adam) of an attentional encoder-decoder, against joeynmt and a plain JAX loop.

Where joeynmt is not installed, PyTorch's own layers (torch_model.py) are the peer.

Bidirectional GRU, additive attention (Bahdanau) after the update, input feeding, bridge; V words on both sides, all sentences of full
length, no dropout. joeynmt's step is its own model, loss, clipping and optimizer, as its TrainManager calls them. Our weights are
copied into joeynmt's model: the loss of every sentence and every gradient agree.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attention_jax import training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.layers import precision
from attention_jax.running.resolved import resolve
from attention_jax.system import machine
from attention_jax.training import parallel
from attention_jax.types import BOS, FIRST_SYMBOL, Batch, TrainState
from attention_jax.types.signatures import Params
from benchmarks import apart, flops, measure, peers, plain, torch_model
from benchmarks.options import Options, check_vocabulary
from benchmarks.rows import Row, Target

LETTERS = "VEHBS"  # T = S
SIZES = ((8000, 256, 512, 64, 50), (32, 64, 64, 64, 20), (32, 128, 128, 64, 40))
TARGETS = {  # ratios: to joeynmt, or what is in its place
    SIZES[0]: (Target("ratio", "≥", 2.2), Target("share_of_peak", "≥", 0.75)),
    SIZES[1]: (Target("ratio", "≥", 5.0), Target("share_of_peak", "≥", 0.45)),
    SIZES[2]: (Target("ratio", "≥", 2.5), Target("share_of_peak", "≥", 0.55)),
}
OURS, JOEYNMT, TORCH, PLAIN, SINGLE = "ours", "joeynmt", "torch.nn", "plain JAX", "ours, one device"
RATE, CLIP = 1e-3, 1.0
TOLERANCE = 1e-9  # of equal work, which is compared in float64


def run(options: Options) -> Iterator[Row]:
    """Yields rows of every size."""
    for V, E, H, B, S in options.sizes or SIZES:
        yield from at_size(V, E, H, B, S, TARGETS.get((V, E, H, B, S), ()), options.seconds)


def update_of(config: Config) -> Callable:
    """Returns step(state, batch, axis_name=None) → (state, sums), an update of the model of a config."""
    return partial(training.train_step, model=resolve(config).model, config=config.training)


def at_size(V: int, E: int, H: int, B: int, S: int, targets: tuple[Target, ...], seconds: float) -> Iterator[Row]:
    """Asserts equal work, then takes turns."""
    check_vocabulary(V)
    config, batch = settings(V, E, H, B), full_batch(V, B, S)
    state = training.init(resolve(config).model, config.training, 0, RATE)
    state = state.replace(params=peers.without_extras(state.params))
    mesh = parallel.run_mesh(1, B, H)
    split = jax.device_put(batch, jax.NamedSharding(mesh, jax.P(parallel.AXIS)))
    functions = {OURS: stepping(parallel.sharded(update_of(config), mesh, donate=0), state, split)}
    found = ours(config, state.params, batch)
    assert_equals_plain(found, state.params, batch)
    functions[PLAIN] = stepping(*plain_step(state, batch), batch)
    if mesh.size > 1:
        functions[SINGLE] = stepping(parallel.jitted(update_of(config), donate=0), state, batch)
    with ExitStack() as context:
        name, factory = (JOEYNMT, joeynmt_step) if peers.installed("joeynmt") else (TORCH, torch_step)
        if peers.installed("torch"):
            made = context.enter_context(apart.beside(name, factory, state.params, batch, V, E, H))
            assert_equals_peers(found, made)
            functions |= {column: steps["step"] for column, steps in made.items()}
        flop = flops.training(flops.encoder_decoder(V, E, H, B, S, S))
        yield from measure.compare("training", "step", f"V={V} E={E} H={H} B={B} S=T={S}", functions, seconds, {name: targets}, flop)


def settings(V: int, E: int, H: int, B: int) -> Config:
    """Returns joeynmt's model as a config of ours."""
    model = ModelConfig(
        cell="gru", direction="both", attention="additive", timing="after", feeding=True, start="bridge", hidden_size=H, embedding_size=E
    )
    updates = TrainingConfig(batch_size=B, clip=CLIP, warmup=0, precision=precision.current())
    return Config(model=model, data=DataConfig(symbols=V - FIRST_SYMBOL), training=updates)


def full_batch(V: int, B: int, S: int) -> Batch:
    """Draws random words, without padding or special tokens."""
    draw = np.random.default_rng(0)
    source_BxS, target_BxT = (draw.integers(FIRST_SYMBOL, V, (B, S), dtype=np.int32) for _ in range(2))
    real, none = jnp.ones((B, S), bool), jnp.full((B, S), -1, jnp.int32)
    return Batch(jnp.asarray(source_BxS), real, jnp.asarray(target_BxT), real, none, jnp.full(B, S), jnp.arange(B))


def stepping(step: Callable, state: Any, batch: Batch) -> Callable:
    """Builds () → the losses of `step(state, batch)`; each call starts from the last one's state."""
    state = jax.tree.map(jnp.copy, state)  # a step may take its state's memory

    def function():
        nonlocal state
        state, said = step(state, batch)
        return said

    return function


def ours(config: Config, params: dict, batch: Batch) -> tuple[dict, jax.Array]:
    """Returns (gradients of the mean loss per token, -log p of every sentence) in float64."""
    model = resolve(config).model
    with jax.enable_x64(True):
        state = training.init(model, config.training, 0, RATE).replace(params=exact(params))
        gradients, _ = jax.jit(lambda state, batch: training.gradients(state, batch, model, config.training))(state, batch)
        scores = jax.jit(lambda params, batch: training.eval_forced(params, batch, model)[0])(state.params, batch)
    return gradients, scores.nll_B


def assert_equals_plain(found: tuple[dict, jax.Array], params: dict, batch: Batch) -> None:
    """Raises `RunError` unless the loss of every sentence and all gradients are those of the plain loop."""
    gradients, nll_B = found
    with jax.enable_x64(True):
        plain_gradients = jax.jit(jax.grad(plain_loss))(exact(params), batch)
        plain_nll_B = jax.jit(plain.nll)(exact(params), batch.source_BxS, batch.target_BxT).sum(1)
    theirs = by_path(plain_gradients) | {"nll": plain_nll_B}
    measure.assert_equal_work(PLAIN, by_path(gradients) | {"nll": nll_B}, theirs, TOLERANCE)


def exact(params: dict) -> dict:
    """Returns parameters in float64."""
    return jax.tree.map(lambda x: np.asarray(x, np.float64), params)


def by_path(tree: Any) -> dict:
    """Returns {path: leaf}."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def plain_loss(params: Params, batch: Batch):
    """Returns the mean loss over target tokens."""
    return plain.nll(params, batch.source_BxS, batch.target_BxT).mean()


def plain_step(state: TrainState, batch: Batch) -> tuple[Callable, tuple]:
    """Builds (step, its first state): `jax.jit`, `jax.grad`, optax, threads left to the compiler."""
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(RATE))

    @partial(jax.jit, donate_argnums=0, compiler_options=machine.compiler_options(1))
    def step(state, batch):
        params, opt_state = state
        loss, gradients = jax.value_and_grad(plain_loss)(params, batch)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    return step, (state.params, optimizer.init(state.params))


def assert_equals_peers(found: tuple[dict, jax.Array], made: dict[str, dict[str, apart.Peer]]) -> None:
    """Raises `RunError` unless the loss of every sentence and all gradients are those of the peer before its first step."""
    gradients, nll_B = found
    with jax.enable_x64(True):
        named = peers.joeynmt_weights(gradients) | {"nll": nll_B}
    for column, steps in made.items():
        measure.assert_equal_work(column, named, steps["gradients"].result(), TOLERANCE)


def joeynmt_step(params: Params, batch: Batch, V: int, E: int, H: int) -> dict[str, Callable]:
    """Builds joeynmt's step, which returns its loss, and its gradients and losses of sentences in float64."""
    import torch
    from joeynmt.builders import build_gradient_clipper, build_optimizer

    model = peers.joeynmt_model(params, V, E, H)
    arrays = peers.tensors({"src": batch.source_BxS, "trg": batch.target_BxT, "mask": batch.target_mask_BxT[:, None]})
    source, target, mask = arrays["src"].long(), arrays["trg"].long(), arrays["mask"]
    B, S = source.shape
    inputs = {
        "src": source,
        "src_length": torch.full((B,), S),
        "src_mask": mask,
        "trg_input": torch.nn.functional.pad(target[:, :-1], (1, 0), value=BOS),
        "trg": target,
        "trg_mask": mask,
    }
    clip = build_gradient_clipper({"clip_grad_val": None, "clip_grad_norm": CLIP})
    optimizer = build_optimizer({"optimizer": "adam", "learning_rate": RATE}, model.parameters())

    def backward():
        loss, log_probs, _, correct = model(return_type="loss", **inputs)
        loss = loss / target.numel()
        loss.backward()
        return loss.item(), correct.item(), log_probs

    def step():
        loss, _, _ = backward()
        clip(parameters=model.parameters())
        optimizer.step()
        model.zero_grad()
        peers.wait()
        return loss

    def gradients():
        model.double()
        _, _, log_probs = backward()
        found = {name: parameter.grad for name, parameter in model.named_parameters()}
        model.zero_grad()
        model.float()
        return found | {"nll": -log_probs.detach().gather(2, target[:, :, None])[:, :, 0].sum(1)}

    return {"step": step, "gradients": gradients}


def torch_step(params: Params, batch: Batch, V: int, E: int, H: int) -> dict[str, Callable]:
    """Builds the step of the model in plain PyTorch, with PyTorch's clipping and Adam."""
    import torch

    model = torch_model.layers(V, E, H)
    model.load_state_dict(peers.tensors(peers.joeynmt_weights(params)))
    model.to(peers.device())
    arrays = peers.tensors({"source": batch.source_BxS, "target": batch.target_BxT})
    inputs = arrays["source"].long(), arrays["target"].long()
    optimizer = torch.optim.Adam(model.parameters(), RATE)

    def backward():
        nll = torch_model.nll(model, *inputs)
        nll.mean().backward()
        return nll

    def step():
        loss = backward().mean()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        peers.wait()
        return loss.item()

    def gradients():
        model.double()
        nll = backward()
        found = {name: parameter.grad for name, parameter in model.named_parameters()}
        model.zero_grad()
        model.float()
        return found | {"nll": nll.detach().sum(1)}

    return {"step": step, "gradients": gradients}
