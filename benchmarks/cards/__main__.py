"""The command; see this package's docstring and `run`. What it needs is looked for before anything is imported."""

import sys

if __name__ == "__main__":
    if sys.version_info < (3, 11):
        print(f"error: {sys.executable} is Python {sys.version.split()[0]}, and 3.11 is the oldest: make gpu PYTHON=…", file=sys.stderr)
        sys.exit(2)
    from benchmarks.cards import packages

    packages.unpack()
    if found := packages.lacking():
        print(
            f"error: {sys.executable} lacks {', '.join(found)}: name another Python (make gpu PYTHON=…), or install them", file=sys.stderr
        )
        sys.exit(2)
    from benchmarks.cards import run

    sys.exit(run.main(sys.argv[1:]))
