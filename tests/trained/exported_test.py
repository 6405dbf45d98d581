"""A run as one file: what comes back is what was written, bit for bit, and what is damaged or foreign is one line."""

import io
import json
import re
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import jax
import numpy as np
import pytest

from attention_jax import config as settings
from attention_jax import trained
from attention_jax.config import ModelConfig
from attention_jax.system.errors import ConfigError, DataError, RunError
from tests.built import SMALL, TEXT, untrained

ROOT = Path(__file__).resolve().parent.parent.parent
READER = re.search(r'^```python title="reader.py"\n(.*?)^```', (ROOT / "docs" / "using.md").read_text(), re.MULTILINE | re.DOTALL)[1]

LINES = ["0 1 2", "", "2", "  1   1 0 ", "0 " * 20, "2 1"]

RUNS = {
    "task": lambda: untrained(SMALL),
    "vector": lambda: untrained(replace(SMALL, model=replace(SMALL.model, vector_size=3))),
    "maxout": lambda: untrained(replace(SMALL, model=replace(SMALL.model, readout="maxout"))),
    "words": lambda: untrained(SMALL, {"unit": "word", "vocabularies": "separate"}),
    "shared characters": lambda: untrained(SMALL, {"unit": "character"}),
    "subwords": lambda: untrained(SMALL, {"vocabulary_size": 60}),
}


@pytest.mark.long
@pytest.mark.parametrize("name", RUNS)
def test_what_comes_back_is_what_was_written(name, tmp_path):
    found = RUNS[name]()
    trained.export(tmp_path / "run.npz", found)
    again = trained.read(tmp_path / "run.npz")
    assert again.config == found.config and again.seeds == found.seeds == (7, 8) and again.run.sizes == found.run.sizes
    assert again.run.model is found.run.model, "the same programs give the same logits, to the last bit"
    jax.tree.map(np.testing.assert_array_equal, again.params, found.params)
    if found.vocabularies is not None:
        assert again.vocabularies.fingerprint() == found.vocabularies.fingerprint()
    trained.export(tmp_path / "again.npz", again)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "run.npz").read_bytes()


def test_one_seed(tmp_path):
    found = RUNS["task"]()
    trained.export(tmp_path / "one.npz", found, [8])
    one = trained.load(tmp_path / "one.npz")
    assert one.seed == 8
    jax.tree.map(np.testing.assert_array_equal, one.params, found.of(8))
    assert trained.load(tmp_path / "one.npz", "ensemble").seed == 8
    for seed, message in ((7, "has no seed 7; valid: 8$"), ("worst", "has no seed 'worst'; valid: 8, best, ensemble")):
        with pytest.raises(RunError, match=message):
            trained.load(tmp_path / "one.npz", seed)
    with pytest.raises(RunError, match=r"has no seed 9; valid: 7 to 8"):
        trained.export(tmp_path / "none.npz", found, [9])
    assert not (tmp_path / "none.npz").exists()


@pytest.mark.long
@pytest.mark.parametrize("name", ["task", "vector", "maxout", "words"])
def test_the_reader_of_the_page_writes_the_same_text(name, tmp_path):
    """It imports NumPy alone; its logits are those of the model within 1e-4."""
    found, names = RUNS[name](), {"__name__": "reader"}
    trained.export(tmp_path / "run.npz", found)
    assert set(re.findall(r"^(?:import|from) (\w+)", READER, re.MULTILINE)) == {"json", "sys", "numpy"}
    exec(compile(READER, "reader.py", "exec"), names)
    lines = LINES if name != "words" else [*TEXT, "", "Hund  sah der", "der Wolf sah"]
    for place, seed in enumerate(found.seeds):
        reader, run = names["Reader"](tmp_path / "run.npz", place), trained.load(tmp_path / "run.npz", seed)
        written = [output.text for output in run.decode(lines)]
        assert [reader.decode(line) for line in lines] == written and len(set(written)) > 2
        ids = np.array([4, 5, 4, 6, 2])
        memory, keys, h = reader.encode(ids)
        prepared, state = jax.jit(run.model.start)(run.params, ids[None], np.ones((1, 5), bool))
        step = jax.jit(run.model.step)
        for token in (1, 5, 4, 4):
            logits, h = reader.step(memory, keys, h, token)
            ours_BxV, _, state = step(run.params, prepared, state, np.array([token]))
            np.testing.assert_allclose(logits, ours_BxV[0], atol=1e-4)


FREE = """attention_size hidden_size embedding_size decoder_size vector_size dropout loop readout residual
pooling alpha window_size baseline entropy_bonus mixing gumbel_temperature location_size filters filter_width mixtures fertility noise
chunk_size kernel stride convolutions rows coordinates""".split()
"""Settings of a model that the reader takes as they are, or that say nothing of such a model."""


def test_the_reader_refuses_every_other_model_and_unit(tmp_path):
    """Each setting that changes what a model computes."""
    trained.export(tmp_path / "run.npz", untrained(SMALL))
    names, data = {"__name__": "reader"}, (tmp_path / "run.npz").read_bytes()
    exec(compile(READER, "reader.py", "exec"), names)
    config = settings.to_json(SMALL)
    defaults = {field.name: field.default for field in fields(ModelConfig) if field.name not in FREE}
    others = {name: {bool: not old, str: "other"}.get(type(old), 3) for name, old in defaults.items()} | {"readout": "linear"}
    changes = [{"config": config | {"model": config["model"] | {name: value}}} for name, value in others.items()] + [{"positions": 24}]
    words = config["text"] | {"unit": "word"}
    changes += [{"positions": 24, "config": config | {"text": words | new}} for new in ({"target_unit": "character"}, {"given": "=>"})]
    for new in changes:
        (tmp_path / "run.npz").write_bytes(changed(data, of_record(**new)))
        with pytest.raises(SystemExit, match=r"^this reader is not for .*=.*: see attention_jax.trained$"):
            names["Reader"](tmp_path / "run.npz")


def changed(data: bytes, change) -> bytes:
    """The archive with {name: content} changed by a function."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    return packed.getvalue()


def of_record(**new):
    def change(content):
        content["run.json"] = json.dumps(json.loads(content["run.json"]) | new).encode()

    return change


def of_array(array):
    def change(content):
        file = io.BytesIO()
        np.save(file, array)
        content["params.logits.bias.npy"] = file.getvalue()

    return change


def without(name):
    return lambda content: content.pop(name)


def setting(section, **new):
    def change(content):
        record = json.loads(content["run.json"])
        record["config"][section] |= new
        content["run.json"] = json.dumps(record).encode()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("run.json"), "it has no run.json"),
        (without("params.logits.bias.npy"), r"'params\.logits\.bias\.npy' is absent"),
        (lambda content: content.update(more=b""), "'more' is no parameter of its model"),
        (lambda content: content.update({"run.json": b"{"}), "no exported run: "),
        (lambda content: content.update({"run.json": b"[1]"}), "not a JSON object"),
        (of_record(seeds=[7]), r"is <f4\[2, .*\], and its model needs <f4\[1, "),
        (of_record(seeds=[7, 7]), "a seed occurs twice"),
        (of_record(seeds=[-1, 0]), "its seeds are no whole numbers"),
        (of_record(sizes=[9, 9]), r"its model has \[9, 9\] tokens, and its task \[7, 7\]"),
        (of_record(sizes=7), "run.json has no sizes"),
        (of_record(format=99), "was written by a newer version"),
        (setting("model", hidden_size=7), "and its model needs"),
        (setting("model", hidden_size=-7), "is not of this version: model.hidden_size=-7 is impossible"),
        (setting("model", attention="magic"), "is not of this version: model.attention='magic' is unknown"),
        (of_array(np.zeros((2, 7), np.float64)), r"is <f8\[2, 7\], and its model needs <f4\[2, 7\]"),
        (of_array(np.full((2, 7), np.nan, np.float32)), "has numbers that are not finite"),
        (of_array(np.array([None])), r"is \|O\[1\], and its model needs <f4"),
        (of_array(np.zeros((7, 2), np.float32).T), "row by row"),
        (lambda content: content.update({"params.logits.bias.npy": b"\x93NUMPY\x03"}), r"is no \.npy of version 1\.0"),
    ],
)
def test_a_foreign_file_is_one_line(change, message, tmp_path):
    trained.export(tmp_path / "run.npz", RUNS["task"]())
    file = tmp_path / "other.npz"
    file.write_bytes(changed((tmp_path / "run.npz").read_bytes(), change))
    with pytest.raises(DataError, match=message) as error:
        trained.load(file)
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_damage_and_what_is_no_archive(tmp_path):
    trained.export(tmp_path / "run.npz", RUNS["task"]())
    data, file = (tmp_path / "run.npz").read_bytes(), tmp_path / "other.npz"
    middle = data.index(b"params.logits.weight.npy") + 200
    for content in (b"", b"no archive", data[:-100], data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]):
        file.write_bytes(content)
        with pytest.raises(DataError, match="damaged"):
            trained.load(file)
    with pytest.raises(RunError, match=r"is no run: it does not exist; a run is a folder such as"):
        trained.load(tmp_path / "absent.npz")


def test_the_best_seed(tmp_path, monkeypatch):
    """The one whose loss on the validation split is lowest; a file of text has none to choose by."""
    found = RUNS["task"]()
    losses_R = found.validation_loss()
    assert losses_R.shape == (2,) and trained.chosen(found, "best").seed == found.seeds[int(losses_R.argmin())]
    with pytest.raises(RunError, match="holds no text to choose a seed by: choose it where the run is exported"):
        trained.chosen(RUNS["words"](), "best")


def test_losses_of_what_has_no_end():
    run = trained.chosen(untrained(replace(SMALL, data=replace(SMALL.data, task="echo", outputs=1, padded_output=True))))
    with pytest.raises(ConfigError, match="padded_output"):
        run.losses(["1"], ["1"])
