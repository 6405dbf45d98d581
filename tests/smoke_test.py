"""`make smoke` names every part of the study, with settings that the part takes: what it says is planned here, and trained there."""

import importlib
import re
from pathlib import Path

import pytest

from attention_jax.sweeps import claims, sweep
from experiments import run

ROOT = Path(__file__).resolve().parent.parent
LINES = (ROOT / "Makefile").read_text().replace("\\\n", " ")
SAID = dict(re.findall(r"^(few|pairs) = (.*)", LINES, re.MULTILINE))
FEW, PARTS = SAID["few"].split(), SAID["pairs"].split()


def test_every_part_of_the_study_is_named():
    parts = claims.of_data(run.SEVERAL["study"], "experiments", run.CLAIMS)
    assert sorted(part.split("/")[0] for part in PARTS) == sorted(parts)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_takes_its_arms_and_settings(part):
    experiment, arms, *more = part.split("/")
    planned = sweep.plan(importlib.import_module(f"experiments.{experiment}"), "", [*FEW, *more], arms=arms.split(","))
    assert planned and all(run.config.training.updates == 10 for run in planned)
