"""Part d: the time of an update of eight seeds, as a run makes them, in six ways.

    as it is           what the command line compiles: loops recorded, large blocks, several steps an iteration (`machine.COMMANDS`,
                       `machine.ACCELERATOR_BLOCK`, `machine.GPU_STEPS`), all seeds at once
    launched apart     loops are not recorded, as XLA has it by itself, see `steps.APART`
    small blocks       what is made block by block comes in blocks that fit into a CPU's cache
    both               of these
    single steps       an iteration of a loop over time takes one
    two seeds at once  training.seeds_at_once=2: what attention reads of two seeds fits into a card's cache

Sizes: bottleneck's tiny preset; H = 64, as it was until the preset became smaller (E = 32, no projection, nothing held out); H = 256, the
preset full; that preset with H = 64. Products are as this backend makes them, TF32 on a GPU.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from attention_jax.config import Config
from attention_jax.layers import precision
from attention_jax.system import machine
from benchmarks import measure, seeds
from benchmarks.cards.task import Task
from benchmarks.rows import Row
from experiments import bottleneck

ARMS = ("additive", "none", "summary")
SECONDS = 1.5  # of measuring, for one row


def preset(base: Config, arm: str, small: bool, **widths: int) -> Config:
    """A preset's arm with other widths, in the precision of this process."""
    model = replace(base.model, attention=arm, **widths)
    config = replace(base, model=model, training=replace(base.training, precision=precision.current()))
    return shrunk(config) if small else config


def shrunk(config: Config) -> Config:
    """The same for the rehearsal."""
    training = replace(config.training, seeds=2, batch_size=4)
    return replace(config, model=replace(config.model, hidden_size=6), data=replace(config.data, longest=4), training=training)


def wider(arm: str, small: bool) -> Config:
    """The tiny preset as it was."""
    tiny = replace(bottleneck.TINY, data=replace(bottleneck.TINY.data, held_out=0))
    return preset(tiny, arm, small, hidden_size=64, embedding_size=32, vector_size=0)


SIZES: dict[str, Callable[[str, bool], Config]] = {
    "tiny": partial(preset, bottleneck.TINY),
    "H=64": wider,
    "full H=256": partial(preset, bottleneck.FULL),
    "full H=64": partial(preset, bottleneck.FULL, hidden_size=64),
}


def sizes(config: Config) -> str:
    """As rows have them."""
    model, training = config.model, config.training
    return f"R={training.seeds} H={model.hidden_size} B={training.batch_size} S≤{config.data.longest}"


def items(task: Task) -> dict[str, Callable]:
    """An item per size and arm, attention first; the rehearsal has one."""
    WAYS[task.argument]()
    chosen = [(size, arm) for arm in ARMS for size in SIZES]
    chosen = chosen[:1] if task.small else chosen
    return {f"{size} {arm}": partial(measured, size, arm, task) for size, arm in chosen}


def as_it_is() -> None:
    """Changes nothing."""


def small_blocks() -> None:
    """From here on this process has blocks of the size that CPUs have for a recurrence's inputs."""
    machine.ACCELERATOR_BLOCK = machine.CPU_BLOCKS["projected"]


def single_steps() -> None:
    """From here on this process takes one step in an iteration of a loop over time."""
    machine.GPU_STEPS = 1


PAIRS = "two seeds at once"
WAYS: dict[str, Callable[[], None]] = {
    "as it is": as_it_is,
    "launched apart": as_it_is,  # its step has flags of XLA
    "small blocks": small_blocks,
    "both": small_blocks,
    "single steps": single_steps,
    PAIRS: as_it_is,  # a setting
}
"""What this process changes for each way."""


def measured(size: str, arm: str, task: Task) -> Iterator[Row]:
    """The row of one size and arm."""
    config = SIZES[size](arm, task.small)
    if task.argument == PAIRS:
        config = replace(config, training=replace(config.training, seeds_at_once=2))
    function = {task.argument: seeds.chunk(config, config.training.seeds)}
    for row in measure.compare("update", f"{size} {arm}, {task.argument}", sizes(config), function, 0 if task.small else SECONDS, {}):
        yield replace(row, ours=seeds.per_update(row.ours))
