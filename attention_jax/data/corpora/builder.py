"""Base class of the TFDS builders: raw files → split pairs → array_record, built once, without TensorFlow.

TFDS writes to a temporary folder and renames it when it is whole, so a half-built one is never read. The folder's name holds the
languages and the builder's version (which changes whenever cleaning or splitting does): contents are pinned by hash.
"""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import tensorflow_datasets as tfds

from attention_jax.config import TextConfig, choose
from attention_jax.data.corpora.raw import Place
from attention_jax.system.errors import ConfigError, DataError, StorageError

logger = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")
REFUSALS = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO)]
"""How a disk says that it takes no more; once there is room the same command goes on."""


class PairBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder of parallel text. An example has a text per column of `COLUMNS`; the file's order is kept for joined pairs."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "A folder with the publisher's raw files, as <corpus>/<file> or <file>."
    url_infos = {}  # of downloads by TFDS: there are none, and looking for their list needs a package TFDS does not declare
    HOMEPAGE = ""
    LICENSE = ""
    CITATION = ""
    LANGUAGES: tuple[str, ...] = ()
    COLUMNS: tuple[str, ...] = ("source", "target")
    RESTRICTED: bool = False  # its licence is for research alone, or none is stated, which is said whenever it is built
    REFERENCES: str = ""  # the column of further right targets of a source, with tabs between; "": the corpus has none
    parts: tuple[str, ...] = SPLITS
    """Its splits: those three, and further test sets behind them."""

    @classmethod
    def open(cls, text: TextConfig, data_dir: Path | None, cache_dir: Path) -> Self:
        """Returns the builder of these settings. Raises `ConfigError` for languages that the corpus lacks, and links of other pairs."""
        if text.alignment_file:
            raise ConfigError(f"text.alignment_file={text.alignment_file} belongs to data.task=parallel_text, to lines of your own")
        return cls.kept_in(cache_dir, config=choose("text.languages", text.languages, cls.LANGUAGES))

    @classmethod
    def kept_in(cls, folder: Path, **options: Any) -> Self:
        """Returns the builder that keeps its build below `folder`. Raises `DataError` for a damaged build."""
        try:
            return cls(data_dir=folder, file_format="array_record", **options)
        except Exception as error:  # of a build's description: JSON, protobuf and TFDS each raise their own
            raise DataError(f"the build in {folder / cls.name} is damaged: delete that folder and run again ({error!r:.80})") from error

    def read(self, place: Place) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """Reads raw files into {split: rows of `COLUMNS` in order}, with all checks before anything is written."""
        raise NotImplementedError

    def names(self) -> dict[str, str]:
        """Returns {test split: what people call it}, in order; the first one is that of verdicts."""
        return {split: split for split in self.parts if split not in ("train", "validation")}

    def place(self, split: str, number: int, row: Sequence[str]) -> str:
        """Says where pair `number`, from 0, of a split comes from."""
        return f"{split}, pair {number + 1}"

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict({name: tfds.features.Text() for name in self.COLUMNS}),
            supervised_keys=("source", "target"),
            disable_shuffling=True,
            homepage=self.HOMEPAGE,
            license=self.LICENSE,
            citation=self.CITATION,
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        try:
            data_dir = Path(dl_manager.manual_dir)
        except AssertionError:  # what TFDS raises when there is no such folder
            data_dir = None
        pairs = self.read(Place(data_dir, Path(dl_manager.download_dir)))
        for split in self.parts:
            if not pairs[split]:
                raise DataError(f"{self.name}: no pair is left for the {split} split")
        return {split: self._generate_examples(pairs[split]) for split in self.parts}

    def _generate_examples(self, rows: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, dict[str, str]]]:
        for index, row in enumerate(rows):
            yield index, dict(zip(self.COLUMNS, row, strict=True))


def build(builder: PairBuilder, data_dir: Path | None, cache_dir: Path) -> None:
    """Builds a corpus that the cache does not hold. Two processes may do so at once: the first to finish wins, both read its build."""
    tfds.disable_progress_bar()
    download = tfds.download.DownloadConfig(manual_dir=data_dir and os.fspath(data_dir))
    if builder.RESTRICTED and not builder.data_path.exists():
        logger.warning("%s: %s; see %s", builder.name, builder.LICENSE, builder.HOMEPAGE)
    try:
        if data_dir is not None and not (data_dir.is_dir() and any(data_dir.iterdir())):
            raise DataError(f"--data_dir={data_dir} is no folder, or an empty one")
        with contextlib.redirect_stdout(sys.stderr):  # TFDS announces itself where decoded text goes
            builder.download_and_prepare(download_dir=os.fspath(cache_dir / "downloads"), download_config=download)
    except (OSError, RuntimeError) as error:  # array_record says in a RuntimeError that a disk is full
        if not builder.data_path.exists():
            kind = StorageError if any(word in str(error) for word in REFUSALS) else DataError
            raise kind(f"{builder.name} cannot be built in {cache_dir}: {error}") from error


def read_split(builder: PairBuilder, split: str) -> list[tuple[str, ...]]:
    """Reads the rows of a built split in order, (source, target) first."""
    try:
        examples = cast(Any, builder).as_data_source(split)
        rows = examples.__getitems__(range(len(examples)))  # one batched read: four times as fast as one by one
        return [tuple(row[name].decode() for name in builder.COLUMNS) for row in rows]
    except Exception as error:  # array_record, protobuf and TFDS each raise their own
        raise DataError(f"the build in {builder.data_path} is damaged: delete that folder and run again ({error!r:.80})") from error
