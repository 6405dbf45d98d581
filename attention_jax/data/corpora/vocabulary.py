"""Text ↔ ids of tokens: what the vocabularies of all units have in common. Ids 0 to 3 are PAD, BOS, EOS, UNK of `types`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from attention_jax.data.corpora import words
from attention_jax.data.corpora.words import SPACE
from attention_jax.types import BOS, EOS, PAD, UNK

SHOWN = r"\u2581"  # a ▁ of the text, to people, for whom ▁ is a space
SPECIAL = {"pad": "<pad>", "bos": "<s>", "eos": "</s>", "unk": "<unk>"}
ADDS = ("", "", "", " ⁇ ")
"""What PAD, BOS, EOS and UNK add to a text."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a language, or of both. A subclass says how a text is cut: `encode` and `spelled`; and what is stored: `stored`."""

    texts: Sequence[str]  # what each id adds to a text, a space included where it begins a word

    @property
    def size(self) -> int:
        """V, the special tokens included."""
        return len(self.texts)

    @property
    def symbols(self) -> Callable[[str], Sequence[str]] | None:
        """The function that cuts a text into symbols, known or not, in which errors are counted; None where tokens are no symbols."""
        return None

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the text's tokens, without BOS and EOS; none where there is no word."""
        raise NotImplementedError

    def spelled(self, text: str) -> list[str]:
        """Returns the piece of this text behind each id of `encode`, unknown ones included, with a space where it begins a word."""
        raise NotImplementedError

    def stored(self) -> bytes:
        """Returns what is stored, from which the same vocabulary is made again."""
        raise NotImplementedError

    def decode(self, ids: Sequence[int], names: Mapping[int, str] | None = None) -> str:
        """Decodes up to the first EOS, without PAD and BOS; ids of no token (a model of an older version may have more) are unknown.

        `names` are texts by position, which replace unknown ids.
        """
        named = names or {}
        return words.collapsed("".join(named.get(t, self.texts[token]) for t, token in self._payload(ids)))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Returns the tokens of `decode`, one an id; ▁ stands for a space, \\u2581 for a ▁ of the text."""
        return [SPECIAL["unk"] if token == UNK else shown(self.texts[token]) for _, token in self._payload(ids)]

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
    """Returns a token's text for display."""
    return text.replace(SPACE, SHOWN).replace(" ", SPACE)
