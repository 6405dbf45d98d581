"""Python's documentation, English → Spanish, from its gettext catalogues: the one corpus here with naturally long sentences."""

import re

import tensorflow_datasets as tfds

from attention_jax.data.corpora import archives, po, raw, words
from attention_jax.data.corpora.builder import PairBuilder

ADDRESS = "https://github.com/python/python-docs-es/archive/91f4ccc0baa8c7cbeb739e696c641388264caa30.zip"
SHA256 = "5773de534d679db6a067477fb88cbca46fb21bb30fb09ce7afff315ff6567df8"  # of the listing of all 512 .po files
TOP = re.compile(r"python-docs-es-[^/]+/")  # the folder that a download has everything in
REPAIRS = {"library/re.po": ('msgstr * (asterisco)"', 'msgstr "* (asterisco)"')}  # a quote that this commit lacks
FEWEST = 4  # words on either side: shorter ones are index entries and headings


class PythonDocs(PairBuilder):
    """39,508 pairs of 512 files, split by file: md5(path) % 100 < 12 test, < 18 validation, else train; never by row.

    Cleaned: reST markup removed; pairs with under four words or no letters on a side, or with equal sides, left out; an English
    text that occurs again (in a later file, or with another translation) counts once, so none is in two splits.
    """

    HOMEPAGE = "https://github.com/python/python-docs-es"
    LICENSE = "CC0 (translations)"
    CITATION = """@misc{pythondocses, title={Spanish translation of the Python documentation}, author={{python-docs-es volunteers}},
        howpublished={https://github.com/python/python-docs-es}, year={2024}}"""
    LANGUAGES = ("en-es",)
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=pair) for pair in LANGUAGES]

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, str]]]:
        splits, seen = {"train": [], "validation": [], "test": []}, set()
        for path, text in raw.obtain(place, "python_docs", "python-docs-es.zip", ADDRESS, _read).items():
            slot = raw.percentile(path)
            split = "test" if slot < 12 else "validation" if slot < 18 else "train"
            for pair in po.parse(text, path):
                english, spanish = map(po.prose, pair)
                if _is_prose(english) and _is_prose(spanish) and english != spanish and english not in seen:
                    seen.add(english)
                    splits[split].append((english, spanish))
        return splits


def _is_prose(text: str) -> bool:
    return len(words.split(text)) >= FEWEST and any(character.isalpha() for character in text)


def _read(data: bytes, where: str) -> dict[str, str]:
    members = archives.unzip(data, where, lambda path: path.endswith(".po"))
    files = {TOP.sub("", path, count=1): members[path] for path in sorted(members)}
    raw.verify(archives.listing(files), SHA256, f"{where} ({len(files)} .po files)", f"get it from {ADDRESS}")
    texts = {path: raw.text(content, f"{where}, {path}") for path, content in files.items()}
    return texts | {path: texts[path].replace(*repair) for path, repair in REPAIRS.items() if path in texts}
