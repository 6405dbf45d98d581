"""The definition of a word: words are separated by Unicode white space, as in Python's `str.split`.

A no-break space, a tab and an ideographic space separate words as a space does; a zero-width space and a ▁ do not. Lengths in words,
links between words, subwords and decoding all count by `split`; text is compared and encoded as `collapsed`.

A source's length, in rows, axes and `text.max_words`, counts words or characters, as `text.lengths` says.
"""

SPACE = "▁"
"""Stands for a space in subwords as sentencepiece and people spell them: the first subword of a word begins with it."""


def split(text: str) -> list[str]:
    """Splits a text into words; none where it is empty or white space only."""
    return text.split()


def collapsed(text: str) -> str:
    """Returns the text with one space between words, and none around them."""
    return " ".join(split(text))


LENGTHS = {"words": split, "characters": collapsed}
"""{value of text.lengths: what a text is cut into to be counted}; of characters the space between words is one."""


def length(text: str, unit: str) -> int:
    """Counts the words or the characters of a text; `unit` is a value of `text.lengths`."""
    return len(LENGTHS[unit](text))


def disputed(text: str) -> list[str]:
    """Returns words of ASCII white space, as aligners split, that are no or several words here."""
    return [word for word in map(bytes.decode, text.encode().split()) if len(split(word)) != 1]


def parted(text: str, word: str) -> tuple[str, str, str]:
    """Splits a text at the first `word` in it, which is empty in the result where the text lacks it: (before, the word, behind)."""
    found = split(text)
    if word not in found:
        return collapsed(text), "", ""
    place = found.index(word)
    return " ".join(found[:place]), word, " ".join(found[place + 1 :])


def behind(text: str, word: str) -> str:
    """Returns what is behind the first `word` of a text: nothing where the text lacks it, all of it where `word` is empty."""
    return parted(text, word)[2] if word else text
