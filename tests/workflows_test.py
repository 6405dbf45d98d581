"""Workflows of GitHub: they parse, their jobs need jobs that are there, and their steps call targets, tests and actions that are there."""

import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[dev]'")

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github" / "workflows").glob("*.yaml"))}
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
JOBS = {f"{file}, {name}": job for file, workflow in WORKFLOWS.items() for name, job in workflow["jobs"].items()}

OLDEST = {
    "actions/checkout": 5,
    "actions/setup-python": 6,
    "actions/upload-artifact": 6,
    "actions/download-artifact": 7,
    "actions/upload-pages-artifact": 5,
    "actions/deploy-pages": 5,
}
"""Of each action the first major version on Node 24. Those before run on Node 20, which GitHub has deprecated."""
NAMED = {"pypa/gh-action-pypi-publish": "release/v1"}
"""Actions whose authors name a branch."""


def commands(job: dict) -> list[str]:
    """What the steps of a job run, once for each row of its matrix, with the row's values filled in."""
    rows = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
    said = [step["run"] for step in job["steps"] if "run" in step]
    return [re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found, row=row: row.get(found[1], ""), line) for row in rows for line in said]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_calls_what_is_there(name):
    for line in commands(JOBS[name]):
        for target in re.findall(r"^make (\S+)", line):
            assert target in TARGETS, f"{line!r}: the Makefile has no {target}"
        gone = [path for path in re.findall(r"\S+\.py\b", line) if not (ROOT / path).is_file()]
        assert not gone, f"{line!r}: there is no {', '.join(gone)}"


@pytest.mark.parametrize("name", JOBS)
def test_a_job_needs_jobs_that_are_there_and_no_old_action(name):
    file, job = name.partition(",")[0], JOBS[name]
    needs = job.get("needs", [])
    assert set([needs] if isinstance(needs, str) else needs) <= set(WORKFLOWS[file]["jobs"])
    for action, _, version in (step["uses"].partition("@") for step in job["steps"] if "uses" in step):
        if action in NAMED:
            assert version == NAMED[action]
        else:
            assert int(version.removeprefix("v")) >= OLDEST[action], f"{action}@{version} runs on Node 20, which is deprecated"


def test_a_change_is_tested_with_every_python_and_a_tag_publishes():
    tested = {(row["python"], row["target"]) for row in WORKFLOWS["ci.yaml"]["jobs"]["test"]["strategy"]["matrix"]["include"]}
    assert {(python, target) for python in ("3.11", "3.12") for target in ("test", "test-long")} <= tested
    ran = "\n".join(line for name, job in JOBS.items() if name.startswith("ci.yaml") for line in commands(job))
    for target in ("lint", "test", "smoke", "test-contracts", "test-peers", "coverage", "docs", "wheel"):
        assert re.search(rf"^make {target}\b", ran, re.MULTILINE), target
    release = WORKFLOWS["release.yaml"]
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads the key `on` as true
    assert release["jobs"]["publish"]["needs"] == "check"
