"""Real-valued sources: images, speech, and frames of whatever else, with targets of words: config → examples → batches.

    mnist          images of handwritten digits, verified, in three splits
    canvas         images on a canvas, among clutter; patches of it
    scenes         what stands on canvases, what is said of it, and where
    digits         the digits on a canvas in one of several orders
    captions       sentences on what stands where
    examples       the records that rows return, and arrays → `Batch`
    drawn          examples that are drawn, a pure function of (seed, step)
    log_mel        samples of sound → log-mel features, under jit
    sound          WAV files → samples → what a model reads
    fsdd           recordings of spoken digits, verified, in four splits
    spoken_digits  recordings joined to strings of any length
    own_files      a user's own folder of images, frames or speech, validated by file and line
    own            its examples, in batches that are a pure function of (seed, step)

A source is an array of F numbers at each position, `Batch.source_BxS` being source_BxSxF; an embedding of F rows makes E numbers of them.
Positions of an image are patches of its pixels, row by row, and `model.rows` says how many rows there are; of frames and of speech they
are times.

A row of `DRAWN` is `row(config) → Drawn`. What must hold: `draw` depends on its generator, its split's data, counts and extent alone; an
example of a split shows data of that split alone; what is said of an example has its boxes; positions(length) target positions suffice.
A row of `OWN` is `row(signal) → Reader`, whose `read` makes features_SxF of a file. Tested over both tables: tests/data/signals/.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attention_jax.config import Config, DataConfig
from attention_jax.data.corpora import vocabularies
from attention_jax.data.corpora.vocabularies import Vocabularies
from attention_jax.data.signals import captions, digits, drawn, own, own_files, scenes, spoken_digits
from attention_jax.data.signals.examples import Drawn, Signal
from attention_jax.data.signals.own import Learn
from attention_jax.data.signals.own_files import Folder, Reader
from attention_jax.system.errors import ConfigError
from attention_jax.types.sizes import VocabularySizes

DRAWN = {
    "digits": scenes.on_canvases(digits.task),
    "captions": scenes.on_canvases(captions.task),
    "spoken_digits": spoken_digits.row,
}
OWN = {
    "own_images": own_files.images,
    "own_frames": own_files.frames,
    "own_speech": own_files.speech,
}
TABLE: Mapping[str, Callable[..., Any]] = ChainMap(DRAWN, OWN)  # pyright: ignore[reportArgumentType]  # rows of two kinds


def is_drawn(data: DataConfig) -> bool:
    """Returns whether examples are drawn, so that there are as many as are asked for, at every length that is asked for."""
    return data.task in DRAWN


def own_sizes(config: Config) -> VocabularySizes | None:
    """Returns the sizes of a drawn signal: F numbers at each position, V words; None of others, whose words their files give."""
    found = fixed(config)
    return sizes_of(config, found) if found else None


def fixed(config: Config) -> Vocabularies | None:
    """Returns the vocabularies of a drawn signal, which are known beforehand; None of others."""
    return vocabularies.fixed(DRAWN[config.data.task](config).words) if is_drawn(config.data) else None


def sizes_of(config: Config, found: Vocabularies) -> VocabularySizes:
    """Returns F of a signal's sources, and V of its targets."""
    return VocabularySizes(_row(config).features, found.target.size)


def _row(config: Config) -> Drawn | Reader:
    return DRAWN[config.data.task](config) if is_drawn(config.data) else OWN[config.data.task](config.signal)


def rows_of(config: Config) -> int:
    """Returns how many rows the places of a source have; 1 where they are times."""
    return _row(config).rows


def is_image(config: Config) -> bool:
    """Returns whether sources are images; False for what is no signal."""
    return config.data.task in TABLE and rows_of(config) > 1


def positions(config: Config) -> tuple[int, int]:
    """Returns (source, target) positions of a training batch of a drawn signal."""
    row = DRAWN[config.data.task](config)
    return row.places, row.positions(config.data.longest)


def opened(config: Config, learn: Learn, data_dir: Path | None, cache_dir: Path) -> Signal:
    """Opens the signal that `data.task` names; `learn` makes the vocabularies of texts of training.

    Raises `DataError` for files that are missing, or are not as they should be.
    """
    if is_drawn(config.data):
        return drawn.opened(DRAWN[config.data.task](config), config, data_dir, cache_dir)
    return own.opened(config, rows_of(config), scanned(config, data_dir), learn)


def scanned(config: Config, data_dir: Path | None) -> Folder:
    """Reads a user's folder and finds everything wrong with it. Raises `DataError` where there is no folder."""
    return own_files.scanned(own_files.folder_of(config.signal, data_dir), OWN[config.data.task](config.signal).read)


def longest_output(config: Config) -> int:
    """Returns the positions that a decoded output may fill, EOS included."""
    if is_drawn(config.data):
        return DRAWN[config.data.task](config).positions(max(config.data.longest, config.data.eval_lengths[-1]))
    return config.text.cut


def features(config: Config, path: str, where: str) -> np.ndarray:
    """Reads the features_SxF of a file that is no example of its own: an image, sound or frames, whichever its sources are.

    They are on the scale of its sources; zeros, where those are dark.

    Raises `DataError`, which begins with `where`, for a file that is missing or cannot be read.
    """
    found_SxF = _row(config).read(own_files.content(Path(path).expanduser(), where), f"{where}: {path}")
    return np.zeros_like(found_SxF) if config.signal.dark else found_SxF


def check(config: Config) -> None:
    """Raises `ConfigError` for a model that does not fit the sources of a signal, and for lengths that do not fit its canvas."""
    model, task, row = config.model, config.data.task, _row(config)
    if not row.features:
        raise ConfigError(f"signal.features=0: data.task={task} needs to know how many numbers there are at each time")
    if why := model.one_vocabulary:
        raise ConfigError(f"data.task={task} has no tokens as sources, and {why}")
    if config.search.replace_unknown:
        raise ConfigError(f"search.replace_unknown=True puts words of the source in the output, and data.task={task} has none there")
    if model.encoder == "image" and model.rows != row.rows:
        raise ConfigError(
            f"model.rows={model.rows} is not the number of rows that sources of data.task={task} have: set model.rows={row.rows}"
        )
