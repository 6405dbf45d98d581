"""The price of the vector: how many symbols a doubling of its size buys, and a doubling of the budget

Claim. The longest string that an encoder-decoder copies through one vector grows with the size d of the vector by a law. L* is the length
at which half of the outputs are entirely right. At a given budget this is a price. It is a capacity only where L* has stopped growing with
the budget: sizes that still grow are lower bounds of what their vector can hold.

Source. Collins 2017 and Jelassi 2024 for the lines that bits are read beside. We found no law of L* in d and budget published.
Expected. "a law: +2.5 [1.8, 3.1] symbols per doubling of d at 3,200 updates" of tiny, +3.0 [2.5, 3.4] at 6,400 of small.
    python -m experiments.run --experiment=capacity --preset=tiny --choose_rates

Arms. `summary`: the final state, projected to d numbers, starts the decoder and is the context of every step. `additive`, attention with
the same start, stands beside at one size: it shows that the task itself is learned at U updates. --arms=none,summary joins the vector that
only starts the decoder.

Sizes. d is model.vector_size: encoder and decoder keep their size. A second series varies hidden_size with no projection, so that the whole
model shrinks; its d is the numbers handed over, 2 H. The others vary the alphabet V, the cell, and the training lengths.

Data. Copy of V symbols. One source in 4 is never trained on, and alone tested on, 512 examples a length; a length with fewer than 48 of
these is not tested. The protocol's eighth would leave 32 strings of two of 16 symbols, too few, and the L* of the smallest vector lies at
about two. Strings of every size are trained up to three times the L* to be expected at its largest budget,
    longest(d, h) = 3 · 3 log₂ d · √(4 / h), h = log₂ V, rounded up to a multiple of 4
(4 is log₂ 16, and √ is half way between a law in symbols and one in bits), so that all sizes see about the same lengths in units of L*.
In small these came out at 3.3 to 5.0 times the L* of 6,400 updates. Longer ones cost, so that prices hold for this rule.
Only trained lengths enter L*; one beyond the longest is a bound. The series "twice as long" trains up to twice that, and says what it
costs. V is 4, 16 or 256: of two symbols only strings of 8 and more can be tested, and a small vector holds fewer.

Factors, at V = 16, each a series of its own in small: sources of h = 1, 2 and 3 bits a symbol (Markov chains over the same alphabet: each
symbol is the one after its predecessor, or any); 4, 8 and 16 (bfloat16) bits for each number of the vector; and attention to K = 1, 2, 4,
8 slots of 4 numbers, whose d is all that is handed over, with log₂ d replaced above by the geometric mean of K · log₂ 4 and log₂ 4K.
`additive` is S slots.

Measured besides, in the first series at one budget, k = 16 in tiny and 4 else: the oracle. Decoder frozen, the vector of each of 64
examples a length and seed is optimised for its target in [−1, 1]^d by 200 steps of Adam at rate 0.05, annealed to 0, from the encoder's
vector and from three random ones (`model.oracle`). Its L* is that of what a vector can make this decoder say, beside that of the vectors
which the encoder gives, of the same strings; their ratio is paired by seed. It is never behind by construction: what is tested is whether
it is further ahead the larger d is. That test is younger than the runs of tiny; before it the mean lead was tested, which cannot be 0.

Budgets. k × U, each a run of its own, its rate annealed to its own end. In small and full U is meant as the budget at which `additive` has
learned the longest half of the lengths: 400 updates in small (0.97 of length 24 in a trial of 2 seeds). In tiny k counts multiples of 200
updates, at which `additive` has *not* learned yet: 0.43 of that half, and all of it at 800. A table says at U/2, U and 4 U whether it has.

Rates. The grid of five rates, 4 selection seeds that are never reported and the whole budget, once per series, budget and size class: at
the sizes `measured` of a series. Every other run takes the rate in `RATES` of the nearest of these ("twice as long": of the first series),
which must be tied with the best of its curve; else the verdict is inconclusive and names the run. Preset `rates` is the runs of small that
have a curve: make these first, write what they choose into `RATES`, and --preset=small goes on in the same folder.
    python -m experiments.run --experiment=capacity --preset=rates --choose_rates --keep_rates=experiments/curves/capacity.jsonl

Verdict, fixed before the runs: `capacities.verdict` of the first series at its largest budget. The law is L* = a + b log₂ d by least
squares on sizes whose L* is exact, each pooled over seeds, with Student's interval on k − 2 degrees of freedom.
  a law          the interval of b lies above 0
  no law         it lies below half a symbol per doubling of d
  inconclusive   else; or fewer than four sizes have an exact L*; or a rate is not supported by its curve
Which form L*(d) has is shown by AICc and is no part of the verdict. Slopes of all series are corrected together (Holm).
What fills a vector is declared beside it: exponents of h, one for all d (a size counts where L* is exact at two h or more), of L* and of
its bits log₂ V + (L* − 1) h, with Student's intervals. −1 and 0 mean information, 0 and 1 symbols.
  bits fill it, symbols fill it    the interval of the exponent of bits, of L*, lies within ±¼
  between bits and symbols         that of L* lies below 0, and that of bits above it
  inconclusive                     else

Presets. tiny: H = 16, d = 4 to 16, k = 1, 4, 16; 4 minutes + 2 to compile + 3 of the oracle, 4 more where its rate curves are measured.
small: H = 32, d = 4 to 32, k = 1, 4, 16, the other series at four to seven d and k = 4; 180 minutes + 16 + 9 of the oracle, of which 114
are the runs of rates. full: H = 256, d = 8 to 128, k = 1 to 64, 8 seeds, for an accelerator. Minutes are of two quiet CPU cores: an update
of four seeds on strings of up to l symbols takes (l + 1) · 0.35 ms at H = 16 and 0.88 ms at H = 32; Σ updates · (l + 1), a run with a
curve counted six times, is 1.4 million in tiny and 12.3 in small, 7.8 of it in rates; each size of a series compiles for a quarter of a
minute; an oracle of four seeds takes 46 seconds of CPU at H = 16, d = 8. Small without rates took 92 minutes beside other work.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import jax

from attention_jax.attention import fixed_vectors
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.data.sources import Source
from attention_jax.layers import precision
from attention_jax.model import oracle
from attention_jax.model.oracle import Descent
from attention_jax.report import capacities, factors
from attention_jax.report import findings as said
from attention_jax.report.capacities import Series
from attention_jax.report.figures import capacities as drawing
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Score, Table
from attention_jax.statistics import laws
from attention_jax.statistics.lengths import CriticalLength
from attention_jax.trained import Trained
from attention_jax.types.sizes import VocabularySizes

PRESETS = ("tiny", "rates", "small", "full")
PAPERS = ("collins2017", "jelassi2024", "tukey1958", "hurvich1989")
ARMS = ("summary", "additive")
JUDGED = 2  # lengths of a curve
FIELDS = (
    *("data.symbols", "data.longest", "data.eval_lengths", "training.learning_rates"),
    *("data.source_entropy", "model.vector_bits", "model.slots"),
)
GROUP = ("source_entropy", "vector_bits", "slots", "learning_rates")  # beside those of any two folders that are compared
LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)
ALPHABET = 16
ORACLE, EXAMPLES, DESCENT = {"tiny": 16, "small": 4, "full": 4}, 64, Descent(steps=200, rate=0.05, restarts=4)
"""Budgets of the oracle, in units of U; its examples a length and seed; how a vector is optimised."""


class Kind(NamedTuple):
    """What the runs of a series have in common."""

    cell: str = "gru"
    alphabet: int = ALPHABET
    by: str = "vector_size"  # or hidden_size, or slots of `SLOT` numbers
    stretch: int = 1  # times the longest length of the rule
    entropy: float = 0.0  # bits of a symbol; 0: log₂ V
    bits: int = 0  # of a number; 0: float32


class Part(NamedTuple):
    """A series of a preset, with its sizes and budgets, in units of U."""

    kind: Kind
    sizes: tuple[int, ...]
    multiples: tuple[int, ...]
    measured: tuple[int, ...] = (8,)  # sizes with a rate curve


class Preset(NamedTuple):
    """Sizes of a preset; the first part is the claim's own."""

    base: Config
    unit: int  # U, in updates: what budgets are multiples of
    parts: tuple[Part, ...]


TINY = Config(
    model=ModelConfig(hidden_size=16, embedding_size=16),
    data=DataConfig(task="copy", shortest=1, held_out=4, eval_examples=512),
    training=TrainingConfig(
        seeds=4,
        batch_size=32,
        schedule="cosine",
        learning_rates=(4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
        checkpoint_every=1600,
    ),
)
SMALL = replace(TINY, model=replace(TINY.model, hidden_size=32, embedding_size=32))
FULL = replace(
    TINY,
    model=replace(TINY.model, hidden_size=256, embedding_size=64),
    training=replace(
        TINY.training, seeds=8, batch_size=128, learning_rates=(5e-4, 1e-3, 2e-3, 4e-3, 8e-3), checkpoint_every=1_000, chunk=100
    ),
)
FOUR = (4, 8, 16, 32)
SLOT = 4  # numbers of a slot
OTHERS = (
    Part(Kind(by="hidden_size"), (3, 4, 6, 8, 12, 16, 24), (4,)),
    Part(Kind(alphabet=4), FOUR, (4,)),
    Part(Kind(alphabet=256), FOUR, (4,)),
    Part(Kind(cell="lstm"), FOUR, (4,)),
    Part(Kind(cell="mingru"), FOUR, (4,)),
    Part(Kind(stretch=2), FOUR, (4,), (8, 16)),
    *(Part(Kind(entropy=bits), FOUR, (4,)) for bits in (1.0, 2.0, 3.0)),
    *(Part(Kind(bits=bits), FOUR, (4,)) for bits in (4, 8, 16)),
)
SLOTS = Part(Kind(by="slots"), (1, 2, 4, 8), (4,), (4,))
TABLE = {
    "tiny": Preset(TINY, 200, (Part(Kind(), (4, 6, 8, 12, 16), (1, 4, 16)),)),
    "small": Preset(SMALL, 400, (Part(Kind(), (4, 6, 8, 12, 16, 24, 32), (1, 4, 16), (8, 16)), *OTHERS)),
    "full": Preset(FULL, 1_000, (Part(Kind(), (8, 12, 16, 24, 32, 48, 64, 96, 128), (1, 4, 16, 64), (16, 64)),)),
}
RATE = {"tiny": 1.6e-2, "small": 1.6e-2, "full": 2e-3}
RATES: dict[str, float] = {
    "summary-gru-v16-h16-d8-l28-u200": 0.032,
    "summary-gru-v16-h16-d8-l28-u800": 0.032,
    "summary-gru-v16-h16-d8-l28-u3200": 0.016,
    "additive-gru-v16-h16-d8-l28-u100": 0.064,
    "additive-gru-v16-h16-d8-l28-u200": 0.064,
    "additive-gru-v16-h16-d8-l28-u800": 0.032,
    "summary-gru-v16-h32-d8-l28-u400": 0.016,
    "summary-gru-v16-h32-d8-l28-u1600": 0.016,
    "summary-gru-v16-h32-d8-l28-u6400": 0.008,
    "summary-gru-v16-h32-d16-l36-u400": 0.032,
    "summary-gru-v16-h32-d16-l36-u1600": 0.016,
    "summary-gru-v16-h32-d16-l36-u6400": 0.008,
    "summary-gru-v16-h8-d0-l36-u1600": 0.032,
    "summary-gru-v4-h32-d8-l40-u1600": 0.008,
    "summary-gru-v256-h32-d8-l20-u1600": 0.008,
    "summary-lstm-v16-h32-d8-l28-u1600": 0.016,
    "summary-mingru-v16-h32-d8-l28-u1600": 0.008,
    "summary-gru-v16-h32-d8-e1-l56-u1600": 0.008,
    "summary-gru-v16-h32-d8-e2-l40-u1600": 0.016,
    "summary-gru-v16-h32-d8-e3-l32-u1600": 0.016,
    "summary-gru-v16-h32-d8-b4-l28-u1600": 0.016,
    "summary-gru-v16-h32-d8-b8-l28-u1600": 0.016,
    "summary-gru-v16-h32-d8-b16-l28-u1600": 0.016,
    "additive-gru-v16-h32-d8-l28-u200": 0.032,
    "additive-gru-v16-h32-d8-l28-u400": 0.032,
    "additive-gru-v16-h32-d8-l28-u1600": 0.016,
    "additive-gru-v16-h32-d4-s4-l52-u1600": 0.016,
}
"""{run with a rate curve: the rate that it chose}, for the runs that take it over; those not listed run at `RATE` until it is measured."""


def longest(d: float, alphabet: int = ALPHABET, entropy: float = 0.0, slots: int = 0) -> int:
    """Returns the longest training length of a size: three times the L* to be expected there; `d` is that of one slot."""
    one = math.log2(d)
    if slots > 1:
        one = math.sqrt(math.log2(slots * d) * slots * math.log2(d))
    return 4 * math.ceil(9 * one * math.sqrt(4 / (entropy or math.log2(alphabet))) / 4)


def sweep(preset: str, arms: Sequence[str] = ARMS) -> list[Config]:
    """Returns a config for every arm, series, size and budget; attention at one size, at U/2, U and 4 U."""
    if preset == "rates":
        return [config for config in sweep("small", arms) if len(config.training.learning_rates) > 1]
    return [config for arm in arms for config in _of_arm(preset, arm)]


def _of_arm(preset: str, arm: str) -> Iterator[Config]:
    _, unit, parts = TABLE[preset]
    if arm not in fixed_vectors():
        for updates in (unit // 2, unit, 4 * unit):
            yield _config(preset, arm, parts[0], parts[0].measured[0], updates)
        parts = (SLOTS,) if preset == "small" and arm == "additive" else ()
    for part in parts:
        for size in part.sizes:
            for k in part.multiples:
                yield _config(preset, arm, part, size, k * unit)


def _config(preset: str, arm: str, part: Part, size: int, updates: int) -> Config:
    """Returns a run; with the whole grid of rates where its curve is measured, else with the rate of the nearest run that has one."""
    base, kind = TABLE[preset].base, part.kind
    sizes = {"vector_size": SLOT} if kind.by == "slots" else {}
    model = replace(base.model, attention=arm, cell=kind.cell, vector_bits=kind.bits, **{**sizes, kind.by: size})
    d = model.vector_size or 2 * model.hidden_size
    most = kind.stretch * longest(d, kind.alphabet, kind.entropy, model.slots)
    lengths = (*(length for length in LENGTHS if length < most), most)
    data = replace(base.data, symbols=kind.alphabet, source_entropy=kind.entropy, longest=most, eval_lengths=lengths)
    config = replace(base, model=model, data=data, training=replace(base.training, updates=updates))
    nearest = min(part.measured, key=lambda other: (abs(math.log(other / size)), other))
    if size == nearest and kind.stretch == 1:
        return config
    measured = _config(preset, arm, part._replace(kind=kind._replace(stretch=1)), nearest, updates)
    rate = RATES.get(name(measured), RATE[preset])
    return replace(config, training=replace(config.training, learning_rates=(rate,)))


def name(config: Config) -> str:
    """Returns a run's name, such as summary-gru-v16-h32-d8-l28-u1600; -e of entropy, -b of bits and -s of slots where there are any."""
    model, data = config.model, config.data
    more = {"e": data.source_entropy, "b": model.vector_bits, "s": model.slots}
    beside = "".join(f"-{letter}{value:g}" for letter, value in more.items() if value)
    sizes = f"v{data.symbols}-h{model.hidden_size}-d{model.vector_size}{beside}-l{data.longest}"
    return f"{model.attention}-{model.cell}-{sizes}-u{config.training.updates}"


def measures(config: Config) -> bool:
    """Returns whether a run has an oracle: those of the first series have, at one budget, `ORACLE`."""
    model, data = config.model, config.data
    plain = (model.cell, data.symbols, data.source_entropy, model.vector_bits) == ("gru", ALPHABET, 0, 0)
    budgets = {each.base.model.hidden_size: ORACLE[preset] * each.unit for preset, each in TABLE.items()}
    fixed = model.attention in fixed_vectors() and model.vector_size > 0 and data.longest == longest(model.vector_size)
    return plain and fixed and config.training.updates == budgets.get(model.hidden_size)


def check(config: Config) -> None:
    """Raises `ConfigError` for a run with an oracle whose decoder sees more than a vector, or another one."""
    if measures(config):
        oracle.check(config.model)


def measure(trained: Trained, source: Source) -> list[dict]:
    """Returns a row per trained length: outputs that are right from optimised vectors, and from the encoder's, of the same examples."""
    config, rows = trained.config, []
    find = found_by(config.model, trained.sizes, source.stop, config.training.precision)
    for batch_Rx in source.evaluation("test", [trained.seed]):
        batch = jax.tree.map(lambda x: x[0, :EXAMPLES], batch_Rx)
        length, tokens = int(batch.length_B[0]), float(batch.target_mask_BxT.sum())
        if length > config.data.longest:
            continue
        found = jax.device_get(find(trained.params, batch, jax.random.fold_in(jax.random.key(trained.seed), length)))
        counts = {"exact": int(found.exact_B.sum()), "encoder_exact": int(found.own_exact_B.sum()), "examples": len(found.exact_B)}
        losses = {"loss": float(found.loss_B.sum()) / tokens, "encoder_loss": float(found.own_loss_B.sum()) / tokens}
        rows.append({"length": length, **counts, **losses})
    return rows


@cache
def found_by(config: ModelConfig, vocabulary: VocabularySizes, stop: bool, products: str):
    """Returns (params, batch, key) → `oracle.Found`, jitted; `products` is training.precision."""

    def find(params, batch, key):
        return oracle.found(config, vocabulary, params, batch, key, DESCENT, stop)

    return jax.jit(precision.applied(find, products))


def series(row: Mapping) -> str:
    """Returns the name of a row's series: cell, alphabet, what varies d, and training lengths where they are not those of the rule."""
    by = f"h{row['hidden_size']}" if row["vector_size"] else "by hidden size"
    entropy, bits, slots = (row.get(field, 0) for field in ("source_entropy", "vector_bits", "slots"))
    expected = longest(row["vector_size"] or row["state_size"], row["alphabet"], entropy, slots)
    lengths = {expected: "", 2 * expected: ", twice as long"}.get(row["longest"], f", to length {row['longest']}")
    h = f"{entropy:g} bit{'s' * (entropy != 1)}"
    named = {f", {h} a symbol": entropy, f", {bits} bits a number": bits, f", slots of {row['vector_size']}": slots}
    return f"{row['cell']} V{row['alphabet']} {by}{''.join(text for text, is_there in named.items() if is_there)}{lengths}"


def score(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> Score:
    """Returns the tables of all series, and the verdict of the first."""
    found = capacities.read(rows, series)
    fixed = [each for each in found if each.arm in fixed_vectors()] or found
    priced = [*fixed, *(each for each in found if each.slots)]
    with_oracles = [*priced, *factors.oracles(fixed)]
    tables: list[Table] = [*map(capacities.lengths_table, found), capacities.references_table()]
    tables += [capacities.learned_table([each for each in found if each.arm not in fixed_vectors() and not each.slots])]
    tables += [factors.oracles_table(fixed)]
    tables += [table(fixed[0], fixed) for table in (factors.entropies_table, factors.precisions_table)]
    tables += [capacities.laws_table(with_oracles), capacities.prices_table(priced), capacities.forms_table(with_oracles)]
    tables += [capacities.rates_table(priced)]
    return Score(capacities.verdict(fixed[0]), [table for table in tables if table.rows], _budgets(fixed[0]))


def findings(rows: list[dict], sentences: Mapping = MappingProxyType({})) -> list[Finding]:
    """Returns what the rows say of the claim's own series at its largest budget: of its law, and of what its vectors could hold."""
    first = next((each for each in capacities.read(rows, series) if each.arm in fixed_vectors()), None)
    if first is None:
        return []
    points, at = first.at(first.budgets[-1]), f"copy, {first.name}, {first.budgets[-1]:,} updates"
    law, power = laws.attempt(laws.per_doubling, points), laws.attempt(laws.power, points)
    made = []
    if not (isinstance(law, str) or isinstance(power, str)):
        made += [
            said.of_law("A longer vector keeps longer inputs", "lecture notes", f"symbols of L* per doubling of d, {at}", law),
            said.of_law("Twice the state copies twice the length", "after Jelassi 2024", f"exponent of d in L*, {at}", power, 1.0),
        ]
    unused = laws.attempt(laws.per_doubling, spare(first))
    if not isinstance(unused, str):
        claim = "The larger a state, the more of it is unused: what is learned is the limit, not what it could hold"
        number = f"symbols per doubling of d, L* of optimised vectors − of the encoder's, of the same strings, {first.name}"
        made.append(said.of_law(claim, "after Collins 2017", number, unused))
    return made


def spare(series: Series) -> dict[int, CriticalLength]:
    """Returns {d: symbols of L* by which optimised vectors are ahead of the encoder's}; a bound where one of the two is."""
    places = ((d, series.oracle[d, budget], series.encoder[d, budget]) for d, budget in series.oracle)
    return {d: CriticalLength(a.length - b.length, "exact" if a.is_exact and b.is_exact else "unsupported") for d, a, b in places}


def figures(rows: list[dict]) -> dict:
    """Draws L* by size and by budget, a figure per arm's first series with several budgets, and bits by size: of all series, by factor.

    Lines that bits are read beside are those of the first series.
    """
    every = capacities.read(rows, series)
    found = [each for each in every if each.arm in fixed_vectors()]
    drawn = {}
    for each in found:
        by_size, by_budget = _lines(each)
        if by_size and len(by_budget) > 1 and len(each.budgets) > 1:
            title = f"The price of a symbol: copy, {each.name}"
            drawn[f"sizes_and_budgets_{each.name}".replace(" ", "_")] = drawing.sizes_and_budgets(by_size, by_budget, title)
    plain = [each for each in found if not factors.is_factor(each)]
    by_factor = [*plain[:1], *factors.oracles(plain[:1]), *filter(factors.is_factor, every)]
    for stem, several in (("bits_by_size", plain), ("bits_by_factor", by_factor)):
        shared = set.intersection(*(set(each.budgets) for each in several)) if len(several) > 1 else set()
        lines = [drawing.Line(each.name, each.arm, each.bits(max(shared))) for each in several] if shared else []
        if lines := [line for line in lines if line.points]:
            beside = capacities.references(plain[0], max(shared))
            drawn[stem] = drawing.bits_by_size(lines, beside, f"Bits of the longest string, after {max(shared):,} updates")
    return drawn


def _lines(each: Series) -> tuple[list[drawing.Line], list[drawing.Line]]:
    """Returns a line per budget over d, and a line per d over budgets."""
    known = {place: found for place, found in each.half.items() if found.bound != "unsupported"}
    shown = {place: (found.length, found.low, found.high, found.bound) for place, found in known.items()}
    sizes, budgets = (sorted({place[i] for place in shown}) for i in range(2))
    by_size = [drawing.Line(f"{u:,} updates", each.arm, {d: shown[d, u] for d in sizes if (d, u) in shown}) for u in budgets]
    by_budget = [drawing.Line(f"d = {d}", each.arm, {u: shown[d, u] for u in budgets if (d, u) in shown}) for d in sizes]
    return by_size, by_budget


def _budgets(first: Series) -> str:
    """Returns the budgets and seeds that go with the verdict, as text."""
    seeds = max(each.seeds for each in first.half.values())
    return (
        f"with {seeds} seeds, {first.name} at {', '.join(f'{budget:,}' for budget in first.budgets)} updates, each budget a run of its own"
    )
