"""One chain of `make faults`' kind: a training process is killed, begun again by the same command, and ends bit-identical.

$FAULTS_SEED draws the last kill, by the clock, anew; a failure names it.
"""

import os
import random

import pytest

from tests.faults import chains, scenarios
from tests.faults.chains import At, Clock, Seen

pytestmark = pytest.mark.long

SEED = int(os.environ.get("FAULTS_SEED", "0"))
KILLS = [
    At("vocabulary.model is replaced", 1),
    At("half of the rows of trials", 1),
    Seen("checkpoint/.draft/*", 0.1),
    At("the trash is emptied", 1),
    At("half of the rows", 1),
]


@pytest.mark.usefixtures("tfds")
def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path):
    _, reference = chains.whole("text", tmp_path / "whole", warm=False)
    kills = [*KILLS, Clock(random.Random(SEED).uniform(0, 10))]
    outcome = chains.play(scenarios.prepare("text", tmp_path / "killed"), kills, reference)
    assert len(outcome.struck) >= 5, chains.said(outcome)
    assert not outcome.wrong, f"FAULTS_SEED={SEED}: {chains.said(outcome)}"
