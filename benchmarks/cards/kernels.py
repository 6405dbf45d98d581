"""Recurrent layers of TorchRL (cuDNN, scan, Triton) and FlashRNN (CUDA, fused and alternating), both passes; each where it imports.

Times are of their own layers, with their own initial weights: who calls them compares sizes, not numbers. FlashRNN's projection of the
inputs is not part of it, and its numbers are bfloat16. Written from their documentation; on no card run yet.
"""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import measure, peers
from benchmarks.rows import Row

TORCHRL = ("pad", "scan", "triton")
FLASHRNN = ("cuda_fused", "cuda")


def items(size: tuple[int, int, int, int], seconds: float) -> dict[str, Callable]:
    """An item per library and backend that is there, at B, T, D, H."""
    made = {f"torchrl {backend}": partial(torchrl_layer, backend, *size) for backend in TORCHRL}
    made |= {f"flashrnn {backend}": partial(flashrnn_layer, backend, *size) for backend in FLASHRNN}
    return {name: partial(timed, name, size, build, seconds) for name, build in made.items() if there(name.split()[0])}


def there(name: str) -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec(name) is not None


def timed(name: str, size: tuple[int, int, int, int], build: Callable, seconds: float) -> Iterator[Row]:
    """The row of one layer."""
    peers.ready()
    B, T, D, H = size
    yield from measure.compare("layer", f"lstm both passes, {name}", f"B={B} T={T} D={D} H={H}", {name: build()}, seconds, {})


def torchrl_layer(backend: str, B: int, T: int, D: int, H: int) -> Callable:
    """() → nothing; an LSTM over trajectories of which none begins within."""
    import torch
    from tensordict import TensorDict
    from torchrl.modules import LSTMModule

    keys = {"in_keys": ["x", "h", "c"], "out_keys": ["y", ("next", "h"), ("next", "c")]}
    module = LSTMModule(input_size=D, hidden_size=H, recurrent_backend=backend, default_recurrent_mode=True, device=peers.device(), **keys)
    x = torch.randn(B, T, D, device=peers.device())
    zeros, begins = torch.zeros(B, T, 1, H, device=x.device), torch.zeros(B, T, 1, dtype=torch.bool, device=x.device)

    def both():
        data = TensorDict({"x": x, "h": zeros, "c": zeros, "is_init": begins}, batch_size=[B, T])
        module(data)["y"].sum().backward()
        module.zero_grad()
        peers.wait()

    return both


def flashrnn_layer(backend: str, B: int, T: int, D: int, H: int) -> Callable:
    """() → nothing; an LSTM whose inputs are projected already, one head."""
    import torch
    from flashrnn.flashrnn import flashrnn

    random = partial(torch.randn, device=peers.device(), dtype=torch.bfloat16)
    projected, recurrent, bias = random(B, T, 4, 1, H), random(4, 1, H, H) / H**0.5, random(4, 1, H)
    arrays = [x.requires_grad_() for x in (projected, recurrent.detach(), bias)]

    def both():
        outputs, _ = flashrnn(*arrays, function="lstm", backend=backend, dtype="bfloat16")
        outputs[0].sum().backward()
        for x in arrays:
            x.grad = None
        peers.wait()

    return both
