"""What a run has stored, of all its seeds: its folder → settings, vocabularies, parameters."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from attention_jax import config as settings
from attention_jax.config import Config
from attention_jax.data import signals, sources
from attention_jax.data.corpora import vocabularies
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.running import checkpoint, results
from attention_jax.running.evaluation import Evaluator
from attention_jax.running.resolved import check as check_config
from attention_jax.running.resolved import resolve, sizes_of_run
from attention_jax.system.errors import ConfigError, RunError
from attention_jax.training import compiled
from attention_jax.training.compiled import Resolved
from attention_jax.types.signatures import Params


class Stored(NamedTuple):
    """A run with the parameters that its results are of; `params` have the leading axis R, an entry for each of `seeds`."""

    path: Path
    run: Resolved
    vocabularies: Vocabularies | None  # of a corpus
    seeds: tuple[int, ...]
    params: Params

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return self.run.config

    def of(self, seed: int) -> Params:
        """Returns the parameters of a seed. Raises `RunError` for one that the run does not have."""
        if seed not in self.seeds:
            raise RunError(f"{self.path} has no seed {seed}; valid: {spelled(self.seeds)}")
        return jax.tree.map(lambda x: x[self.seeds.index(seed)], self.params)

    def validation_loss(self, data_dir: Path | None = None, cache_dir: Path | None = None) -> np.ndarray:
        """Computes the mean nats per target token of every seed on the validation split, as the run's own evaluation does: loss_R.

        A corpus is read from `data_dir`, or downloaded. Raises `RunError` for an exported run on text, which has no folder with the
        vocabularies that its text is read with, and otherwise as `sources.build` does.
        """
        if not sources.is_drawn(self.config.data) and not self.path.is_dir():
            raise RunError(f"{self.path} holds no text to choose a seed by: choose it where the run is exported, --seed=best --export=…")
        source = sources.build(self.config, self.path if self.vocabularies else None, data_dir, cache_dir)
        return Evaluator(self.run, source).validation_loss(jax.device_get(self.params), list(self.seeds))


def spelled(seeds: Sequence[int]) -> str:
    """Returns seeds as text: 7 to 9 where they are consecutive, else a list."""
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def from_folder(directory: Path) -> Stored:
    """Reads the run in `directory`, with the parameters of all seeds that its results are of.

    Raises `RunError` for a directory without a run or a checkpoint, and where settings or vocabularies are not those that the run was
    trained with.
    """
    file = directory / "config.json"
    if not file.exists():
        within = sorted(path.parent.name for path in directory.glob("*/config.json"))
        reason = f"it holds runs: {', '.join(within)}" if within else "it has no config.json" if directory.exists() else "it does not exist"
        raise RunError(
            f"{directory} is no run: {reason}; a run is a folder such as runs/bottleneck/additive-gru-h16-d8-u400, or what "
            "--export has written"
        )
    try:
        config: Config = settings.from_json(results.stored(directory)["config"])
        check_config(config)
    except ConfigError as error:
        raise RunError(
            f"{file} is not of this version: {error}; train the run again, with its command and another --workdir, or load the file of its "
            "experiment first, if that has rows of its own: --experiment=path/to/file.py"
        ) from None
    absent = f"{directory} has no checkpoint yet: train it first, the same command as for its rows"
    if not checkpoint.steps(directory / "checkpoint"):
        raise RunError(absent)
    vocabulary = _vocabularies(config, directory)
    own = {"config": settings.fingerprint(config), "vocabulary": vocabulary.fingerprint() if vocabulary else ""}
    wrong_files = {"config": [directory / "config.json"], "vocabulary": vocabularies.paths(config.text, directory)}
    extra = checkpoint.extra(directory / "checkpoint")
    for name, fingerprint in own.items():
        if extra.get(name, fingerprint) != fingerprint:
            wrong = " or ".join(map(str, wrong_files[name]))
            raise RunError(f"{wrong} is not what the run was trained with; bring back the right one, or choose another --workdir")
    run = resolve(config, sizes_of_run(directory, config, sources.sizes_of(config, vocabulary)) if vocabulary else None)
    found = checkpoint.restore(directory / "checkpoint", compiled.shapes(run))
    if found is None:
        raise RunError(absent)
    progress = found[1]
    params = progress.best_params if config.training.evaluate == "best" else progress.states.params
    return Stored(directory, run, vocabulary, tuple(config.training.all_seeds), params)


def _vocabularies(config: Config, directory: Path) -> Vocabularies | None:
    if sources.is_drawn(config.data):
        return signals.fixed(config)
    for file in vocabularies.paths(config.text, directory):
        if not file.is_file():
            raise RunError(f"{file} is missing: without it the run reads no text; bring it back, or train again in another --workdir")
    return vocabularies.read(config.text, directory)
