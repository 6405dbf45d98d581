"""The command; see this package's docstring and `run`. What it needs is looked for before anything is imported."""

import sys

from benchmarks.cards import packages

if __name__ == "__main__":
    packages.unpack()
    if found := packages.lacking():
        print(
            f"error: {sys.executable} lacks {', '.join(found)}: name another Python (make gpu PYTHON=…), or install them", file=sys.stderr
        )
        sys.exit(2)
    from benchmarks.cards import run

    sys.exit(run.main(sys.argv[1:]))
