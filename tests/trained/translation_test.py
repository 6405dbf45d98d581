"""The length penalty that is chosen, and rows of both searches, for a model whose outputs are known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from attention_jax.config import SearchConfig
from attention_jax.statistics import hypotheses
from attention_jax.system.errors import ConfigError
from attention_jax.trained import translation

TARGETS = ["a man rides a red horse .", "two dogs run through the snow .", "a child sits at a table ."]
RIGHT = 0.5  # the penalty at which outputs are as long as they should be


class Known:
    """A model that writes more words the larger the length penalty is; its beam finds all, greedy search the first four."""

    def __init__(self, folder: Path | None = None, seed: int = 0):
        self.asked: list[SearchConfig] = []
        self.folder, self.seed = folder, seed

    def decode(self, lines, search):
        self.asked.append(search)
        words = [TARGETS[int(line)].split() for line in lines]
        cut = len(words[0]) + round(4 * (search.length_penalty - RIGHT)) if search.method == "beam" else 4
        return [SimpleNamespace(text=" ".join((each + ["so"] * 9)[:cut])) for each in words]

    def losses(self, lines, targets):
        return np.array([2.0 * len(target.split()) for target in targets]), np.array([len(target.split()) + 1 for target in targets])


SOURCE: Any = SimpleNamespace(
    texts=lambda split: SimpleNamespace(sources=["0", "1", "2"], targets=TARGETS), tests={"test": "first", "test_2": "other"}
)


def test_the_penalty_with_the_best_bleu_on_validation_is_chosen():
    run: Any = Known()
    found = translation.length_penalty(run, ["0", "1", "2"], TARGETS)
    assert found.chosen == RIGHT and list(found.bleu) == list(translation.PENALTIES)
    shorter = [" ".join(target.split()[:5]) for target in TARGETS]
    assert found.bleu[0.0] == pytest.approx(BLEU().corpus_score(shorter, [TARGETS]).score, rel=0.3) and found.bleu[RIGHT] == pytest.approx(
        100
    )
    assert {search.beam_size for search in run.asked} == {5}


def test_of_equal_penalties_the_first_is_chosen():
    run: Any = Known()
    assert translation.length_penalty(run, ["0"], TARGETS[:1], tried=(0.5, 0.51)).chosen == 0.5


@pytest.mark.parametrize(("search", "tried"), [(SearchConfig(), (0.0,)), (translation.BEAM, ())])
def test_a_search_without_beam_and_no_penalty_are_refused(search, tried):
    with pytest.raises(ConfigError, match="a length penalty is chosen"):
        translation.length_penalty(Any, ["0"], TARGETS[:1], search, tried)  # pyright: ignore[reportArgumentType]  # not looked at


def test_a_row_for_every_test_set_and_search():
    run: Any = Known()
    rows = translation.measured(run, SOURCE)
    assert [(row["test"], row["search"]) for row in rows] == [(test, s) for test in ("first", "other") for s in ("greedy", "beam")]
    greedy, beam = rows[:2]
    assert (greedy["beam_size"], greedy["length_penalty"], greedy["validation_bleu"]) == (1, 0.0, None)
    assert (beam["beam_size"], beam["length_penalty"]) == (5, RIGHT) and beam["validation_bleu"] == pytest.approx(100)
    assert greedy["bleu"] < beam["bleu"] == pytest.approx(100) and "case:lc" in beam["bleu_uncased_signature"]
    words = sum(len(target.split()) for target in TARGETS)
    assert beam["target_words"] == words + 3 and beam["perplexity_of_words"] == pytest.approx(np.exp(2 * words / (words + 3)))
    assert greedy["perplexity"] == beam["perplexity"] and greedy["examples"] == 3


def test_what_the_beam_wrote_is_kept_for_other_tools(tmp_path):
    first, *_ = [translation.measured(run, SOURCE) for run in (Known(tmp_path, 3), Known(tmp_path, 5), Known(tmp_path, 3))]  # pyright: ignore[reportArgumentType]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hypotheses_beam.gz", "hypotheses_beam1.gz"]
    for name, beam in zip(("hypotheses_beam.gz", "hypotheses_beam1.gz"), (row for row in first if row["search"] == "beam"), strict=True):
        found = hypotheses.read(tmp_path / name)
        assert (found.seeds, found.sources, found.references) == ((3, 5), ["0", "1", "2"], [[target] for target in TARGETS])
        assert BLEU().corpus_score(list(found.hypotheses[1]), [TARGETS]).score == pytest.approx(beam["bleu"])
