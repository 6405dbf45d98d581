"""Losses for TensorBoard, where tensorboardX is installed (the extra `tensorboard`); rows and verdicts need none of it."""

from collections.abc import Callable
from pathlib import Path

from attention_jax.types import ConfigError


def writer(directory: Path, first_update: int) -> Callable[[int, dict[str, float]], None]:
    """write(update, {name: value}) to event files in `directory`; what is there from `first_update` on is hidden, as it is written again.

    Raises `ConfigError` where tensorboardX is missing.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ConfigError("--tensorboard needs tensorboardX: pip install tensorboardX") from None
    events = SummaryWriter(str(directory), purge_step=first_update or None)

    def write(update: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            events.add_scalar(name, value, update)
        events.flush()

    return write
