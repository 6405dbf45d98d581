"""Decodes a file of lines for a terminal: text is shown as it comes, and at last where each output looked is drawn."""

import contextlib
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jax.errors import JaxRuntimeError

from attention_jax import config as settings
from attention_jax import trained
from attention_jax.data.corpora import words
from attention_jax.report import report
from attention_jax.running import failures
from attention_jax.system import files
from attention_jax.system.errors import ConfigError, DataError, RunError

PIECE = 1 << 20  # bytes read at once


def decode(directory: Path, source: str, assignments: Sequence[str], alignments: str | None, show: Callable[[str], object]) -> None:
    """Shows the best outputs of every line of `source`, many lines at once; with `alignments`, a file, draws where they looked.

    `assignments` are settings of search.* alone. With search.n_best above 1 an output is "line<TAB>score<TAB>text".
    Raises `ConfigError` for other settings, and for more pictures than the file can hold, before anything is decoded; `DataError` for
    lines that cannot be read, and `RunError` for a run that cannot, or where memory does not suffice.
    """
    if alignments is not None:
        report.check_alignments(alignments, 0)
    if others := [text for text in assignments if not text.strip().startswith("search.")]:
        raise ConfigError(f"--set {others[0]}: a trained run stays as it is; with --decode only search.* can be set")
    run = trained.load(directory)  # before anybody types his input
    search = settings.validate(settings.override_all(run.config, assignments)).search
    lines = read_lines(source)
    if alignments is not None:
        report.check_alignments(alignments, search.n_best * sum(bool(words.split(line)) for line in lines), run.spatial)
    outputs, kept, number = run.decode_each(lines, search), [], itertools.count(1)
    try:
        while block := list(itertools.islice(outputs, trained.BLOCK)):
            numbered = [(i, output) for of_line, i in zip(block, number, strict=False) for output in of_line]
            show("\n".join(found.text if search.n_best == 1 else f"{i}\t{found.score:.4f}\t{found.text}" for i, found in numbered))
            kept += block if alignments is not None else []
    except (JaxRuntimeError, MemoryError) as error:
        if not failures.is_full(error):
            raise
        longest = max(len(words.split(line)) for line in lines)
        raise RunError(f"out of memory: shorten the longest line ({longest} words), or lower search.beam_size={search.beam_size}") from None
    if alignments is not None:
        report.write_alignments(lines, kept, Path(alignments), str(directory), run.spatial)


def read_lines(source: str) -> list[str]:
    """Reads the lines of a file or of standard input (-), UTF-8; what cannot be read, or has no end, raises `DataError`."""
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if source == "-" else Path(source).open("rb") as file:
            data = bytearray()
            while piece := file.read(PIECE):  # a pipe will do as well
                data += piece
                if len(data) > files.LARGEST:
                    raise DataError(f"--input={source} has more than {files.LARGEST >> 20} MiB: give it in parts")
        text = data.decode("utf-8-sig")  # only newlines end a line, as in training data
        return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    except OSError as error:
        raise DataError(f"--input={source} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1  # not of `data`: there a byte order mark comes first
        raise DataError(f"--input={source}, line {line}: not UTF-8") from None
