"""Uses a trained run for a terminal: decodes files line by line, scores outputs by references, exports the run, draws where it looked."""

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jax.errors import JaxRuntimeError

from attention_jax import config as settings
from attention_jax import trained
from attention_jax.config import SearchConfig
from attention_jax.data.corpora import words
from attention_jax.report import references, report
from attention_jax.report.references import Pair
from attention_jax.running import failures, logs
from attention_jax.system import files
from attention_jax.system.errors import ConfigError, DataError, RunError, StorageError
from attention_jax.trained import Decoded, Trained, batching
from attention_jax.trained.stored import Stored

PIECE = 1 << 20  # bytes read at once


class Asked(NamedTuple):
    """What is asked of a trained run, as the flags of the command line say it."""

    inputs: Sequence[str] = ("-",)  # files of lines; - is standard input
    references: Sequence[str] = ()  # for each input the files of its references, with commas between; none: outputs are not scored
    rows: str | None = None  # a new file for rows of scores
    seed: str | None = None  # a seed, best or ensemble; None: outputs of the first seed, scores of all
    assignments: Sequence[str] = ()  # settings of search.*
    alignments: str | None = None  # a .html, .png, .svg or .gif file, to show where each output looked
    beside: Sequence[str] = ()  # further runs whose outputs for the same lines are shown beside
    export: str | None = None  # a new file for the run
    folders: tuple[Path | None, Path | None] = (None, None)  # of raw files and of the cache, to choose the best seed of a corpus


def use(directory: Path, asked: Asked, show: Callable[[str], object], tell: Callable[[str], object]) -> None:
    """Does what is asked of the run in a folder, or in an exported file; outputs go to `show`, all else that is said to `tell`.

    With search.n_best above 1 an output is "line<TAB>score<TAB>text". Raises `ConfigError` for what cannot be asked, and for more pictures
    than a file can hold, before anything is decoded; `DataError` for lines that cannot be read, and `RunError` for a run that cannot, or
    where memory does not suffice.
    """
    check(directory, asked)
    found = read("decode", directory)  # before anybody types his input
    search = settings.validate(settings.override_all(found.config, asked.assignments)).search
    runs = chosen(found, asked)
    if asked.export is not None:
        trained.export(asked.export, found, [run.seed for run in runs] if asked.seed not in (None, trained.ENSEMBLE) else None)
        tell(f"exported: {asked.export}")
        return
    lines = [read_lines(source) for source in asked.inputs]
    if asked.alignments is not None:
        real = sum(bool(words.split(line)) for of_file in lines for line in of_file)
        report.check_alignments(asked.alignments, search.n_best * real, runs[0].spatial, 1 + len(asked.beside))
    others = {path: beside(path, found, asked) for path in asked.beside}
    pairs = read_references(asked, lines, runs[0])
    kept = shown(runs[0], lines, search, show, asked.alignments is not None, bool(pairs))
    if asked.alignments is not None:
        draw(directory, runs[0], others, lines, kept, search, asked.alignments)
        tell(f"alignments: {asked.alignments}")
    if pairs:
        score(runs, pairs, kept, search, asked.rows, tell)


def check(directory: Path, asked: Asked) -> None:
    """Raises `ConfigError` for flags that do not fit each other, and for files that are there already or cannot be written."""
    if asked.alignments is not None:
        report.check_alignments(asked.alignments, 0, runs=1 + len(asked.beside))
    elif asked.beside:
        raise ConfigError(f"--beside={asked.beside[0]} needs --alignments=page.html, where runs are shown side by side")
    named = [Path(path).resolve() for path in (directory, *asked.beside)]
    if twice := [path for path in named if named.count(path) > 1]:
        raise ConfigError(f"--beside: {twice[0]} is named twice; name other runs than that of --decode, each once")
    if others := [text for text in asked.assignments if not text.strip().startswith("search.")]:
        raise ConfigError(f"--set {others[0]}: a trained run stays as it is; with --decode only search.* can be set")
    if asked.references and len(asked.references) != len(asked.inputs):
        raise ConfigError(
            f"--references is given {len(asked.references)} times, and --input {len(asked.inputs)} times: give one for each, and several "
            "references of one input with commas between"
        )
    if asked.rows is not None and not asked.references:
        raise ConfigError(f"--rows={asked.rows} needs --references: rows are scores of outputs")
    made = {"export": [asked.export], "rows": [asked.rows], "alignments": [asked.alignments]}
    if asked.rows is not None:
        made["rows"] += map(str, references.kept_beside(Path(asked.rows), len(asked.references)))
    for flag, paths in made.items():
        for path in paths:
            if path is not None:
                check_new(flag, Path(path))


def check_new(flag: str, path: Path) -> None:
    """Raises `ConfigError` for a file that is there already, and where its folder is none or cannot be written to."""
    if path.exists():
        raise ConfigError(f"--{flag}: {path} is there already, and is not replaced; remove it, or choose another name")
    folder = next(parent for parent in path.absolute().parents if parent.exists())  # missing ones are made
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise ConfigError(f"--{flag}={path}: {folder} is no folder that can be written to; choose another")


def read(flag: str, path: str | Path) -> Stored:
    """Reads a run. Raises `ConfigError`, which names the flag, for what is none or cannot be used as it is."""
    with _mendable(flag):
        return trained.read(path)


def beside(path: str, shown: Stored, asked: Asked) -> Trained:
    """Reads a run to be shown beside another. Raises `ConfigError` for one whose inputs are other tokens."""
    found = read("beside", path)
    if _source(found) != _source(shown):
        raise ConfigError(f"--beside: {path} does not read the same tokens as {shown.path}; runs are shown side by side on the same input")
    return chosen(found, asked)[0]


def _source(found: Stored) -> tuple[object, ...]:
    """What a run's inputs are made of."""
    data, known = found.config.data, found.vocabularies
    return (known.source.stored(),) if known else (data.symbols, found.run.sizes)


def read_references(asked: Asked, lines: Sequence[list[str]], run: Trained) -> list[Pair]:
    """Reads the references of each input, if there are any; what is no text of the run's targets is an error before anything is decoded."""
    pairs = []
    for source, of_file, named in zip(asked.inputs, lines, asked.references, strict=False):
        columns = {name: read_lines(name, "references") for name in named.split(",")}
        pairs.append(references.paired(source, of_file, columns))
        for column in columns.values():
            run.encode_targets(column)
    return pairs


def chosen(found: Stored, asked: Asked) -> list[Trained]:
    """Returns the seeds that are asked for: the first is that whose outputs are shown, and all are scored."""
    seed = int(asked.seed) if asked.seed is not None and asked.seed.isdecimal() else asked.seed
    every = found.seeds if seed is None and asked.references else [seed]
    with _mendable("seed"):
        return [trained.chosen(found, each, *asked.folders) for each in every]


@contextlib.contextmanager
def _mendable(flag: str) -> Iterator[None]:
    """Turns what is wrong with a trained run into a wrong flag: another run, or another seed, can be named."""
    try:
        yield
    except StorageError:
        raise
    except RunError as error:
        raise ConfigError(f"--{flag}: {error}") from None


def draw(
    directory: Path,
    run: Trained,
    others: Mapping[str, Trained],
    lines: Sequence[list[str]],
    kept: Sequence[Sequence[list[Decoded]]],
    search: SearchConfig,
    path: str,
) -> None:
    """Writes the alignments of a run's outputs to a file, and beside them those of other runs, which are decoded here."""
    every = list(itertools.chain(*lines))
    runs = {str(directory): [of_line for of_file in kept for of_line in of_file]}
    for name, other in others.items():
        runs[name] = list(decoded(other, every, search, examine=True))
    named = {_name(name, runs): outputs for name, outputs in runs.items()}
    title = " beside ".join(named)
    report.write_alignments(every, named, Path(path), title, run.spatial)


def _name(path: str, paths: Collection[str]) -> str:
    """Returns the last part of a path, or all of it where another path ends in the same."""
    last = Path(path).name
    return last if sum(Path(other).name == last for other in paths) == 1 else path


def shown(
    run: Trained,
    lines: Sequence[list[str]],
    search: SearchConfig,
    show: Callable[[str], object],
    examine: bool = False,
    keep: bool = False,
) -> list[list[list[Decoded]]]:
    """Decodes files, and shows each line's best outputs as soon as they are there; returns them by file and line.

    They are empty without `keep` or `examine`; with the latter they have what the decoder knew at each step.
    """
    kept, number = [], itertools.count(1)
    for of_file in lines:
        kept.append([])
        for outputs in decoded(run, of_file, search, examine):
            i = next(number)
            show("\n".join(each.text if search.n_best == 1 else f"{i}\t{each.score:.4f}\t{each.text}" for each in outputs))
            if keep or examine:
                kept[-1].append(outputs)
    return kept


def decoded(run: Trained, lines: list[str], search: SearchConfig, examine: bool = False):
    """Yields the best outputs of each line, with a bar on standard error where there are many and they do not go to a terminal."""
    many = len(lines) > batching.FIRST and not sys.stdout.isatty()
    with logs.bar(len(lines), f"{run.config.experiment}/{run.config.run}, seed {references.whose(run)}", many, "line") as bar:
        try:
            yield from run.decode_each(lines, search, bar.update, examine)
        except (JaxRuntimeError, MemoryError) as error:
            if not failures.is_full(error):
                raise
            longest = max(len(words.split(line)) for line in lines)
            reason = f"shorten the longest line ({longest} words), or lower search.beam_size={search.beam_size}"
            raise RunError(f"out of memory: {reason}") from None


def score(
    runs: Sequence[Trained],
    pairs: Sequence[Pair],
    first: Sequence[Sequence[Sequence[Decoded]]],
    search: SearchConfig,
    rows: str | None,
    tell: Callable[[str], object],
) -> None:
    """Decodes the inputs by all runs but the first, whose outputs are given, and scores all; tells tables, and writes rows."""
    outputs = {references.whose(runs[0]): [[of_line[0].text for of_line in of_file] for of_file in first]}
    for run in runs[1:]:
        outputs[references.whose(run)] = [[found[0].text for found in decoded(run, pair.lines, search)] for pair in pairs]
    found = []
    for run in runs:
        for pair, texts in zip(pairs, outputs[references.whose(run)], strict=True):
            found += references.scored(run, pair, texts, search)
    for line in references.text(found).split("\n"):
        tell(line)
    if rows is not None:
        for path in references.write(Path(rows), found, pairs, outputs):
            tell(f"written: {path}")


def read_lines(source: str, flag: str = "input") -> list[str]:
    """Reads the lines of a file or of standard input (-), UTF-8; what cannot be read, or has no end, raises `DataError`."""
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if source == "-" else Path(source).open("rb") as file:
            data = bytearray()
            while piece := file.read(PIECE):  # a pipe will do as well
                data += piece
                if len(data) > files.LARGEST:
                    raise DataError(f"--{flag}={source} has more than {files.LARGEST >> 20} MiB: give it in parts")
        text = data.decode("utf-8-sig")  # only newlines end a line, as in training data
        return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    except OSError as error:
        raise DataError(f"--{flag}={source} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1  # not of `data`: there a byte order mark comes first
        raise DataError(f"--{flag}={source}, line {line}: not UTF-8") from None
