"""Stage: what a model wrote for each test sentence ↔ a file, so that any other metric can be computed later, without the model.

    hypotheses.gz    gzip of JSON lines, UTF-8: first {"format", "seeds", "sentences"}, then for each sentence
                     {"source", "references", "hypotheses"}: texts, hypotheses in the order of the seeds

Of a signal that is drawn each seed is tested on examples of its own: then there is one hypothesis a line, "seeds" is ["each its own"], and
"source" says "seed 3, length 4, example 17".

`zcat hypotheses.gz` shows them. Equal content gives equal bytes. 1,000 captions of 8 seeds are about 0.3 MB.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from attention_jax.statistics import packed
from attention_jax.system.errors import DataError

FILE, OF_BEAM = "hypotheses.gz", "hypotheses_beam.gz"
FORMAT = 1
EACH = "each its own"
"""The seeds of a file whose examples are of one seed each."""


class Written(NamedTuple):
    """Test sentences in the order of their file, and what was written for them. A seed is a number, or the name of an ensemble."""

    seeds: tuple[int | str, ...]
    sources: Sequence[str]
    references: Sequence[Sequence[str]]  # of each sentence, one or several
    hypotheses: Sequence[Sequence[str]]  # of each seed, then of each sentence


def named(test: int, file: str = FILE) -> str:
    """Returns the name of the file for a run's test set: the first is that of verdicts, number 0."""
    return file.replace(".", f"{test or ''}.", 1)


def write(path: str | Path, written: Written) -> None:
    """Writes the file, replacing it whole. Raises `DataError` where sentences lack a source, a reference or a hypothesis."""
    N = len(written.sources)
    if len(written.references) != N or len(written.hypotheses) != len(written.seeds) or any(len(h) != N for h in written.hypotheses):
        raise DataError(f"{path}: {N} sentences and {len(written.seeds)} seeds need as many references and hypotheses")
    lines: list[dict] = [{"format": FORMAT, "seeds": list(written.seeds), "sentences": N}]
    for source, references, *hypotheses in zip(written.sources, written.references, *written.hypotheses, strict=True):
        lines.append({"source": source, "references": list(references), "hypotheses": hypotheses})
    content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    packed.write(path, content.encode("utf-8", "surrogatepass"))


def add(path: str | Path, written: Written) -> None:
    """Writes seeds beside those that a file has, in their place where it has them. Raises `DataError` for a file of other sentences."""
    there = read(path) if Path(path).exists() else written._replace(seeds=(), hypotheses=[])
    if list(there.sources) != list(written.sources) or [*map(list, there.references)] != [*map(list, written.references)]:
        raise DataError(f"{path} is of other sentences; delete it")
    kept = dict(zip(there.seeds, there.hypotheses, strict=True)) | dict(zip(written.seeds, written.hypotheses, strict=True))
    write(path, written._replace(seeds=tuple(kept), hypotheses=[*kept.values()]))


def read(path: str | Path) -> Written:
    """Reads what `write` wrote. Raises `DataError` where it is missing, damaged or another program's."""
    return packed.read(path, _parse, "hypotheses")


def _parse(content: bytes) -> Written:
    header, *sentences = [json.loads(line) for line in content.decode("utf-8", "surrogatepass").removesuffix("\n").split("\n")]
    if wrong := _wrong_head(header, len(sentences)):
        raise ValueError(wrong)
    seeds = header["seeds"]
    for number, sentence in enumerate(sentences, start=2):
        if wrong := _wrong(sentence, len(seeds)):
            raise ValueError(f"line {number} {wrong}")
    references = [sentence["references"] for sentence in sentences]
    hypotheses = [[sentence["hypotheses"][r] for sentence in sentences] for r in range(len(seeds))]
    return Written(tuple(seeds), [sentence["source"] for sentence in sentences], references, hypotheses)


def _wrong_head(header: object, sentences: int) -> str:
    """Returns what is wrong with the first line, as text; empty where nothing is."""
    if not isinstance(header, dict) or set(header) != {"format", "seeds", "sentences"} or header["format"] != FORMAT:
        return "its first line is not that of such a file"
    seeds = header["seeds"]
    if not isinstance(seeds, list) or not seeds or not all(type(seed) in (int, str) for seed in seeds):
        return "its seeds are no list of numbers"
    return "" if header["sentences"] == sentences else f"its first line promises {header['sentences']!r} sentences, and {sentences} follow"


def _wrong(sentence: object, seeds: int) -> str:
    """Returns what is wrong with the line of a sentence, as text; empty where nothing is."""
    if not isinstance(sentence, dict) or set(sentence) != {"source", "references", "hypotheses"}:
        return "is no sentence"
    if not (isinstance(sentence["source"], str) and _are_texts(sentence["references"]) and _are_texts(sentence["hypotheses"])):
        return "has something that is no text"
    found = len(sentence["hypotheses"])
    return "" if found == seeds else f"has {found} hypotheses, and there are {seeds} seeds"


def _are_texts(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(text, str) for text in found)
