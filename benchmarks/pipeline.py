"""Real text: the share of training time spent waiting for data, from the log of a run.

A run of `translation_length --preset=tiny` from the command line: on multi30k with --data_dir, else on a file of lines made up here, of
the lengths that sentences have, read as any parallel text is.
"""

import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attention_jax.system.errors import RunError
from benchmarks import children, rows
from benchmarks.options import Options
from benchmarks.rows import Row, Target

UPDATES, LINES, WORDS = 200, 10_000, 2_000
SHARE = re.compile(r"data (\d+(?:\.\d+)?)%")


def run(options: Options) -> Iterator[Row]:
    """Yields one row, in percent."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--experiment=translation_length", "--preset=tiny", "--index=1", f"--workdir={folder}/runs", f"--cache_dir={folder}/cache"]
        settings = [f"training.updates={UPDATES}", "training.learning_rates=2e-3"]
        if options.data_dir is None:
            file = Path(folder) / "lines.tsv"
            write_lines(file)
            settings += ["data.task=parallel_text", f"text.source_file={file}"]
        else:
            flags.append(f"--data_dir={options.data_dir}")
        shown = SHARE.findall(children.experiment(flags, settings, Path(folder) / "compiled"))
    if not shown:
        raise RunError("the log of the run does not say how long it waited for data")
    text = f"{LINES:,} lines made up" if options.data_dir is None else "multi30k"
    share, target = rows.sample([float(shown[-1])]), Target("ours", "≤", 2.0)
    yield Row("pipeline", "waiting for data", f"{text}, {UPDATES} updates", share, targets=(target,), unit="% of the time")


def write_lines(file: Path) -> None:
    """Writes pairs of lines: words of a made-up language by frequency, and the same words spelled backwards."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abdegiklmnorstu", k=draw.randint(2, 9))) for _ in range(WORDS)]
    weights = [1 / (rank + 1) for rank in range(WORDS)]
    with file.open("w") as lines:
        for _ in range(LINES):
            line = " ".join(draw.choices(words, weights, k=draw.randint(4, 20)))
            lines.write(f"{line}\t{line[::-1]}\n")
