"""Settings of a model: attention, encoder, decoder."""

from dataclasses import dataclass

from attention_jax.config import rules
from attention_jax.config.rules import PARTS, SIZE, number, word


@dataclass(frozen=True)
class AttentionConfig:
    """Settings of memory → context: attention = score × normaliser × window × estimator."""

    attention: str = "additive"  # row of attention.TABLE: the fixed vectors none and summary, or a score
    attention_size: int = number(0, least=0, most=SIZE)  # A, width of the scores that have one (additive, concat, …); 0: hidden_size
    heads: int = number(1, least=1, most=PARTS)  # N mechanisms side by side, each over M / N columns of its own
    slots: int = number(0, least=0, most=SIZE)  # the memory is reduced to K segments of the source; 0: every position is kept
    vector_size: int = number(0, least=0, most=SIZE)  # d: summary, each slot and the bridge pass a projection to d numbers; 0: they do not
    vector_bits: int = number(
        0, least=0, most=16
    )  # of each of the d numbers: 2^bits equal steps of [-1, 1], with a straight-through gradient; 16: bfloat16, 0: float32
    pooling: str = word("ends", "ends mean")  # a slot is the states at its segment's ends, or their mean over it
    normaliser: str = "softmax"  # row of attention.NORMALISERS
    score_temperature: float = number(1.0, least=1e-6)  # scores are divided by it before they are normalised
    alpha: float = number(1.25, least=1, most=3)  # entmax: 1 is softmax, 1.5 entmax15, 2 sparsemax
    window: str = "all"  # row of attention.WINDOWS: all, local_m, local_p (Luong 2015)
    window_size: int = number(3, least=0, most=SIZE)  # D: a local window spans p - D … p + D
    estimator: str = "soft"  # row of attention.ESTIMATORS: soft, reinforce, gumbel, straight_through, marginal, variational
    baseline: str = word("average", "none average learned")  # reinforce: average (moving, over updates), learned (of the query)
    entropy_bonus: float = number(0.0, least=0)  # reinforce: λ of + λ H[α] in the objective
    mixing: float = number(0.0, least=0, most=1)  # reinforce: share of examples that train on the expected context (Xu 2015: 0.5)
    gumbel_temperature: float = number(1.0, least=1e-6)  # gumbel, straight_through: τ of the relaxed draw
    location_size: int = number(64, least=1, most=SIZE)  # location: longest source it can score
    filters: int = number(8, least=1, most=SIZE)  # location_aware, dynamic_convolution: features of the previous weights
    filter_width: int = number(7, least=1, most=SIZE)  # of them: places each sees, an odd number
    mixtures: int = number(5, least=1, most=SIZE)  # gaussian, gmm_v2: components of the window
    fertility: float = number(0.0, least=0)  # coverage: N, most target tokens a source position may account for; 0: one, without a model
    noise: float = number(1.0, least=0)  # monotonic, mocha, stepwise: standard deviation of the noise on the scores in training
    chunk_size: int = number(3, least=1, most=SIZE)  # mocha: places in a chunk


@dataclass(frozen=True)
class EncoderConfig:
    """Settings of data → memory. `dropout`, which the decoder has as well, is `ModelConfig`'s."""

    encoder: str = "recurrent"  # row of encoders.TABLE
    cell: str = "gru"  # row of layers.cells.TABLE
    loop: str = "scan"  # row of encoders.loops.TABLE: scan, plain, cudnn (LSTM on an NVIDIA GPU); auto: cudnn where it can, else scan
    transition: int = number(1, least=1, most=PARTS)  # cells in sequence within a position, the first with the input (Pascanu 2014)
    hidden_size: int = number(64, least=1, most=SIZE)  # encoder state per direction and layer
    embedding_size: int = number(32, least=1, most=SIZE)  # E, of the decoder too
    direction: str = word("both", "forward reversed both")  # reversed (Sutskever 2014): the source is read right to left
    layers: int = number(1, least=1, most=PARTS)  # encoder layers
    residual: bool = False  # add a layer's input to its output, from the second layer on (decoder=gnmt: from the third)
    kernel: int = number(3, least=1, most=SIZE)  # convolutional, image: places a filter sees, per axis
    stride: int = number(1, least=1, most=SIZE)  # convolutional, image: places a filter moves, per axis
    convolutions: int = number(1, least=1, most=PARTS)  # convolutional, image: layers of filters
    rows: int = number(0, least=0, most=SIZE)  # image: rows of places in a source, whose positions lie row by row; 0: as many as columns
    coordinates: bool = False  # image: filters read, and memory vectors end in, rows and columns (Liu 2018)


@dataclass(frozen=True)
class ModelConfig(EncoderConfig, AttentionConfig):
    """All settings of a model: those of attention and of the encoder, then the decoder's own."""

    decoder: str = word("stacked", "stacked gnmt")  # stacked: the top layer asks; gnmt: the bottom layer, all get the context
    decoder_layers: int = number(1, least=1, most=PARTS)
    decoder_size: int = number(0, least=0, most=SIZE)  # H; 0: hidden_size
    decoder_cell: str = ""  # row of layers.cells.TABLE; empty: cell
    start: str = word("bridge", "zero bridge backward")  # s_0: 0, or tanh of a projection of the final, of the first backward state
    timing: str = word("before", "before after between")  # query: s_{i-1} (Bahdanau), s_i (Luong), between two cells (Nematus)
    feeding: bool = False  # input feeding: the readout of step i-1 is an input of step i (Luong 2015)
    feedback: bool = True  # the previous output token is the decoder's input; False: the decoder gets a constant instead
    readout: str = "tanh"  # row of readout.TABLE: tanh, maxout (Bahdanau 2015), linear
    context_gate: str = word("none", "none source target both")  # what it weighs in the readout (Tu 2017)
    copy: bool = False  # pointer-generator: outputs may copy a source token by its attention weight (See 2017)
    tied: str = word("none", "none output all")  # output: logits use the target embedding; all: and the source embedding is the same
    dropout: float = number(0.0, least=0, below=1)  # on embeddings, between layers and before the logits

    @property
    def one_vocabulary(self) -> str:
        """Which setting needs one vocabulary of source and target, and why; "" where none does."""
        if self.copy:
            return "model.copy=True copies tokens of the source, which must be tokens of the target"
        return "model.tied=all has one embedding of source and target tokens" if self.tied == "all" else ""

    def contradictions(self) -> list[tuple[bool, str]]:
        """Lists (True where a rule is broken, what to say) of every rule between settings."""
        return [
            rules.too_many(PARTS, "model.layers", self.layers, "model.transition", self.transition),
            rules.too_many(PARTS, "model.decoder_layers", self.decoder_layers, "model.transition", self.transition),
            (self.filter_width % 2 == 0, f"model.filter_width={self.filter_width} is impossible: it must be odd"),
            (
                self.start == "backward" and self.direction == "forward",
                "model.start=backward needs a backward state: set model.direction to both or reversed",
            ),
            (
                self.start == "backward" and self.vector_size > 0,
                f"model.start=backward reads a state of the encoder, and model.vector_size={self.vector_size} leaves a vector of it: set "
                "model.start=bridge",
            ),
            (
                self.vector_bits > 0 and self.vector_size == 0,
                f"model.vector_bits={self.vector_bits} rounds the numbers of model.vector_size, and there are none: set model.vector_size",
            ),
        ]
