"""Multi30k, task 1: captions of Flickr images in German, English and French, one line a sentence (Elliott et al. 2016, 2017)."""

from itertools import permutations

import tensorflow_datasets as tfds

from attention_jax.data.corpora import archives, raw
from attention_jax.data.corpora.builder import PairBuilder

ADDRESS = "https://raw.githubusercontent.com/multi30k/dataset/2cc0f2d7c615b60e07e2d51bb5edc004444d7e0e/data/task1/raw/"
FILES = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
SHA256 = {
    "train.de": "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
    "train.en": "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
    "train.fr": "5925a3c18f1587b6b54b87743106e6e8ab93618edb6f65d19eac0621f853a10d",
    "val.de": "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
    "val.en": "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
    "val.fr": "5304e444d842e962b2dda4d816b70b22a1765b15401642b7ca37a67477e708dc",
    "test_2016_flickr.de": "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
    "test_2016_flickr.en": "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
    "test_2016_flickr.fr": "cb3160d69b002bb638e66cc7612fcd56cb0af82eadc9c142dedc438afb885ef6",
}
"""Of the unpacked text, which outlives a repacked .gz."""


class Multi30k(PairBuilder):
    """29,000 training, 1,014 validation and 1,000 test captions (test_2016_flickr), split by file."""

    HOMEPAGE = "https://github.com/multi30k/dataset"
    LICENSE = "none stated for the text; research use"
    CITATION = """@inproceedings{elliott2016multi30k, title={Multi30K: Multilingual English-German Image Descriptions},
        author={Elliott, Desmond and Frank, Stella and Sima'an, Khalil and Specia, Lucia},
        booktitle={Proceedings of the 5th Workshop on Vision and Language}, pages={70--74}, year={2016}}"""
    RESTRICTED = True
    LANGUAGES = tuple("-".join(pair) for pair in permutations(("de", "en", "fr"), 2))
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=pair) for pair in LANGUAGES]

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, str]]]:
        source, target = self.builder_config.name.split("-")  # pyright: ignore[reportOptionalMemberAccess]  # one of the above
        return {split: _align(place, f"{stem}.{source}", f"{stem}.{target}") for split, stem in FILES.items()}


def _align(place: raw.Place, source: str, target: str) -> list[tuple[str, str]]:
    return raw.align(_lines(place, source), _lines(place, target), source, target)


def _lines(place: raw.Place, name: str) -> list[str]:
    def read(data: bytes, where: str) -> list[str]:
        content = archives.gunzip(data, where)
        return raw.lines(raw.verify(content, SHA256[name], where, f"get it from {ADDRESS}{name}.gz"), where)

    return raw.obtain(place, "multi30k", f"{name}.gz", f"{ADDRESS}{name}.gz", read)
