"""Tatoeba's English–French sentences as manythings.org offers them for Anki: short, one pair a line, sorted by length."""

import tensorflow_datasets as tfds

from attention_jax.data.corpora import archives, raw
from attention_jax.data.corpora.builder import PairBuilder
from attention_jax.system.errors import DataError

ADDRESS = "https://www.manythings.org/anki/fra-eng.zip"
MEMBER = "fra.txt"
SHA256 = "2546838ae46e0eac4c02ab7032ea0a02a006074a5340077a36a9444f41e02888"  # of fra.txt as published on 2017-09-29
OTHER_VERSION = (
    f"the list at {ADDRESS} changes over time, this builder knows the one of 2017-09-29; another one works as a user's own: "
    "unzip it, --set data.task=parallel_text --set text.source_file=fra.txt"
)


class Tatoeba(PairBuilder):
    """142,159 pairs, split by md5 of the English sentence (2 % test, 2 % validation), never by row.

    No sentence of one split, English or French, is in another: of 142,787 pairs 618 of training and 10 of validation are left out for it.
    """

    VERSION = tfds.core.Version("1.1.0")
    HOMEPAGE = "https://www.manythings.org/anki/"
    LICENSE = "CC BY 2.0 (France), https://tatoeba.org"
    CITATION = """@misc{tatoeba, title={Tatoeba: a collection of sentences and translations}, howpublished={https://tatoeba.org}}"""
    LANGUAGES = ("en-fr", "fr-en")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=pair) for pair in LANGUAGES]

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, ...]]]:
        splits: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
        for english, french in raw.obtain(place, "tatoeba", "fra-eng.zip", ADDRESS, _read):
            slot = raw.percentile(english)
            split = "test" if slot < 2 else "validation" if slot < 4 else "train"
            splits[split].append((english, french) if self.builder_config.name == "en-fr" else (french, english))  # pyright: ignore[reportOptionalMemberAccess]  # one of the above
        return raw.apart(splits)


def _read(data: bytes, where: str) -> list[tuple[str, str]]:
    members = archives.unzip(data, where, lambda path: path == MEMBER)
    if MEMBER not in members:
        raise DataError(f"{where} has no {MEMBER} in it; {OTHER_VERSION}")
    where = f"{where}, {MEMBER}"
    return raw.columns(raw.verify(members[MEMBER], SHA256, where, OTHER_VERSION), where)
