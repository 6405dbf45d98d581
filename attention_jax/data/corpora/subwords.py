"""Subwords: lines of the training split → a vocabulary both languages share → text to ids and back (Kudo 2018, unigram model).

The model is one bytes object, stored with the run. Ids 0 to 3 are PAD, BOS, EOS, UNK of `types`. Text is not normalised: decoding gives
back what was encoded, as `words.collapsed`, for every text of characters that training has seen. A run of others is one UNK, and
decodes as ⁇.

Four characters cannot reach sentencepiece as they are: ▁ is its space, ▅ its unknown, NUL ends a string, and `ESCAPE` begins the pairs
that stand for all four, each a symbol of its own in the model. Those that training did not see become ▅, which no model knows. Nor
may text spell PAD, BOS, EOS or UNK: they are renamed where it does. Text with none of this gives the model that it always gave.
"""

import hashlib
import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from attention_jax.data.corpora import words
from attention_jax.data.corpora.words import SPACE
from attention_jax.system import files
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types import BOS, EOS, PAD, UNK

if TYPE_CHECKING:
    import sentencepiece

UNSEEN = "▅"  # what sentencepiece never learns
ESCAPE = "\U0010ffff"  # Unicode keeps it for such use: it is no character of any text that programs exchange
PAIRS = {ESCAPE: f"{ESCAPE}0", SPACE: f"{ESCAPE}1", UNSEEN: f"{ESCAPE}2", "\0": f"{ESCAPE}3"}
SHOWN = r"\u2581"  # a ▁ of the text, to people, for whom ▁ is a space
SPECIAL = {"pad": "<pad>", "bos": "<s>", "eos": "</s>", "unk": "<unk>"}
LONGEST = 1 << 20  # bytes of a line that sentencepiece takes; it would leave out a longer one
PART = 1_000  # characters of the lines that a longer one is cut into: sentencepiece's time is quadratic in them


class Vocabulary(NamedTuple):
    """`model` is sentencepiece's processor; `size` is V, at most the size that was asked for."""

    model: "sentencepiece.SentencePieceProcessor"
    size: int
    texts: Sequence[str]  # what each id adds to a text, a space included where it begins a word
    escapes: Mapping[int, str]  # for str.translate

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the text's subwords, without BOS and EOS; none where there is no word."""
        return self.model.encode(words.collapsed(text).translate(self.escapes))

    def decode(self, ids: Sequence[int], names: Mapping[int, str] | None = None) -> str:
        """Decodes up to the first EOS, without PAD and BOS; ids of no subword (a model's V may be larger) are unknown.

        `names` are texts by position, which replace unknown ids.
        """
        named = names or {}
        return words.collapsed("".join(named.get(t, self.texts[token]) for t, token in self._payload(ids)))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Returns the subwords of `decode`, one an id; ▁ stands for a space, \\u2581 for a ▁ of the text."""
        return [SPECIAL["unk"] if token == UNK else shown(self.texts[token]) for _, token in self._payload(ids)]

    def spelled(self, text: str) -> list[str]:
        """Returns the piece of this text behind each id of `encode`, unknown ones included, with a space where it begins a word."""
        text = words.collapsed(text)
        escaped, parts, start = text.translate(self.escapes), [], 0
        for token, piece in zip(self.model.encode(escaped), self.model.encode(escaped, out_type=str), strict=True):
            end = start + len(piece if token == UNK else self.texts[token])
            parts.append(f" {text}"[start:end])
            start = end
        return parts

    def fingerprint(self) -> str:
        """Returns the sha256 of the stored model, in hexadecimal."""
        return hashlib.sha256(self.model.serialized_model_proto()).hexdigest()

    def _payload(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """Returns (position, id) up to the first EOS, without PAD and BOS."""
        out = []
        for t, token in enumerate(map(int, ids)):
            if token == EOS:
                break
            if token not in (PAD, BOS):
                out.append((t, token if token < self.size else UNK))
        return out


def shown(text: str) -> str:
    """Returns a subword's text for display."""
    return text.replace(SPACE, SHOWN).replace(" ", SPACE)


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


def read(file: Path) -> Vocabulary:
    """Reads the model that a run stored. Raises `DataError` for a file that cannot be read, or is no model."""
    try:
        return from_bytes(files.read_bytes(file))
    except (OSError, DataError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"cannot read {file}: {reason}") from None


def from_bytes(model: bytes) -> Vocabulary:
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
    return Vocabulary(processor, processor.get_piece_size(), *_texts_and_escapes(processor, every_id))


def _texts_and_escapes(model: "sentencepiece.SentencePieceProcessor", ids: list[int]) -> tuple[tuple[str, ...], dict[int, str]]:
    """Returns `Vocabulary.texts` and `Vocabulary.escapes`; a model with `ESCAPE` as a character is of an earlier version, without pairs."""
    pieces = model.id_to_piece(ids)
    known = set(pieces)
    pairs = {character: pair for character, pair in PAIRS.items() if pair in known and ESCAPE not in known}
    escapes = {character: pairs.get(character, UNSEEN) for character in PAIRS if character == SPACE or character not in known}
    literal = {pair: character for character, pair in pairs.items()}
    special = {PAD: "", BOS: "", EOS: "", UNK: " ⁇ "}
    texts = tuple(special.get(i, literal.get(piece, piece.replace(SPACE, " "))) for i, piece in zip(ids, pieces, strict=True))
    return texts, str.maketrans(escapes)
