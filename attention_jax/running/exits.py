"""What ends a command: an exit status that says what to do next, and one line on standard error. docs/jobs.md lists them."""

from collections.abc import Callable

from jax.errors import JaxRuntimeError

from attention_jax.system import output, signals
from attention_jax.system.errors import ConfigError, DataError, RunError, Stopped, StorageError
from attention_jax.training import parallel


def ended(act: Callable[[], int]) -> int:
    """Returns the exit status of a command: what `act` returns, or the one of what it raises. Errors that are none of ours go on."""
    try:
        return act()
    except Stopped as stopped:
        return _said(signals.STOPPED, f"stopped: {stopped}")
    except (StorageError, OSError) as error:
        return _said(signals.REFUSED, f"error: {error}")
    except (ConfigError, DataError) as error:
        return _said(2, f"error: {error}")
    except RunError as error:
        return _said(1, f"error: {error}")
    except (JaxRuntimeError, ValueError) as error:
        if not parallel.is_lost(error):
            raise
        reason = str(error).splitlines()[0][:200]
        return _said(
            signals.STOPPED, f"stopped: another process of this run is gone ({reason}); the same command goes on from its checkpoint"
        )


def _said(status: int, line: str) -> int:
    output.tell(line)
    return status
