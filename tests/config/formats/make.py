"""Makes the runs that formats_test.py reads: `python -m tests.config.formats.make FOLDER [NAME …]`, by the code that writes a new format.

One zip a run: what it leaves in its directory, and `decoded.json`, what that code decodes from it. Those of format 1 were made by commit
a24ead0, before files had a number. They are small: one seed, a hidden size of 4.
"""

import json
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attention_jax import trained
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, TextConfig, TrainingConfig
from attention_jax.running import loop
from attention_jax.sweeps import sweep

DATA = DataConfig(symbols=3, longest=3, eval_lengths=(1, 2, 4), eval_examples=4)
ADAM = TrainingConfig(
    seeds=1, updates=80, batch_size=8, learning_rates=(0.05,), pilot_updates=200, pilot_seeds=2, warmup=1, checkpoint_every=40, chunk=40
)
CONFIGS = {
    "none": Config(
        model=ModelConfig(attention="none", transition=2, hidden_size=4, embedding_size=3),
        data=DATA,
        training=replace(ADAM, first_seed=5),
    ),
    "diagonal": Config(
        model=ModelConfig(cell="diagonal", hidden_size=4, embedding_size=3, timing="after", direction="forward"),
        data=DATA,
        training=replace(ADAM, evaluate="best"),
    ),
    "text": Config(
        model=ModelConfig(attention="dot", decoder_size=8, cell="lstm", hidden_size=4, embedding_size=3, timing="between"),
        data=DataConfig(task="parallel_text", eval_lengths=(2, 4)),
        text=TextConfig(source_file="lines.tsv", vocabulary_size=32, buckets=(16,), cut=16),
        training=replace(ADAM, optimizer="sgd", learning_rates=(1.0,)),
    ),
}
"""Arms without a context, affines of no inputs, best parameters, text; between them two kinds of optimizer state."""

LINES = {"none": ["0", "2 1", "1 0 2", ""], "diagonal": ["0", "2 1", "1 0 2", ""], "text": ["ab ba", "ca", "bab ca ab", ""]}

SEARCHES = {"greedy": SearchConfig(), "beam": SearchConfig("beam", beam_size=3)}


def claim(*names: str):
    """A claim as `experiments/` has them, of these runs."""

    class Claim:
        """Old runs are still read."""

        __name__ = "experiments.formats"
        PRESETS = ("tiny",)
        ARMS = ()

        def sweep(self, preset: str, arms: Sequence[str]) -> list[Config]:
            return [CONFIGS[name] for name in names]

        def name(self, config: Config) -> str:
            return next(name for name in names if CONFIGS[name].model == config.model)

    return Claim()


def write_text(folder: Path) -> None:
    """lines.tsv, whose target is the source with its words in reverse."""
    words = ["ab", "ba", "ca", "bab", "ac"]
    sources = [[words[(3 * i + i * j + j) % 5] for j in range(1 + i % 4)] for i in range(60)]
    (folder / "lines.tsv").write_text("".join(f"{' '.join(line)}\t{' '.join(line[::-1])}\n" for line in sources))


def decoded(directory: Path, lines: list[str]) -> dict:
    """{method: [text, score] of each line}."""
    run = trained.load(directory)
    found = {method: run.decode(lines, settings) for method, settings in SEARCHES.items()}
    return {method: [[output.text, output.score] for output in outputs] for method, outputs in found.items()}


def make(folder: Path, names: Sequence[str]) -> None:
    """Trains the runs of these names anew and packs them."""
    for name in names:
        with tempfile.TemporaryDirectory() as work:
            write_text(Path(work))
            (run,) = sweep.plan(claim(name), "tiny", workdir=work)
            loop.run(run.config, run.directory, run.fields, data_dir=Path(work), cache_dir=Path(work) / "cache")
            (run.directory / "decoded.json").write_text(json.dumps(decoded(run.directory, LINES[name]), indent=1))
            with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
                for file in sorted(path for path in run.directory.rglob("*") if path.is_file() and path.name != ".lock"):
                    packed.write(file, file.relative_to(run.directory))


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2:] or list(CONFIGS))
