"""Everything that a bare machine with a card lacks, in one archive: this repository's tracked files, and wheels for its Python.

    make gpu-bundle                                                    gpu-bundle.tar.gz, for Python 3.12 on Linux x86_64
    python -m benchmarks.cards.bundle --python=3.13 --out=other.tar.gz

There: tar xf gpu-bundle.tar.gz && cd attention_jax && make gpu. JAX with its CUDA plugin, Flax, Optax, Orbax and PyTorch have to be there;
`make gpu` takes the Python that `python3` is, and unpacks a wheel where nothing of its name is installed. Without a network the
archive holds the tree alone, and a line names the wheels that are not in it. Exit status: 0; 1 where it would be too large.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cards import book

ROOT = Path(__file__).resolve().parents[2]
TEXT = (
    "tensorflow_datasets==4.9.10 array_record==0.8.6 dm_tree googleapis_common_protos tensorflow_metadata immutabledict promise "
    "simple_parsing docstring_parser termcolor toml"
).split()
JOEYNMT = "joeynmt==2.3.0 importlib_metadata zipp lazy_importer subword_nmt mock".split()
PLATFORMS = tuple(f"manylinux{name}_x86_64" for name in ("_2_28", "_2_17", "2014"))
LARGEST = 40 * 10**6  # bytes of the archive


def tracked() -> list[Path]:
    """Files of this repository, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def fetch(requirement: str, python: str, folder: Path) -> bool:
    """Puts a wheel into the folder; False where there is none for this Python, or no network.

    What is published as sources alone is built here, and taken if the wheel is for any machine.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    download = [*pip, "download", "--no-deps", "--only-binary=:all:", f"--python-version={python}", *platforms, f"--dest={folder}"]
    build = [*pip, "wheel", "--no-deps", f"--wheel-dir={folder}"]
    if subprocess.run([*download, requirement], capture_output=True, check=False).returncode == 0:
        return True
    before = set(folder.iterdir())
    subprocess.run([*build, requirement], capture_output=True, check=False)
    made = set(folder.iterdir()) - before
    for wheel in made:
        if not wheel.name.endswith("-none-any.whl"):
            wheel.unlink()
    return any(wheel.exists() for wheel in made)


def pack(files: Sequence[Path], wheels: Path, out: Path) -> None:
    """The archive: attention_jax/… with a file that says of which commit it is, and wheels/ in it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out, "w:gz") as archive:
        for file in files:
            archive.add(ROOT / file, f"attention_jax/{file}", recursive=False)
        for wheel in sorted(wheels.glob("*.whl")):
            archive.add(wheel, f"attention_jax/{wheel.parent.name}/{wheel.name}", recursive=False)
        said = tarfile.TarInfo(f"attention_jax/{book.COMMIT.name}")
        text = f"{book.commit()}\n".encode()
        said.size = len(text)
        archive.addfile(said, io.BytesIO(text))


def main(arguments: Sequence[str]) -> int:
    """Packs, and says how to unpack."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cards.bundle", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-bundle.tar.gz"), help="the archive")
    parser.add_argument("--python", default="3.12", help="version of Python on the machine with the card (3.12)")
    parser.add_argument("--tree_alone", action="store_true", help="without wheels")
    asked = parser.parse_args(arguments)
    wanted = [] if asked.tree_alone else [*TEXT, *JOEYNMT]
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder) / "wheels"
        wheels.mkdir()
        lacking = [requirement for requirement in wanted if not fetch(requirement, asked.python, wheels)]
        pack(tracked(), wheels, asked.out)
        there = len(list(wheels.iterdir()))
    if lacking:
        print(f"not in it, without a network or for want of a wheel for Python {asked.python}: {', '.join(lacking)}", file=sys.stderr)
    if (size := asked.out.stat().st_size) > LARGEST:
        print(f"error: {asked.out} has {size / 1e6:.0f} MB, and {LARGEST / 1e6:.0f} are allowed", file=sys.stderr)
        return 1
    print(f"{asked.out}: {size / 1e6:.1f} MB, {there} wheels; there: tar xf {asked.out.name} && cd attention_jax && make gpu")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
