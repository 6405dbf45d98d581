"""Losses and results for Weights & Biases, where wandb is installed (the extra `wandb`).

The project is the experiment's name, the run its run's. `$WANDB_MODE` and the other variables of wandb count: with WANDB_MODE=offline it
writes to the run's directory alone, and `wandb sync` uploads that later. A run that goes on is the same run there: its number is made of
its settings.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attention_jax import config as settings
from attention_jax.config import Config
from attention_jax.system.errors import ConfigError, one_line

log = logging.getLogger(__name__)


class Losses:
    """A run of Weights & Biases; it goes on where there is one of these settings, and keeps what that has of an update.

    What it refuses is warned about once, and nothing more is written. Raises `ConfigError` where wandb is missing or does not begin.
    """

    def __init__(self, config: Config, directory: Path):
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ConfigError(f"--writers=wandb needs wandb: pip install wandb ({error})") from None
        self.run: Any = None
        try:
            self.run = wandb.init(
                project=config.experiment,
                name=config.run,
                id=settings.fingerprint(config)[:16],
                resume="allow",
                dir=str(directory),
                config=settings.leaves(config),
                settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
            )
        except Exception as error:
            said = f"--writers=wandb: wandb does not begin ({one_line(str(error))}); WANDB_MODE=offline writes without network and key"
            raise ConfigError(said) from error

    def add(self, update: int, numbers: Mapping[str, float]) -> None:
        """Writes the numbers of an update, by name."""
        self._call(lambda run: run.log(dict(numbers), step=update))

    def close(self) -> None:
        """Ends the run; nothing can be written afterwards."""
        self._call(lambda run: run.finish())
        self.run = None

    def _call(self, write: Any) -> None:
        if self.run is not None:
            try:
                write(self.run)
            except Exception as error:
                self.run = None
                log.warning("numbers for Weights & Biases cannot be written (%s): training goes on without", one_line(str(error)))
