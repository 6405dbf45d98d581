"""What a trained run writes for the test sets of its corpus, greedy and by a beam, and its scores.

    greedy    the likeliest token at every step
    beam      K outputs side by side; α, the length penalty, is that of `PENALTIES` with the best BLEU on the validation split

α is chosen for each seed, of equal ones the lowest, and the test set is decoded with it once. What the beam writes with it is kept in the
run's folder, all seeds in one file for each test set, `hypotheses_beam.gz`, `hypotheses_beam1.gz`, …: other tools can score it. What greedy
search writes is in `hypotheses.gz` already. Perplexities are teacher-forced and do not depend on the search.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from attention_jax.config import SearchConfig
from attention_jax.data.sources import Source
from attention_jax.statistics import hypotheses, metrics
from attention_jax.statistics.hypotheses import Written
from attention_jax.system.errors import ConfigError
from attention_jax.trained import Trained

BEAM = SearchConfig("beam", beam_size=5)

PENALTIES = (0.0, 0.5, 1.0, 1.5)
"""Length penalties α that are tried on the validation split: none, and up to the strongest in use."""


class Penalty(NamedTuple):
    """The length penalty that was chosen, and BLEU on the validation split of every one that was tried."""

    chosen: float
    bleu: dict[float, float]


def length_penalty(
    run: Trained, lines: Sequence[str], references: Sequence[str], search: SearchConfig = BEAM, tried: Sequence[float] = PENALTIES
) -> Penalty:
    """Returns the length penalty with the best BLEU of these lines; of equal ones the first. All else is as in `search`.

    Raises `ConfigError` for a search without a beam, and for no penalty to try.
    """
    if search.method != "beam" or not tried:
        raise ConfigError(f"a length penalty is chosen of one or more, for a beam: search.method={search.method}, and {len(tried)} to try")
    bleu = {}
    for penalty in tried:
        written = texts(run, lines, penalised(search, penalty))
        bleu[penalty] = float(metrics.translation(written, references)["bleu"])
    return Penalty(max(bleu, key=bleu.__getitem__), bleu)


def penalised(search: SearchConfig, penalty: float) -> SearchConfig:
    """Returns a search with another length penalty."""
    return dataclasses.replace(search, length_penalty=penalty)


def texts(run: Trained, lines: Sequence[str], search: SearchConfig) -> list[str]:
    """Returns the best output of each line."""
    return [found.text for found in run.decode(lines, search)]


def measured(run: Trained, source: Source, beam: SearchConfig = BEAM, tried: Sequence[float] = PENALTIES) -> list[dict]:
    """Returns a row for every test set of a corpus and each search, greedy first, for `measure` of an experiment.

    Fields: test (the name of the set), examples, search, beam_size, length_penalty, validation_bleu (of the chosen penalty; None of
    greedy), and those of `metrics.corpus_scores`, `metrics.uncased` and `metrics.perplexities`.
    """
    assert source.texts is not None
    validation = source.texts("validation")
    penalty = length_penalty(run, validation.sources, validation.targets, beam, tried)
    searches = [(SearchConfig(), None), (penalised(beam, penalty.chosen), penalty.bleu[penalty.chosen])]
    rows = []
    for number, (split, name) in enumerate(source.tests.items()):
        pairs = source.texts(split)
        losses = metrics.perplexities(*run.losses(pairs.sources, pairs.targets), pairs.targets)
        for search, on_validation in searches:
            written, references = texts(run, pairs.sources, search), [[target] for target in pairs.targets]
            if on_validation is not None and run.folder is not None:
                beside = Written((run.seed,), pairs.sources, references, [written])
                hypotheses.add(run.folder / hypotheses.named(number, hypotheses.OF_BEAM), beside)
            width = search.beam_size if search.method == "beam" else 1
            row = {"test": name, "examples": len(written), "search": search.method, "beam_size": width}
            row |= {"length_penalty": search.length_penalty, "validation_bleu": on_validation}
            rows.append(row | metrics.corpus_scores(written, references) | metrics.uncased(written, references) | losses)
    return rows
