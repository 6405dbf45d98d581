"""What the command line sets up: each in a process of its own, since it cannot be undone in one."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.system import files, machine

ROOT = Path(machine.__file__).resolve().parents[2]

PREPARE = """
import gc, logging, sys
from pathlib import Path
from attention_jax.system import files, machine
logging.basicConfig(format="%(levelname)s %(message)s")
machine.prepare(Path(sys.argv[1]), keep=sys.argv[2] == "keep")
assert gc.get_freeze_count() > 10 * len(sys.modules), "what was imported is looked through by the garbage collector"
import jax
print(jax.device_count(), float(jax.jit(lambda x: x + 1)(1.0)))
"""


def prepare(cache_dir: Path, keep: bool = True, **environment: str) -> tuple[str, str]:
    """(what the process printed, its complaints) after it prepared and computed 1 + 1."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    command = [sys.executable, "-c", PREPARE, str(cache_dir), "keep" if keep else "not"]
    environment = ours | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.mark.long
def test_a_device_per_core_and_programs_kept(tmp_path):
    assert prepare(tmp_path) == (f"{machine.cores()} 2.0", "")
    kept = sorted(path.name for path in (tmp_path / "compiled").iterdir())
    assert any(name.startswith("jit_") for name in kept)  # however small and quickly compiled
    assert prepare(tmp_path) == (f"{machine.cores()} 2.0", "")
    assert sorted(path.name for path in (tmp_path / "compiled").iterdir()) == kept


@pytest.mark.long
def test_half_a_program_is_made_again(tmp_path):
    prepare(tmp_path)
    kept = {path: path.read_bytes() for path in (tmp_path / "compiled").glob("*-cache")}
    for path, content in kept.items():
        path.write_bytes(content[: len(content) // 2])
    assert prepare(tmp_path) == (f"{machine.cores()} 2.0", "")
    assert {path: path.read_bytes() for path in (tmp_path / "compiled").glob("*-cache")}.keys() == kept.keys()
    assert prepare(tmp_path) == (f"{machine.cores()} 2.0", "")


def test_jax_still_says_what_it_compiles(tmp_path):
    assert "Finished XLA compilation" in prepare(tmp_path, JAX_LOG_COMPILES="1")[1]


def test_what_the_user_has_set_comes_first(tmp_path):
    settings = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "mine"), "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    assert prepare(tmp_path / "ours", **settings) == ("3 2.0", "")
    assert list((tmp_path / "mine").iterdir()) and not (tmp_path / "ours").exists()


@pytest.mark.parametrize(("keep", "settings"), [(False, {}), (True, {"JAX_ENABLE_COMPILATION_CACHE": "false"})])
def test_programs_need_not_be_kept(tmp_path, keep, settings):
    assert prepare(tmp_path, keep, **settings) == (f"{machine.cores()} 2.0", "")
    assert not list(tmp_path.iterdir())


def test_xla_knows_the_flags_of_deterministic(tmp_path):
    """It ends a process whose flags it does not know."""
    assert prepare(tmp_path, XLA_FLAGS=machine.DETERMINISTIC) == (f"{machine.cores()} 2.0", "")


def test_a_program_that_cannot_be_written_down_is_no_warning_and_a_full_disk_is_one(tmp_path, monkeypatch):
    settings = SimpleNamespace(jax_compilation_cache_dir=None, jax_enable_compilation_cache=True, update=lambda *_: None)
    monkeypatch.setattr(jax, "config", settings)
    began = "Error writing persistent compilation cache entry for 'jit_train': "
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        machine.keep_compiled(tmp_path)
        for error in ("JaxRuntimeError: INTERNAL:\nMultiple temp buffer allocations found", "OSError: [Errno 28] No space left on device"):
            warnings.warn(began + error, stacklevel=1)
    assert [str(each.message) for each in said] == [f"{began}OSError: [Errno 28] No space left on device"]


def test_a_folder_that_cannot_be_written_costs_one_line(tmp_path):
    (tmp_path / "compiled").write_text("a file")
    printed, complaints = prepare(tmp_path)
    assert printed == f"{machine.cores()} 2.0"
    assert complaints == f"WARNING compiled programs cannot be kept in {tmp_path}/compiled (File exists): every start compiles anew\n"


@pytest.mark.of_cpus("options of its compiler")
def test_memory_is_kept_where_there_is_glibc_and_nothing_happens_elsewhere(monkeypatch):
    told = []

    class Glibc:
        def gnu_get_libc_version(self):
            return "2.36"

        def mallopt(self, number, value):
            told.append((number, value))
            return 1

    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: Glibc())
    monkeypatch.setattr(machine, "_kept", False)
    assert machine.keep_memory() and told == list(machine.MALLOPT.values()) and machine.compiler_options(1)
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: object())  # another C library
    assert not machine.keep_memory()
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    monkeypatch.setattr(machine.ctypes, "CDLL", None)
    assert not machine.keep_memory()


@pytest.mark.of_cpus("options of its compiler")
def test_operations_are_split_only_where_devices_are_fewer_than_cores(monkeypatch):
    monkeypatch.setattr(machine, "cores", jax.device_count)

    def splits(devices: int) -> bool:
        compiled = jax.jit(lambda x: jnp.sin(x) * jnp.exp(x), compiler_options=machine.compiler_options(devices))
        return "outer_dimension_partitions" in compiled.lower(jnp.ones((512, 512))).compile().as_text()

    assert machine.compiler_options(jax.device_count()) and not splits(jax.device_count())
    assert not machine.compiler_options(1)
    monkeypatch.setattr(machine, "cores", lambda: jax.device_count() + 1)
    assert not machine.compiler_options(jax.device_count())


@pytest.mark.of_cpus("options of its compiler")
def test_temporaries_come_in_parts_where_memory_is_kept(monkeypatch):
    """And what the program gives is the same."""

    def program():
        function = jax.jit(lambda x: jnp.sort(jnp.sort(x) @ jnp.sort(x.T)), compiler_options=machine.compiler_options(1))
        return function.lower(x).compile()

    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 64)), jnp.float32)
    whole = program()
    monkeypatch.setattr(machine, "_kept", True)
    monkeypatch.setattr(machine, "HEAP", 1 << 15)  # two such arrays
    parts = program()
    assert machine.compiler_options(1)
    np.testing.assert_array_equal(parts(x), whole(x))


def test_a_gpu_s_programs_record_loops_and_others_get_no_option_of_a_gpu(monkeypatch):
    """Every option is one that XLA knows, and CPUs take without an effect."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    found = machine.compiler_options(1, "gpu")
    assert "WHILE" in found["xla_gpu_enable_command_buffer"].split(",")
    assert jax.jit(lambda x: x + 1, compiler_options=found)(1.0) == 2.0
    assert machine.compiler_options(1, "tpu") == {}
    assert not any("gpu" in name for name in machine.compiler_options(1, "cpu"))
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_enable_command_buffer=")
    assert machine.compiler_options(1, "gpu") == {}, "what the user has set comes first"


@pytest.mark.of_cpus("eight devices")
def test_importing_sets_nothing():
    """As `conftest.py` has it: eight devices, and a cache folder of its own."""
    import jax

    assert jax.device_count() == 8 and Path(jax.config.jax_compilation_cache_dir) != files.CACHE / "compiled"
