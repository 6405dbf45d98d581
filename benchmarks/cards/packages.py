"""What `make gpu` needs of the Python at hand, found out by the standard library alone; wheels that a bundle brought along.

Real text needs more (tensorflow_datasets, array_record); nothing here reads any.
"""

import importlib.metadata
import os
import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELS, UNPACKED = ROOT / "wheels", ROOT / ".cache" / "wheels"
FOR_TEXT = ("tensorflow-datasets", "array-record")


def lacking() -> list[str]:
    """Lines of requirements.txt, those for text aside, of which nothing is installed."""
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    named = {line: normal(re.split("[<>=]", line)[0]) for line in lines}
    return [line for line, name in named.items() if name not in FOR_TEXT and not installed(name)]


def normal(name: str) -> str:
    """A distribution's name as the index compares it."""
    return re.sub("[-_.]+", "-", name).lower()


def installed(name: str) -> bool:
    """Whether a distribution is there."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def unpack(wheels: Path = WHEELS, folder: Path = UNPACKED) -> None:
    """Puts what a bundle brought on the path of this process and its children, behind the rest: what is installed stays as it is.

    A wheel is a zip of what belongs on the path. Those that are installed already, and those for another Python, are left packed.
    """
    for wheel in sorted(wheels.glob("*.whl")):
        name, version, *_, python, _, _ = wheel.stem.split("-")
        fits = any(
            tag.startswith(("py3", "py2.py3")) or tag == f"cp{sys.version_info[0]}{sys.version_info[1]}" for tag in python.split(".")
        )
        there = folder / f"{name}-{version}.dist-info"
        if fits and not there.exists() and not installed(normal(name)):
            with zipfile.ZipFile(wheel) as file:
                file.extractall(folder)
    if folder.is_dir():
        sys.path.append(str(folder))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(folder))))
