"""Losses for TensorBoard, where tensorboardX is installed (the extra `tensorboard`); rows and verdicts need none of it."""

from pathlib import Path

from attention_jax.system.errors import ConfigError


def writer(directory: Path, first_update: int):
    """A `tensorboardX.SummaryWriter` of event files in `directory`; what is there from `first_update` on is hidden, as it is written anew.

    Raises `ConfigError` where tensorboardX is missing.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ConfigError("--tensorboard needs tensorboardX: pip install tensorboardX") from None
    return SummaryWriter(str(directory), purge_step=first_update or None)
