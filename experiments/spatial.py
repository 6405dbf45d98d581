"""Attention over space: digits on a large canvas, read in several orders, with one fixed vector, soft attention and hard attention

Claim. What one fixed vector does to long sentences it does to crowded images, and attention mends both: an encoder-decoder that reads the
digits on a canvas from one vector loses them as they grow in number, and one that attends to the places of a convolutional grid does not.
And hard attention, which looks at one place, reads better than soft attention, as it captioned better in BLEU (Xu and others 2015).

Arms. One convolutional encoder, whose grid of places with their rows and columns is the memory, one decoder, start, data and data order.
Filters read rows and columns, too, so that their mean can tell what stands where. A place is 16 x 16 pixels, and a filter sees 40 x 40.
  summary           the mean over places, projected to d numbers, starts the decoder and is the context of every step
  soft              additive attention, with the same start
  reinforce         the same score, and one place that is drawn (Xu 2015: a moving average as baseline, an entropy bonus, and half of the
                    examples on the expected context)
  gumbel, straight_through    a relaxed draw; a draw with the gradient of a relaxed one (Jang 2017)
  coverage          soft attention whose score reads past weights, and whose context enters the readout alone
  marginal          the same score and readout, the likelihood summed over all places (Wu 2018): exact there, and nowhere else; it looks
                    at one place in each term of the sum, and at all of them in the sum, when it is tested, too
  dark              soft, trained and tested on black canvases: what targets alone tell

Data. Canvases of 64 x 320 pixels (tiny: 64 x 160): digits of MNIST, 24 to 30 pixels high, at random places, in front of fragments of other
digits. No image is in two splits. Orders to read in, so that space is not time in disguise: left, from left to right; size, from the
smallest to the largest; query, the digit that is asked for in a box, the same in another hand, and the one left of that. More digits than
were trained on (left: 10, query: 8; by size none, since more digits would have other sizes) and wider canvases are shown, but enter no
verdict.

Measured. Exact match by number of digits, free running, and beside it what needs no source: chance, a guess that knows the rules of the
order and the number of digits, and unigram, always the most frequent digit of the test images (not of query, whose digits differ); of one's
own images, the most frequent symbol of the training texts. Of each arm at its largest budget besides, on trained numbers of digits, true
digits before each: pointing, the share of outputs of which the most attended place has its middle in the box of the digit that is named,
beside that of a uniform look (of query without the second output, which repeats the first); weight of the places of which that holds; exp
of the entropy of the weights, the number of memory vectors that an output reads: the cost of a glimpse, with seconds for 1,000 updates.

Rates. Per arm, order and budget: a grid of 5, 4 selection seeds that are never reported, the whole budget; the lowest of the rates that
cannot be told from the best. Curves are kept with the experiment where there are any; --choose_rates measures them. dark has one rate.

Verdict, fixed before the runs: `verdicts.verdict` of `summary` against `soft` on free-running exact match, order left; the others stand
beside it, corrected together.
  bottleneck        up to k × U: at the largest budget soft leads by more than 0.1 on the long half, symbol errors of the fixed arm grow
                    with the number of digits by more than soft's, no rate of its grid closes the gap, and it is larger than what soft
                    loses one rate off; "levelling off" if the last doubling gained less than 0.5 digits of L50, else "still closing"
  slower to train   that was so at a smaller budget, and at the largest the gap is below 0.1
  no bottleneck     the gap is below 0.1 and was never a bottleneck
  inconclusive      else, with what failed and the runs that would decide it
Target of every preset, judged in a table: the lower bound of exact match of soft, order left, is 0.9 or more at every trained number.
Xu's ordering is a table of its own: each hard arm − soft (marginal − coverage), exact match on the long half at the largest budget of both,
which it names, paired by seed, two-sided Student tests at 0.05 by Holm over arms and orders: better, worse, or no difference where the
interval lies within ±0.05.

Presets. tiny: up to 4 digits on 64 x 160, order left, summary, soft and reinforce, 8 seeds. small: up to 8 on 64 x 320, all arms in order
left, summary and soft in the others. full: larger filters, all arms in all orders, for an accelerator. An update of one seed took about
13 ms of CPU time at tiny before filters saw more: its 52,000 updates of 8 seeds would train for 45 minutes on 2 quiet cores, and rate
curves, where they are measured, for two hours more. small takes twice as long an update, and has 104,000: three hours, and 9 more for
its curves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from attention_jax import attention
from attention_jax.attention import ESTIMATORS
from attention_jax.config import Config, DataConfig, ModelConfig, SignalConfig, TrainingConfig
from attention_jax.data import signals
from attention_jax.data.signals import digits
from attention_jax.data.sources import Source
from attention_jax.report import findings as said
from attention_jax.report import further, scoring, standings, tables, targets
from attention_jax.report import pointing as pointed
from attention_jax.report.figures import ladders
from attention_jax.report.findings import Finding
from attention_jax.report.standings import Group
from attention_jax.report.tables import Score, Table
from attention_jax.report.targets import Target
from attention_jax.statistics import intervals
from attention_jax.sweeps import pointing, unigrams
from attention_jax.trained import Trained
from attention_jax.types import FIRST_SYMBOL

PRESETS = ("tiny", "small", "full")
DATA = "real"
PAPERS = ("xu2015", "lecun1998", "zhang2016", "mnih2014")
ARMS = ("summary", "soft", "reinforce")
MORE = ("gumbel", "straight_through", "coverage", "marginal", "dark")
"""Arms of small, in order left, and of full besides, unless --arms says which; in other orders small has `ARMS` but for the last."""
CHOICES = (*attention.fixed_vectors(), *ESTIMATORS, "coverage", "dark")
FIELDS = ("model.estimator", "model.timing", "signal.order", "signal.dark")
FIXED = attention.fixed_vectors()
GROUP = ("order", "hidden_size")
ORDERS = {"tiny": ("left",), "small": tuple(digits.ORDERS), "full": tuple(digits.ORDERS)}
LADDERS = {"tiny": (4000, 3), "small": (4000, 3), "full": (5_000, 4)}
"""The smallest budget, in updates, and how many rungs there are for fixed vectors in order left, each twice the one before."""
RUNGS = 2
"""So many of them are those of arms that attend."""
SOFT, CLOSE, LEVEL, TARGET = "soft", 0.05, 0.05, 0.9
UNIGRAM = 0.1135
"""The share of the most frequent digit, 1, among the test images of MNIST."""
XU = "Xu and others 2015"
BY_WIDTH = {"digits": ("Exact match by size of the canvas", "as trained")}
"""{task: the title of the table of further test sets, and the name of the first}; of one's own images they are named by their files."""

SMALL = Config(
    model=ModelConfig(
        encoder="image",
        rows=16,
        kernel=4,
        stride=2,
        convolutions=2,
        coordinates=True,
        hidden_size=36,
        embedding_size=16,
        decoder_size=64,
        attention_size=32,
        vector_size=32,
        entropy_bonus=0.01,
    ),
    data=DataConfig(task="digits", shortest=1, longest=8, eval_lengths=(1, 2, 3, 4, 5, 6, 7, 8, 10), eval_examples=128),
    signal=SignalConfig(height=64, widths=(320, 448), patch=4, smallest=24, largest=30, clutter=15),
    training=TrainingConfig(
        seeds=8, batch_size=32, schedule="cosine", learning_rates=(1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2), checkpoint_every=500, chunk=50
    ),
)
TINY = replace(
    SMALL,
    data=replace(SMALL.data, longest=4, eval_lengths=(1, 2, 3, 4, 5)),
    signal=replace(SMALL.signal, widths=(160, 224), clutter=7),
)
FULL = replace(
    SMALL,
    model=replace(SMALL.model, hidden_size=128, embedding_size=32, decoder_size=256, attention_size=128, vector_size=128),
    signal=replace(SMALL.signal, widths=(320, 448, 576)),
    training=replace(SMALL.training, batch_size=128, learning_rates=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)),
)
BASES = {"tiny": TINY, "small": SMALL, "full": FULL}
SIZED = {"order": "size", "smallest": 14, "largest": 42}
"""Settings of signals read by size: sizes that can be told apart."""


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every order, arm and budget."""
    configs = []
    for order in ORDERS[preset]:
        base = ordered(BASES[preset], order)
        every = arms if preset == "tiny" or tuple(arms) != ARMS else ARMS[:2] if preset == "small" and order != "left" else ARMS + MORE
        configs += [each for arm in every if fits(arm, order) for each in of_arm(base, arm, budgets(arm, order, *LADDERS[preset]))]
    return configs


def fits(arm: str, order: str) -> bool:
    """Returns whether an arm can read in an order: to answer a query, past looks have to reach the decoder."""
    return order != "query" or settings(arm).get("timing") != "after"


def ordered(base: Config, order: str) -> Config:
    """Returns the config of an order: lengths and sizes of digits that it has room for."""
    lengths, fewest = base.data.eval_lengths, digits.ORDERS[order].fewest
    if order == "left":
        return base
    most, tested = (min(base.data.longest, 6), 8) if order == "query" else (base.data.longest, base.data.longest)
    kept = tuple(length for length in lengths if fewest <= length <= tested)
    data = replace(base.data, shortest=fewest, longest=most, eval_lengths=kept)
    return replace(base, data=data, signal=replace(base.signal, **(SIZED if order == "size" else {"order": order})))


def budgets(arm: str, order: str, first: int, rungs: int) -> list[int]:
    """Returns the updates of each run of an arm: so many rungs of fixed vectors, `RUNGS` of others, and of `MORE` the first alone.

    In orders other than left `ARMS` have the last rung of arms that attend.
    """
    found = [first * 2**rung for rung in range(rungs if arm in FIXED and order == "left" else RUNGS)]
    return found[:1] if arm in MORE else found if order == "left" else found[-1:]


def of_arm(base: Config, arm: str, updates: Sequence[int]) -> list[Config]:
    """Returns the configs of an arm at each of its budgets; dark has one rate."""
    training, signal = base.training, base.signal
    if arm == "dark":
        rates = training.learning_rates
        signal = replace(signal, dark=True)
        training = replace(training, learning_rates=rates[len(rates) // 2 :][:1])
    model = replace(base.model, **settings(arm))
    return [replace(base, model=model, signal=signal, training=replace(training, updates=budget)) for budget in updates]


def settings(arm: str) -> dict:
    """Returns the settings of the model of an arm."""
    if arm in FIXED:
        return {"attention": arm}
    if arm in ("coverage", "marginal", "variational"):
        return {"attention": "coverage", "timing": "after", "estimator": "soft" if arm == "coverage" else arm}
    return {"estimator": arm, "mixing": 0.5} if arm == "reinforce" else {"estimator": "soft" if arm == "dark" else arm}


def arm(row: Mapping) -> str:
    """Returns the arm of a row, or of settings by the last words of their names."""
    if row["dark"]:
        return "dark"
    if row["attention"] in FIXED:
        return row["attention"]
    return "coverage" if row["attention"] == "coverage" and row["estimator"] == "soft" else row["estimator"]


def name(config: Config) -> str:
    """Returns a run's name, such as soft-left-h48-d32-u3000."""
    model, signal = config.model, config.signal
    own = arm({"attention": model.attention, "estimator": model.estimator, "dark": signal.dark})
    return f"{own}-{signal.order}-h{model.hidden_size}-d{model.vector_size}-u{config.training.updates}"


def measures(config: Config) -> bool:
    """Returns whether a run looks somewhere and its data say where it should, or its texts are one's own and have symbols."""
    if signals.is_drawn(config.data):
        return attention.looks(config.model.attention)
    return config.data.task in signals.OWN and config.text.units[1] != "subword"


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns rows of what looks point at, by test set and number of digits; of files, rows of their most frequent symbol instead."""
    if not signals.is_drawn(trained.config.data):
        return unigrams.rows_of(source)
    tokens = range(FIRST_SYMBOL, FIRST_SYMBOL + len(digits.WORDS))
    return pointing.rows_of(trained, source, {"digits": tokens}, without=digits.ORDERS[trained.config.signal.order].repeats)


def named(rows: Sequence[dict]) -> list[dict]:
    """Returns the rows under the names of arms."""
    return [row | {"attention": arm(row)} for row in rows]


class Part(NamedTuple):
    """Rows of one order, under the names of arms."""

    group: Group  # results and rate curves
    further: list[dict]  # results on further test sets: wider canvases, or files
    looked: list[Mapping]  # where looks point, of each arm at its largest budget
    unigram: list[dict]  # of one's own images


def parts(rows: Sequence[dict]) -> list[Part]:
    """Returns the rows of each order."""
    found = []
    for title, of_order in tables.grouped(named(rows), GROUP).items():
        results = [row for row in of_order if standings.is_reported(row) or standings.is_trial(row)]
        measured = [row for row in of_order if standings.is_measured(row)]
        looked, unigram = ([row for row in measured if ("baseline" in row) == is_baseline] for is_baseline in (False, True))
        group = Group(title, results, FIXED)
        found.append(Part(group, standings.further(of_order), pointed.at_last(looked, group), unigram))
    return found


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns tables of every order, the verdict of order left, and Xu's ordering in all."""
    results = [row for row in named(rows) if standings.is_reported(row) or standings.is_trial(row)]
    found = scoring.score(results, GROUP, FIXED, primary="summary")
    shown, every = list(found.tables), parts(rows)
    for group, wider, looked, unigram in every:
        drawn = group.rows[0]["task"] == "digits"
        shown += [chances(group)] if drawn else [of_texts(group, unigram)] if unigram else []
        shown += [aim(group)] if drawn and group.rows[0]["order"] == "left" else []
        shown += [glimpses(group, looked)]
        shown += [further.exact_match(group, wider, *BY_WIDTH.get(group.rows[0]["task"], ()))] if wider else []
        if trained := [row for row in looked if row["length"] in group.trained]:
            looking = [arm for arm in group.arms if arm not in FIXED]
            shown.append(pointed.table(trained, looking, ("digits",), group.name))
            shown += [table] if (table := pointed.by_test(trained, looking, group.name)) else []
    return found._replace(tables=[*shown, hard_against_soft([part.group for part in every])])


def of_texts(group: Group, unigram: Sequence[Mapping]) -> Table:
    """Tabulates what the most frequent symbol of the training texts reaches on each test set, by length, the number of symbols known."""
    of_one = {(row["test"], str(row["length"])): row for row in unigram}  # the same in every run
    lines = [(*place, f"{row['exact'] / row['examples']:.2g}", f"{row['error_rate']:.2g}") for place, row in of_one.items()]
    header = ("test set", "length", "exact match", "symbol errors")
    return Table(f"The most frequent symbol of the training texts again and again, {group.name}", header, lines)


def chances(group: Group) -> Table:
    """Tabulates what needs no source, by number of digits: exact match of chance and, where classes may be equal, of the most frequent."""
    lines, order = [], digits.ORDERS[group.rows[0]["order"]]
    for length in group.tested(group.arms[0], group.budgets(group.arms[0])[0]).lengths:
        unigram = "–" if order.other_classes else f"{UNIGRAM ** order.outputs(length):.2g}"
        lines.append((str(length), f"{order.guessed(length):.2g}", unigram))
    return Table(f"Exact match without a source, the number of outputs known, {group.name}", ("length", "chance", "unigram"), lines)


def aim(group: Group) -> Table:
    """Tabulates the declared target, at the trained number of digits at which exact match of soft is lowest."""
    found, what = None, "trained numbers of digits"
    if SOFT in group.arms:
        trained = standings.exact_match(group.tested(SOFT, group.budgets(SOFT)[-1]).at(group.trained))
        length, found = min(trained.items(), key=lambda item: item[1].low)
        what = f"{length} digits, the lowest of {min(trained)} to {max(trained)}"
    return targets.table([Target(f"{SOFT}, exact match at {what}", TARGET, found)], group.name)


def glimpses(group: Group, looked: Sequence[Mapping]) -> Table:
    """Tabulates what an output costs: memory vectors that are scored and read, and seconds for 1,000 updates of all seeds."""
    lines = []
    for arm in group.arms:
        budget = group.budgets(arm)[-1]
        row = next(row for row in standings.reported(group.rows) if row["attention"] == arm and row["budget"] == budget)
        ours = [row for row in looked if row["attention"] == arm and row["split"] == "test" and row["length"] in group.trained]
        places, read = ("0", "0") if arm in FIXED else ("–", "–")  # what one's own images do not say is not measured
        if ours:
            places, read = str(ours[0]["places"]), tables.interval_text(pointed.over_seeds(pointed.by_seed(ours, "vectors")))
        lines.append((arm, places, read, f"{1000 * row['seconds'] / budget:.0f}"))
    header = ("arm", "vectors scored", "vectors read", "s / 1,000 updates")
    return Table(f"The cost of a glimpse, {group.name}: of one output, and of training", header, lines)


def soft_of(arm: str) -> str:
    """Returns the soft arm that an arm differs from in nothing but how it attends."""
    return "coverage" if settings(arm).get("timing") == "after" else SOFT


def differences(group: Group) -> dict[tuple[str, int], list[float]]:
    """Returns {(hard arm, updates): exact match less that of its soft arm, by seed}, long half, at the largest budget of both."""
    found = {}
    for arm in group.arms:
        soft = soft_of(arm)
        if arm not in ESTIMATORS or arm == SOFT or soft not in group.arms:
            continue
        budget = min(group.budgets(each)[-1] for each in (arm, soft))
        if not all(budget in group.budgets(each) for each in (arm, soft)):
            continue
        ours, theirs = ({seed: k / n for seed, (k, n) in scoring.long_by_seed(group, each, budget).items()} for each in (arm, soft))
        if set(ours) == set(theirs) and len(ours) > 1:
            found[arm, budget] = [ours[seed] - theirs[seed] for seed in sorted(ours)]
    return found


def hard_against_soft(several: Sequence[Group]) -> Table:
    """Tabulates each hard arm − its soft arm in every order, with Holm's p and the word of the rule."""
    found = {(group.name, *place): d for group in several for place, d in differences(group).items()}
    p = intervals.holm({str(place): intervals.student_p(d) for place, d in found.items()})
    lines = []
    for (name, arm, budget), d in found.items():
        interval, mine = intervals.student(d), p[str((name, arm, budget))]
        word = ("better" if interval.mean > 0 else "worse") if mine < LEVEL else "undecided"
        if word == "undecided" and interval.low > -CLOSE and interval.high < CLOSE:
            word = "no difference"
        place = (name, f"{arm} − {soft_of(arm)}", f"{budget:,}")
        lines.append((*place, tables.interval_text(interval, 3), tables.p_text(mine), word))
    title = "Hard − soft attention: exact match on the long half after as many updates, paired by seed; p two-sided, by Holm"
    return Table(title, ("group", "arms", "updates", "difference", "p", "so hard is"), lines)


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say in order left: of the fixed vector, of pointing, and of reinforce against soft."""
    group, _, looked, _ = parts(rows)[0]
    verdict, made = scoring.verdict(group, "summary"), []
    if verdict.rungs:
        number = f"exact match on lengths {verdict.long[0]} to {verdict.long[-1]}, soft − summary, {verdict.rungs[-1].budget:,} updates"
        made.append(said.of_condition("Attention mends over space what it mends over time", XU, number, verdict.rungs[-1].gap))
    for (arm, budget), d in differences(group).items():
        if arm == "reinforce":
            number = f"exact match on lengths {group.long[0]} to {group.long[-1]}, reinforce − soft, {budget:,} updates"
            made.append(said.of_seeds("Hard attention reads better than soft attention", XU, number, d))
    ours = [row for row in looked if (row["attention"], row["split"]) == (SOFT, "test") and row["length"] in group.trained]
    if ours and len(beyond := pointed.beyond(ours)) > 1:
        number = f"pointing of soft beyond a uniform look, {ours[0]['budget']:,} updates"
        made.append(said.of_seeds("Attention looks at what it names", XU, number, beyond))
    return made


def figures(rows: list[dict]) -> dict:
    """Draws, for every order, exact match and pointing by number of digits, and rate curves."""
    made = {}
    for group, _, looked, _ in parts(rows):
        title = group.name.replace(" ", "_")
        made[f"lengths_{title}"] = scoring.lengths_drawn(group)
        if looked:
            looking = [arm for arm in group.arms if arm not in FIXED]
            made[f"pointing_{title}"] = pointed.drawn(looked, looking, group.name, (min(group.trained), max(group.trained)))
        if found := scoring.curves(group.rows):
            made[f"rates_{title}"] = ladders.rate_curves(found, f"Rate curves, {group.name}")
    return made
