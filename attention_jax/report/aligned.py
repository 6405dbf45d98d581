"""Rows of measured links → links of seeds, counts by sentence, and their tables beside other aligners.

A row has `what` it is, and text: a line for each sentence of the test set.

    links       of a seed, in Pharaoh format                              gold    made by hand, sure and possible; `words`: S/T of each
    ibm1, hmm   of an aligner, of one direction                           example a sentence: source, target, weights, gold links
    else        `counts` of a seed's links read in another way: |A∩S|/|A∩P|/|A| of each sentence

Rows of a direction have `swapped`: True where source and target changed places. Gold and aligners stand with one seed of a run.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.data import aligners
from attention_jax.data.corpora import links as pharaoh
from attention_jax.data.corpora import words
from attention_jax.data.corpora.links import Link
from attention_jax.data.corpora.pairs import Pairs
from attention_jax.report.figures import looks
from attention_jax.report.tables import Table, interval_text
from attention_jax.statistics import alignments, links
from attention_jax.statistics.conditions import Condition
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.links import Counts
from attention_jax.statistics.text.blocks import Estimate

ALIGNERS = ("ibm1", "hmm")
DRAWN = 8  # words of a sentence that is drawn, at least
PLACES = ("diagonal", "chance")
READ = f"all, {aligners.ITERATIONS} times"
"""The training pairs that an aligner reads."""
RATES: dict[str, links.Rate] = {"AER": links.aer, "precision": links.precision, "recall": links.recall}


class Direction(NamedTuple):
    """The test sentences of one direction of translation, and what others link in them."""

    gold: list[pharaoh.Links]
    words: list[tuple[int, int]]  # of source and target
    aligners: dict[str, list[set[Link]]]

    @property
    def length_N(self) -> np.ndarray:
        """Source words of each sentence."""
        return np.array([source for source, _ in self.words])

    def counts(self, name: str) -> Counts:
        """Returns the counts of an aligner, of the diagonal or of chance."""
        if name == "chance":
            return links.by_chance(self.words, self.gold)
        found = [links.diagonal(*each) for each in self.words] if name == "diagonal" else self.aligners[name]
        return links.counted([found], self.gold)

    @property
    def baselines(self) -> list[str]:
        """Their names."""
        return [*self.aligners, *PLACES]


class Links(NamedTuple):
    """What was measured of an arm at a budget, by seed."""

    swapped: bool
    found: dict[int, list[set[Link]]]
    otherwise: dict[str, dict[int, str]]  # how its links were read otherwise → seed → counts
    examples: list[dict]

    def counts(self, direction: Direction, seeds: Sequence[int] = ()) -> Counts:
        """Returns the counts of seeds, all in ascending order or these."""
        return links.counted([self.found[seed] for seed in seeds or sorted(self.found)], direction.gold)

    def read(self, how: str, direction: Direction) -> Counts:
        """Returns the counts of all seeds where links were read otherwise."""
        of_seed = self.otherwise[how]
        numbers_RxNx3 = np.array([[[int(n) for n in each.split("/")] for each in of_seed[seed].split(" ")] for seed in sorted(of_seed)])
        sure, possible, found = np.moveaxis(numbers_RxNx3, 2, 0)
        return Counts(sure, possible, found, np.array([len(each.sure) for each in direction.gold]))


Place = tuple[str, int]
"""(arm, budget)."""


def lines(found: Sequence[set[Link]]) -> str:
    """Writes links as text, a line for each sentence."""
    return "\n".join(map(pharaoh.text, found))


def numbers(found: Sequence[set[Link]], gold: Sequence[pharaoh.Links]) -> str:
    """Writes the counts of links by sentence as text."""
    counts = links.counted([found], gold)
    return " ".join(f"{sure}/{possible}/{all_}" for sure, possible, all_ in zip(*(array[0].tolist() for array in counts[:3]), strict=True))


def gold_row(pairs: Pairs) -> dict:
    """Returns the row of the links that were made by hand. The pairs must have some."""
    assert pairs.gold is not None
    counted = zip(*([len(words.split(line)) for line in side] for side in (pairs.sources, pairs.targets)), strict=True)
    return {
        "what": "gold",
        "links": "\n".join(map(pharaoh.spelled, pairs.gold)),
        "words": " ".join(f"{source}/{target}" for source, target in counted),
    }


def example_rows(pairs: Pairs, weights: Sequence[np.ndarray], found: Sequence[set[Link]]) -> list[dict]:
    """Returns rows of the best, the median and the worst sentence by AER, of those with at least `DRAWN` words on each side.

    Of equal ones the longest, then the first. All sentences count where none is so long.
    """
    assert pairs.gold is not None
    size = [min(len(words.split(source)), len(words.split(target))) for source, target in zip(pairs.sources, pairs.targets, strict=True)]
    chosen = [i for i, least in enumerate(size) if least >= DRAWN] or list(range(len(size)))
    rate = {i: alignments.alignment_error_rate(*pairs.gold[i], found[i]) for i in chosen}
    order = sorted(chosen, key=lambda i: (rate[i], -size[i], i))
    worst = max(chosen, key=lambda i: (rate[i], size[i], -i))
    rows = []
    for which, i in (("best", order[0]), ("median", order[len(order) // 2]), ("worst", worst)):
        shown = "\n".join(" ".join(f"{w:.3f}" for w in row) for row in weights[i])
        source, target = (words.collapsed(side[i]) for side in (pairs.sources, pairs.targets))
        own = {"source": source, "target": target, "gold": pharaoh.spelled(pairs.gold[i])}
        rows.append({"what": "example", "which": which, "aer": float(rate[i]), "weights": shown, **own})
    return rows


def directions(rows: Sequence[Mapping]) -> dict[bool, Direction]:
    """Returns the test sentences of each direction whose rows hold them."""
    found: dict[bool, Direction] = {}
    for row in rows:
        if row["what"] == "gold" and bool(row.get("swapped")) not in found:
            gold = [pharaoh.parse(line, "gold links") for line in row["links"].split("\n")]
            words = [(int(source), int(target)) for source, target in (each.split("/") for each in row["words"].split(" "))]
            found[bool(row.get("swapped"))] = Direction(gold, words, {})
    for row in rows:
        if row["what"] in ALIGNERS and bool(row.get("swapped")) in found:
            found[bool(row.get("swapped"))].aligners[row["what"]] = parsed(row["links"])
    return found


def measured(rows: Sequence[Mapping], arm_of: Callable[[Mapping], str]) -> dict[Place, Links]:
    """Returns what was measured of each arm and budget."""
    found: dict[Place, Links] = {}
    for row in rows:
        of = found.setdefault((arm_of(row), row["budget"]), Links(bool(row.get("swapped")), {}, {}, []))
        if row["what"] == "links":
            of.found[row["seed"]] = parsed(row["links"])
        elif row["what"] == "example":
            of.examples.append(dict(row))
        elif "counts" in row:
            of.otherwise.setdefault(row["what"], {})[row["seed"]] = row["counts"]
    return found


def parsed(text: str) -> list[set[Link]]:
    """Reads what `lines` wrote."""
    return [set(pharaoh.parse(line, "links").sure) for line in text.split("\n")]


def interval(found: Estimate) -> str:
    """Returns an estimate with its interval as text."""
    return interval_text(found.interval(), 3)


def without_seeds(counts: Counts, rate: links.Rate = links.aer) -> str:
    """Returns the rate of links that no seed made, with an interval over sentences."""
    return interval(links.estimate(counts.repeated(2), rate))


def by_method(
    places: Mapping[Place, Links], of: Mapping[bool, Direction], published: Sequence[tuple[str, float]], source: str, batch: int | None
) -> Table:
    """Tabulates AER, precision and recall of arms, aligners and chance levels, and what was published of another test set.

    Beside them stands how many training pairs each has read; `batch` are those of an update, None where rows do not say.
    """
    rows = []
    for (arm, budget), each in places.items():
        if each.swapped in of:
            counts = each.counts(of[each.swapped])
            rates = [interval(links.estimate(counts, rate)) for rate in RATES.values()]
            seen = f"{budget * batch:,}" if batch else "–"
            own = arm, f"{budget:,}", seen, _named(each.swapped), str(len(each.found))
            rows.append((*own, *rates, f"{counts.found_RxN.sum(1).mean():,.0f}"))
    for swapped, direction in of.items():
        for name in direction.baselines:
            counts = direction.counts(name)
            rates = [without_seeds(counts, rate) for rate in RATES.values()]
            seen = READ if name in ALIGNERS else ""
            rows.append((name, "", seen, _named(swapped), "", *rates, f"{counts.found_RxN.sum():,.0f}"))
    rows += [(f"{name}, {source}", "", "", "another pair", "", f"{value:.2f}", "", "", "") for name, value in published]
    header = ("links of", "updates", "pairs read", "direction", "seeds", *RATES, "links")
    return Table(
        "AER against links made by hand; intervals over seeds and sentences, where there are no seeds over sentences", header, rows
    )


def by_length(places: Mapping[str, Links], of: Mapping[bool, Direction], edges: Sequence[int], longest: int) -> Table:
    """Tabulates AER by length in source words: arms of `places`, the aligners and the diagonal, in each one's direction."""
    rows = []
    for swapped, direction in of.items():
        bucket_N = np.searchsorted(edges, direction.length_N)
        arms = {arm: each.counts(direction) for arm, each in places.items() if each.swapped == swapped}
        others = {name: direction.counts(name) for name in direction.baselines}
        for bucket in np.unique(bucket_N):
            is_in_N = bucket_N == bucket
            edge = f"≤ {edges[bucket]}" if bucket < len(edges) else f"> {edges[-1]}"
            trained = "yes" if not longest or (bucket < len(edges) and edges[bucket] <= longest) else "no"
            for name, counts in (arms | others).items():
                made = counts.at(is_in_N)
                rate = interval(links.estimate(made)) if name in arms else without_seeds(made)
                rows.append((_named(swapped), edge, str(int(is_in_N.sum())), trained, name, rate if is_in_N.sum() > 1 else "–"))
    return Table("AER by source words; intervals as above", ("direction", "words", "sentences", "trained", "links of", "AER"), rows)


def in_both(name: str, ours: Links, theirs: Links, of: Mapping[bool, Direction]) -> dict[str, tuple]:
    """Returns the links of both directions, of an arm under its name and of the aligners, where there are both."""
    seeds = sorted(set(ours.found) & set(theirs.found))
    if set(of) != {False, True} or not seeds:
        return {}
    kinds = [kind for kind in ALIGNERS if all(kind in direction.aligners for direction in of.values())]
    return {name: ([ours.found[seed] for seed in seeds], [theirs.found[seed] for seed in seeds])} | {
        kind: ([of[False].aligners[kind]], [of[True].aligners[kind]]) for kind in kinds
    }


def together(both: Mapping[str, tuple[Sequence[Sequence[set[Link]]], Sequence[Sequence[set[Link]]]]], direction: Direction) -> Table:
    """Tabulates AER of links of both directions together: {who: (links of seeds in `direction`, links of seeds in the other)}."""
    rows = []
    for name, (ours, theirs) in both.items():
        turned = [[{(i, j) for j, i in of_pair} for of_pair in of_seed] for of_seed in theirs]
        for how, join in links.TOGETHER.items():
            made = [[join(a, b) for a, b in zip(one, other, strict=True)] for one, other in zip(ours, turned, strict=True)]
            counts = links.counted(made, direction.gold)
            counts = counts.repeated(2) if len(made) == 1 else counts
            rates = [interval(links.estimate(counts, rate)) for rate in RATES.values()]
            rows.append((name, how, *rates, f"{counts.found_RxN.sum(1).mean():,.0f}"))
    return Table("Links of both directions together, seeds of the same number", ("links of", "together", *RATES, "links"), rows)


def otherwise(places: Mapping[Place, Links], of: Mapping[bool, Direction]) -> Table:
    """Tabulates AER where links are read otherwise, beside their own."""
    ways = list(dict.fromkeys(how for each in places.values() for how in each.otherwise))
    rows = []
    for (arm, budget), each in places.items():
        if each.swapped in of:
            direction = of[each.swapped]
            cells = [interval(links.estimate(each.read(how, direction))) if how in each.otherwise else "–" for how in ways]
            rows.append((arm, f"{budget:,}", interval(links.estimate(each.counts(direction))), *cells))
    return Table("AER where links are read otherwise", ("arm", "updates", "as declared", *ways), rows)


def conditions(found: Mapping[str, Condition], title: str) -> Table:
    """Tabulates the conditions of a verdict: measurement, bar, and whether it was met."""
    rows = [
        (key, each.says, interval_text(each.interval, 3), f"{each.threshold:g}", "yes" if each.met else "no") for key, each in found.items()
    ]
    return Table(title, ("condition", "what", "value", "above", "met"), rows)


def curves_by_length(arms: Mapping[str, Links], direction: Direction, edges: Sequence[int]) -> dict[str, dict[int, Interval]]:
    """Returns {arm or baseline: {upper edge of a bucket of source words: AER}}, for arms of this direction and buckets of two sentences."""
    counts = {arm: each.counts(direction) for arm, each in arms.items() if not each.swapped}
    counts |= {name: direction.counts(name).repeated(2) for name in direction.baselines if name != "chance"}
    bucket_N = np.searchsorted(edges, direction.length_N)
    chosen = [bucket for bucket in range(len(edges)) if (bucket_N == bucket).sum() > 1]
    return {
        name: {edges[bucket]: links.estimate(each.at(bucket_N == bucket)).interval() for bucket in chosen} for name, each in counts.items()
    }


def panels(arm: str, examples: Sequence[Mapping]) -> list[looks.Panel]:
    """Returns heat maps of example sentences, weights of words, with their gold links."""
    made = []
    for row in examples:
        weights_JxI = np.array([[float(w) for w in line.split(" ")] for line in row["weights"].split("\n")])
        title = f"{arm}, {row['which']}: AER {row['aer']:.2f}"
        tokens = [*row["source"].split(" "), "⏎"], row["target"].split(" ")
        made.append(looks.Panel(title, weights_JxI, *tokens, pharaoh.parse(row["gold"], "gold")))
    return made


def files(rows: Sequence[Mapping]) -> dict[str, str]:
    """Returns {path: content} of files of links, in Pharaoh format: those of every run and seed, of aligners and made by hand."""
    made = {}
    for row in rows:
        side = "_swapped" * bool(row.get("swapped"))
        stem = {"links": f"{row['run']}_seed{row['seed']}", **{name: f"{name}{side}" for name in ("gold", *ALIGNERS)}}.get(row["what"])
        if stem:
            made[f"links/{stem}.txt"] = row["links"] + "\n"
    return made


def _named(swapped: bool) -> str:
    return "target → source" if swapped else "source → target"
