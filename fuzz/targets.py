"""What reads bytes that others wrote, and what must hold whatever they are: a right result, or a clear error of one line. And loops over
bodies that bytes stand for (bodies.py).

A target's `check(data)` raises only where the code under test is wrong; `seeds` are valid inputs to begin from. The same targets are
tried with damaged seeds by tests/fuzz_test.py and, guided by coverage, by `make fuzz`.
"""

import gzip
import json
import re
import warnings
import zipfile
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np

from attention_jax import config as settings
from attention_jax.config import Config, DataConfig, ModelConfig
from attention_jax.data.corpora import archives, downloads, links, po, raw, subwords, symbols, vocabularies
from attention_jax.report import explorer, report
from attention_jax.running import examples, results, watching
from attention_jax.running.resolved import resolve
from attention_jax.statistics import hypotheses, sentences
from attention_jax.statistics.hypotheses import Written
from attention_jax.statistics.sentences import Sentences
from attention_jax.system.errors import ConfigError, DataError, RunError
from attention_jax.trained import Trained, exported
from attention_jax.trained.stored import Stored
from fuzz import bodies
from fuzz.files import FOLDER, WHERE, file_of, one_line, zipped


class Target(NamedTuple):
    """`check` raises where something is wrong with how it is read; `seeds` are read as they should be."""

    check: Callable[[bytes], None]
    seeds: list[bytes]


ROWS = [
    {"experiment": "copy", "run": run, "seed": seed, "length": 4, "mode": mode, "budget": 10, "exact_match": 0.1 + seed, "note": "größer"}
    for run in ("additive", "summary")
    for seed in (0, 1)
    for mode in ("free", "forced")
]


def check_rows(data: bytes) -> None:
    """Every row that comes back is one that was written, as often as its line is there; appending repairs a torn end and no more."""
    path = file_of(data)
    try:
        rows = results.read(path)
    except DataError as error:
        one_line(error, rf"{re.escape(str(path))}, line \d+ is damaged: ")
        return
    if b'"crc32"' in data:
        assert all(row in ROWS for row in rows), rows
    try:
        merged = results.merge([path])
        assert merged == rows
    except DataError as error:
        one_line(error, rf"{re.escape(str(path))}, line \d+ (has no|repeats) ")
    new = {**ROWS[0], "seed": 7}
    results.append(path, [new])
    assert results.read(path) == [*rows, new]


def check_unchecked_rows(data: bytes) -> None:
    """Rows of other programs, without checksums: objects, or an error with file and line."""
    check_rows(data.replace(b"crc32", b"other"))


def check_config(data: bytes) -> None:
    """What trained.load and claim_directory do with a config.json."""
    path = file_of(data)
    try:
        stored = results.read_json(path)
    except RunError as error:
        one_line(error, re.escape(str(path)))
        return
    folder = FOLDER / "run"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(data)
    try:
        results.claim_directory(folder, settings.to_json(Config()), {"jax": "1"})
    except RunError as error:
        one_line(error, re.escape(str(folder)))
    try:
        config = settings.from_json(stored.get("config"))
    except ConfigError as error:
        one_line(error)
        return
    assert settings.from_json(json.loads(json.dumps(settings.to_json(config)))) == config
    check_valid(config)


def check_valid(config: Config) -> None:
    """A config that `validate` lets pass can be hashed, fingerprinted and is of bounded size."""
    try:
        settings.validate(config)
    except ConfigError as error:
        one_line(error)
        return
    hash(config), settings.fingerprint(config)
    assert all(value < 2**31 for value in settings.leaves(config).values() if isinstance(value, int))


def check_settings(data: bytes) -> None:
    """Texts of --set, one a line."""
    texts = data.decode("utf-8", "surrogateescape").split("\n")
    try:
        config = settings.override_all(Config(), texts)
    except ConfigError as error:
        one_line(error)
        return
    check_valid(config)


def check_example(data: bytes) -> None:
    """An example.json becomes a panel with weights that fit its tokens."""
    path = file_of(data)
    try:
        panel = report.panel("run", results.read_json(path), str(path))
    except (DataError, RunError) as error:
        one_line(error, re.escape(str(path)))
        return
    if panel.weights_TxS is not None:
        assert panel.weights_TxS.shape == (len(panel.target_tokens), len(panel.source_tokens))


def check_examples(data: bytes) -> None:
    """An examples.json becomes views that a page shows, whatever its texts are; a record of a training does, too."""
    path = file_of(data)
    for read in (examples.read, watching.read):
        try:
            found = read(path)
        except (DataError, RunError) as error:
            one_line(error, re.escape(str(path)))
            continue
        shown = [each["example"] for each in found] if read is examples.read else [x for each in found.snapshots for x in each.examples]
        views = [explorer.View(0, (i,), example) for i, example in enumerate(shown)]
        page = explorer.data(explorer.Explorer(["run"], [explorer.Facet("line", [str(i) for i in range(len(views))])], views))
        rows = json.loads(page)["views"]
        assert [len(row[3]) for row in rows] == [len(example.output) for example in shown[: len(rows)]]


def check_po(data: bytes) -> None:
    """Pairs of texts, and prose without markup or line breaks."""
    try:
        pairs = po.parse(raw.text(data, WHERE), WHERE)
    except DataError as error:
        one_line(error, rf"^{WHERE}(, line \d+|: ends in the middle)")
        return
    for pair in pairs:
        assert all(pair) and not any("\n" in po.prose(text) for text in pair)


def check_columns(data: bytes) -> None:
    """As many pairs as lines, none of them empty."""
    try:
        pairs = raw.columns(data, WHERE)
    except DataError as error:
        one_line(error, rf"^{WHERE}, line \d+")
        return
    assert len(pairs) == data.removesuffix(b"\n").count(b"\n") + 1 and all(map(all, pairs))


def check_lines(data: bytes) -> None:
    """As many sentences as lines, none of them empty."""
    try:
        sentences = raw.lines(data, WHERE)
    except DataError as error:
        one_line(error, rf"^{WHERE}(, line \d+| is empty)")
        return
    assert len(sentences) == data.removesuffix(b"\n").count(b"\n") + 1 and all(sentences)


def check_links(data: bytes) -> None:
    """A set of links a line, which are read back from what is written of them."""
    try:
        found = links.read(data, WHERE)
    except DataError as error:
        one_line(error, rf"^{WHERE}(, line \d+|: no link names a word 0)")
        return
    for number, of_pair in enumerate(found):
        assert of_pair.sure <= of_pair.possible
        assert links.parse(links.text(of_pair.possible), WHERE).sure == of_pair.possible
        try:
            links.check(of_pair, "a b c", "d e", f"{WHERE}, line {number}")
        except DataError as error:
            one_line(error)


def check_vocabulary(unit: str, data: bytes) -> None:
    """A vocabulary that is read has ids in range, and decodes whatever it encodes."""
    try:
        vocabulary = vocabularies.UNITS[unit].from_bytes(data)
    except DataError as error:
        one_line(error, "the stored vocabulary")
        return
    for text in ("the old dog", "größer ▁ \0 中文", "", " a  b "):
        ids = vocabulary.encode(text)
        assert all(0 <= token < vocabulary.size for token in ids)
        assert (
            isinstance(vocabulary.decode(ids), str)
            and len(vocabulary.spelled(text)) == len(ids)
            and len(vocabulary.pieces(ids)) <= len(ids)
        )
    vocabulary.decode(range(vocabulary.size)), vocabulary.pieces(range(vocabulary.size))


@cache
def model() -> bytes:
    """A small vocabulary."""
    return subwords.train([f"{a} {b} {c}" for a in ("the", "an") for b in ("old", "young") for c in ("dog", "man")], 40)


@cache
def trained() -> list[Trained]:
    """Runs that read text, symbols, and symbols on a field; without parameters."""
    synthetic = [Trained(Config(data=DataConfig(task=task, longest=3)), None, None, None, 0) for task in ("copy", "recall", "spot")]
    return [Trained(Config(data=DataConfig(task="multi30k")), vocabularies.shared(subwords.from_bytes(model())), None, None, 0), *synthetic]


def check_inputs(data: bytes) -> None:
    """Lines to decode: token ids within the vocabulary, or an error that names the line."""
    for run in trained():
        for number, line in enumerate(data.decode("utf-8", "surrogatepass" if data.isascii() else "replace").split("\n"), start=1):
            for text in (line, line + "\ud800"):
                try:
                    ids = run._encode(text, number)
                except DataError as error:
                    one_line(error, f"^input line {number}: ")
                else:
                    assert all(type(token) is int and 0 <= token < 2**20 for token in ids)


def check_gzip(data: bytes) -> None:
    """Bounded content, or an error."""
    try:
        content = archives.gunzip(data, WHERE)
    except DataError as error:
        one_line(error, f"^{WHERE}")
        return
    assert len(content) <= max(archives.ALWAYS, archives.RATIO * len(data))


def check_zip(data: bytes) -> None:
    """Bounded content of plain files with plain names, or an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            members = archives.unzip(data, WHERE, lambda path: True)
    except DataError as error:
        one_line(error, f"^{WHERE}")
        return
    assert sum(map(len, members.values())) <= max(archives.ALWAYS, archives.RATIO * len(data))
    assert not any(name.startswith("/") or ".." in name.split("/") or "\\" in name for name in members)


def check_part(data: bytes) -> None:
    """What is left of a download is used only with the version of the file that it is of."""
    with file_of(data).open("rb") as file:
        validator, content = downloads._kept(file, "http://x/a")
    assert bool(validator) == bool(validator.isprintable() and validator.isascii() and validator)
    assert not content or (validator and data.endswith(content))


def check_loop(data: bytes) -> None:
    """The gradients of a loop over the body that the bytes stand for."""
    bodies.check(data)
    jax.clear_caches()


PO = r"""msgid ""
msgstr "Project-Id-Version: x\n"

#: ../Doc/a.rst:1
#, python-format
msgid "**See** "
":mod:`~abc.d`, ``x``, `two <http://a.b>`_ [1]_ *and* :pep:`8`::"
msgstr "\"Ver\" \\ :ref:`abc`.\t"

msgctxt "menu"
msgid "file"
msgid_plural "files"
msgstr[0] "archivo"
msgstr[1] "archivos"

#, fuzzy
#~ msgid "gone"
#~ msgstr "ido"
"""

CONFIG = {"config": settings.to_json(Config()), "environment": {"jax": "1", "device_count": 2}}
EXAMPLES = [{"seed": 0, "length": 1} | examples.to_json(examples.of((["3", "⏎"], ["<b>", "⏎"], ["1"]), np.eye(2), np.ones(2)))]
WATCHED = {"updates": 4, "seeds": [0], "done": 2, "points": [[2, [1.5]]], "snapshots": [{"update": 2, "examples": EXAMPLES}]}
EXAMPLE = {"source": ["3", "▁größer", "⏎"], "output": ["1", "⏎"], "target": ["1", "⏎"], "weights": [[0.5, 0.5, 0.0], [0, 0.25, 0.75]]}
SET = "model.hidden_size=64\n data.eval_lengths = 1,2,30 \ntraining.learning_rates=1e-3,0.002\nmodel.residual=true\nexperiment=a=b"


def check_sentences(data: bytes) -> None:
    """`data` are packed first: gzip's checksum leaves little else to find."""
    try:
        found = sentences.read(file_of(gzip.compress(data)))
    except DataError as error:
        return one_line(error, "is damaged, or no file of sentences")
    sentences.write(FOLDER / "again", found)
    for ours, theirs in zip(found, sentences.read(FOLDER / "again"), strict=True):
        assert np.array_equal(ours, theirs), (ours, theirs)


def kept_sentences() -> bytes:
    """What is packed of two seeds and three sentences."""
    integers_4xN = np.arange(1, 13, dtype=np.int32).reshape(4, 3)
    counts_RxN, symbols_N = np.ones((2, 3), np.int32), np.full(3, 4, np.int32)
    found = Sentences((0, 1), np.full((2, 3), 2.5, np.float32), *integers_4xN, counts_RxN, counts_RxN, symbols_N)
    sentences.write(FOLDER / "kept", found)
    return gzip.decompress((FOLDER / "kept").read_bytes())


def check_hypotheses(data: bytes) -> None:
    """Packed first, as in `check_sentences`."""
    try:
        found = hypotheses.read(file_of(gzip.compress(data)))
    except DataError as error:
        return one_line(error, "is damaged, or no file of hypotheses")
    hypotheses.write(FOLDER / "again", found)
    assert hypotheses.read(FOLDER / "again") == found


def kept_hypotheses() -> bytes:
    """What is packed of two seeds and two sentences."""
    hypotheses.write(FOLDER / "kept", Written((0, 1), ["ein Satz", ""], [["a"], ["b", "c"]], [["größer", "\u2028"], ["", "x"]]))
    return gzip.decompress((FOLDER / "kept").read_bytes())


@cache
def exported_run() -> dict[str, bytes]:
    """What an exported run holds: two seeds of a tiny model."""
    run = resolve(Config(model=ModelConfig(hidden_size=2, embedding_size=2), data=DataConfig(symbols=2, longest=3)))
    shapes = jax.eval_shape(run.model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.ones((2, *leaf.shape), leaf.dtype), shapes)
    exported.write(FOLDER / "exported", Stored(FOLDER, run, None, (0, 1), params), (0, 1))
    with zipfile.ZipFile(FOLDER / "exported") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def check_exported(data: bytes) -> None:
    """A run that is written as it was read, or an error that names the file."""
    path = file_of(data)
    try:
        found = exported.read(path)
    except DataError as error:
        return one_line(error, re.escape(str(path)))
    exported.write(FOLDER / "again", found, found.seeds)
    again = exported.read(FOLDER / "again")
    assert (again.config, again.seeds) == (found.config, found.seeds) and jax.tree.all(
        jax.tree.map(np.array_equal, again.params, found.params)
    )


def check_member(name: str) -> Callable[[bytes], None]:
    """The bytes in the place of one member of an exported run, in an archive that is whole."""
    return lambda data: check_exported(zipped(exported_run() | {name: data}, zipfile.ZIP_STORED))


READERS = {
    "rows": Target(check_rows, [results.lines(ROWS), results.lines(ROWS[:3]), b""]),
    "rows without checksums": Target(check_unchecked_rows, [results.lines(ROWS, checked=False), results.lines(ROWS[:2], checked=False)]),
    "sentences": Target(check_sentences, [kept_sentences()]),
    "hypotheses": Target(check_hypotheses, [kept_hypotheses()]),
    "exported run": Target(check_exported, [zipped(exported_run(), zipfile.ZIP_STORED)]),
    "exported run's settings": Target(check_member("run.json"), [exported_run()["run.json"]]),
    "exported run's array": Target(check_member("params.logits.bias.npy"), [exported_run()["params.logits.bias.npy"]]),
    "config.json": Target(check_config, [json.dumps(CONFIG).encode(), json.dumps(CONFIG["config"]).encode()]),
    "examples.json": Target(check_examples, [json.dumps({"examples": EXAMPLES}).encode(), json.dumps(WATCHED).encode()]),
    "example.json": Target(check_example, [json.dumps(EXAMPLE).encode(), json.dumps(EXAMPLE | {"weights": None}).encode()]),
    "--set": Target(check_settings, [SET.encode()]),
    "gettext": Target(check_po, [PO.encode()]),
    "TSV": Target(check_columns, [b"a\tb\nc d\te\xc3\xa4\tf\r\n", b"\xef\xbb\xbfa\tb"]),
    "lines": Target(check_lines, ["ein  Satz\r\nzwei\u2028Teile\u00a0hier \n".encode()]),
    "links": Target(check_links, [b"0-0 1-2\r\n\n 3?1  3p1\t0-1"]),
    "subwords": Target(partial(check_vocabulary, "subword"), [model()]),
    "words": Target(partial(check_vocabulary, "word"), [symbols.learn_words(["the old dog größer", "a  b"], 20)]),
    "characters": Target(partial(check_vocabulary, "character"), [symbols.learn_characters(["the old dog größer", "▁ b"], 20)]),
    "inputs": Target(check_inputs, ["the old dog größer\n3 1 4\n\n0 0 0 0 0 0 0 0 1".encode()]),
    "gzip": Target(check_gzip, [gzip.compress(b"one two\n" * 40, mtime=0)]),
    "zip": Target(check_zip, [zipped({"a/b.po": b"one two\n" * 40, "c": b""}), zipped({"a": b"x"}, zipfile.ZIP_STORED)]),
    "download": Target(check_part, [b'{"address": "http://x/a", "validator": "\\"1\\""}\nabc']),
}
"""By the name that `make fuzz` prints."""

TARGETS = READERS | {"loops": Target(check_loop, [b"a body", b"another"])}
"""And what takes a second for each input."""
