import gzip
import hashlib
import io
import re
import tarfile
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data.corpora import reuters
from attention_jax.data.corpora.archives import listing
from attention_jax.data.corpora.pairs import load
from attention_jax.system.errors import DataError

CONFIG = Config(data=replace(Config().data, task="reuters"), text=TextConfig(languages="lead-headline"))


def story(split: str, title: str, lead: str, rest: str = "    More of it.\n") -> str:
    head = f'<REUTERS TOPICS="NO" LEWISSPLIT="{split}" CGISPLIT="TRAINING-SET" OLDID="1" NEWID="1">\n<DATE>26-FEB-1987</DATE>\n&#5;\x07\n'
    body = f"<DATELINE>    X, Feb 26 - </DATELINE><BODY>{lead}\n{rest} Reuter\n&#3;</BODY>"
    return f"{head}<TEXT>&#2;\n<TITLE>{title}</TITLE>\n{body}</TEXT>\n</REUTERS>\n"


def lead(name: str) -> str:
    return f"{name} Industries Inc &lt;XYZ.O> said it will sell all of its shares of\n{name} Oil &amp; Gas Co."


NAMES = [f"{a}{b}{c}on" for a in ("Alph", "Bet", "Gamm", "Delt", "Epsil") for b in ("al", "er", "im", "or", "um") for c in "bdgk"]
TRAIN = [story("TRAIN", f"{name.upper()} &lt;XYZ> TO SELL SHARES", lead(name)) for name in NAMES]
TEST = [story("TEST", f"{name.upper()} TO SELL SHARES", lead(name)) for name in ("Kappon", "Lambdon")]


def write(folder, monkeypatch, files: dict[str, str], stories: int | None = None) -> None:
    folder.mkdir(exist_ok=True)
    content = {name: text.encode("latin-1") for name, text in files.items()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in {"README.txt": b"read me", **content}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (folder / "reuters21578.tar.gz").write_bytes(gzip.compress(packed.getvalue()))
    monkeypatch.setattr(reuters, "SHA256", hashlib.sha256(listing(content)).hexdigest())
    monkeypatch.setattr(reuters, "STORIES", sum(text.count("<REUTERS ") for text in files.values()) if stories is None else stories)


def test_leads_and_headlines_are_cleaned_and_split_by_date(tmp_path, monkeypatch, caplog):
    write(tmp_path / "raw", monkeypatch, {"reut2-000.sgm": "<!DOCTYPE>\n" + "".join(TRAIN), "reut2-001.sgm": "".join(TEST)})
    splits = load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    assert splits["test"].targets == ["kappon to sell shares", "lambdon to sell shares"]
    assert splits["test"].sources[0] == "kappon industries inc said it will sell all of its shares of kappon oil & gas co."
    assert len(splits["train"].sources) + len(splits["validation"].sources) == len(NAMES)
    assert splits["train"].targets[0].endswith(" to sell shares") and "free for research" in caplog.text


REPEATED = [
    story("TRAIN", "KAPPON SELLS ALL SHARES", lead("Kappon")),  # the lead of a test story
    story("TRAIN", "LAMBDON TO SELL SHARES", lead("Sigmon")),  # its headline
    story("TRAIN", "TAUON TO SELL SHARES", lead("Tauon")),
    story("TRAIN", "TAUON SELLING SHARES", lead("Tauon")),  # told twice
    story("NOT-USED", "RHOON TO SELL SHARES", lead("Rhoon")),
    story("TRAIN", "PHION 4TH QTR NET", "Shr 12 cts vs 10 cts"),  # a table
    story("TRAIN", "PSION 1ST QTR", "Shr 12 cts vs 10 cts, net 12.1 mln vs 10.2 mln, sales 120 mln vs 99 mln psion."),  # figures
    story("TRAIN", "STOCKS RISE", lead("Chion")),  # nothing in common
]


def test_stories_of_no_use_and_those_of_another_split_are_left_out(tmp_path, monkeypatch):
    write(tmp_path / "raw", monkeypatch, {"reut2-000.sgm": "".join([*TRAIN, *REPEATED, *TEST])})
    splits = load(CONFIG, tmp_path / "raw", tmp_path / "cache")
    kept = [*splits["train"].targets, *splits["validation"].targets]
    assert sorted(set(kept) - {f"{name.lower()} to sell shares" for name in NAMES}) == ["tauon to sell shares"]


@pytest.mark.parametrize(
    ("files", "stories", "message"),
    [
        ({"a.sgm": "<REUTERS >"}, 1, r"a\.sgm, story 1 has no </REUTERS>"),
        ({"a.sgm": "<REUTERS ></REUTERS>"}, 1, r"a\.sgm, story 1 has no LEWISSPLIT"),
        ({"a.sgm": TRAIN[0]}, 2, r"reuters21578\.tar\.gz has 1 stories, and the collection 2"),
        ({"a.sgm": story("TRAIN", "A <TITLE> WITHOUT", "<BODY>") + TRAIN[0]}, None, "no pair is left for the validation split"),
    ],
)
def test_broken_files_are_named(tmp_path, monkeypatch, files, stories, message):
    write(tmp_path, monkeypatch, files, stories)
    with pytest.raises(DataError, match=message):
        load(CONFIG, tmp_path, tmp_path / "cache")


def test_changed_truncated_and_missing_files(tmp_path, monkeypatch):
    write(tmp_path, monkeypatch, {"a.sgm": "".join(TRAIN)})
    monkeypatch.setattr(reuters, "SHA256", "0" * 64)
    with pytest.raises(
        DataError, match=r"reuters21578\.tar\.gz \(1 \.sgm files\) has other content.*get it from https://kdd\.ics\.uci\.edu"
    ):
        load(CONFIG, tmp_path, tmp_path / "cache")
    path = tmp_path / "reuters21578.tar.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"reuters21578\.tar\.gz is truncated"):
        load(CONFIG, tmp_path, tmp_path / "cache")
    path.unlink()
    (tmp_path / "other").touch()
    with pytest.raises(DataError, match=r"reuters21578\.tar\.gz is missing; get it from https://kdd.*--data_dir"):
        load(CONFIG, tmp_path, tmp_path / "cache")


@pytest.mark.long
def test_the_published_collection(tmp_path, data_dir):
    splits = load(CONFIG, data_dir, tmp_path)
    assert {name: len(split.sources) for name, split in splits.items()} == {"train": 9504, "validation": 514, "test": 4163}
    for side in (lambda split: split.sources, lambda split: split.targets):  # neither a lead nor a headline is in two splits
        found = [{re.sub("[^a-z0-9]", "", text) for text in side(split)} for split in splits.values()]
        assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]
    texts = [text for split in splits.values() for text in (*split.sources, *split.targets)]
    assert all(text == text.lower() and "<" not in text and "&lt;" not in text and text.isprintable() for text in texts)
