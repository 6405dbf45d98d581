"""A small soak: `make faults` has the whole one."""

import os

import pytest

from tests.faults import soak

pytestmark = pytest.mark.long

SEED = int(os.environ.get("FAULTS_SEED", "0"))


def test_a_sweep_by_several_jobs_whose_processes_are_killed(tmp_path):
    assert soak.play(tmp_path, runs=3, kills=2, jobs=2, seed=SEED) == [], f"FAULTS_SEED={SEED}"
