"""Subwords: lines of the training split → a vocabulary → text to ids and back (Kudo 2018, unigram model).

The model is one bytes object, stored with the run. Ids 0 to 3 are PAD, BOS, EOS, UNK of `types`. Text is not normalised: decoding gives
back what was encoded, as `words.collapsed`, for every line of training, and every text of its pieces. A run of other characters is one
UNK, and decodes as ⁇. `train` returns all that sentencepiece learns, a piece for every character among it; `learn` only what lines use.

Four characters cannot reach sentencepiece as they are: ▁ is its space, ▅ its unknown, NUL ends a string, and `ESCAPE` begins the pairs
that stand for all four, each a symbol of its own in the model. Those that training did not see become ▅, which no model knows. Nor
may text spell PAD, BOS, EOS or UNK: they are renamed where it does. Text with none of this gives the model that it always gave.
"""

import io
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from attention_jax.data.corpora import words
from attention_jax.data.corpora.vocabulary import ADDS, SPECIAL, Vocabulary
from attention_jax.data.corpora.words import SPACE
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types import BOS, EOS, PAD, UNK

if TYPE_CHECKING:
    import sentencepiece

UNSEEN = "▅"  # what sentencepiece never learns
ESCAPE = "\U0010ffff"  # Unicode keeps it for such use: it is no character of any text that programs exchange
PAIRS = {ESCAPE: f"{ESCAPE}0", SPACE: f"{ESCAPE}1", UNSEEN: f"{ESCAPE}2", "\0": f"{ESCAPE}3"}
LONGEST = 1 << 20  # bytes of a line that sentencepiece takes; it would leave out a longer one
PART = 1_000  # characters of the lines that a longer one is cut into: sentencepiece's time is quadratic in them


@dataclass(frozen=True)
class Subwords(Vocabulary):
    """`model` is sentencepiece's processor."""

    model: "sentencepiece.SentencePieceProcessor"
    escapes: Mapping[int, str]  # for str.translate

    def encode(self, text: str) -> list[int]:
        return self.model.encode(words.collapsed(text).translate(self.escapes))

    def spelled(self, text: str) -> list[str]:
        text = words.collapsed(text)
        escaped, parts, start = text.translate(self.escapes), [], 0
        for token, piece in zip(self.model.encode(escaped), self.model.encode(escaped, out_type=str), strict=True):
            end = start + len(piece if token == UNK else self.texts[token])
            parts.append(f" {text}"[start:end])
            start = end
        return parts

    def stored(self) -> bytes:
        return self.model.serialized_model_proto()


def learn(lines: Iterable[str], most: int) -> bytes:
    """Trains a model of at most `most` pieces, and returns it serialized, without those pieces that no line is cut into.

    Raises `ConfigError` and `DataError` as `train` does.
    """
    lines = list(dict.fromkeys(lines))
    return trimmed(train(lines, most), lines)


def trimmed(model: bytes, lines: Sequence[str]) -> bytes:
    """Deletes the pieces that no line is cut into: lines are cut as before. The same bytes come back where every piece is used.

    A character that is a part of larger pieces alone is unknown by itself from then on.
    """
    vocabulary = from_bytes(model)
    kept = {token for line in lines for token in vocabulary.encode(line)} | set(range(UNK + 1))
    while len(kept) < vocabulary.size:
        made = _only(model, kept)
        smaller = from_bytes(made)
        cut = ((token, part) for line in lines for token, part in zip(smaller.encode(line), smaller.spelled(line), strict=True))
        lost = {character for token, part in cut if token == UNK for character in part.strip()}
        if not lost:
            return made
        kept |= {i for i, text in enumerate(vocabulary.texts) if text in lost}  # an unknown costs less where the rarest piece is gone
    return model


def _only(model: bytes, kept: Collection[int]) -> bytes:
    """Returns the model with these pieces alone, in their order."""
    try:
        from sentencepiece import sentencepiece_model_pb2
    except Exception as error:  # no protobuf, one that is older than sentencepiece asks for, or one that knows such messages already
        raise ConfigError(f"subwords need protobuf as sentencepiece asks for it: pip install --upgrade protobuf ({error})") from error
    content = cast(Any, sentencepiece_model_pb2).ModelProto.FromString(model)
    pieces = [piece for i, piece in enumerate(content.pieces) if i in kept]
    del content.pieces[:]
    content.pieces.extend(pieces)
    content.trainer_spec.vocab_size = len(pieces)
    return content.SerializeToString(deterministic=True)


def train(lines: Iterable[str], vocabulary_size: int) -> bytes:
    """Trains a model, and returns it serialized; equal lines give equal bytes.

    It has fewer subwords than `vocabulary_size` where the lines hold no more. Raises `ConfigError` where it is less than
    the different characters need, and `DataError` where there is no text, or half a surrogate pair in it.
    """
    lines = [line for line in map(words.collapsed, lines) if line]
    if not lines:
        raise DataError("no text to learn subwords from: the training split has only empty lines")
    characters = set("".join(lines)) - {" "}
    if halves := sorted(character for character in characters if "\ud800" <= character <= "\udfff"):
        raise DataError(f"the training split has half a surrogate pair, {halves[0]!r}, which is no text")
    least = len(characters) + 1 + UNK + 1
    if vocabulary_size < least:
        raise ConfigError(
            f"text.vocabulary_size={vocabulary_size} is too small: {len(characters) + 1} different characters and {UNK + 1} special tokens "
            f"need at least {least}"
        )
    pairs = {character: pair for character, pair in PAIRS.items() if character in characters}
    named = any(name in line for line in lines for name in SPECIAL.values())
    lines, required = list(_escaped(lines, str.maketrans(pairs))), ""
    import sentencepiece  # only now: synthetic data do without

    while True:
        model = _train(lines, vocabulary_size, list(pairs.values()), named, required)
        learned = sentencepiece.SentencePieceProcessor(model_proto=model)
        lost = [character for character in sorted(characters - set(pairs)) if learned.piece_to_id(character) == UNK]
        if not lost:
            return model
        if set(lost) <= set(required):
            raise DataError(f"sentencepiece does not learn {lost[0]!r}; remove it from the text")
        required += "".join(lost)  # of very long text sentencepiece leaves out the rarest: it adds shares of float32 up to 1


def _escaped(lines: Iterable[str], pairs: Mapping[int, str]) -> Iterator[str]:
    """Returns lines that sentencepiece takes, cut between words, or within one that is too long itself."""
    for line in lines:
        fits = len(line.translate(pairs).encode()) <= LONGEST
        yield from (part.translate(pairs) for part in ([line] if fits else textwrap.wrap(line, PART, break_on_hyphens=False)))


def _train(lines: list[str], vocabulary_size: int, symbols: list[str], named: bool, required: str) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    options: dict[str, Any] = {"user_defined_symbols": symbols} if symbols else {}
    if required:
        options["required_chars"] = required
    if named:  # a name with a space in it occurs in no text: sentencepiece replaces spaces first
        options |= {f"{special}_piece": f" {name}" for special, name in SPECIAL.items()}
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocabulary_size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            byte_fallback=False,
            max_sentence_length=LONGEST,
            num_threads=1,  # sums of another number of threads are rounded differently
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNK,
            minloglevel=2,
            **options,
        )
    except (RuntimeError, OSError) as error:
        raise DataError(f"sentencepiece cannot learn text.vocabulary_size={vocabulary_size} subwords from these lines: {error}") from error
    return model.getvalue()


def from_bytes(model: bytes) -> Subwords:
    """Returns the vocabulary of a serialized model, the inverse of `train`. Raises `DataError` for anything else."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.load_from_serialized_proto(model)
        ids = processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id()
        every_id = list(range(processor.get_piece_size()))
        _ = processor.id_to_piece(every_id), processor.decode(every_id)  # raise where a piece is no text
    except Exception as error:  # RuntimeError or another, by what is wrong and by version
        raise DataError(f"the stored vocabulary is damaged or no sentencepiece model ({error})") from error
    if ids != (PAD, BOS, EOS, UNK):
        raise DataError(f"the stored vocabulary has PAD, BOS, EOS, UNK at {ids}; it must be {(PAD, BOS, EOS, UNK)}")
    texts, escapes = _texts_and_escapes(processor, every_id)
    return Subwords(texts, processor, escapes)


def _texts_and_escapes(model: "sentencepiece.SentencePieceProcessor", ids: list[int]) -> tuple[tuple[str, ...], dict[int, str]]:
    """Returns `Subwords.texts` and `Subwords.escapes`; a model with `ESCAPE` as a character is of an earlier version, without pairs."""
    pieces = model.id_to_piece(ids)
    known = set(pieces)
    pairs = {character: pair for character, pair in PAIRS.items() if pair in known and ESCAPE not in known}
    escapes = {character: pairs.get(character, UNSEEN) for character in PAIRS if character == SPACE or character not in known}
    literal = {pair: character for character, pair in pairs.items()}
    learned = (literal.get(piece, piece.replace(SPACE, " ")) for piece in pieces[UNK + 1 :])
    return (*ADDS, *learned), str.maketrans(escapes)
