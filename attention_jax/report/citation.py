"""The papers of what a config uses, as BibTeX: mechanism, cells, optimizer, search, and the statistics of its verdict.

    print(citation(config))                                             one config
    print(citation([run.config for run in runs], claim.PAPERS))         a sweep, with the papers of its claim

A row of a table names its papers itself (`types.citations.cites`), an experiment in its `PAPERS`; what is a setting and no row stands
in `SETTINGS`. Entries are in `papers.bib`, the only place that says who wrote what.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from attention_jax import attention, encoders, training
from attention_jax.config import Config, choose
from attention_jax.data import corpora, signals, tasks
from attention_jax.layers import cells
from attention_jax.model import decoder, readout
from attention_jax.statistics import edits, intervals, metrics
from attention_jax.system.errors import DataError
from attention_jax.training import regularisers
from attention_jax.types.citations import papers_of

FILE = Path(__file__).with_name("papers.bib")
"""All entries, in order of their keys."""

STATISTICS = (intervals.holm, intervals.difference)
"""What every table of verdicts rests on."""


def recurs(config: Config) -> bool:
    """Returns whether the config's encoder runs a cell over time. Raises `ConfigError` where it cannot be built."""
    return encoders.build(config.model, config.model.embedding_size).recurs


class Setting(NamedTuple):
    """A setting that is no row, or a row that is taken beside others: `papers` hold where `applies(config)` is True."""

    applies: Callable[[Config], Any]
    papers: tuple[str, ...]


SETTINGS = (
    Setting(lambda c: c.model.direction == "both" and recurs(c), ("schuster1997",)),
    Setting(lambda c: c.model.heads > 1, papers_of(attention.NUMBERS["heads"])),
    Setting(lambda c: c.model.vector_bits, ("bengio2013",)),
    Setting(lambda c: c.model.transition > 1, ("pascanu2014", "miceli2017")),
    Setting(lambda c: c.model.dropout, ("srivastava2014",)),
    Setting(lambda c: c.model.decoder == "gnmt", ("wu2016",)),
    Setting(lambda c: c.model.feeding, ("luong2015",)),
    Setting(lambda c: c.model.context_gate != "none", ("tu2017",)),
    Setting(lambda c: c.model.copy, ("see2017",)),
    Setting(lambda c: c.model.tied != "none", ("press2017",)),
    Setting(lambda c: c.training.smoothing, ("szegedy2016",)),
    Setting(lambda c: c.training.sampling == "scheduled", ("bengio2015",)),
    Setting(lambda c: c.training.coverage, papers_of(regularisers.coverage)),
    Setting(lambda c: c.training.doubly_stochastic, papers_of(regularisers.doubly_stochastic)),
    Setting(lambda c: c.training.guided, papers_of(regularisers.guided)),
    Setting(lambda c: c.search.method == "beam" and (c.search.length_penalty or c.search.coverage_penalty), ("wu2016",)),
    Setting(lambda c: c.search.method == "sample" and c.search.top_k, ("fan2018",)),
    Setting(lambda c: c.search.method == "sample" and c.search.top_p < 1, ("holtzman2020",)),
    Setting(lambda c: c.search.replace_unknown, ("luong2015",)),
    Setting(lambda c: max(c.search.backward_window, c.search.forward_window) >= 0, ("ping2018",)),
    Setting(lambda c: c.model.coordinates, ("liu2018",)),
    Setting(lambda c: c.data.task in corpora.TABLE, papers_of(metrics.translation)),
    Setting(lambda c: c.data.task in corpora.TABLE and "subword" in c.text.units, ("kudo2018",)),
    Setting(lambda c: c.data.task in corpora.TABLE and c.text.units[1] != "subword", papers_of(edits.distances)),
)
"""Settings with a paper of their own."""


def citation(configs: Config | Sequence[Config], also: Iterable[str] = ()) -> str:
    """Returns the BibTeX entries of exactly what these configs use, and of the keys in `also`, in order of their keys.

    Raises `ConfigError` for a name that is in no table, and `DataError` for a key that has no entry.
    """
    configs = [configs] if isinstance(configs, Config) else configs
    keys = sorted({key for config in configs for key in papers(config)} | set(also))
    known = entries()
    if missing := [key for key in keys if key not in known]:
        raise DataError(f"no entry of {FILE.name} has the key {missing[0]}; add it, or name one of {len(known)} that are there")
    return "\n\n".join(known[key] for key in keys)


def papers(config: Config) -> set[str]:
    """Returns the keys of the papers that a config's rows, settings and statistics come from."""
    keys = {key for row in (*rows(config), *STATISTICS) for key in papers_of(row)}
    return keys | {key for setting in SETTINGS if setting.applies(config) for key in setting.papers}


def rows(config: Config) -> list[Any]:
    """Returns the rows of tables that a config names, those aside that its mechanism does not use.

    Raises `ConfigError` for a name that is in no table.
    """
    model, data = config.model, config.data
    found = [
        attention.TABLE[choose("model.attention", model.attention, attention.TABLE)],
        encoders.TABLE[choose("model.encoder", model.encoder, encoders.TABLE)],
        readout.TABLE[choose("model.readout", model.readout, readout.TABLE)],
        training.OPTIMIZERS[choose("training.optimizer", config.training.optimizer, training.OPTIMIZERS)],
    ]
    used = {model.decoder_cell or model.cell, *([model.cell] if recurs(config) else [])}
    found += [cells.TABLE[choose("model.cell", name, cells.TABLE)] for name in sorted(used)]
    if attention.looks(model.attention):
        found.append(decoder.TIMINGS[choose("model.timing", model.timing, decoder.TIMINGS)])
        found += [table[choose(f"model.{axis}", getattr(model, axis), table)] for axis, table in attention.AXES.items()]
    every = {**tasks.TABLE, **corpora.TABLE, **signals.TABLE}
    return [*found, every[choose("data.task", data.task, every)]]


def entries() -> dict[str, str]:
    """Reads {key: entry} of the file of papers. Raises `DataError` for one that has two entries of a key."""
    found: dict[str, str] = {}
    for entry in re.split(r"\n\n+", FILE.read_text(encoding="utf-8").strip()):
        named = re.match(r"@\w+\{(\w+),\n", entry)
        if named is None or named[1] in found:
            raise DataError(f"{FILE.name} has an entry without a key of its own: {entry.splitlines()[0]}")
        found[named[1]] = entry
    return found
