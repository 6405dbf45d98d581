"""Peers in processes of their own, as their users have them.

`machine.prepare` tells the C library to keep freed memory, and in one process a peer would have that, too: PyTorch's LSTM is up to 1.7
times as fast with it. So a peer has a process that nobody prepared, and beside it, as a further column, one whose memory is kept as ours.
Turns are taken one after the other as ever, and time is taken where the work is done. On a GPU, where that memory is not used and one
process holds the device, the peer is in this process.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np

from attention_jax.system import machine
from attention_jax.system.errors import RunError
from benchmarks import peers

KEPT = ", memory kept"
"""The end of the name of the column whose process keeps freed memory."""


class Peer(NamedTuple):
    """seconds() that a call takes;  result() of a call, tensors as numpy arrays."""

    seconds: Callable[[], float]
    result: Callable[[], Any]


@contextmanager
def beside(name: str, factory: Callable, *arguments: Any, kept: bool = True) -> Iterator[dict[str, dict[str, Peer]]]:
    """Yields {column: peer}, alive within the context; factory(*arguments) → {name of a function: () → result}.

    The columns are `name` and, on a CPU if `kept`, the same with `KEPT`. `factory` must be a function of a module; arguments are copied.
    """
    arguments = jax.tree.map(lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, arguments)
    if jax.default_backend() != "cpu":
        peers.ready()
        yield {name: {of: _here(function) for of, function in factory(*arguments).items()}}
        return
    with ExitStack() as processes:
        columns = {name: False, name + KEPT: True} if kept else {name: False}
        yield {column: processes.enter_context(_process(keep, factory, arguments)) for column, keep in columns.items()}


def _here(function: Callable) -> Peer:
    return Peer(lambda: timed(function), lambda: numpy(function()))


@contextmanager
def _process(keep: bool, factory: Callable, arguments: tuple) -> Iterator[dict[str, Peer]]:
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, keep, factory, arguments), daemon=True)
    process.start()
    theirs.close()

    def ask(*question):
        try:
            if question:
                connection.send(question)
            failed, answer = connection.recv()
        except (EOFError, OSError):
            raise RunError(f"the process of {factory.__module__}.{factory.__name__} ended with status {process.exitcode}") from None
        if failed:
            raise RunError(f"{factory.__module__}.{factory.__name__}: {answer}")
        return answer

    try:
        yield {of: Peer(lambda of=of: ask("seconds", of), lambda of=of: ask("result", of)) for of in ask()}
    finally:
        connection.close()
        process.kill()
        process.join()


def _serve(connection, keep: bool, factory: Callable, arguments: tuple) -> None:
    """Runs the child: sends the names of its functions, then answers calls until the connection closes."""
    jax.config.update("jax_platforms", "cpu")
    if keep:
        machine.keep_memory()
    try:
        peers.ready()
        functions = factory(*arguments)
        connection.send((False, list(functions)))
        while True:
            what, of = connection.recv()
            connection.send((False, timed(functions[of]) if what == "seconds" else numpy(functions[of]())))
    except (EOFError, OSError, KeyboardInterrupt):
        return
    except Exception as error:  # whatever a peer raises is said by the process that asked
        connection.send((True, f"{type(error).__name__}: {error}"))


def timed(function: Callable) -> float:
    """Times a call in seconds, with waiting for JAX arrays."""
    started = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - started


def numpy(tree: Any) -> Any:
    """Converts the tensors of a tree to NumPy arrays."""
    return jax.tree.map(lambda x: x.detach().cpu().numpy() if hasattr(x, "detach") else x, tree)
