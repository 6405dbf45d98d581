"""The records that stages hand to each other. Imports nothing of ours.

Three kinds of record, one rule each: arrays travel in `flax.struct.PyTreeNode`s, functions in `NamedTuple`s,
settings in frozen dataclasses (those are in `config`). The functions' types are protocols, here or in `signatures`.
"""

from typing import NamedTuple, Protocol

import jax
from flax import struct

from attention_jax.types import signatures
from attention_jax.types.signatures import Array, Init, Key, Params, Tree

PAD, BOS, EOS, UNK, FIRST_SYMBOL = 0, 1, 2, 3, 4
"""Token ids that mean the same in every vocabulary; symbols and subwords start at `FIRST_SYMBOL`."""


class Batch(struct.PyTreeNode):
    """Holds padded examples. Masks are True on real positions, EOS included; `length_B` counts payload tokens, EOS not included."""

    source_BxS: Array  # tokens; of real-valued sources F numbers at each position, source_BxSxF
    source_mask_BxS: Array
    target_BxT: Array
    target_mask_BxT: Array
    gold_BxT: Array  # source position that target position t copies; -1 where there is none
    length_B: Array
    example_B: Array  # number of the example in the whole (unsharded) batch: draws depend on it, not on the device
    box_BxTx4: Array | None = None  # what target position t is said of: top, left, bottom, right in places; -1 where there is none


class Memory(struct.PyTreeNode):
    """Holds what an encoder returns: one vector per source position, and the final state (all layers, all directions)."""

    states_BxSxM: Array
    mask_BxS: Array
    final_BxD: Array


class DrawTerms(struct.PyTreeNode):
    """Holds a hard mechanism's terms of the objective, one number per attention step (B, or BxT); zeros where nothing is drawn."""

    log_draw: Array  # log α(z), the log-probability of the drawn position
    entropy: Array  # of α, nats
    baseline: Array  # what a learned baseline expects of the reward


class Attended(struct.PyTreeNode):
    """Holds T attention steps: contexts, distributions over positions, and terms of the objective. One step has no axis T."""

    context_BxTxC: Array
    weights_BxTxS: Array
    terms: DrawTerms


class Targets(struct.PyTreeNode):
    """Holds what the objective of a hard mechanism needs of the target."""

    target_BxT: Array
    mask_BxT: Array
    embedded_BxTxE: Array  # of the target tokens themselves, not of the tokens before them
    average: Array  # moving average of log p per target token, over past updates


class Logits(struct.PyTreeNode):
    """Holds factors of logits, hidden · weight + bias: B·T·V numbers are many, and are computed where they are needed."""

    hidden_BxTxR: Array
    weight_RxV: Array
    bias_V: Array


def logits_of(prediction: Logits | Array) -> Array:
    """Computes logits_BxTxV of a prediction, which is a `Logits` or already logits."""
    if not isinstance(prediction, Logits):
        return prediction
    return prediction.hidden_BxTxR @ prediction.weight_RxV + prediction.bias_V[None, None]


class Outputs(struct.PyTreeNode):
    """Holds what a model returns. `extra_B` sums the mechanism's own loss terms over target positions."""

    prediction: Logits | Array  # the latter are logits, as log-probabilities of mixtures are
    weights_BxTxS: Array
    extra_B: Array

    @property
    def logits_BxTxV(self) -> Array:
        return logits_of(self.prediction)


class Hypotheses(struct.PyTreeNode):
    """Holds N outputs per input, best first; PAD and zero weights follow their end. `search.decode` says how they were found."""

    tokens_BxNxT: Array
    weights_BxNxTxS: Array
    scores_BxN: Array  # what they are ranked by: log p, or log p with penalties; -inf where there is no such output
    log_p_BxN: Array  # log-probability in nats, EOS included where there is one


class Sums(struct.PyTreeNode):
    """Holds sums over a batch, never means: divide once, after adding over devices. `objective` is what is differentiated."""

    objective: Array
    nll: Array  # nats, without label smoothing and dropout
    tokens: Array  # real target positions, EOS included
    correct: Array  # of them, how many are the arg max


class Counted(struct.PyTreeNode):
    """Holds what evaluation counts in each example."""

    nll_B: Array  # negative log-likelihood in nats
    tokens_B: Array  # target tokens, EOS included
    correct_B: Array  # of them, how many are right
    exact_B: Array  # 1.0 where all of them are right
    symbols_B: Array  # target tokens that are no EOS
    symbol_errors_B: Array  # of these, how many are wrong


class TrainState(struct.PyTreeNode):
    """Holds all that an update needs. `key` is the seed's and never changes: draws of an update have keys below it (layers/keys.py)."""

    params: Params
    opt_state: Tree
    step: jax.Array
    key: jax.Array
    learning_rate: jax.Array  # peak; a leaf, so that seeds (or candidate rates) train side by side in one compilation
    average: jax.Array  # moving average of log p per target token: the baseline of REINFORCE, where it is asked for


class Cell(NamedTuple):
    """A recurrent cell, cut where the scan wants it: `project` is hoisted out of the loop, `step` stays inside.

    init(key) → {"input": {name: affine}, "recurrent": {name: affine}}, an affine being {"weight": IxO, "bias": O};
    project(input params, inputs_…xI) → projected_…xP, all that the inputs contribute;
    step(recurrent params, carry_BxF, projected_BxP) → carry_BxF, one position.
    The carry is one array, the output h_BxH its first `hidden_size` columns (the LSTM's memory cell follows them).

    A row is `row(inputs, hidden) → Cell` in `layers.cells.TABLE`. What must hold: the carry starts at zeros; `inputs` = 0 is a cell that
    reads nothing; `step` is what every loop of `encoders.loops.TABLE` runs, and where there are `gates`, step = a h + b; float32 in is
    float32 out, bfloat16 is bfloat16. Tested over the table: tests/layers/cells_test.py, tests/encoders/loops_test.py.
    """

    init: Init
    project: signatures.ProjectInputs
    step: signatures.CellStep
    hidden_size: int  # H
    carry_size: int  # F
    projected_size: int  # P
    gates: signatures.Gates | None = None  # of h' = a h + b, which need not be a loop
    is_lstm: bool = False  # True for the LSTM of PyTorch and cuDNN: gates i, f, o, g, one recurrent affine "hidden", carry [h, c]
    formula: signatures.CellFormula | None = None  # (params, carry_F, input_I) → the next carry, in NumPy: what tests compare with


class Run(Protocol):
    """Returns (h_BxTxH, last carry_BxF) of a cell over time."""

    def __call__(
        self, cell: Cell, params: Params, inputs_BxTxI: Array, mask_BxT: Array, /, reverse: bool = False
    ) -> tuple[Array, Array]: ...


class Loop(NamedTuple):
    """A way to run a cell over time; see encoders/loops.py.

    run(cell, params, inputs_BxSxI, mask_BxS, reverse) → (h_BxSxH, last carry_BxF);
    lacking(config, is_lstm) → why it cannot run a cell of this config on the default backend, "" where it can.
    """

    run: Run
    lacking: signatures.Lacking = lambda config, is_lstm: ""
    for_any: bool = True  # True where an encoder without a recurrence may name it
    vectorises: bool = True  # True where it is one loop under `jax.vmap`, too
    precisions: tuple[str, ...] = ("highest", "tf32", "bf16")  # values of training.precision that it supports for float32


class Encode(Protocol):
    """Turns inputs into a memory; without keys nothing is dropped."""

    def __call__(self, params: Params, inputs_BxSxE: Array, mask_BxS: Array, keys_B: Key | None = None, /) -> Memory: ...


class Encoder(NamedTuple):
    """An encoder: init(key) → params;  apply(params, inputs_BxSxE, mask_BxS, keys_B or None) → Memory.

    A row is `row(config, input_size) → Encoder` in `encoders.TABLE`. What must hold, for every mask: states are zero where the memory's
    mask is False, and finite; what inputs hold at padding, NaN included, changes neither values nor gradients, bit for bit; padding may
    stand anywhere, and more of it changes nothing; a row of length 0 leaves zeros; keys drive dropout, an example's own, and None drops
    nothing; sizes are those announced, and the dtype is that of the inputs. It refuses what it cannot do with `ConfigError`.
    Tested over the table: tests/encoders/contract_test.py.
    """

    init: Init
    apply: Encode
    memory_size: int  # M
    final_size: int  # D
    directions: tuple[str, ...]  # whose states make up a memory vector, in order: forward, reversed; ("mean",): positions have no order
    reduction: int = 1  # source positions per memory position
    spread: signatures.Spread | None = None  # None: memory positions are the source's
    recurs: bool = True  # True where it runs a cell over time; False: model.loop and model.cell are ignored
    squares: bool = False  # True where a source must have a square number of positions: an image, row by row


class Score(NamedTuple):
    """A score e_ij of position j for query i. Memory vectors come projected, once per source; see attention/scores.py.

    init(key) → params;  project(params, memory_BxSxM, mask_BxS) → keys;  initial(keys, mask_BxS) → state;
    score(params, keys, state, query_BxTxH) → scores_BxTxS, a block of T queries (of one, where there is a state);
    observe(params, keys, state, query_BxH, weights_BxS) → state, once the weights of an attention step are known.

    A row is `row(config, sizes) → Score` in `attention.SCORES`. What must hold: scores and their gradients are finite at every position,
    padding too, for parameters of 10⁴ and vectors of 100 at once, behind the projections of heads, too; a score does not depend on padding,
    of which there may be more or less; without `knows_places` it depends on query, state and the vector at its position alone; the dtype is
    that of memory and query. Masks are the normaliser's business. Tested over the table: tests/attention/contract_test.py.
    """

    init: Init
    project: signatures.Project
    score: signatures.ScoreLooks
    initial: signatures.ScoreState | None = None  # None: there is no state, and `state` is ()
    observe: signatures.Observe | None = None
    knows_places: bool = False  # True where scores depend on positions, by number or by neighbours, not on their vectors alone
    formula: signatures.ScoreFormula | None = None  # (params, query_H, vector_M, position) → the score, in NumPy: what tests compare with
    is_window: bool = False  # True where exp(e) is a weight by itself, as of Graves' window: normalisers of mass "any" take no other scores


class Normaliser(NamedTuple):
    """A map from scores to weights; see attention/normalisers.py.

    init(key) → params;  initial(mask_BxS) → state;
    normalise(params, state, scores, mask_BxTxS, keys_BxT or None) → (weights_BxTxS, state), where `scores` is a tuple of
    as many scores_BxTxS as `scores` says; weights are exactly 0 where the mask is False.

    A row is `row(config) → Normaliser` in `attention.NORMALISERS`. What must hold: weights are not negative, and of the `mass` that is
    announced; a row without a real position gets zeros; values and gradients are finite for scores of ±10⁴; without keys nothing is drawn;
    the dtype is that of the scores. Tested over the table: tests/attention/contract_test.py.
    """

    normalise: signatures.Normalise
    init: Init = lambda key: {}
    initial: signatures.MaskState | None = None  # None: nothing is carried
    scores: int = 1
    mass: str = "1"  # what the weights of a row with a real position sum to: "1", "at most 1", "any"
    knows_places: bool = False
    formula: signatures.WeightFormula | None = None  # scores_N of real positions → weights_N, in NumPy: what tests compare with
    moves: bool = False  # True where it moves along the source by itself: windows and hard estimators are refused


class Window(NamedTuple):
    """A limit of an attention step to some positions; see attention/windows.py.

    init(key) → params;  initial(mask_BxS) → state;
    place(params, state, query_BxTxH, mask_BxS) → (inside_BxTxS, factor_BxTxS, state): weights are normalised over the real
    positions inside, exactly 0 elsewhere, then multiplied by the factor (in [0, 1]);
    observe(state, weights_BxS) → state, once the weights of an attention step are known.

    A row is `row(config, sizes) → Window` in `attention.WINDOWS`. What must hold: only real positions are inside, and where a window is
    moved or cut the others get exactly 0; `mass` is what weights of mass 1 sum to once they are multiplied; without a state, T queries
    at once give what they give one after the other. Tested over the table: tests/attention/contract_test.py.
    """

    place: signatures.Place
    init: Init = lambda key: {}
    initial: signatures.MaskState | None = None  # None: nothing is carried
    mass: str = "1"
    knows_places: bool = False
    observe: signatures.ObserveWindow | None = None  # None: it does not depend on weights


class Draw(Protocol):
    """Returns the weights that T contexts are sums by, used_BxTxS, and the terms of the objective."""

    def __call__(
        self, params: Params, state: Tree, weights_BxTxS: Array, query_BxTxH: Array, keys_BxT: Key | None, /
    ) -> tuple[Array, DrawTerms]: ...


class Emit(Protocol):
    """Turns contexts into a prediction: `Logits`, or logits_BxTxV."""

    def __call__(self, context_BxTxC: Array, /) -> Logits | Array: ...


class Judge(Protocol):
    """Returns (prediction, extra_BxT) of T attention steps over `values`; `extra` are additive terms of the loss."""

    def __call__(
        self, params: Params, emit: Emit, values: Tree, attended: Attended, query_BxTxH: Array, goal: Targets | None, /
    ) -> tuple[Logits | Array, Array]: ...


class Estimator(NamedTuple):
    """A map from a distribution over positions to the weights of the context, and the objective to train by; see attention/estimators.py.

    init(key) → params;  initial(mask_BxS, keys_B or None) → state, drawn once per example;
    draw(params, state, weights_BxTxS, query_BxTxH, keys_BxT or None) → (used_BxTxS, DrawTerms): c = Σ_s used_s h_s;
    predict(params, emit, values, attended, query_BxTxH, goal or None) → (prediction, extra_BxT), where emit(context_BxTxC) → prediction,
    which is a `Logits` or logits_BxTxV, values = (keys, memory_BxSxM, mask_BxS), and the objective is Σ nll + Σ extra.

    A row is `row(config, sizes) → Estimator` in `attention.ESTIMATORS`. What must hold: without keys nothing is drawn; what is drawn
    belongs to an example's and a step's own key, whatever S is; positions without weight are never used; `extra` is 0 where there is no
    real position or target; all of it is finite with its gradients. Tested over the table: tests/attention/contract_test.py.
    """

    draw: Draw
    predict: Judge
    init: Init = lambda key: {}
    initial: signatures.DrawState = lambda mask_BxS, keys_B: ()
    knows_places: bool = False  # True where a draw's noise belongs to the number of a position
    is_hard: bool = False  # True where a step attends to one position, drawn or summed over: then weights must be a distribution
    enumerates: bool = False  # True where it sums over the positions of each step: then the context may enter the readout alone


class Predict(Protocol):
    """Returns (prediction, extra_BxT) of T attention steps, as the estimator does."""

    def __call__(
        self, params: Params, prepared: Tree, emit: Emit, attended: Attended, query_BxTxH: Array, goal: Targets | None = None, /
    ) -> tuple[Logits | Array, Array]: ...


class Attend(Protocol):
    """Returns (context_BxC, weights_BxS, state, terms of B) of one attention step."""

    def __call__(
        self, params: Params, prepared: Tree, state: Tree, query_BxH: Array, keys_B: Key | None = None, /
    ) -> tuple[Array, Array, Tree, DrawTerms]: ...


class Block(Protocol):
    """Attends with T queries at once."""

    def __call__(self, params: Params, prepared: Tree, state: Tree, query_BxTxH: Array, keys_BxT: Key | None = None, /) -> Attended: ...


class Attention(NamedTuple):
    """A mechanism, stateful and random ones included; see attention/__init__.py for the contract of each function.

    A whole one is a row `row(config, sizes) → Attention` in `attention.MECHANISMS`; a fixed vector is `row(sizes, vector) → Attention` in
    `attention.FIXED`. Tested over both: tests/attention/contract_test.py.
    """

    init: Init
    prepare: signatures.Prepare
    initial: signatures.Initial
    attend: Attend
    context_size: int
    predict: Predict
    block: Block | None = None  # None: each step depends on those before it
    knows_places: bool = False  # True where one of its rows does: then real positions must come first in what it prepares
    handed: signatures.HandOver | None = None  # the vector that the decoder starts from; None: the encoder's final state
    looks: bool = True  # False: weights are zero for every query, and the context is a fixed vector of `context_size` numbers


class Task(NamedTuple):
    """A synthetic task; see tasks/__init__.py for the contract of each function.

    A row is `row(data) → Task` in `tasks.TABLE`. Tested over the table, against its own `solve`: tests/data/tasks_test.py.
    """

    vocabulary_size: int
    source_positions: signatures.Positions  # payload length → S, EOS included
    target_positions: signatures.Positions  # payload length → T, EOS included
    sample: signatures.Sample
    sources: signatures.Count  # payload length → how many different sources there are
    solve: signatures.Solve  # a source's tokens → its target's, by plain Python: what samples are tested against
    ends: bool = True  # True where a source ends with EOS
    is_field: bool = False  # True where a source is a square field, row by row, so that weights can be drawn over it
    pads: bool = False  # True where data.padded_output has a meaning
    chains: bool = False  # True where data.source_entropy has a meaning


class Forced(Protocol):
    """Predicts every target position from the target's tokens before it, or from `previous_BxT`; without a key nothing is drawn."""

    def __call__(
        self,
        params: Params,
        batch: Batch,
        key: Key | None = None,
        previous_BxT: Array | None = None,
        average: Array | float = 0.0,
    ) -> Outputs: ...


class Model(NamedTuple):
    """An encoder-decoder: init(key) → params;  forced(params, batch, key or None, previous_BxT or None, average) → Outputs;
    start(params, source_BxS, source_mask_BxS, keys_B or None) → (prepared, state), every array of which leads with B;
    step(params, prepared, state, token_B, keys_B or None) → (logits_BxV, weights_BxS, state).
    """

    init: Init
    forced: Forced
    start: signatures.Start
    step: signatures.Step
    looks: bool = True  # as its mechanism's
    within: signatures.Within | None = None  # None: it cannot be limited, or is already
    norm: signatures.Norm | None = None  # None: it does not say
