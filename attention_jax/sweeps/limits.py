"""Time limits of jobs, from the forecast of a sweep: what a run takes, times a margin, rounded up to one of a few limits.

Limits double from `LEAST` on, so that runs of like length share a job array. A limit that is too short loses nothing: the run saves before,
and goes on in another job.
"""

from collections.abc import Mapping, Sequence

from attention_jax.sweeps.forecast import Forecast
from attention_jax.system.errors import ConfigError

LEAST = 600  # seconds
MOST = 64  # doublings of it that there may be, far above any run

CONCLUSION = 1800
"""Seconds of the job that concludes: it reads rows, counts and draws."""


def of_runs(found: Forecast, indices: Sequence[int], margin: float) -> dict[int, list[int]]:
    """Returns {limit in seconds: the runs of `indices` that have it}, the shortest first."""
    limits: dict[int, list[int]] = {}
    for index in indices:
        limits.setdefault(limit(found.seconds_of(found.lines[index]) * margin), []).append(index)
    return dict(sorted(limits.items()))


def limit(seconds: float) -> int:
    """Returns the first of the doubled limits that holds so many seconds."""
    return next(LEAST * 2**step for step in range(MOST) if seconds <= LEAST * 2**step)


def joined(limits: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Returns all runs under the longest limit."""
    return {max(limits): sorted(index for several in limits.values() for index in several)}


def text(seconds: int) -> str:
    """Returns seconds as Slurm takes them: 02:40:00, or 1-02:00:00 from a day on."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return (f"{days}-" if days else "") + f"{hours:02}:{minutes:02}:{rest:02}"


def check_gpus(asked: str | None) -> None:
    """Raises `ConfigError` for what is no number of GPUs, nor a type and a number: 2, h100:1."""
    name, _, count = (asked or "1").rpartition(":")
    known = all(letter.isalnum() or letter in "_-." for letter in name)
    if not (count.isascii() and count.isdigit() and int(count)) or not known or (asked or "").startswith(":"):
        raise ConfigError(f"--gpus={asked} does not fit: give how many a node has of them, 2, or a type and how many, h100:1")
