"""Keeps the links of our own aligners: to train one on a corpus takes minutes, and every process would do it again."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from attention_jax.data import aligners
from attention_jax.data.corpora import links, raw
from attention_jax.data.corpora.links import Link
from attention_jax.system import files
from attention_jax.system.errors import DataError

Sides = tuple[Sequence[str], Sequence[str]]
"""Sources and targets, a line for each pair."""


def of(kind: str, train: Sides, tested: Sides | None, cache_dir: Path) -> list[list[Link]]:
    """Returns the links of the `tested` pairs, None being those of training, by the aligner that the pairs of `train` train.

    They are kept in `cache_dir`, in a file whose name is a digest of the aligner and of all lines. Raises `DataError` for a damaged one.
    """
    digest = hashlib.sha256(f"{aligners.RULES} {kind}".encode())
    for lines in (*train, *((["tested"], *tested) if tested else ())):
        for line in lines:
            digest.update(b"\n" + line.encode(errors="surrogatepass"))
    sources, targets = tested or train
    file = Path(cache_dir) / "links" / f"{digest.hexdigest()[:24]}.txt"
    if not file.exists():
        found = aligners.train(kind, *train).links(sources, targets)
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(file, "".join(f"{links.text(of_pair)}\n" for of_pair in found).encode())
    kept = links.read(raw.read_bytes(file), str(file))
    if len(kept) != len(sources):
        raise DataError(f"{file} is damaged: it has {len(kept)} lines for {len(sources)} pairs; remove it, and it is made again")
    return [sorted(of_pair.sure) for of_pair in kept]
