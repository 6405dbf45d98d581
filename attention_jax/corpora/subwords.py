"""Subwords: lines of the training split → a vocabulary both languages share → text to ids and back (Kudo 2018, unigram model).

The model is one bytes object, stored with the run. Ids 0 to 3 are PAD, BOS, EOS, UNK of `types`. Text is not normalised, so that
decoding gives back what was encoded (whitespace collapsed); a character never seen in training is UNK and decodes as ⁇.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import sentencepiece

from attention_jax import files
from attention_jax.types import BOS, EOS, PAD, UNK, ConfigError, DataError


class Vocabulary(NamedTuple):
    """`model` is sentencepiece's processor; `size` is V, at most the size that was asked for."""

    model: sentencepiece.SentencePieceProcessor
    size: int

    def encode(self, text: str) -> list[int]:
        """Ids of the text's subwords, without BOS and EOS."""
        return self.model.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text up to the first EOS; PAD and BOS are dropped, ids that no subword has (a model's V may be larger) are unknown."""
        return self.model.decode(self._payload(ids))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The subwords of `decode`, one an id; ▁ stands for a space."""
        return [self.model.id_to_piece(token) for token in self._payload(ids)]

    def fingerprint(self) -> str:
        """sha256 of the stored model."""
        return hashlib.sha256(self.model.serialized_model_proto()).hexdigest()

    def _payload(self, ids: Sequence[int]) -> list[int]:
        out = []
        for token in map(int, ids):
            if token == EOS:
                break
            if token not in (PAD, BOS):
                out.append(token if token < self.size else UNK)
        return out


def train(lines: Iterable[str], vocabulary_size: int) -> bytes:
    """The serialized model; the same lines give the same bytes.

    Fewer subwords than `vocabulary_size` come out where the lines do not hold more. Raises `ConfigError` where it is less than
    the different characters need, and `DataError` where there is no text.
    """
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise DataError("no text to learn subwords from: the training split has only empty lines")
    characters = len(set("".join(lines)) - {" "}) + 1  # and the ▁ that stands for a space
    least = characters + UNK + 1
    if vocabulary_size < least:
        raise ConfigError(
            f"text.vocabulary_size={vocabulary_size} is too small: {characters} different characters and {UNK + 1} special tokens "
            f"need at least {least}"
        )
    model = io.BytesIO()
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
            max_sentence_length=1 << 20,  # bytes; longer lines would be left out
            num_threads=1,  # sums of another number of threads are rounded differently
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNK,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise DataError(f"sentencepiece cannot learn text.vocabulary_size={vocabulary_size} subwords from these lines: {error}") from error
    return model.getvalue()


def read(file: Path) -> Vocabulary:
    """The model that a run stored; `DataError` names a file that cannot be read, or is none."""
    try:
        return from_bytes(files.read_bytes(file))
    except (OSError, DataError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"cannot read {file}: {reason}") from None


def from_bytes(model: bytes) -> Vocabulary:
    """The inverse of `train`; anything else raises `DataError`."""
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.load_from_serialized_proto(model)
        ids = processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id()
        every_id = list(range(processor.get_piece_size()))
        processor.id_to_piece(every_id), processor.decode(every_id)  # raise where a piece is no text
    except Exception as error:  # RuntimeError or another, by what is wrong and by version
        raise DataError(f"the stored vocabulary is damaged or no sentencepiece model ({error})") from error
    if ids != (PAD, BOS, EOS, UNK):
        raise DataError(f"the stored vocabulary has PAD, BOS, EOS, UNK at {ids}; it must be {(PAD, BOS, EOS, UNK)}")
    return Vocabulary(processor, processor.get_piece_size())
