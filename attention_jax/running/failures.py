"""What a run failed with: one line for the terminal, and the traceback in its directory until it is begun again."""

import contextlib
import shutil
import traceback
from pathlib import Path

from jax.errors import JaxRuntimeError

from attention_jax.config import Config
from attention_jax.data import corpora
from attention_jax.data.corpora import vocabularies
from attention_jax.system import files
from attention_jax.system.errors import RunError, one_line

FILE = "failure.txt"
LEFT = ("config.json", "rates.jsonl", *vocabularies.FILES)
LONGEST = 1 << 13  # bytes at its end that are read


def keep(directory: Path) -> None:
    """Writes the traceback of the exception that is being handled, where that can be written."""
    with contextlib.suppress(RunError):
        files.write_bytes(directory / FILE, traceback.format_exc().encode(errors="replace"))


def forget(directory: Path) -> None:
    """Deletes failure.txt, because the run starts again."""
    with files.writing(directory / FILE):
        (directory / FILE).unlink(missing_ok=True)


def clear(directory: Path) -> None:
    """Deletes what a run left that failed before it saved anything, so that other settings may take its directory."""
    with files.writing(directory):
        for name in LEFT:
            (directory / name).unlink(missing_ok=True)
        shutil.rmtree(directory / "trials", ignore_errors=True)


def failed(directory: Path) -> str:
    """Returns the last line of what a run failed with; empty where it did not fail, or was started again since."""
    try:
        text = files.read_end(Path(directory) / FILE, LONGEST).decode(errors="replace")
        return one_line(text.strip().rpartition("\n")[2][:300])
    except OSError:
        return ""


def is_full(error: Exception) -> bool:
    """Returns whether an error says that memory is exhausted."""
    return isinstance(error, MemoryError) or (isinstance(error, JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error))


def explained(error: Exception, config: Config) -> str:
    """Explains in one line what JAX, or anything else, raised."""
    text = (str(error).splitlines() or [""])[0][:300]
    if is_full(error):
        training, text_too = config.training, " or text.buckets" if config.data.task in corpora.TABLE else ""
        return (
            f"out of memory ({text}): lower training.batch_size={training.batch_size}, training.seeds={training.seeds} (all are trained at "
            f"once), model.hidden_size={config.model.hidden_size}{text_too}"
        )
    return f"{type(error).__name__}: {text}"
