"""The verdict on rows whose truth is planted, and the whole way of a user's own gold set: files, runs, links, error rates."""

import re
from itertools import product

import numpy as np
import pytest

from attention_jax.data.corpora import links as pharaoh
from attention_jax.report import aligned, aligned_verdict
from attention_jax.running import results
from attention_jax.statistics import alignments
from attention_jax.statistics.conditions import Condition
from attention_jax.statistics.intervals import Interval
from attention_jax.statistics.text.blocks import Estimate
from attention_jax.sweeps import sweep
from attention_jax.system.errors import ConfigError
from experiments import alignment
from tests.experiments import command, planted

SENTENCES, SEEDS, BUDGETS = 60, 8, (400, 800)
ARMS = {"additive": {}, "swapped": {"swapped": True}, "guided": {"guided": 1.0}}
PLAIN = {"attention": "additive", "window": "all", "normaliser": "softmax", "estimator": "soft", "guided": 0.0, "aligner": "none"}
PLAIN |= {"batch_size": 32}


def gold_and_lengths() -> tuple[list[pharaoh.Links], list[int]]:
    """Sentences of 4 to 24 words, which are aligned backwards, so that the diagonal finds little; every other link is possible only."""
    sizes = [4 + i % 21 for i in range(SENTENCES)]
    every = [{(n - 1 - j, j) for j in range(n)} for n in sizes]
    return [pharaoh.Links(frozenset(link for link in of if link[1] % 2), frozenset(of)) for of in every], sizes


def links_of(random: np.random.Generator, right: float, long: float | None = None) -> str:
    """Links of which a share is right, in long sentences another; all others are wrong."""
    gold, sizes = gold_and_lengths()
    found = []
    for each, n in zip(gold, sizes, strict=True):
        share = right if n <= 17 or long is None else long
        found.append({link if random.random() < share else ((link[0] + 1) % n, link[1]) for link in each.possible})
    return aligned.lines(found)


def rows(right: dict[str, float], ibm1: float = 0.6, long: float | None = None, misled: float = 0.1, half: float = 0.05) -> list[dict]:
    """What a sweep leaves: {arm: share of right links}; `half` is what the smaller budget lacks."""
    random, made = np.random.default_rng(0), []
    gold, sizes = gold_and_lengths()
    for arm, budget in product(right, BUDGETS):
        own = {"run": f"{arm}-u{budget}", "task": "hansards", "cell": "gru", "hidden_size": 64, "swapped": False, **PLAIN, **ARMS[arm]}
        own |= {"budget": budget, "state_size": 1, "parameters": 9, "seconds": 2.0}
        for seed in range(SEEDS):
            place = own | {"role": "reported", "seed": seed, "learning_rate": 0.004}
            for length, mode in product((10, 17, 24), ("free", "forced")):
                numbers = {"loss": 2.0 if mode == "forced" else None, "bleu": 9.0, "examples": 20, "seen": length <= 17}
                made.append(place | {"length": length, "mode": mode} | numbers)
            measured = own | {"role": "measured", "seed": seed}
            share = right[arm] - half * (budget == BUDGETS[0]) + 0.01 * random.normal()
            made.append(measured | {"what": "links", "links": links_of(random, share, long)})
            elsewhere = aligned.parsed(links_of(random, misled))
            made.append(measured | {"what": alignment.OTHER, "counts": aligned.numbers(elsewhere, gold)})
            if seed == 0:
                made.append(
                    measured
                    | {"what": "gold", "links": "\n".join(map(pharaoh.spelled, gold)), "words": " ".join(f"{n}/{n}" for n in sizes)}
                )
                made += [measured | {"what": kind, "links": links_of(random, rate)} for kind, rate in (("ibm1", ibm1), ("hmm", 0.9))]
        made += planted.curve(own, 0.008, (0.002, 0.004, 0.008, 0.016, 0.032))
    return made


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"right": {"additive": 0.8}, "half": 0.2}, "better than model 1: AER still falls"),
        ({"right": {"additive": 0.8}, "half": -0.1}, "better than model 1: AER has levelled off"),
        ({"right": {"additive": 0.8}, "half": 0.02}, "better than model 1: AER may still fall"),
        ({"right": {"additive": 0.4, "guided": 0.8}, "half": 0.2}, "worse than model 1: AER still falls"),
        ({"right": {"additive": 0.9}, "long": 0.1, "half": -0.1}, "better within trained lengths: AER has levelled off"),
        ({"right": {"additive": 0.05}, "half": -0.1}, "no alignment: AER has levelled off"),
        ({"right": {"additive": 0.6}}, "inconclusive"),
        ({"right": {"additive": 0.8}, "misled": 0.8}, "inconclusive"),
    ],
)
def test_planted_truths(settings, word):
    verdict = alignment.score(rows(**settings)).verdict
    assert str(verdict) == word and verdict.reason
    assert "guided" not in settings["right"] or "the best arm is guided" in verdict.reason


def condition(name: str, low: float, high: float) -> Condition:
    """A condition of the verdict whose interval is known."""
    bar = 0.05 if name in ("learned", "words") else 0.0
    return Condition(name, name, Interval((low + high) / 2, low, high, 8), bar, low > bar, 0.01)


@pytest.mark.parametrize(
    ("learned", "words", "value"),
    [
        ((-0.2, -0.1), (0.2, 0.3), "worse than the diagonal"),
        ((-0.2, -0.1), (-0.02, 0.02), "no alignment"),
        ((-0.2, 0.02), (0.2, 0.3), "inconclusive"),
        ((-0.2, -0.1), (0.0, 0.1), "inconclusive"),
        ((0.1, 0.2), (-0.02, 0.02), "inconclusive"),
    ],
)
def test_links_that_follow_words_are_not_called_no_alignment(learned, words, value):
    found = {"learned": condition("learned", *learned), "words": condition("words", *words)}
    found |= {name: condition(name, -0.3, -0.2) for name in ("gap", "within")}
    assert aligned_verdict.judged(found, Estimate(0.0, 0.01, 0.005, 0.005, 8, 30), "").value == value


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (lambda row: row["role"] != "measured", "additive at 400 updates is not measured for every seed"),
        (lambda row: (row["role"], row["seed"], row["budget"]) != ("measured", 2, 800), "additive at 800 updates is not measured"),
        (lambda row: row["role"] != "selection", "additive at 400 updates: there is no rate curve"),
    ],
)
def test_what_is_missing_is_named(keep, said):
    verdict = alignment.score([row for row in rows({"additive": 0.8}) if keep(row)]).verdict
    assert str(verdict) == "inconclusive" and said in verdict.reason


def at_an_edge(row: dict, arm: str) -> dict:
    """The row, with a rate curve of `arm` that falls to its last rate."""
    ours = row["run"].startswith(arm) and "validation_loss" in row
    return row | {"validation_loss": 9.0 - row["learning_rate"] * 100} if ours else row


def test_what_another_arm_lacks_leaves_it_out_alone():
    data = [at_an_edge(row, "guided") for row in rows({"additive": 0.8, "guided": 0.9, "swapped": 0.8})]
    score = alignment.score([row for row in data if (row["run"], row["role"]) != ("swapped-u800", "measured")])
    assert score.verdict.value == "better than model 1" and "the best arm is additive" in score.verdict.reason
    (beside,) = [table for table in score.tables if table.title.startswith("AER of model 1 − AER of each arm")]
    said = {arm: gap for arm, _, gap, _ in beside.rows}
    assert said["guided"].startswith("left out: the best rate, 0.032, lies at an edge of the grid")
    assert said["swapped"] == "left out: swapped at 800 updates is not measured for every seed"
    own = alignment.score([at_an_edge(row, "additive") for row in data]).verdict
    assert own.failed == ("missing",) and {need.arm for need in own.needs} == {"additive"}


def test_one_budget_says_nothing_of_whether_it_falls():
    verdict = alignment.score([row for row in rows({"additive": 0.8}) if row["budget"] == 800]).verdict
    assert str(verdict) == "better than model 1" and "between the budgets" not in verdict.reason


def test_too_few_seeds_and_other_ones_are_missing():
    data = rows({"additive": 0.8})
    few = alignment.score([row for row in data if row["role"] == "selection" or row["seed"] < 6]).verdict
    assert few.failed == ("missing",) and [(need.budget, need.seeds, need.rates) for need in few.needs] == [
        (400, 2, (0.008,)),
        (800, 2, (0.008,)),
    ]
    other = [row | {"seed": row["seed"] + 1} if row["budget"] == 400 and row["role"] != "selection" else row for row in data]
    assert "additive has other seeds at 800 than at 400 updates" in alignment.score(other).verdict.reason


def test_without_the_primary_arm_nothing_is_judged():
    assert "no run of additive" in alignment.score(rows({"guided": 0.8})).verdict.reason


def test_tables_figures_and_findings():
    data = rows({"additive": 0.8, "guided": 0.7})
    tables = {table.title.partition(";")[0]: table for table in alignment.score(data).tables}
    gold, _ = gold_and_lengths()
    own = [row for row in data if row.get("what") == "links" and row["run"] == "additive-u800"]
    rates = [alignments.corpus_alignment_error_rate(*zip(*gold, strict=True), aligned.parsed(row["links"])) for row in own]
    lines = tables["AER against links made by hand"].rows
    line = next(each for each in lines if each[:2] == ("additive", "800"))
    assert line[5].startswith(f"{np.mean(rates):.3f} [")
    assert line[2] == "25,600" and {each[2] for each in lines if each[0] in ("ibm1", "hmm")} == {"all, 5 times"}
    assert {each[:2] for each in tables["AER of model 1 − AER of each arm at its largest budget, in its direction"].rows} == {
        ("additive", "800"),
        ("guided", "800"),
    }
    best, model_1, gap = tables["The best arm against model 1, by largest budgets: additive"].rows
    assert best[0] == "additive, 800 updates" and best[1] == line[5] and (best[-1], model_1[-1]) == ("25,600", "all, 5 times")
    aer = [alignments.corpus_alignment_error_rate(*zip(*gold, strict=True), aligned.parsed(links_of(np.random.default_rng(1), 0.6)))]
    assert float(model_1[1].split()[0]) == pytest.approx(aer[0], abs=0.03)
    assert float(gap[1].split()[0]) == pytest.approx(float(model_1[1].split()[0]) - float(best[1].split()[0]), abs=0.002)
    assert all(cell != "–" for cell in (*best, *gap[:-1]))  # there are sentences within the trained lengths and beyond
    named = {"additive", "guided", "ibm1", "hmm", "diagonal", "chance", f"global (location), {alignment.LUONG}"}
    assert {each[0] for each in lines} >= named
    assert {each[1] for each in tables["AER by source words"].rows} == {"≤ 10", "≤ 17", "≤ 24"}
    assert {"aer_by_length", "loss_by_length", "rates"} <= set(alignment.figures(data))
    first, second = alignment.findings(data)
    assert first.number == "AER where it reads another sentence − AER of additive"
    assert first.word(0.001) == "holds" and second.word(0.001) == "holds"


def test_losses_are_of_each_arm_s_own_largest_budget():
    data = [row for row in rows({"additive": 0.8, "guided": 0.8}) if (row["run"], row["role"]) != ("guided-u800", "reported")]
    (losses,) = [table for table in alignment.score(data).tables if table.title.startswith("Loss, nats per token")]
    assert losses.header[3:] == ("additive, 800", "guided, 400", "guided, 400 − additive, 800")


def test_both_directions_are_joined_at_a_budget_that_both_have():
    """Additive alone has a next budget; at it there are no links of the other direction."""
    data = rows({"additive": 0.8, "swapped": 0.8})
    group, places, of = alignment.read(data)
    of = of if set(of) == {False, True} else {False: of[False], True: of[False]}
    further = {("additive", 1600): places["additive", 400]}
    at = lambda found: [aligned.lines(links) for links in alignment.in_both(found, of)["additive"][0]]  # noqa: E731
    assert at(places | further) == at(places) == [aligned.lines(places["additive", 800].found[seed]) for seed in range(SEEDS)]
    assert alignment.at_largest(group, places | further)["additive"] is places["additive", 800]  # budgets are those of results


def test_presets_and_names():
    for preset, count in (("tiny", 6), ("small", 15), ("full", 14)):
        runs = sweep.plan(alignment, preset)
        assert len(runs) == count and all(each.measure is alignment.measure for each in runs)
        assert {alignment.arm(each.fields) for each in runs} == set(alignment.ARMS if preset == "tiny" else alignment.CHOICES)
    budgets = {arm: {config.training.updates for config in alignment.sweep("small", [arm])} for arm in ("hard", "dot")}
    assert budgets == {"hard": {250, 500}, "dot": {2000, 4000}}
    with pytest.raises(ConfigError, match=r"alignment scores hand-made links, which copy has not: give text\.test_links"):
        sweep.plan(alignment, "tiny", ["data.task=copy"])


SETTINGS = (
    "model.hidden_size=6 model.decoder_size=12 model.embedding_size=4 data.task=parallel_text data.eval_lengths=2,3,4 training.seeds=2 "
    "training.batch_size=4 training.learning_rates=0.01 training.warmup=1 training.chunk=2 training.checkpoint_every=4 "
    "training.updates=4 text.max_words=3 text.buckets=12 text.cut=12 text.unit=word text.vocabulary_size=40 "
    "text.source_file=train.a text.target_file=train.b text.test_sources=gold.a text.test_targets=gold.b text.test_links=gold.links"
).split()
NUMBERS = "ein zwei drei vier".split()


def call(folder, *arguments: str) -> int:
    """Exit status of the experiment on the user's files in `folder`."""
    asked = ["--experiment=alignment", *(f"--set={each}" for each in SETTINGS)]
    folders = [f"--workdir={folder / 'runs'}", f"--data_dir={folder}", f"--cache_dir={folder / 'cache'}"]
    return command.call(*asked, *folders, *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tfds):
    """Training pairs, and three sentences with links, in words of any language."""
    path = tmp_path_factory.mktemp("own")
    sources = [" ".join([*NUMBERS[: 1 + i % 4], f"satz{i}"]) for i in range(40)]
    texts = {"train.a": sources, "train.b": [line.upper() for line in sources], "gold.a": ["ein zwei drei", "vier", "zwei zwei"]}
    texts |= {"gold.b": ["EIN ZWEI", "VIER DREI", "ZWEI"], "gold.links": ["1 1 1 S", "1 2 2 S", "1 3 2 P", "2 1 1 S", "3 2 1 P"]}
    for name, lines in texts.items():
        (path / name).write_text("".join(f"{line}\n" for line in lines))
    return path


def error_rate(found: str, gold: str) -> float:
    """AER as other tools compute it, from files of Pharaoh lines: A, S and P as sets of (sentence, link)."""
    A, S, P = set(), set(), set()
    for number, (line, of_hand) in enumerate(zip(found.splitlines(), gold.splitlines(), strict=True)):
        A |= {(number, *link.split("-")) for link in line.split()}
        S |= {(number, *link.split("-")) for link in of_hand.split() if "-" in link}
        P |= {(number, *re.split("[-?]", link)) for link in of_hand.split()}
    return 1 - (len(A & S) + len(A & P)) / (len(A) + len(S))


@pytest.mark.long
def test_a_gold_set_of_one_s_own(folder, capsys):
    assert call(folder) == 0
    shown, made = capsys.readouterr().out, folder / "runs" / "alignment"
    assert "AER against links made by hand" in shown and "Links of both directions together" in shown and "inconclusive" in shown
    gold = (made / "links" / "gold.txt").read_text()
    assert gold == "0-0 1-1 2?1\n0-0\n1?0\n" and (made / "links" / "gold_swapped.txt").read_text() == "0-0 1-1 1?2\n0-0\n0?1\n"
    files = sorted(path.name for path in (made / "links").iterdir())
    assert len(files) == 3 * 2 + 2 + 4 and "hmm_swapped.txt" in files  # one budget: arms × seeds, gold, two aligners a direction
    (name,) = {path.name for path in made.iterdir() if path.name.startswith("additive-")}
    row = next(row for row in results.read(made / name / "measured.jsonl") if (row["what"], row["seed"]) == ("links", 1))
    links = (made / "links" / f"{name}_seed1.txt").read_text()
    assert links == row["links"] + "\n"
    ours = alignments.corpus_alignment_error_rate(
        *zip(*alignments.read_links(made / "links" / "gold.txt"), strict=True), aligned.parsed(row["links"])
    )
    assert error_rate(links, gold) == pytest.approx(ours)
    assert call(folder) == 0  # nothing is trained again


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set=text.test_links="], "alignment scores hand-made links, which parallel_text has not: give text.test_links"),
        (["--set=text.test_links=train.a"], "train.a has 40 lines of links for 3 pairs of sentences"),
        (["--set=text.test_links=none"], "none is missing"),
    ],
)
def test_what_is_wrong_is_one_line(folder, tmp_path, capsys, arguments, said):
    assert call(folder, *arguments, f"--workdir={tmp_path}") != 0
    assert said in capsys.readouterr().err
