"""Runs the notebooks of docs/notebooks, each in a process and a folder of its own: `make notebooks`.

  python -m docs.notebooks                             all of them
  python -m docs.notebooks --out=FOLDER PATH …         some of them; what they print and draw is written to FOLDER

The notebooks of the checkout stay as they are, without what they print. The first cell that fails is shown, with an exit status of 1.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 1800  # a cell may take


def run(path: Path, out: Path) -> None:
    """Runs a notebook where its paths to stored results lead, and writes it to `out`.

    Raises `CellExecutionError` for a cell that fails.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "results").symlink_to(FOLDER.parent / "results")
        (Path(folder) / "notebooks").mkdir()
        NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": f"{folder}/notebooks"}}).execute()
    nbformat.write(notebook, out / path.name)


def main(arguments: list[str]) -> int:
    """Runs what is asked for, and says how long each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = ROOT / "build" / "notebooks"
    parser.add_argument("--out", type=Path, default=where, help="where they are written when they have run (build/notebooks)")
    parser.add_argument("paths", nargs="*", type=Path, default=PATHS)
    given = parser.parse_args(arguments)
    from nbclient.exceptions import CellExecutionError

    given.out.mkdir(parents=True, exist_ok=True)
    for path in given.paths:
        began = time.monotonic()
        try:
            run(path, given.out)
        except CellExecutionError as error:
            print(f"error: {path.name}: {error}", file=sys.stderr)
            return 1
        print(f"{path.name}: {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
