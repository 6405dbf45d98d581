"""make fuzz: every target of targets.py under atheris, which changes inputs and keeps those that reach new code.

    python -m fuzz.run --seconds=60                 so many seconds in all, shared out over the targets
    python -m fuzz.run --seconds=60 --target=zip    one of them
    python -m fuzz.run --target=zip --input=FILE    that input once more, with its traceback

Prints a line a target. An input that something is wrong with is saved in .cache/fuzz/<target>, and the exit status is 1. Inputs that
reached new code are kept there too, and a later call begins with them.
"""

import argparse
import hashlib
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "fuzz"
LONGEST = 4096  # bytes of an input
SLOW = 20  # seconds for one input: more is a hang
MEMORY = 4096  # MiB


def main() -> int:
    """Exit status: 0 where nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=120, help="in all")
    parser.add_argument("--target", help="one target only")
    parser.add_argument("--input", type=Path, help="with --target: try this file, and nothing else")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if arguments.child:
        return fuzz(arguments.target, arguments.seconds)
    from fuzz.targets import TARGETS

    if arguments.target not in (None, *TARGETS) or (arguments.input and not arguments.target):
        parser.error(f"--target: choose from {', '.join(TARGETS)}")
    if arguments.input:
        TARGETS[arguments.target].check(arguments.input.read_bytes())
        return 0
    names = [arguments.target] if arguments.target else list(TARGETS)
    return max([run(name, max(1, arguments.seconds // len(names))) for name in names])


def run(name: str, seconds: int) -> int:
    """One target in a process of its own, since a crash of native code ends it; prints a line."""
    before = saved(name)
    command = [sys.executable, "-m", "fuzz.run", "--child", f"--target={name}", f"--seconds={seconds}"]
    child = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    executions = re.findall(r"stat::number_of_executed_units: +(\d+)", child.stdout)
    found = sorted(saved(name) - before)
    print(f"{name:24} {int(executions[-1]) if executions else 0:>9,} executions  {len(found)} crashes", flush=True)
    if child.returncode or found:
        print(child.stdout[-3000:], file=sys.stderr)
        for path in found:
            print(f"  python -m fuzz.run '--target={name}' --input={path.relative_to(ROOT)}")
    return int(bool(child.returncode or found))


def folder(name: str) -> Path:
    """Where the inputs of a target are."""
    return FOLDER / re.sub(r"\W+", "_", name).strip("_")


def saved(name: str) -> set[Path]:
    """Inputs that something is wrong with."""
    return {path for path in folder(name).glob("*-*") if path.is_file()}


def fuzz(name: str, seconds: int) -> int:
    """What the child does; does not return where atheris finds something."""
    import atheris

    with atheris.instrument_imports(include=["attention_jax", "fuzz"]):
        from fuzz.targets import TARGETS
    logging.disable()
    os.fsync = lambda file: None  # most of the time of a row, for files that nobody wants
    corpus = folder(name) / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[name].seeds:
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    options = {"max_total_time": seconds, "max_len": LONGEST, "timeout": SLOW, "rss_limit_mb": MEMORY, "print_final_stats": 1}
    options["artifact_prefix"] = f"{folder(name)}{os.sep}"
    atheris.Setup([sys.argv[0], *(f"-{option}={value}" for option, value in options.items()), str(corpus)], TARGETS[name].check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
