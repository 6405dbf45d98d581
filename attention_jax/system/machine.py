"""Settings chosen by measurement for the machine; everything else in this package is the same on all machines.

    devices      on CPUs every core is a device of its own, and seeds train side by side on them (`parallel.side_by_side`)
    compiled     what XLA compiled is kept in a folder: a second start of the same shapes compiles nothing
    threads      a program that runs on all of these devices splits no operation over cores, since waking a thread costs more than a gate,
                 and is scheduled to reuse memory: what may run at once is handed from thread to thread
    allocator    on Linux with glibc freed memory is kept, since fresh pages cost more than most products of a small model; each thread
                 has a heap of its own, and a program's temporary arrays are cut to fit into one
    collector    what was imported before stays, and Python's garbage collector, which tracing calls often, passes it over
    blocks       what is made block by block comes in blocks that fit a cache on CPUs, and in few and large ones elsewhere
    launches     elsewhere than on CPUs what is alike, seeds and directions of reading, is computed side by side by one operation; on a GPU
                 an iteration of a loop over time takes several steps, since each operation of one is a launch
    products     operands are transposed beforehand where they would not lie row by row: weights for a backward loop, once for all steps

`prepare` sets these for a process and belongs to a command line: importing the library changes nothing, and nothing
here changes a result except in its last bits. `compiler_options` are those of a program. The figures are in docs/performance.md, and the
picture of processes, devices and programs in docs/where_it_runs.md.
"""

import atexit
import ctypes
import gc
import logging
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

import jax

from attention_jax.system import files, kept_programs
from attention_jax.system.errors import ConfigError, RunError

MALLOPT = {
    "M_MMAP_MAX": (-4, 0),  # large arrays come from the heap too, where their pages stay
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),  # bytes at the heap's end that may be free before the kernel gets them back
    "M_TOP_PAD": (-2, 256 << 20),  # bytes to ask for beyond what is needed
}
"""Name in <malloc.h>: (its number, our value)."""

HEAP = 60_000_000
"""Bytes of a program's temporary arrays that are allocated as one: a thread's heap in glibc holds 64 MB at the most, and what is larger is
mapped and unmapped each time. One heap for all threads holds more, but they wait for each other at each small allocation."""

_kept = False  # whether this process keeps freed memory: without that, parts of temporaries only cost

DETERMINISTIC = "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"
"""XLA's flags for a GPU on which the same program gives the same bits: no atomic sums, and no choice among kernels by their speed today.
A program that XLA cannot compile so is refused, with its error (docs/jobs.md). CPUs do so as they are."""

UNWRITABLE = r"(?s)Error writing persistent compilation cache entry for .*Multiple temp buffer allocations found"
"""JAX's warning where XLA cannot write a program down since its temporaries come in parts (`HEAP`): every start compiles that one anew."""

LARGE = 768
"""A hidden size from which on cores do not share a batch as devices of their own, each of which would read all recurrent weights at every
step (12 MB for a GRU of 1000): one device, whose products all cores share, reads them once."""

CPU_BLOCKS = {"projected": 2**19, "logits": 2**22, "scores": 2**21}
"""The most numbers that a block, or chunk, of each kind has on a CPU, each found by measurement: inputs projected for a loop, 2 MB in
float32, and logits, 16 MB, stay in a cache while they are used; blocks of scores of more than 8 MB are not faster, and sums over them are
slow."""

ACCELERATOR_BLOCK = 2**26
"""Elsewhere, of any kind: 256 MB in float32. No cache holds what is worth a launch there, and what each block costs anew, some launches of
a few µs and weights read once more, is little beside moving so much; without any limit a long source would take all memory."""

GPU_STEPS = 8
"""Steps of a loop over time in one iteration on a GPU: what several steps write is one launch. An update of eight seeds with attention,
H = 64 and 17 positions, has 984 launches with 1 step, 638 with 4, 588 with 6 and 580 with 8, and a program takes twice as long to compile
with 8 as with 1. See `python -m benchmarks.launches`."""

COMMAND_BUFFER, COMMANDS = "xla_gpu_enable_command_buffer", "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,WHILE,DYNAMIC_SLICE_FUSION"
"""What XLA records on a GPU, to launch it as one: its own choice, and loops as well, where a step's small operations take less time than
their launches. XLA's compiler for an H100 takes it; what it is worth has not been measured."""

HEARTBEAT = 30  # seconds without a sign of life until the other processes of a run are told that one is dead

logger = logging.getLogger(__name__)


def prepare(cache_dir: Path | None = None, keep: bool = True, deterministic: bool = False, most_cores: int | None = None) -> None:
    """Sets up this process. Call it once, before the first computation. It has a CPU device per core, at most `most_cores`.

    Compiled programs are kept in `<cache_dir>/compiled` (None: `files.CACHE`); with `keep` False they are neither kept nor looked for.
    `deterministic` adds `DETERMINISTIC` to $XLA_FLAGS.
    """
    if gc.get_freeze_count() < len(sys.modules):  # once: Python itself may begin with a few hundred objects
        gc.freeze()
    if keep_memory():
        errors_only()
    if deterministic:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()
    one_device_per_core(most_cores)
    if keep:
        keep_compiled((cache_dir or files.CACHE) / "compiled")
    else:
        jax.config.update("jax_enable_compilation_cache", False)


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Joins the processes that train together (`jax.distributed`). Without arguments Slurm's srun or a TPU pod says which.

    Signals stay ours: JAX's own service would swallow SIGTERM. Raises `ConfigError` where there is no cluster or an address is wrong, and
    `RunError` where the others cannot be reached.
    """
    if coordinator is not None:
        if not (address := re.fullmatch(r"\S+:([0-9]{1,5})", coordinator)) or not 0 < int(address[1]) < 2**16:
            raise ConfigError(f"--coordinator={coordinator} does not fit: it must be host:port of the first process, port < {2**16}")
        if processes is None or process is None or not process < processes:
            raise ConfigError(f"--coordinator={coordinator} needs --processes (how many) and --process (which, below that)")
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT)
    except ValueError as error:
        raise ConfigError(f"--distributed finds no cluster ({error}): use srun, or give --coordinator, --processes and --process") from None
    except RuntimeError as error:
        raise RunError(f"the other processes cannot be reached: {str(error).splitlines()[0]}") from None


def trim() -> None:
    """Gives memory that is free back to the system, where that is Linux with glibc: what compilers used, up to 300 MB a program."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def errors_only() -> None:
    """Silences XLA's warnings, but not its errors, unless $TF_CPP_MIN_LOG_LEVEL=0 or $JAX_LOGGING_LEVEL asks for them.

    XLA warns once or more for each array larger than `HEAP`. JAX's own loggers stay as they were.
    """
    if "JAX_LOGGING_LEVEL" not in os.environ and os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # JAX may set it to 1 itself
        jax.config.update("jax_logging_level", "ERROR")
        jax.config.update("jax_logging_level", "NOTSET")  # that of JAX's loggers: for XLA's it says nothing


def one_device_per_core(most: int | None = None) -> None:
    """Asks JAX for one CPU device per core of this process, at most `most`; $XLA_FLAGS may ask for another number."""
    if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", min(cores(), most or cores()))


def cores() -> int:
    """Returns how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Returns the bytes of memory of all devices of this process; on CPUs, of the machine."""
    if jax.default_backend() == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return sum((device.memory_stats() or {}).get("bytes_limit", sys.maxsize) for device in jax.local_devices())


def shares(hidden_size: int) -> int:
    """Returns how many devices should share a batch: all of them, but one on CPUs from a hidden size of `LARGE` on."""
    return 1 if jax.default_backend() == "cpu" and hidden_size >= LARGE else len(jax.devices())


def wants_transposed() -> bool:
    """Returns whether copying an operand to be read row by row is faster than multiplying by its transpose: on CPUs."""
    return jax.default_backend() == "cpu"


def vectorises() -> bool:
    """Returns whether seeds and directions of reading are vectorised: on accelerators."""
    return jax.default_backend() != "cpu"


def steps(backend: str | None = None) -> int:
    """Returns the steps of a loop over time in one of its iterations, on a backend (None: the default one)."""
    return GPU_STEPS if (backend or jax.default_backend()) == "gpu" else 1


def block(kind: str, backend: str | None = None) -> int:
    """Returns the most numbers that a block of this kind, a key of `CPU_BLOCKS`, has on a backend (None: the default one)."""
    return CPU_BLOCKS[kind] if (backend or jax.default_backend()) == "cpu" else ACCELERATOR_BLOCK


def compiler_options(devices: int, backend: str | None = None) -> dict[str, str]:
    """Returns XLA's options for a program on so many devices of a backend (None: the default one).

    On a GPU what $XLA_FLAGS say of command buffers comes first.
    """
    backend = backend or jax.default_backend()
    if backend == "gpu" and COMMAND_BUFFER not in os.environ.get("XLA_FLAGS", ""):
        return {COMMAND_BUFFER: COMMANDS}
    if backend != "cpu":
        return {}
    options = {"xla_multiheap_size_constraint_per_heap": str(HEAP)} if _kept else {}
    if devices == cores() == len(jax.devices()):
        options |= {"xla_disable_hlo_passes": "cpu-parallel-task-assigner", "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
    return options


def keep_compiled(folder: Path) -> None:
    """Keeps compiled programs, small ones too, in `folder`, where later processes find them.

    The folder of $JAX_COMPILATION_CACHE_DIR comes first, and JAX_ENABLE_COMPILATION_CACHE=false means none. A folder that cannot be written
    is warned about in one line, and the process goes on without. Entries are programs: the folder must be one's own, and what was damaged
    there is compiled anew (`kept_programs`). Of what keeps a program from being written, `UNWRITABLE` alone is not warned about.
    """
    theirs = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]  # made as JAX starts
    folder, ours = Path(theirs or folder), theirs is None
    if not jax.config.jax_enable_compilation_cache:  # pyright: ignore[reportAttributeAccessIssue]  # made as JAX starts
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError as error:
        jax.config.update("jax_enable_compilation_cache", False)
        logger.warning("compiled programs cannot be kept in %s (%s): every start compiles anew", folder, error.strerror)
        return
    kept_programs.drop_damaged(folder, ours)
    kept_programs.watch(folder)
    atexit.register(kept_programs.leave, folder)
    warnings.filterwarnings("ignore", UNWRITABLE, UserWarning)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def keep_memory() -> bool:
    """Tells glibc's malloc to keep freed memory; returns whether it was told. Does nothing on other systems."""
    global _kept
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - other C libraries lack it, and give these numbers no meaning
        _kept = all(libc.mallopt(number, value) for number, value in MALLOPT.values())
        return _kept
    except (OSError, AttributeError):
        return False
