"""The steps, in the order of their value, and what each may take of the time that is left."""

from collections.abc import Sequence
from typing import NamedTuple

from attention_jax.system import machine

APART = f"--{machine.COMMAND_BUFFER}={machine.COMMANDS.replace(',WHILE', '')}"
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # of a step whose children compute, and which itself holds the card as well


class Step(NamedTuple):
    """A process: the module it runs, which variant of it, its weight when time is shared, and what its environment has besides."""

    part: str
    module: str
    argument: str
    weight: float
    flags: str = ""  # of XLA
    environment: dict[str, str] = {}

    @property
    def name(self) -> str:
        """As rows have it."""
        return f"{self.module} {self.argument}".strip()


STEPS = (
    Step("a", "card", "", 20),
    Step("a", "card", "deterministic", 25, machine.DETERMINISTIC),
    Step("b", "parity", "highest", 55),
    Step("b", "parity", "tf32", 45),
    Step("c", "resume", "", 70, environment=SHARED),
    Step("d", "updates", "as it is", 45),
    Step("d", "updates", "launched apart", 45, APART),
    Step("d", "updates", "single steps", 25),
    Step("d", "updates", "two seeds at once", 25),
    Step("d", "updates", "small blocks", 20),
    Step("d", "updates", "both", 20, APART),
    Step("e", "others", "layers", 25),
    Step("e", "others", "models", 40),
    Step("e", "others", "decoding", 20),
    Step("f", "sweeps", "tiny", 80, environment=SHARED),
    Step("f", "sweeps", "verdict", 40, environment=SHARED),
    Step("g", "sweeps", "full", 30, environment=SHARED),
)
"""In the order of their value; weights are about the seconds of a call of ten minutes."""

PARTS = tuple(dict.fromkeys(step.part for step in STEPS))


def share(left: float, steps: Sequence[Step]) -> float:
    """Seconds for the first of the steps that are still to come."""
    return left * steps[0].weight / sum(step.weight for step in steps)
