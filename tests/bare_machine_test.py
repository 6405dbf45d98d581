"""Tests on a machine that lacks what corpora and manifests need: files that cannot run there are skipped, and say why; not so in CI."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent
CONCERNED = "tests/data/corpora/pairs_test.py", "tests/jobs_test.py"

HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow_datasets", "array_record", "kubernetes_validate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def session(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """pytest on a machine without these packages, outside CI unless the environment says otherwise."""
    (tmp_path / "hidden.py").write_text(HIDDEN)
    ours = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "hidden", "-p", "no:cacheprovider", "-q", *arguments]
    return subprocess.run(
        command, env=ours | {"PYTHONPATH": str(tmp_path)} | environment, cwd=ROOT, capture_output=True, text=True, timeout=900
    )


def test_what_cannot_be_collected_is_skipped_and_says_why(tmp_path):
    """Of all tests."""
    found = session(tmp_path, "--collect-only")
    assert found.returncode == 0, found.stdout
    for file, package in (("multi30k_test", "TFDS"), ("jobs_test", "kubernetes-validate")):
        assert re.search(rf"SKIPPED .*{file}\.py:[0-9]+: {package} is not installed", found.stdout), found.stdout
    assert "pairs_test.py::test_an_unknown_corpus" in found.stdout


@pytest.mark.parametrize(("environment", "code", "said"), [({}, 0, "SKIPPED"), ({"CI": "1"}, 1, "ERROR")], ids=["at home", "in CI"])
def test_a_test_that_needs_them_is_skipped_unless_in_ci(environment, code, said, tmp_path):
    """Others of its file run."""
    chosen = "test_the_cap_is_for_training_only or test_an_unknown_corpus"
    found = session(tmp_path, "-k", chosen, "--continue-on-collection-errors", *CONCERNED, **environment)
    assert found.returncode == code, found.stdout
    lines = [line for line in found.stdout.splitlines() if line.startswith(said)]
    assert any("tensorflow_datasets is not installed" in line or "test_the_cap" in line for line in lines), found.stdout
    assert any("jobs_test.py" in line for line in lines) and "1 passed" in found.stdout


def test_what_is_of_cpus_is_skipped_elsewhere(tmp_path):
    """JAX is told to name another backend; nothing is computed."""
    (tmp_path / "elsewhere.py").write_text("import jax\njax.default_backend = lambda: 'gpu'\n")
    command = [sys.executable, "-m", "pytest", "-p", "elsewhere", "-p", "no:cacheprovider", "-q", "tests/training/parallel_test.py"]
    found = subprocess.run(
        [*command, "-k", "test_eight_devices_are_simulated"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0 and "1 skipped" in found.stdout and "not on gpu: eight devices" in found.stdout, found.stdout
