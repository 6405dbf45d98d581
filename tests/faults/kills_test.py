"""A few of the chains of `make faults`: training processes are killed, begun again by the same command, and end bit-identical.

Each chain has a kill by the clock besides, drawn anew with $FAULTS_SEED; a failure names it.
"""

import os
import random

import pytest

from tests.faults import chains, scenarios
from tests.faults.chains import At, Clock, Seen

SEED = int(os.environ.get("FAULTS_SEED", "0"))
KILLS = {
    "synthetic": [At("config.json is replaced", 1), Clock(0.5), At("arrays are written", 5), At("half of the rows", 1)],
    "text": [
        At("vocabulary.model is replaced", 1),
        At("half of pilot.json", 1),
        Seen("checkpoint/.draft/*", 0.1),
        At("the trash is emptied", 3),
    ],
}


@pytest.mark.parametrize("name", KILLS)
def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path, name):
    _, reference = chains.whole(name, tmp_path / "whole", warm=False)
    drawn = Clock(random.Random(f"{SEED} {name}").uniform(0, 10))
    outcome = chains.play(scenarios.prepare(name, tmp_path / "killed"), [*KILLS[name], drawn], reference)
    assert outcome.struck[: len(KILLS[name])] == KILLS[name], chains.said(outcome)
    assert not outcome.wrong, f"FAULTS_SEED={SEED}: {chains.said(outcome)}"
