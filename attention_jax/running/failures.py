"""What a run failed with: one line for the terminal, and the traceback in its directory until it is begun again."""

import contextlib
import traceback
from pathlib import Path

from jax.errors import JaxRuntimeError

from attention_jax.config import Config
from attention_jax.data import corpora
from attention_jax.system import files
from attention_jax.system.errors import RunError

FILE = "failure.txt"


def keep(directory: Path) -> None:
    """Writes the traceback of the exception that is being handled, where that can be written."""
    with contextlib.suppress(RunError):
        files.write_bytes(directory / FILE, traceback.format_exc().encode(errors="replace"))


def forget(directory: Path) -> None:
    """The run is begun again."""
    with files.writing(directory / FILE):
        (directory / FILE).unlink(missing_ok=True)


def failed(directory: Path) -> str:
    """The last line of what a run failed with; empty where it did not fail, or was begun again since."""
    try:
        return (Path(directory) / FILE).read_text(errors="replace").strip().rpartition("\n")[2][:300]
    except OSError:
        return ""


def is_full(error: Exception) -> bool:
    """Whether memory was exhausted."""
    return isinstance(error, MemoryError) or (isinstance(error, JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error))


def explained(error: Exception, config: Config) -> str:
    """One line on what JAX, or anything else, raised."""
    text = (str(error).splitlines() or [""])[0][:300]
    if is_full(error):
        training, text_too = config.training, " or text.buckets" if config.data.task in corpora.TABLE else ""
        return (
            f"out of memory ({text}): lower training.batch_size={training.batch_size}, training.seeds={training.seeds} (all are trained at "
            f"once), model.hidden_size={config.model.hidden_size}{text_too}"
        )
    return f"{type(error).__name__}: {text}"
