"""docs/performance/rows.jsonl → the tables and figures of README (in both languages), docs/performance.md and docs/performance/appendix.md.

  make bench ARGS="--out=docs/performance/rows.jsonl --anew"     measures all rows anew
  python -m benchmarks.page                                      then makes what is made of them

In these pages the text between `<!-- performance: NAME -->` and `<!-- end -->` is a block of `BLOCKS`; a test finds stale ones.
docs/performance/machines has rows of other runs and machines, as far as they are known; `from` names their source.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from attention_jax.system import files
from attention_jax.system.errors import DataError, RunError
from benchmarks import compare, goals, plots, rows, stored
from benchmarks.goals import Found, ends, markdown, times
from benchmarks.rows import quantity

DOCS = Path(__file__).resolve().parent.parent / "docs"
FOLDER = DOCS / "performance"
PAGES = (DOCS.parent / "README.md", DOCS.parent / "README.zh.md", DOCS / "performance.md", FOLDER / "appendix.md")
MARK = re.compile(r"(<!-- performance: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

STEPS = {
    "training step, V=8000 E=256 H=512 B=64 S=T=50": ("training", "step", "V=8000 E=256 H=512 B=64 S=T=50", "joeynmt"),
    "training step, V=32 E=H=64 B=64 S=T=20": ("training", "step", "V=32 E=64 H=64 B=64 S=T=20", "joeynmt"),
    "training step, V=32 E=H=128 B=64 S=T=40": ("training", "step", "V=32 E=128 H=128 B=64 S=T=40", "joeynmt"),
    "greedy decoding, 1000 sentences, V=8000 H=256": ("decoding", "greedy", "1000 sentences V=8000 H=256 B=64 S=T=30", "joeynmt"),
    "beam of 5, the same": ("decoding", "beam", "1000 sentences V=8000 H=256 B=64 S=T=30 K=5", "joeynmt"),
}
LAYERS = {
    "LSTM layer, both passes, B=64 T=128 D=128 H=256": ("layer", "lstm both passes", "B=64 T=128 D=128 H=256", "torch.nn"),
    "the same": ("layer", "lstm both passes", "B=64 T=128 D=128 H=256", "torch.nn, memory kept"),
    "GRU layer, the same": ("layer", "gru both passes", "B=64 T=128 D=128 H=256", "torch.nn"),
}
REST = {
    "additive attention, T=S=2048 A=512: memory": ("attention_memory", "memory", "B=1 T=2048 S=2048 A=512", "materialised JAX"),
    "a sweep of 24 runs, compilation included": ("sweep", "bottleneck tiny", "3 arms × 8 seeds, 100 updates", "one seed at a time"),
}
FAST = STEPS | LAYERS | REST
"""What a reader asks for first."""
BRIEF = tuple(STEPS)[::3] + tuple(LAYERS)[:2]
"""Those of the first screen: a row that is lost stands among them."""
PEERS = {"joeynmt": "JoeyNMT", "torch.nn": "PyTorch", "materialised JAX": "all scores at once"}
"""Peers as a reader knows them."""


def source(found: Found) -> str:
    """Returns the sources of the rows, a sentence each."""
    given = list(found.rows.values())
    run = compare.run_of(given)
    peaks = [row["peak_flop_per_s"] / 1e9 for row in given if row["peak_flop_per_s"]]
    names = {"python": "Python", "jax": "JAX", "torch": "PyTorch", "joeynmt": "JoeyNMT"}
    versions = ", ".join(f"{name} {run.versions[key]}" for key, name in names.items())
    return f"{len(given)} rows, from {run.machine}; {versions}.\nMatrix peak: {ends([min(peaks), max(peaks)], '{:.0f}')} GFLOP/s.\n"


def fast(found: Found) -> str:
    """Returns the table of the main rows, with shares of the peak."""
    lines = []
    for name, which in FAST.items():
        row = found.rows[which]
        peer, _, kept = row["peer"].partition(", ")
        peer = ", ".join(filter(None, (PEERS.get(peer, peer), kept)))
        ours, theirs = (quantity(row[side], row["unit"]) for side in ("ours", "theirs"))
        share, their_share = rows.percent(row["share_of_peak"]), rows.percent(rows.peer_share(row))
        lines.append((name, ours, share, peer, theirs, their_share, times(row["ratio"])))
    return markdown(("", "ours", "of peak", "peer", "theirs", "of peak", "ratio"), lines)


def brief(found: Found) -> str:
    """Returns a short table of the main rows, without shares."""
    lines = []
    for name in BRIEF:
        row = found.rows[FAST[name]]
        peer, _, kept = row["peer"].partition(", ")
        ours, theirs = (quantity(row[side], row["unit"]) for side in ("ours", "theirs"))
        lines.append((name, ours, ", ".join(filter(None, (PEERS.get(peer, peer), kept))), theirs, times(row["ratio"])))
    return markdown(("", "ours", "peer", "theirs", "ratio"), lines)


def machines(found: Found) -> str:
    """Returns the table of runs and machines: shares of the peak, ours and the peer's, and the ratio."""
    runs = found.runs()
    peaks = [[row["peak_flop_per_s"] / 1e9 for row in of.values() if row["peak_flop_per_s"]] for of in runs.values()]
    lines = [("matrix peak, GFLOP/s", *(ends(of, "{:.0f}") for of in peaks))]
    for name, which in STEPS.items():
        lines.append((name, *(shares(of.get(which)) for of in runs.values())))
    return markdown(("ours of peak, JoeyNMT's, ratio", *runs), lines)


def shares(row: dict | None) -> str:
    """Returns our share of the peak, the peer's, and the ratio; a dash for what is unknown."""
    if row is None:
        return "–"
    return ", ".join((rows.percent(row["share_of_peak"]) or "–", rows.percent(rows.peer_share(row)) or "–", times(row["ratio"])))


def every(found: Found) -> str:
    """Returns the table of all rows that are in no figure and no other table."""
    lines = []
    for row in found.rows.values():
        if row["name"] in ("scaling", "roofline", "devices"):
            continue
        ours = quantity(row["ours"], row["unit"])
        if row["unit"] == "MB" and row["memory_mb"] is not None:
            ours += f", process {row['memory_mb']:,.0f} MB"
        theirs = "" if row["theirs"] is None else quantity(row["theirs"], row["unit"])
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        aims = "; ".join(f"{goals.goal(row, target)}: {goals.verdict(row, target)}" for target in stored.targets(row["target"]))
        share = rows.percent(row["share_of_peak"]), rows.percent(rows.peer_share(row))
        name = f"{row['name']}, {row['what']}"
        lines.append((name, row["sizes"], ours, share[0], f"{row['peer']} {theirs}".strip(), share[1], ratio, aims))
    return markdown(("benchmark", "sizes", "ours", "of peak", "peer", "of peak", "ratio", "goals"), lines)


def exponents(found: Found) -> str:
    """Returns the fitted exponents of the figure of costs, a line a size."""
    fitted: dict[str, dict[str, str]] = {}
    for row in found.rows.values():
        if row["unit"] == "as exponent":
            fitted.setdefault(row["sizes"], {})[row["what"].partition(",")[0]] = f"{row['ours']:.2f}"
    names = list(next(iter(fitted.values()), {}))
    return markdown(("in", *(f"`{name}`" for name in names)), [(size, *(of[name] for name in names)) for size, of in fitted.items()])


def efficiency(found: Found) -> str:
    """Returns the table of predicted efficiency on many devices."""
    table: dict[tuple[str, str], dict[str, str]] = {}
    for (name, what, sizes, _), row in found.rows.items():
        if name == "devices" and what.startswith("predicted, "):
            devices, _, step = sizes.partition(", ")
            table.setdefault((what.removeprefix("predicted, "), step), {})[devices] = f"{row['ours']:.0f} %"
    columns = list(next(iter(table.values()), {}))
    return markdown(("link of each device", "", *columns), [(*which, *(of[name] for name in columns)) for which, of in table.items()])


BLOCKS: dict[str, Callable[[Found], str]] = {
    block.__name__: block for block in (source, fast, brief, machines, goals.goals, goals.missed, every, exponents, efficiency)
}
"""What pages can have."""


def page(text: str, found: Found) -> str:
    """Returns a page with new blocks. Raises `KeyError` for a missing block or row."""
    return MARK.sub(lambda mark: f"{mark[1]}{BLOCKS[mark[2]](found)}{mark[3]}", text)


def main(arguments: list[str]) -> int:
    """Writes pages and figures, and prints their paths."""
    if arguments:
        print(f"error: unexpected argument {arguments[0]!r}", file=sys.stderr)
        return 2
    try:
        found = goals.read(FOLDER)
        made = {path: page(path.read_text(), found) for path in PAGES}
        for path, text in made.items():
            files.write_bytes(path, text.encode())
    except (DataError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"error: the rows lack what a page shows: {error}", file=sys.stderr)
        return 1
    figures = plots.draw(list(found.rows.values()), FOLDER)
    print("\n".join(map(str, (*PAGES, *figures))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
