import hashlib
import io
import lzma
import tarfile
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow_datasets", reason="TFDS is not installed: pip install -e .")

from attention_jax.config import Config, TextConfig
from attention_jax.data.corpora import hansards, raw
from attention_jax.data.corpora.pairs import load
from attention_jax.system.errors import DataError

CONFIG = Config(data=replace(Config().data, task="hansards"), text=TextConfig(languages="en-fr"))
ENGLISH = [f"Order {i}, please." for i in range(200)] + ["The House sat.", "Oh, oh!", "Mr. Speaker, I don't know."]
FRENCH = [f"A l'ordre {i}." for i in range(200)] + ["La Chambre a siege.", "Bravo!", "M. le President, je n'en sais rien."]
ALIGNED = "The house sat .   ||| la Chambre a siégé .  \nbravo !   ||| oh , oh !  \n"
LINKS = "1p1 2-2 3-3 3-4 4-5\n1p1 2-4\n"


def packed(files: dict[str, bytes]) -> bytes:
    """A .tar.xz."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def text(lines) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("latin-1")


FILES = {
    "Training/b.e": text(ENGLISH[100:]),
    "Training/b.f": text(FRENCH[100:]),
    "Training/a.e": text(ENGLISH[:100]),
    "Training/a.f": text(FRENCH[:100]),
    "Testing/Task5.e": b"no training text\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Small files in place of the publishers', and their hashes in place of theirs."""
    path = tmp_path / "raw"
    path.mkdir()
    (path / hansards.TRAINING).write_bytes(packed(FILES))
    listed = "".join(f"{name} {hashlib.sha256(FILES[name]).hexdigest()}\n" for name in sorted(FILES) if name.startswith("Training/"))
    monkeypatch.setattr(hansards, "TRAINING_SHA256", hashlib.sha256(listed.encode()).hexdigest())
    contents = {"enfr.src-tgt": ALIGNED.encode(), "enfr.gold": LINKS.encode()}
    for name, content in contents.items():
        (path / name).write_bytes(content)
    monkeypatch.setattr(hansards, "ALIGNED_SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
    return path


@pytest.mark.parametrize(
    ("side", "line", "found"),
    [
        (hansards.english, "Mr. Mac Harb (Ottawa Centre, Lib.):", "mr. mac harb ( ottawa centre , lib . ) :"),
        (hansards.english, "It isn't Canada's $65.5 million.", "it is not canada 's $ 65.5 million ."),
        (hansards.french, "L'inefficacite du Canada coute aux agriculteurs.", "le inefficacite de le canada coute a les agriculteurs ."),
        (hansards.french, "Aujourd'hui, qu'il s'en aille...", "aujourd' hui , que il se en aille ..."),
        (hansards.french, "M. Garry (Yorkton-Melville, Réf.): ", "m. garry ( yorkton - melville , ref . ) :"),
        (hansards.fold, " Le  cœur de Québec ; «Œuvre» ", 'le coeur de quebec ; "oeuvre"'),
    ],
)
def test_spelling(side, line, found):
    assert side(line) == found


def test_splits_share_no_sentence_and_links_are_of_the_test(tmp_path, folder):
    splits = load(CONFIG, folder, tmp_path / "cache")
    assert list(splits) == ["train", "validation", "test"] and len(splits["validation"].sources) > 0
    for side in ("sources", "targets"):
        texts = [set(getattr(pairs, side)) for pairs in splits.values()]
        assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    held = {"the house sat .", "bravo !"}
    assert not held & set(splits["train"].sources + splits["validation"].sources) and "oh , oh !" not in splits["train"].targets
    assert "oh , oh !" in splits["train"].sources + splits["validation"].sources  # of the test's it is a target alone
    test = splits["test"]
    assert (test.sources[0], test.targets[0]) == ("the house sat .", "la chambre a siege .")
    assert test.gold[0] == ({(1, 1), (2, 2), (2, 3), (3, 4)}, {(0, 0), (1, 1), (2, 2), (2, 3), (3, 4)})
    assert splits["train"].gold is None and test.links is None


def test_source_and_target_change_places(tmp_path, folder):
    one, other = (load(replace(CONFIG, text=replace(CONFIG.text, swapped=each)), folder, tmp_path / "cache") for each in (False, True))
    assert one["train"].sources == other["train"].targets and one["train"].targets == other["train"].sources
    assert [{(j, i) for i, j in of.possible} for of in one["test"].gold] == [of.possible for of in other["test"].gold]


def test_what_is_missing_truncated_or_changed_is_one_line(tmp_path, folder):
    archive = folder / hansards.TRAINING
    whole = archive.read_bytes()
    for content, message in (
        (whole[:-60], r"hansard36\.tar\.xz is (truncated|damaged)"),
        (b"no archive, but words", r"hansard36\.tar\.xz is damaged or no xz file"),
        (lzma.compress(b"no tar"), r"hansard36\.tar\.xz is truncated, damaged or no tar file"),
        (packed(FILES | {"Training/a.e": b"another\n"}), r"hansard36\.tar\.xz \(4 files in Training/\) has other content than expected"),
        (packed({"Training/a.e": b"x\n"}), r"\(1 files in Training/\) has other content"),
    ):
        archive.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load(CONFIG, folder, tmp_path / "cache")
    archive.unlink()
    with pytest.raises(DataError, match=r"hansard36\.tar\.xz is missing, and cannot be downloaded: it is a part of https://www\.isi\.edu"):
        load(CONFIG, folder, tmp_path / "cache")
    archive.write_bytes(whole)
    (folder / "enfr.gold").write_text("1-1\n1-1\n")
    with pytest.raises(DataError, match=r"enfr\.gold has other content .*https://raw\.githubusercontent\.com/.*enfr\.gold"):
        load(CONFIG, folder, tmp_path / "cache")


def test_the_published_sentences(data_dir):
    """All but the training text, which takes a minute."""
    rows = hansards.aligned(raw.Place(data_dir, data_dir))
    counts = [sum(line.count(kind) for *_, line in rows) for kind in "-?"]
    assert (len(rows), *counts) == (447, 4038, 13400)
    assert rows[7][:2] == rows[6][:2] and max(len(source.split()) for source, *_ in rows) == 30
    (data_dir / "hansards" / hansards.TRAINING).stat()


def test_a_link_of_a_tar_is_not_followed(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        member = tarfile.TarInfo("Training/a.e")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match=r"'Training/a\.e' is no plain file within the archive"):
        hansards.pairs(out.getvalue(), "x.tar.xz")
