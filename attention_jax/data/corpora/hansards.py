"""Hansards of the 36th Parliament of Canada, and the 447 sentences whose words were aligned by hand for a shared task of 2003.

The hand-made alignments are of text in a spelling of its own: tokenised, contractions resolved (*le Orateur*, *de le opposition*). The
training text has no accents, and punctuation joins its words. Both become words of one spelling: lower case without accents, punctuation
apart, the contractions of French resolved. A word of the aligned text stays one word, so that its links stay true.
"""

import hashlib
import re
import unicodedata

import tensorflow_datasets as tfds

from attention_jax.data.corpora import archives, gold, links, raw, words
from attention_jax.data.corpora.builder import PairBuilder
from attention_jax.system.errors import DataError

PAGE = "https://www.isi.edu/division3/natural-language/download/hansard/"  # the release that the training text is a part of
TRAINING = "hansard36.tar.xz"
TRAINING_SHA256 = "24ab4e40f3490f640df91517fa8ed07f94c0a88a74c0611721d3fc14d52d0767"  # of the listing of all 828 files of Training/
ALIGNED = "https://raw.githubusercontent.com/neulab/awesome-align/bfd8f6f87901b62aecc9ded28736453c92d9ca21/examples/"
ALIGNED_SHA256 = {
    "enfr.src-tgt": "19d56c3de3634ab8420d553df4d9dfd849502b18225f1599382e98a6de9cfc72",
    "enfr.gold": "0a11b51cba8a92a7608fb00884cb3cf50fe0fcc4e4aa92d70624fd11451c4ddd",
}
FOLDER = "Training/"
VALIDATION = 1  # percent of the English sentences
ABBREVIATIONS = frozenset("mr. mrs. ms. m. mm. hon. dr. st. no. p.m. a.m.".split())
TOKEN = re.compile(r"\d+(?:[.,]\d+)*|'s\b|\.\.\.|--|[a-z]+|[^\sa-z\d]")
LIGATURES = str.maketrans({"œ": "oe", "Œ": "oe", "æ": "ae", "Æ": "ae"})
ELIDED = {"qu": "que", "jusqu": "jusque", "lorsqu": "lorsque", "puisqu": "puisque", "quelqu": "quelque"} | {x: f"{x}e" for x in "cdjlmnst"}
ELISION = re.compile(rf"\b({'|'.join(ELIDED)})'\s*")
CONTRACTIONS = {"du": "de le", "des": "de les", "au": "a le", "aux": "a les"}


class Hansards(PairBuilder):
    """305,000 pairs of at most 38 words; test: 447 sentences with sure and possible links. Split by md5 of the English sentence.

    No sentence of one split, English or French, is in another: pairs of validation that share one with the test are left out, and pairs of
    training that share one with either.
    """

    HOMEPAGE = PAGE
    LICENSE = "none stated; research use"
    CITATION = """@inproceedings{mihalcea2003, title={An Evaluation Exercise for Word Alignment}, author={Mihalcea, Rada and Pedersen, Ted},
        booktitle={HLT-NAACL 2003 Workshop: Building and Using Parallel Texts}, pages={1--10}, year={2003}}"""
    RESTRICTED = True
    LANGUAGES = ("en-fr",)  # the other way: text.swapped
    COLUMNS = ("source", "target", "links")  # links: of the test split, in Pharaoh format
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=pair) for pair in LANGUAGES]

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, ...]]]:
        test = aligned(place)
        return apart(raw.given(place, "hansards", TRAINING, f"a part of {PAGE}, which offers other packages", pairs), test)


def apart(train: list[tuple[str, str]], test: list[tuple[str, str, str]]) -> dict[str, list[tuple[str, ...]]]:
    """Splits training pairs by md5 of the English sentence, without those that share a sentence with a later split."""
    splits: dict[str, list[tuple[str, ...]]] = {"train": [], "validation": [], "test": list(test)}
    for pair in train:
        splits["validation" if raw.percentile(pair[0]) < VALIDATION else "train"].append((*pair, ""))
    return raw.apart(splits)


def aligned(place: raw.Place) -> list[tuple[str, str, str]]:
    """Reads the test sentences and their links: (English, French, links in Pharaoh format)."""

    def file(name: str) -> tuple[bytes, str]:
        remedy = f"get it from {ALIGNED}{name}"
        return raw.obtain(
            place, "hansards", name, ALIGNED + name, lambda data, where: (raw.verify(data, ALIGNED_SHA256[name], where, remedy), where)
        )

    (text, where), (linked, of_links) = file("enfr.src-tgt"), file("enfr.gold")
    sides = [tuple(fold(side) for side in line.split("|||")) for line in raw.text(text, where).removesuffix("\n").split("\n")]
    if wrong := [number for number, found in enumerate(sides, start=1) if len(found) != 2]:
        raise DataError(f"{where}, line {wrong[0]} is not: English ||| French")
    found = gold.read(linked, of_links, [(source, target) for source, target in sides])
    return [(source, target, links.spelled(each)) for (source, target), each in zip(sides, found, strict=True)]


def fold(text: str) -> str:
    """Returns a text in lower case without accents, one space between words; a word stays a word."""
    decomposed = unicodedata.normalize("NFD", text.translate(LIGATURES).replace("«", '"').replace("»", '"'))
    return words.collapsed("".join(c for c in decomposed if not unicodedata.combining(c)).lower())


def english(line: str) -> str:
    """Returns an English line of the training text in the spelling of the aligned text."""
    return " ".join(_tokens(re.sub(r"n't\b", " not", fold(line))))


def french(line: str) -> str:
    """Returns a French line of the training text in the spelling of the aligned text: l'honneur du Canada → le honneur de le canada."""
    text = fold(line).replace("aujourd'hui", "aujourd_hui")
    found = _tokens(ELISION.sub(lambda match: f"{ELIDED[match[1]]} ", text))
    return " ".join(CONTRACTIONS.get(word, word) for word in found).replace("aujourd _ hui", "aujourd' hui")


def _tokens(text: str) -> list[str]:
    return [token for word in words.split(text) for token in ([word] if word in ABBREVIATIONS else TOKEN.findall(word))]


def pairs(data: bytes, where: str) -> list[tuple[str, str]]:
    """Reads the archive of the training text: (English, French) in the order of its files; pairs without a word on a side are left out."""
    members = archives.untar(data, where, lambda path: path.startswith(FOLDER) and path.endswith((".e", ".f")))
    listed = "".join(f"{path} {hashlib.sha256(members[path]).hexdigest()}\n" for path in sorted(members)).encode()
    raw.verify(
        listed, TRAINING_SHA256, f"{where} ({len(members)} files in {FOLDER})", f"it has to be the part of {PAGE} named in docs/data.md"
    )
    found = []
    for path in sorted(members):
        if path.endswith(".e"):
            other = f"{path[:-1]}f"
            ours, theirs = (members.get(each, b"").decode("latin-1").removesuffix("\n").split("\n") for each in (path, other))
            found += [(english(e), french(f)) for e, f in raw.align(ours, theirs, f"{where}, {path}", other)]
    return [pair for pair in found if all(pair)]
