"""The CMU Pronouncing Dictionary: English words, a spelling and the phones of one or more pronunciations, in ARPAbet.

A source is a word as it is spelled, in small letters with apostrophes, hyphens and full stops; a target is its phones, with spaces
between. The first pronunciation of a word is what is trained on; all of them are references. Published results are for phones without
stress, of which there are 39: so is `en-phones`. `en-stressed` keeps the digit behind a vowel: 0 unstressed, 1 primary, 2 secondary.

Words are split by their hash, as in published work at random: forms of one stem, "abandon" and "abandons", may be in two splits.
"""

import re

import tensorflow_datasets as tfds

from attention_jax.data.corpora import raw
from attention_jax.data.corpora.builder import PairBuilder
from attention_jax.system.errors import DataError

ADDRESS = "https://raw.githubusercontent.com/cmusphinx/cmudict/0f8072f814306c5ee4fbf992ed853601b12c01f9/cmudict.dict"
SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
ENTRY = re.compile(r"(?P<word>[a-z'.-]+)(?:\(\d+\))? (?P<phones>[A-Z]{1,2}[012]?(?: [A-Z]{1,2}[012]?)*)(?: #.*)?")


class Cmudict(PairBuilder):
    """126,052 words, split by md5 of the word (5 % test, 2 % validation): no word is in two splits."""

    HOMEPAGE = "https://github.com/cmusphinx/cmudict"
    LICENSE = "BSD-style, Carnegie Mellon University, LICENSE of the repository"
    CITATION = """@misc{cmudict, title={The {CMU} Pronouncing Dictionary}, author={{Carnegie Mellon University}},
        howpublished={https://github.com/cmusphinx/cmudict}}"""
    LANGUAGES = ("en-phones", "en-stressed")
    COLUMNS = ("source", "target", "others")
    REFERENCES = "others"
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in LANGUAGES]

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, ...]]]:
        splits = {"train": [], "validation": [], "test": []}
        stressed = self.builder_config.name == "en-stressed"  # pyright: ignore[reportOptionalMemberAccess]  # one of the above
        for word, spoken in raw.obtain(place, "cmudict", "cmudict.dict", ADDRESS, _read).items():
            first, *others = dict.fromkeys(spoken if stressed else (re.sub(r"\d", "", phones) for phones in spoken))
            slot = raw.percentile(word)
            split = "test" if slot < 5 else "validation" if slot < 7 else "train"
            splits[split].append((word, first, "\t".join(others)))
        return splits


def _read(data: bytes, where: str) -> dict[str, list[str]]:
    """Returns {word: its pronunciations, in the order of the file}."""
    found: dict[str, list[str]] = {}
    content = raw.verify(data, SHA256, where, f"get it from {ADDRESS}")
    for number, line in enumerate(raw.text(content, where).removesuffix("\n").split("\n"), start=1):
        entry = ENTRY.fullmatch(line)
        if entry is None:
            raise DataError(f"{where}, line {number}: {line[:40]!r} is no entry; a line is: word, space, phones with spaces between")
        found.setdefault(entry["word"], []).append(entry["phones"])
    return found
