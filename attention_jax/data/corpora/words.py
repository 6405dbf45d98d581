"""What a word is, here and nowhere else: what Unicode white space separates, as Python's `str.split` says.

A no-break space, a tab and an ideographic space separate words as a space does; a zero-width space and a ▁ do not. Lengths in rows and
axes, links between words, subwords and decoding all count by `split`; text is compared and encoded as `collapsed`.
"""

SPACE = "▁"
"""Stands for a space in subwords as sentencepiece and people spell them: the first subword of a word begins with it."""


def split(text: str) -> list[str]:
    """The words of a text; none where it is empty or white space only."""
    return text.split()


def collapsed(text: str) -> str:
    """The text with one space between words, and none around them."""
    return " ".join(split(text))


def disputed(text: str) -> list[str]:
    """What is one word to programs that know ASCII white space only, as aligners do, and none or several here."""
    return [word for word in map(bytes.decode, text.encode().split()) if len(split(word)) != 1]
