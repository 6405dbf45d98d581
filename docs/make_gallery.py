"""docs/gallery.md and docs/gallery/: a picture of every mechanism at one and the same input. `make gallery` runs this.

  python -m docs.make_gallery                                 trains the rows that have no example yet, draws all, writes the page
  python -m docs.make_gallery --again                         trains all of them
  python -m docs.make_gallery --experiment=path/to/mine.py    with the rows that the file of an experiment of one's own adds

A row that is in a table is in the gallery: `gallery_rows` says where its texts come from. Its example, docs/gallery/examples/AXIS_ROW.json,
is what a run leaves as example.json, and how it was trained. It is kept while its settings are those of the row.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attention_jax import trained
from attention_jax.attention import SCORES
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig, leaves, override
from attention_jax.report import figures
from attention_jax.running import loop, resolved, results
from attention_jax.sweeps import claims
from attention_jax.system import files
from attention_jax.system.errors import ConfigError, DataError, RunError
from docs import gallery_pictures, gallery_rows
from docs.gallery_legend import LEGEND
from docs.gallery_rows import Row

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gallery.md"
FOLDER = ROOT / "docs" / "gallery"

INPUT = "3 3 1 4 1 5 2 2 6 5 3 5"
"""Symbols with repeats, side by side and apart: what reads content alone has to tell them from each other."""

BASE = Config(
    experiment="gallery",
    model=ModelConfig(hidden_size=16, embedding_size=16, decoder_size=32, timing="after"),
    data=DataConfig(task="copy", symbols=8, shortest=1, longest=len(INPUT.split()), eval_lengths=(len(INPUT.split()),), eval_examples=256),
    training=TrainingConfig(seeds=1, batch_size=32, schedule="cosine", learning_rates=(1.6e-2,)),
)
"""The same for all: a task in order, which those that only move on can do as well, and sizes that every row goes with."""

BUDGETS = (400, 800, 1600, 3200)
"""Updates: a row is trained by the first of them after which `LEARNED` of other inputs are right, or else by the last."""

LEARNED = 0.9


def config(row: Row, updates: int) -> Config:
    """The base with the row's setting and, where that does not go with `additive`, with the first score that it goes with.

    Raises `ConfigError` where it goes with none.
    """
    training = replace(BASE.training, updates=updates, checkpoint_every=updates)
    base = override(replace(BASE, run=row.stem, training=training), f"model.{row.axis}", row.value)
    refused: list[ConfigError] = []
    for score in [base.model.attention] if row.axis == "attention" else SCORES:
        made = replace(base, model=replace(base.model, attention=score))
        try:
            resolved.check(made)
            return made
        except ConfigError as error:
            refused.append(error)
    raise refused[0]


def changed(made: Config) -> list[str]:
    """Settings that are not the defaults, as --set takes them."""
    before = leaves(Config())
    return [f"{path}={value}" for path, value in leaves(made).items() if value != before[path] and "." in path]


def is_kept(row: Row) -> bool:
    """Whether there is an example with the settings of the row, trained until it was right or by the last budget."""
    try:
        example = results.read_json(path(row))
    except RunError:
        return False
    budgets = [updates for updates in BUDGETS if example.get("exact_match", 0) >= LEARNED or updates == BUDGETS[-1]]
    return example.get("settings") in [changed(config(row, updates)) for updates in budgets]


def path(row: Row) -> Path:
    """Where its example is kept."""
    return FOLDER / "examples" / f"{row.stem}.json"


def train(row: Row) -> dict:
    """Trains a row by the budgets; returns the example of the last one that it needed."""
    example: dict = {}
    for updates in BUDGETS:
        example = trained_by(config(row, updates))
        if example["exact_match"] >= LEARNED:
            break
    return example


def trained_by(made: Config) -> dict:
    """Trains a model, and returns what it wrote for the input, and where it looked."""
    with tempfile.TemporaryDirectory() as folder:
        rows = loop.run(made, folder, {})
        decoded = trained.load(folder).decode([INPUT])[0]
    weights = [[round(float(weight), 4) for weight in of_step] for of_step in decoded.weights_TxS]
    return {
        "settings": changed(made),
        "updates": made.training.updates,
        "exact_match": next(row["exact_match"] for row in rows if row["mode"] == "free"),
        "source": decoded.source_tokens,
        "output": decoded.output_tokens,
        "target": decoded.source_tokens,  # a copy's
        "weights": weights if decoded.weights_TxS.any() else None,
    }


def page(examples: dict[Row, dict]) -> str:
    """The text of docs/gallery.md."""
    groups = gallery_rows.groups()
    contents = [f"- {heading}: {', '.join(f'[{row.name}](#{row.name})' for row in rows)}" for heading, rows in groups.items()]
    parts = [BEGINNING.format(contents="\n".join(contents), overview=overview_alt(examples), **facts())]
    for heading, rows in groups.items():
        parts.append(f"## {heading}\n")
        parts += [section(row, examples[row]) for row in rows]
    return "\n".join(parts)


def facts() -> dict[str, object]:
    """What the beginning of the page says of the training."""
    *first, last = (f"{updates:,}" for updates in BUDGETS)
    return {
        "input": INPUT,
        "symbols": BASE.data.symbols,
        "longest": BASE.data.longest,
        "hidden": BASE.model.hidden_size,
        "examples": BASE.data.eval_examples,
        "budgets": f"{', '.join(first)} or {last}",
        "share": f"{round(100 * LEARNED)} %",
        "legend": "\n".join(["| symbol | what it is |", "| --- | --- |", *(f"| {symbol} | {said} |" for symbol, said in LEGEND.items())]),
    }


BEGINNING = """# Gallery

<!-- made by python -m docs.make_gallery from the rows and from docs/gallery/examples: change those -->

Every mechanism at the same input: where it looks, and what it writes. Each is a row of a table. What is said of it stands in its own file.

![{overview}](gallery/all.svg)

- **The task** is to copy `{input}`, of {symbols} symbols. The input stands above a picture and the output on its left; ⏎ ends both. A wrong
  symbol is red, bold and marked ✗.
- **Dark** is a weight of 1 or more, white is 0. Pictures are of free running in evaluation, where nothing is drawn: a mechanism that is
  hard there shows the positions that it chose, one dark square a step.
- **The models** are small: a bidirectional GRU of {hidden} units a direction, one seed, a query after the cell
  (`model.timing=after`), trained on lengths 1 to {longest}. A row has {budgets} updates: the first of these after which {share} of
  {examples} other inputs of {longest} symbols come out entirely right, else the last.
- **No comparison** follows from one seed and one learning rate. What was measured is in [results.md](results.md). How to choose is in
  [choosing.md](choosing.md).

{contents}

## Symbols

What equations of several rows share comes first. Vectors are columns, and a · b is their inner product.

{legend}
"""


def section(row: Row, example: dict) -> str:
    """What the page says of one row."""
    also = [setting for setting in example["settings"] if setting.startswith("model.attention=") and row.axis != "attention"]
    set_too = f", here with {' '.join(f'`{setting}`' for setting in also)}" if also else ""
    lines = "\n".join(gallery_rows.equation(row).lines)
    return f"""### {row.name}

`--set {row.setting}`{set_too}

![{alt(row, example)}](gallery/{row.stem}.svg)

```text
{lines}
```

{gallery_rows.use(row)}

- {result(example)}
- {gallery_rows.credits(row)}
- {gallery_rows.api(row)}
"""


def result(example: dict) -> str:
    """Whether the output is right, after how many updates, and how many of the other inputs are."""
    wrong = sum(ours != theirs for ours, theirs in gallery_pictures.pairs(example))
    word = "Right" if not wrong else f"Wrong in {wrong} of {len(example['target'])} symbols"
    share = math.floor(100 * example["exact_match"])
    return f"{word} after {example['updates']:,} updates; {share} % of the other inputs are right"


def alt(row: Row, example: dict) -> str:
    """The picture in words: the mechanism, what it writes, and the most attended position of each step."""
    written = "without an error" if example["output"] == example["target"] else f"as {' '.join(example['output'])}"
    begin = f"{row.name} copies {' '.join(example['source'])} {written}"
    if example["weights"] is None:
        return f"{begin}; it attends to nothing"
    places = [max(range(len(weights)), key=weights.__getitem__) + 1 if any(weights) else 0 for weights in example["weights"]]
    none = ", 0 for none," if 0 in places else ""
    return f"{begin}; its steps look most at positions{none} {' '.join(map(str, places))}"


def overview_alt(examples: dict[Row, dict]) -> str:
    """All pictures in a few words."""
    empty = ", ".join(row.name for row, example in examples.items() if example["weights"] is None)
    return f"Heat maps of the weights of {len(examples)} mechanisms side by side, by name; {empty} attend to nothing"


def main(arguments: Sequence[str]) -> int:
    """Trains, draws, and writes the page; returns 1 where a row lacks what the page needs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="train rows that have an example, too")
    parser.add_argument("--experiment", type=Path, help="an experiment of one's own whose file adds rows")
    given = parser.parse_args(arguments)
    try:
        if given.experiment:
            claims.load(given.experiment)
        rows = gallery_rows.every()
        if lacks := [message for row in rows for message in gallery_rows.missing(row)]:
            parser.exit(1, "".join(f"error: {message}\n" for message in lacks))
        trained_now = sum(kept(row, given.again) for row in rows)
    except (ConfigError, DataError, RunError) as error:
        parser.exit(1, f"error: {error}\n")
    examples = {row: results.read_json(path(row)) for row in rows}
    for row, example in examples.items():
        figures_of(row.stem, gallery_pictures.draw(row.name, example))
    figures_of("all", gallery_pictures.overview({row.name: example for row, example in examples.items()}))
    files.write_bytes(PAGE, page(examples).encode())
    print(f"docs/gallery.md: {len(rows)} mechanisms, {trained_now} of them trained now")
    return 0


def kept(row: Row, again: bool) -> bool:
    """Trains the row and keeps its example, unless there is one; returns whether it did."""
    if is_kept(row) and not again:
        return False
    began = time.monotonic()
    example = train(row)
    path(row).parent.mkdir(parents=True, exist_ok=True)
    results.write_json(path(row), example)
    print(f"{row.setting}: {result(example)}, {time.monotonic() - began:.0f} s", flush=True)
    return True


def figures_of(stem: str, figure) -> None:
    """Writes a picture."""
    files.write_bytes(FOLDER / f"{stem}.svg", figures.svg_file(figure))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
