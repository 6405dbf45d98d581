"""What holds for every test, and for every process a test starts: eight simulated devices, strict ranks, one compilation cache.

All of it is set through the environment, before a test file imports JAX. Nearly all the time of the suite is compilation, so
machine code is made without optimisation and in one piece; before JAX 0.11 also by XLA's older emitters, which take a third of the time.

Tests run on the backend that $JAX_PLATFORMS names, else on the best that JAX has been installed for. Elsewhere than on CPUs products are
made in float32, and what is `of_cpus` is skipped. In CI nothing may be missing: what is skipped for want of a package fails there.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy comes: threads of several workers wait for each other on few cores

import gc
import importlib
import importlib.metadata
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

flags = [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8", "--xla_backend_optimization_level=0"]
flags += ["--xla_cpu_parallel_codegen_split_count=1"]
if importlib.metadata.version("jaxlib").startswith("0.10."):  # XLA ends the process at a flag that it does not know
    flags += ["--xla_cpu_use_fusion_emitters=false"]
os.environ["XLA_FLAGS"] = " ".join(flags).strip()
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
if importlib.util.find_spec("jax_plugins") is None and importlib.util.find_spec("libtpu") is None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # there is nothing else, and JAX need not look for it
for name, value in {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share a GPU
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}.items():
    os.environ.setdefault(name, value)

RUNS = {"faults", "running", "experiments"}
"""Folders whose tests train whole runs, many in processes of their own."""

settings.register_profile("default", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_go_with_their_file():
    """Thousands of them in one process take gigabytes, and at last the memory maps that the kernel allows."""
    yield
    import jax  # only now: the environment above comes first

    jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def _products_are_made_in_float32():
    """On a GPU they would be TF32's, 3e-4 off: no tolerance here is meant for that."""
    import jax

    if jax.default_backend() != "cpu":
        jax.config.update("jax_default_matmul_precision", "highest")


def pytest_collection_modifyitems(items):
    """Whole runs come first, which take longest: at the end no worker is left alone with them."""
    items.sort(key=lambda item: RUNS.isdisjoint(item.path.parts))


def pytest_collection_finish():
    """What is imported by now stays: the garbage collector, which comes often while programs are traced, passes it over."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)


def pytest_runtest_setup(item):
    """Skips what is marked `of_cpus("why")` on another backend."""
    mark = item.get_closest_marker("of_cpus")
    if mark is not None:
        import jax

        if (backend := jax.default_backend()) != "cpu":
            pytest.skip(f"not on {backend}: {mark.args[0]}")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """In CI a file that skips itself, since a package is missing, is an error; the peers' own folder has its own rule."""
    report = yield
    if os.environ.get("CI") and report.skipped and "peers" not in collector.path.parts:
        report.outcome, report.longrepr = "failed", f"{collector.path}: {report.longrepr[2]}"
    return report


@pytest.fixture(scope="session")
def tfds():
    """The test is skipped where TFDS, or array_record, in which it keeps corpora, is not installed; in CI it fails."""
    for name in ("tensorflow_datasets", "array_record"):
        try:
            importlib.import_module(name)
        except ImportError:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed: pip install -e .")


@pytest.fixture(scope="session")
def evidence():
    """evidence(row, reference, ours, theirs, rtol=1e-5, atol=1e-5): asserts that they agree, and records the largest difference.

    The difference is absolute between numbers up to 1, relative above.

    `row` names a row of a table ("attention=additive", "normaliser=entmax15", "cell=lstm", "search=beam"), `reference` what is
    independent of us, with its source. Records go to a file of this process in the folder $EVIDENCE, if that is set, as `make evidence`
    does: docs/make_evidence.py makes docs/evidence.md of them.
    """
    folder = os.environ.get("EVIDENCE")
    file = folder and Path(folder) / f"{os.getpid()}.jsonl"

    def record(row: str, reference: str, ours, theirs, rtol: float = 1e-5, atol: float = 1e-5) -> None:
        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=f"{row} against {reference}")
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            difference = float((np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1)).max(initial=0.0))
            with file.open("a") as lines:
                lines.write(json.dumps({"row": row, "reference": reference, "difference": difference}) + "\n")

    return record


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of raw corpora, one subfolder each: $DATA_DIR, or ../shared/data; the test is skipped where there is none."""
    path = Path(os.environ.get("DATA_DIR", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no raw corpora at {path}: set DATA_DIR")
    return path
