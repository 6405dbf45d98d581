"""What the loader says of a licence that is not for every use."""

import gzip
import hashlib
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config
from attention_jax.data import corpora
from attention_jax.data.corpora import multi30k
from attention_jax.data.corpora.pairs import load

CONFIG = Config(data=replace(Config().data, task="multi30k"))


@pytest.mark.parametrize("name", corpora.TABLE)
def test_what_is_for_research_alone_is_marked_so(name):
    """Python's documentation, Tatoeba, CMUdict and SNLI may be used for anything, and text of one's own is one's own."""
    builder = corpora.TABLE[name]()
    assert builder.LICENSE
    says = any(word in builder.LICENSE for word in ("research", "not for commercial use"))
    assert says == (name in ("multi30k", "hansards", "reuters", "sick")) and says == builder.RESTRICTED


def test_it_is_said_when_the_corpus_is_built_and_not_again(tmp_path, monkeypatch, caplog):
    files = {f"{stem}.{language}": f"{language} {stem}\n".encode() for stem in multi30k.FILES.values() for language in ("de", "en")}
    for name, content in files.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(multi30k, "SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    load(CONFIG, tmp_path, tmp_path / "cache")
    assert caplog.text.count("multi30k: none stated for the text; research use; see https://github.com/multi30k/dataset") == 1
    load(CONFIG, tmp_path, tmp_path / "cache")
    assert caplog.text.count("research use") == 1
