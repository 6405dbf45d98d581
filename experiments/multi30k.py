"""Three ways to hand over a source: translation of captions with a start, a context and attention, at equal parameters

Claim. The tutorials' table: a decoder that the source only starts translates worse than one that also gets the source's vector at every
step, and both worse than one that attends. Published like this (PyTorch-seq2seq, Trevett 2018) cell, depth, direction and parameters change
with the mechanism, and there is one seed. Here they do not.

Expected. "inconclusive" of tiny: both ways to attend are ahead of the vector, but none < summary hangs on their rates.
    python -m experiments.run --experiment=multi30k --preset=tiny --choose_rates

Arms. `none`: the encoder's final state starts the decoder. `summary`: it is the context of every step, too. `additive` (Bahdanau 2015) and
`dot` (Luong 2015) attend to every state, from the same start. All have the same bidirectional encoder, readout, updates and data order, and
as many parameters within 2 % (match=parameters moves the decoder's width). Control: `additive` trained with every source the same
(text.blind), what can be learned of targets alone, is the named chance level.

Data. Multi30k, task 1, German to English, by file: 29,000 captions for training, 1,014 for validation, 1,000 of test_2016_flickr to test
on. Subwords, case kept. small trains on the 28,502 captions of at most 48 subwords on either side, their end included, tiny on the 24,081
of at most 32: on a third of those of 16 to 20 words, and on one in twenty of longer ones.

Measured, of each seed, on test_2016_flickr: perplexity per subword, and per word as word models count it (words of BLEU, and one for the
end); BLEU and chrF by sacrebleu with signatures, greedy and by a beam of 5, whose length penalty is the one of 0, 0.5, 1 and 1.5 with the
best BLEU on validation; BLEU of lowercased text beside, greedy and by the beam. Published BLEU stands below, lowercased and greedy. So
do the published perplexities, marked, since they cannot be compared with ours: the tutorials feed what was predicted, not the reference,
have <unk> among their words, and take a mean over batches.

Price. `summary` runs on a ladder of doublings beyond the others' budget: how many times attention's updates does it need for attention's
loss? A seed whose ladder ends before is right-censored, and the number is then a lower bound. For prices nothing is judged.

Rates. Per arm and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget; the lowest of the rates that cannot be
told from the best.

Verdict, fixed before the runs: `statistics.text.order`, at the largest budget that all arms have, by loss on the whole test set in nats per
subword. The steps are none < summary, summary < additive and summary < dot, the worse arm first.
  ordered       `additive` has learned (blind − additive above 0.05), and every step holds: its gap is above 0 by a bootstrap over seeds and
                blocks of captions, p corrected for all steps (Holm); at every rate of the worse arm; and it is larger than what the better
                arm loses one rate off, where it has learned at all (there 0.05 better than the control)
  not ordered   the upper bound of a step's gap lies below 0.05
  inconclusive  else; or a seed, its losses or a rate curve is missing, or a rate curve ends at an edge

Targets, fixed before the runs too: by a beam, the lower bound of BLEU of `additive` is 20 or more (small); lowercased 33 or more (full).

Presets. tiny: H = 48 a direction, the four arms at 250 and 500 updates of 32 captions, a ladder to 1,000. small: the same at 700 and 1,400,
a ladder to 2,800; its target is within reach, since a trial of two seeds at one rate had 24 BLEU by greedy search after 1,000 updates.
full: H = 512, 4,000 and 8,000 updates of 128, a ladder to 64,000, for an accelerator. On 2 CPU cores a seed takes about 18 ms an update:
tiny trains for 11 minutes and with its rate curves for 39, small for 33 and for 115. Programs, evaluation and beams take a quarter of an
hour more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TextConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.data.sources import Source
from attention_jax.report import by_seed, scoring, tables, translations
from attention_jax.report import findings as said
from attention_jax.report import targets as reached
from attention_jax.report.figures import curves, ladders
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Score, Table
from attention_jax.report.targets import Target
from attention_jax.report.translations import Group, Published
from attention_jax.statistics import intervals
from attention_jax.statistics.sentences import Sentences
from attention_jax.statistics.text import order
from attention_jax.statistics.text.observations import CONTROL
from attention_jax.statistics.verdicts import NOTHING_TO_COMPARE, Verdict, missing
from attention_jax.trained import Trained, translation

PRESETS = ("tiny", "small", "full")
DATA = "real"
PAPERS = ("cho2014", "bahdanau2015", "trevett2018")
ARMS = ("none", "summary", "additive", "dot")
FIELDS = ("text.languages",)
GROUP = ("task", "languages")
VALUE = "loss"
BUDGETS = {"tiny": (250, 500), "small": (700, 1_400), "full": (4_000, 8_000)}
FURTHER = {"tiny": 1, "small": 1, "full": 3}
"""Doublings of the ladder of `summary` beyond the others' budgets."""

WHERE = "multi30k de-en"
"""The corpus of the published numbers, as tables name it."""

TARGETS = (("bleu", 20.0), ("bleu_uncased", 33.0))
TUTORIAL = "PyTorch-seq2seq tutorials (Trevett 2018)"
FREE = ("perplexity_of_words",)
FREE_RUNNING = "free running, with <unk> among the words, a mean over batches: another number than ours, which is teacher-forced"
PUBLISHED = (
    Published("published: none, 2-layer LSTM", "13.9 M", {"perplexity_of_words": 43.83, "bleu_uncased": 13.76}, FREE),
    Published("published: summary, GRU", "14.2 M", {"perplexity_of_words": 37.46, "bleu_uncased": 20.61}, FREE),
    Published("published: additive, bidirectional GRU", "20.5 M", {"perplexity_of_words": 25.57, "bleu_uncased": 28.30}, FREE),
)
"""The notebooks' own outputs, github.com/bentrevett/pytorch-seq2seq: words, lowercased, greedy, one seed. Their `evaluate` turns teacher
forcing off, feeds what was predicted and scores it against the true word of each place."""

TINY = Config(
    match="parameters",
    model=ModelConfig(hidden_size=48, decoder_size=96, embedding_size=64, attention_size=24, readout="maxout", tied="output", dropout=0.1),
    data=DataConfig(task="multi30k", eval_lengths=(8, 10, 12, 15, 20)),
    text=TextConfig(languages="de-en", vocabulary_size=1000, buckets=(20, 32), cut=48),
    training=TrainingConfig(
        seeds=8,
        batch_size=32,
        schedule="cosine",
        learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
        checkpoint_every=400,
        chunk=25,
    ),
)
SMALL = replace(TINY, text=replace(TINY.text, buckets=(20, 28, 36, 48)))
FULL = replace(
    SMALL,
    model=replace(TINY.model, hidden_size=512, decoder_size=1024, embedding_size=512, attention_size=192, dropout=0.4),
    text=replace(SMALL.text, vocabulary_size=8000),
    training=replace(
        TINY.training,
        batch_size=128,
        learning_rates=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3),
        checkpoint_every=1_000,
        chunk=100,
        evaluate="best",
        smoothing=0.1,
    ),
)


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every arm and budget, further budgets of `summary`, and the control at the largest budget of all."""
    base, shared = {"tiny": TINY, "small": SMALL, "full": FULL}[preset], BUDGETS[preset]
    further = tuple(shared[-1] * 2**step for step in range(1, FURTHER[preset] + 1))
    places = [(arm, False, budget) for arm in arms for budget in (*shared, *(further if arm == "summary" else ()))]
    places += [(arm, True, shared[-1]) for arm in arms if arm not in fixed_vectors()][:1]
    return [
        replace(
            base,
            model=replace(base.model, attention=arm),
            text=replace(base.text, blind=blind),
            training=replace(base.training, updates=budget),
        )
        for arm, blind, budget in places
    ]


def name(config: Config) -> str:
    """Returns a run's name, such as summary-gru-h48-u800, or blind-additive-…"""
    model, blind = config.model, "blind-" * config.text.blind
    return f"{blind}{model.attention}-{model.cell}-h{model.hidden_size}-u{config.training.updates}"


def check(config: Config) -> None:
    """Raises `ConfigError` for what is drawn, which has no texts."""
    sources.check_texts(config.data, "texts to translate: set it to a corpus of pairs, as multi30k")


def measures(config: Config) -> bool:
    """Returns whether outputs of a run are measured: all but the control's."""
    return not config.text.blind


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns a row for greedy search and one for the beam, with the scores of both on the test set."""
    return translation.measured(trained, source)


def groups(rows: Sequence[dict], sentences: Mapping[str, Sentences]) -> list[Group]:
    """Returns the rows of each corpus."""
    return [Group(title, of_group, sentences, fixed_vectors()) for title, of_group in tables.grouped(rows, GROUP).items()]


def score(rows: list[dict], sentences: Mapping[str, Sentences] = MappingProxyType({})) -> Score:
    """Returns scores beside the published ones, losses, steps, prices and rate curves, and the verdict of the first corpus."""
    shown, verdicts = [], []
    for group in groups(rows, sentences):
        verdict, found = judged(group)
        verdicts.append(verdict)
        published = PUBLISHED if group.name == WHERE else ()
        shown += [translations.scores_table(group, published, note=FREE_RUNNING), targets(group), *found]
        shown += [translations.scores_table(group, (), test) for test in group.tests[1:]]
        shown += [translations.losses_table(group), translations.price_table(group)]
        shown += [_by_length(group, *each) for each in (("loss", "forced", "Loss, nats per subword", 3), ("bleu", "free", "BLEU", 1))]
        if of_rates := scoring.rate_curves(group.rows, group.name):
            shown.append(of_rates)
        shown.append(translations.signatures(group))
    return Score(verdicts[0], shown, _budget(groups(rows, sentences)[0]))


def judged(group: Group) -> tuple[Verdict, list[Table]]:
    """Returns the verdict by the rule above, and the table of its steps, where there are any."""
    if not group.pairs():
        return NOTHING_TO_COMPARE, []
    if needs := group.lacking():
        return missing([f"{need.arm} at {need.budget:,} updates: {need.why}" for need in needs], needs), []
    learned, found = stepped(group)
    return _verdict(group, learned, found), [translations.steps_table(group, found, learned)]


def stepped(group: Group) -> tuple[order.Condition, list[order.Step]]:
    """Returns whether attention has learned, and the steps of the declared order, in the order of `group.pairs()`."""
    arms = {arm: group.arm(arm) for arm in dict.fromkeys(arm for pair in group.pairs() for arm in pair)}
    control = group.sums(CONTROL, group.shared)
    assert control is not None  # or `lacking` names it
    pairs = [(arms[worse], arms[better]) for worse, better in group.pairs()]
    best = arms[group.attending[0] if group.attending else group.fixed[-1]]
    return order.learned(control, best), order.steps(pairs, group.curve(CONTROL))


def _verdict(group: Group, learned: order.Condition, found: Sequence[order.Step]) -> Verdict:
    gaps = "; ".join(f"{step.name} by {tables.interval_text(step.gap.interval(), 3)} nats, {step.value}" for step in found)
    p = max(step.p for step in found)
    if not learned.met:
        needs = translations.longer(group, found[-1])
        return Verdict("inconclusive", f"not learned: {learned}", failed=("learned",), needs=needs)
    if all(step.value == order.HOLDS for step in found):
        return Verdict("ordered", gaps, p=p, learned=learned)
    if any(step.value == order.ALIKE for step in found):
        return Verdict("not ordered", gaps, p=p, learned=learned)
    left_open = [step for step in found if step.value == order.OPEN]
    why = "; ".join(f"{step.name}: {each}" for step in left_open for each in step.conditions if not each.met)
    failed = tuple(dict.fromkeys(each for step in left_open for each in step.failed))
    needs = tuple(need for step in left_open for need in translations.longer(group, step))
    return Verdict("inconclusive", f"{gaps}; {why or 'p, corrected, is too large'}", p=p, learned=learned, failed=failed, needs=needs)


def targets(group: Group) -> Table:
    """Tabulates the declared targets of the first attention arm, by a beam, and whether its lower bound reaches them."""
    declared = []
    for arm in group.attending[:1]:
        for field, bar in TARGETS:
            values = list(group.scores(arm, group.shared, f"beam {field}").values())
            what = f"{arm}, {translations.SCORES[f'beam {field}'][0]}"
            declared.append(Target(what, bar, intervals.student(values) if values else None))
    return reached.table(declared, f"{group.name}, {group.shared:,} updates", 1)


def findings(rows: list[dict], sentences: Mapping[str, Sentences] = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of the tutorials' order: BLEU by a beam of each step, paired by seed.

    A sentence is undecided where its own step is open, or attention has not learned.
    """
    found = []
    for group in groups(rows, sentences):
        if not group.pairs():
            continue
        learned, steps = (None, []) if group.lacking() else stepped(group)
        open_of = {step.name: "" if learned and learned.met and step.value != order.OPEN else "open" for step in steps}
        for worse, better in group.pairs():
            low, high = (group.scores(arm, group.shared, "beam bleu") for arm in (worse, better))
            if set(low) == set(high) and len(low) > 1:
                gained = [high[seed] - low[seed] for seed in sorted(low)]
                claim = f"{CLAIMS.get(better, 'Attention translates better than one vector')} ({better} over {worse})"
                number = f"BLEU by a beam, {better} − {worse}, {group.shared:,} updates, equal parameters"
                finding = said.of_seeds(claim, TUTORIAL, number, gained, digits=1)
                found.append(finding._replace(left_open=open_of.get(f"{worse} < {better}")))
    return found


CLAIMS = {"summary": "A vector as the context of every step translates better than as a start alone"}


def figures(rows: list[dict]) -> dict:
    """Draws loss and BLEU by source length at equal updates, loss by updates, and rate curves."""
    drawn = {}
    for group in groups(rows, {}):
        title = group.name.replace(" ", "_")
        for value, mode, label in (("loss", "forced", "loss (nats per subword)"), ("bleu", "free", "BLEU, greedy")):
            drawn[f"{value}_{title}"] = curves.length_curves(
                {arm: by_seed.curve(group.results, arm, value, mode, group.shared) for arm in group.arms},
                title=f"{group.name}: {label} by source length",
                ylabel=f"{label}, {group.shared:,} updates",
                xlabel="source length (words, upper edge of the bucket)",
                percent=False,
                examples=by_seed.examples(group.results),
                open_lengths=by_seed.open_lengths(group.results),
            )
        drawn[f"budgets_{title}"] = curves.length_curves(
            {arm: translations.by_budget(group, arm) for arm in group.arms},
            title=f"{group.name}: what updates buy",
            ylabel="loss (nats per subword)",
            xlabel="updates, each budget a run of its own",
            percent=False,
            budgets=True,
        )
        if found := scoring.curves(group.rows):
            drawn[f"rates_{title}"] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return drawn


def _by_length(group: Group, value: str, mode: str, what: str, digits: int) -> Table:
    results = [row for row in group.results if row["budget"] == group.shared]
    arms = list(dict.fromkeys(row["attention"] for row in results))
    title = f"{what}, by words of the source, {group.name}, {group.shared:,} updates"
    return tables.by_length(results, arms, next(iter(group.attending), None), value, mode, group.shared, title, digits)


def _budget(group: Group) -> str:
    """Returns the budgets and seeds that go with the verdict, as text."""
    parts = [f"{arm} at {', '.join(f'{budget:,}' for budget in group.budgets(arm))}" for arm in group.arms]
    return f"with {len({row['seed'] for row in group.results})} seeds, {'; '.join(parts)} updates, each budget a run of its own"
