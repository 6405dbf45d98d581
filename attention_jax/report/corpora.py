"""What a corpus holds and what is wrong with it, as text for a terminal: `--check_data`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from attention_jax.config import Config
from attention_jax.data import inspection, signals, sources
from attention_jax.data.corpora import words
from attention_jax.data.inspection import Inspection, Part
from attention_jax.report.report import text_table
from attention_jax.system.errors import ConfigError, DataError

SHOWN = 10  # lines of a list; how many more there are is said


def check(configs: Sequence[Config], data_dir: Path | None, cache_dir: Path | None, show: Callable[[str], object]) -> None:
    """Shows what the corpora of these configs hold, each once; nothing is trained.

    Raises `ConfigError` where one has none, and `DataError` once everything wrong is shown.
    """
    configs = [sources.unlinked(config) for config in configs]
    different = dict.fromkeys((config.data, replace(config.text, blind=False), replace(config.signal, dark=False)) for config in configs)
    for data, text, signal in different:
        config = replace(configs[0], data=data, text=text, signal=signal)
        if sources.is_drawn(data):
            raise ConfigError(f"--check_data looks at files, and data.task={data.task} is drawn: set data.task=parallel_text")
        if data.task in signals.OWN:
            _check_folder(config, data_dir, show)
            continue
        scans = inspection.scans(config, data_dir)
        if scans:
            lines = [(str(scan.file.path), f"{scan.lines:,}", f"{len(scan.file.content):,}", f"{len(scan.faults):,}") for scan in scans]
            show(f"Files\n{text_table(('file', 'lines', 'bytes', 'wrong'), lines)}\n")
        for title, found in (("Notes", [scan.notes for scan in scans]), ("Wrong", [scan.faults for scan in scans])):
            if lists := _lists(title, found):
                show(lists)
        if wrong := sum(len(scan.faults) for scan in scans):
            raise DataError(f"{wrong:,} lines or files are wrong, as listed above; mend them and check again")
        show(page(config, inspection.inspect(config, data_dir, cache_dir)))


def _check_folder(config: Config, data_dir: Path | None, show: Callable[[str], object]) -> None:
    """Shows what a folder of images or frames holds. Raises `DataError` once everything wrong is shown."""
    found = signals.scanned(config, data_dir)
    rows, lines = signals.rows_of(config), []
    for split, items in found.splits.items():
        sizes, lengths = [len(item.features_SxF) // rows for item in items], [len(words.split(item.text)) for item in items]
        lines.append((split, f"{len(items):,}", *(f"{max(of, default=0):,}" for of in (sizes, lengths))))
    header = ("split", "files that can be read", f"most columns of {rows} patches" if rows > 1 else "most times", "most words")
    show(f"Splits of {found.path}\n{text_table(header, lines)}\n")
    for title, of_kind in (("Notes", found.notes), ("Wrong", found.faults)):
        if lists := _lists(title, [of_kind]):
            show(lists)
    if found.faults:
        raise DataError(f"{len(found.faults):,} lines or files are wrong, as listed above; mend them and check again")


def _lists(title: str, found: Sequence[Sequence[str]]) -> str:
    """Lists the first of each file's lines; "" where there are none."""
    lines = [f"  {line}" for of_file in found for line in (*of_file[:SHOWN], *_more(of_file))]
    return "\n".join([title, *lines, ""]) if lines else ""


def _more(lines: Sequence[str]) -> list[str]:
    return [f"… and {len(lines) - SHOWN:,} more like these"] if len(lines) > SHOWN else []


def page(config: Config, found: Inspection) -> str:
    """Returns what a corpus holds: splits, lengths, vocabularies, what is too long, duplicates, examples."""
    text, train = config.text, found.parts[0]
    splits = [(part.name, f"{part.pairs:,}", f"{part.examples:,}") for part in found.parts]
    quantiles = [f"{quantile} %" if quantile < 100 else "longest" for quantile in inspection.QUANTILES]
    lengths = [
        (part.name, side, *(f"{length:,}" for length in of_side.lengths))
        for part in found.parts
        for side, of_side in (("source", part.source), ("target", part.target))
    ]
    units = " and ".join(f"{unit}s" for unit in dict.fromkeys(text.units))
    names = ["shared"] if len(found.vocabularies.each) == 1 else ["source", "target"]
    sizes = [(name, f"{each.size:,}", f"{text.vocabulary_size:,}") for name, each in zip(names, found.vocabularies.each, strict=True)]
    unknown = [(part.name, f"{part.source.unknown:.2%}", f"{part.target.unknown:.2%}") for part in found.parts]
    blocks = [
        f"Splits of {config.data.task}\n" + text_table(("split", "pairs", "examples, joined and capped"), splits),
        f"Lengths in {units}, EOS included\n" + text_table(("split", "side", *quantiles), lengths),
        f"Vocabulary, {units}\n" + text_table(("side", "tokens", "at most"), sizes),
        "Unknown tokens\n" + text_table(("split", "source", "target"), unknown),
        _lists(f"Longer than the last of text.buckets={text.buckets}: left out of training ({len(train.left_out):,})", [train.left_out]),
        *(_of_part(part, text.cut) for part in found.parts[1:]),
        "Examples as the model sees them\n"
        + "\n".join(f"  {place}\n    {source}\n    {target}" for place, source, target in found.examples),
    ]
    return "\n\n".join(block.rstrip("\n") for block in blocks if block)


def _of_part(part: Part, cut: int) -> str:
    long = _lists(f"Longer than text.cut={cut} in {part.name}: cut there ({len(part.left_out):,})", [part.left_out])
    repeated = _lists(f"Sources of {part.name} that are in training, too ({len(part.repeated):,})", [part.repeated])
    return "\n".join(filter(None, (long, repeated)))
