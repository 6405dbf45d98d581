"""A user's own images and frames: what is wrong with a folder, by file and line; and a run from the command line, used afterwards."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from attention_jax import trained
from attention_jax.config import Config, DataConfig, SignalConfig, TextConfig, TrainingConfig
from attention_jax.data import signals, sources
from attention_jax.data.signals import own_files
from attention_jax.running import results
from attention_jax.statistics import hypotheses
from attention_jax.system.errors import ConfigError, DataError
from tests.experiments import command

IMAGES = SignalConfig(height=8, widths=(8,), patch=4, smallest=4, largest=4)
FRAMES = replace(IMAGES, features=3)


def image(path, width: int, height: int, seed: int) -> None:
    """Writes a file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def images(tmp_path):
    """A folder of six images, twice as high as they are brought to, with their lists."""
    (tmp_path / "shown").mkdir()
    for number, split in enumerate(("train", "train", "train", "train", "validation", "test")):
        name = f"shown/{number}.png"
        image(tmp_path / name, 16 + 8 * number, 16, number)
        with (tmp_path / f"{split}.tsv").open("a") as file:
            file.write(f"{name}\ttext {number % 3}\n")
    return tmp_path


def scanned(folder):
    """The scan of a folder of images."""
    return own_files.scanned(folder, own_files.images(IMAGES).read)


def test_a_folder_in_order(images):
    found = scanned(images)
    assert not found.faults and not found.notes
    assert {split: [item.text for item in items] for split, items in found.splits.items()} == {
        "train": ["text 0", "text 1", "text 2", "text 0"],
        "validation": ["text 1"],
        "test": ["text 2"],
    }
    assert [item.features_SxF.shape for item in found.splits["train"]] == [(2 * columns, 16) for columns in (2, 3, 4, 5)]
    with Image.open(images / "shown" / "0.png") as file:
        pixels = np.asarray(file.resize((8, 8), Image.Resampling.BILINEAR))
    expected = (pixels.astype(float) - pixels.mean()) / pixels.std()
    np.testing.assert_allclose(found.splits["train"][0].features_SxF[0], expected[:4, :4].ravel(), rtol=1e-5)


FAULTS = {
    "no tab": ("shown/1.png text", r"line 5 has no tab; a line is: name, tab, text$"),
    "no text": ("shown/1.png\t  ", r"line 5 has no text"),
    "no name": ("\ttext", r"line 5 has no name"),
    "an empty line": ("", r"line 5 has no tab"),
    "no file": ("shown/9.png\ttext", r"line 5: there is no file .*shown/9\.png$"),
    "leads out": ("../x.png\ttext", r"line 5: \.\./x\.png leads out of"),
    "absolute": ("/etc/passwd\ttext", r"line 5: /etc/passwd leads out of"),
    "no image": ("train.tsv\ttext", r"line 5: train\.tsv is no image that can be read"),
    "in two splits": ("shown/5.png\ttext", r"test\.tsv, line 1: shown/5\.png has the same content as shown/5\.png .*another split$"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_with_file_and_line(images, fault):
    line, said = FAULTS[fault]
    with (images / "train.tsv").open("a") as file:
        file.write(f"{line}\n")
    found = scanned(images)
    assert len(found.faults) == 1 and re.search(said, found.faults[0]), found.faults
    assert found.faults[0].startswith(str(images))


def test_all_faults_are_found_and_the_first_ends_a_run(images):
    (images / "validation.tsv").unlink()
    (images / "test.tsv").write_bytes(b"shown/5.png\tf\xff\n")
    assert [re.sub(r".*/", "", fault.partition(" is missing")[0].partition(":")[0]) for fault in scanned(images).faults] == [
        "validation.tsv",
        "test.tsv, line 1, byte 14",
    ]
    config = Config(data=DataConfig(task="own_images"), signal=IMAGES, text=TextConfig(unit="word"))
    with pytest.raises(DataError, match=r"validation\.tsv is missing; [^\n]*; 1 more things are wrong, --check_data lists them$"):
        sources.build(config, None, images, images)
    with pytest.raises(DataError, match="is no folder"):
        scanned(images / "nowhere")


def test_images_too_large_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    image(tmp_path / "x.png", 40, 30, 0)
    data = (tmp_path / "x.png").read_bytes()
    monkeypatch.setattr(own_files, "PIXELS", 1000)
    with pytest.raises(DataError, match=r"^x has 40 x 30 pixels, more than 1,000$"):
        own_files.image(IMAGES, data, "x")
    monkeypatch.setattr(own_files, "PIXELS", 2000)
    monkeypatch.setattr(own_files, "WIDEST", 8)
    with pytest.raises(DataError, match=r"^x is 11 pixels wide at signal\.height=8, more than 8$"):
        own_files.image(IMAGES, data, "x")
    monkeypatch.undo()
    for cut in (10, len(data) // 2):
        with pytest.raises(DataError, match=r"^x is no image that can be read"):
            own_files.image(IMAGES, data[:cut], "x")


def npy(path, array) -> bytes:
    """Writes an array, and returns the file's bytes."""
    np.save(path, array, allow_pickle=True)
    return path.read_bytes()


@pytest.mark.parametrize(
    "array, said",
    [
        (np.zeros(3), r"has shape \(3,\) and type float64"),
        (np.zeros((2, 0)), r"has shape \(2, 0\)"),
        (np.array([["a"]]), r"has shape \(1, 1\) and type <U1"),
        (np.array([[None]]), "is no .npy file of numbers"),
        (np.array([[1, 2, np.nan]]), "holds numbers that are not finite"),
        (np.zeros((5, 4)), r"has 4 numbers at each time, and signal\.features=3"),
    ],
)
def test_frames_that_are_none_are_refused(tmp_path, array, said):
    with pytest.raises(DataError, match=f"^x {said}"):
        own_files.frame(FRAMES, npy(tmp_path / "x.npy", array), "x")
    with pytest.raises(DataError, match=r"^x is no \.npy file"):
        own_files.frame(FRAMES, b"no numpy", "x")


def test_frames_are_as_they_are(tmp_path):
    array = np.arange(6).reshape(2, 3)
    found = own_files.frame(FRAMES, npy(tmp_path / "x.npy", array), "x")
    assert found.dtype == np.float32 and np.array_equal(found, array)


def test_every_example_comes_once_and_padding_is_masked(images):
    config = Config(
        data=DataConfig(task="own_images", eval_lengths=(2,)),
        signal=IMAGES,
        text=TextConfig(unit="word", cut=4, buckets=(4,)),
        training=TrainingConfig(batch_size=3),
    )
    source = sources.build(config, None, images, images)
    first, second = source.read.read([0, 1], 0), source.read.read([0, 1], 1)
    assert first.source_BxS.shape == (2, 3, 2 * 7, 16)  # the widest image has 56 pixels at height 8 … of 7 patches, two rows of them
    seen = np.concatenate([first.source_mask_BxS, second.source_mask_BxS], axis=1).sum(2)
    assert [sorted(set(of_seed.tolist())) for of_seed in seen] == [[4, 6, 8, 10]] * 2
    assert not first.source_BxS[~first.source_mask_BxS].any()
    batches = list(source.evaluation("test", [0, 1]))
    assert [batch.example_B.tolist() for batch in batches] == [[[0, -1, -1]] * 2]
    assert source.vocabularies.target.decode(batches[0].target_BxT[0, 0]) == "text 2" and batches[0].length_B[0].tolist() == [2, 0, 0]
    assert not batches[0].target_mask_BxT[:, 1:].any() and source.texts("test").sources == ["shown/5.png"]


def test_a_signal_without_a_folder_or_without_features_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"signal\.folder is not set"):
        own_files.folder_of(IMAGES, None)
    with pytest.raises(DataError, match=r"signal\.folder=x is no folder"):
        own_files.folder_of(replace(IMAGES, folder="x"), tmp_path)
    with pytest.raises(ConfigError, match=r"signal\.features=0: data\.task=own_frames needs to know"):
        signals.check(Config(data=DataConfig(task="own_frames"), signal=IMAGES))


SETTINGS = (
    "model.hidden_size=6 model.embedding_size=4 model.decoder_size=6 model.attention_size=4 model.vector_size=0 data.eval_lengths=1,2,3 "
    "training.seeds=2 training.updates=4 training.batch_size=2 training.learning_rates=0.01 training.warmup=1 training.chunk=2 "
    "training.checkpoint_every=4 text.unit=word text.cut=4 text.buckets=4 text.vocabulary_size=20"
).split()
OF_IMAGES = (
    "data.task=own_images model.rows=2 signal.height=8 signal.widths=8 signal.patch=4 signal.smallest=4 signal.largest=4 "
    "model.convolutions=1"
).split()


def call(folder, settings, *arguments: object) -> int:
    """Exit status of a command on the user's files in `folder`."""
    asked = ["--experiment=spatial", "--arms=soft", *(f"--set={setting}" for setting in (*SETTINGS, *settings))]
    folders = [f"--workdir={folder / 'runs'}", f"--data_dir={folder}", f"--cache_dir={folder / 'cache'}"]
    return command.call(*asked, *folders, *arguments)


@pytest.mark.long
def test_images_through_the_command_line(images, capsys):
    assert call(images, OF_IMAGES, "--check_data") == 0
    assert "most columns of 2 patches" in capsys.readouterr().out
    assert call(images, OF_IMAGES, "--index=0") == 0
    directory = next((images / "runs" / "spatial").glob("soft-*"))
    rows = results.read(directory / "rows.jsonl")
    assert {row["length"] for row in rows} == {2} and {row["seed"] for row in rows} == {0, 1}
    written = hypotheses.read(directory / hypotheses.named(0))
    assert list(written.sources) == ["shown/5.png"] and [list(of) for of in written.references] == [["text 2"]]
    model = trained.load(directory)
    decoded = model.decode([str(images / "shown" / "5.png"), "", str(images / "shown" / "0.png")])
    assert [one.weights_TxS.shape[1] for one in decoded] == [2 * 7, 0, 2 * 2] and decoded[0].image_YxX.shape == (8, 28)
    assert decoded[0].text == written.hypotheses[0][0]
    with pytest.raises(DataError, match=r"^input line 1: there is no file nowhere\.png"):
        model.decode(["nowhere.png"])


@pytest.mark.long
def test_frames_through_the_command_line(tmp_path):
    rng = np.random.default_rng(0)
    for number, split in enumerate(("train", "train", "train", "validation", "test")):
        np.save(tmp_path / f"{number}.npy", rng.normal(size=(4 + number, 3)))
        with (tmp_path / f"{split}.tsv").open("a") as file:
            file.write(f"{number}.npy\tword {number}\n")
    of_frames = "data.task=own_frames signal.features=3 model.encoder=pyramidal model.layers=2 model.coordinates=false model.rows=0".split()
    assert call(tmp_path, of_frames, "--index=0") == 0
    model = trained.load(next((tmp_path / "runs" / "spatial").glob("soft-*")))
    (decoded,) = model.decode([str(tmp_path / "4.npy")])
    assert decoded.weights_TxS.shape[1] == 8 and decoded.image_YxX is None and decoded.source_tokens == list("01234567")
