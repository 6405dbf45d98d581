"""A user's own recordings: what is wrong with a folder, by file and line; and a run from the command line, used afterwards."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import wavfile

from attention_jax import trained
from attention_jax.config import Config, DataConfig, SignalConfig, TextConfig
from attention_jax.data import sources
from attention_jax.data.signals import own_files
from attention_jax.running import results
from attention_jax.system.errors import DataError
from tests.experiments.command import call

RATES = (8000, 16000, 44100, 48000, 22050, 11025)


@pytest.fixture
def recordings(tmp_path):
    """A folder of six recordings, each of another rate, every other one stereo, with their lists."""
    (tmp_path / "wav").mkdir()
    rng = np.random.default_rng(0)
    for number, (split, rate) in enumerate(zip(("train", "train", "train", "train", "validation", "test"), RATES, strict=True)):
        samples = rng.normal(0, 3000, (int(rate * (0.2 + 0.1 * number)), 1 + number % 2)).astype(np.int16)
        wavfile.write(tmp_path / "wav" / f"{number}.wav", rate, samples)
        with (tmp_path / f"{split}.tsv").open("a") as file:
            file.write(f"wav/{number}.wav\tword {number % 3}\n")
    return tmp_path


@pytest.fixture
def several(recordings):
    """The same, with longer texts to test on, and two further test sets."""
    rng = np.random.default_rng(1)
    for number, (split, text) in enumerate((("test", " ".join(["word"] * 3)), ("test_loud", "word 1"), ("test_quiet", "word word"))):
        wavfile.write(recordings / "wav" / f"more{number}.wav", 8000, rng.normal(0, 3000, 2000).astype(np.int16))
        with (recordings / f"{split}.tsv").open("a") as file:
            file.write(f"wav/more{number}.wav\t{text}\n")
    return recordings


def scanned(folder):
    """The scan of a folder of recordings."""
    return own_files.scanned(folder, own_files.speech(SignalConfig(mels=10, stacked=2)).read)


def test_recordings_of_any_rate_take_as_long_as_they_sound(recordings):
    found = scanned(recordings)
    assert not found.faults and not found.notes
    lengths = [len(item.features_SxF) for items in found.splits.values() for item in items]
    for number, length in enumerate(lengths):
        assert abs(length - (0.2 + 0.1 * number - 0.015) / 0.02) <= 1
    assert {item.features_SxF.shape[1] for items in found.splits.values() for item in items} == {20}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("wav/9.wav\ttext", r"line 5: there is no file .*wav/9\.wav$"),
        ("train.tsv\ttext", r"line 5: train\.tsv is no WAV file that can be read"),
        ("wav/cut.wav\ttext", r"line 5: wav/cut\.wav is truncated"),
        ("wav/1.wav text", r"line 5 has no tab; a line is: name, tab, text$"),
        ("wav/5.wav\ttext", r"another split$"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(recordings, line, said):
    (recordings / "wav" / "cut.wav").write_bytes((recordings / "wav" / "3.wav").read_bytes()[:2000])
    with (recordings / "train.tsv").open("a") as file:
        file.write(f"{line}\n")
    found = scanned(recordings)
    assert len(found.faults) == 1 and re.search(said, found.faults[0]) and found.faults[0].startswith(str(recordings)), found.faults


SETTINGS = (
    "data.task=own_speech model.hidden_size=4 model.embedding_size=4 model.decoder_size=4 model.attention_size=4 data.eval_lengths=1,2 "
    "training.seeds=2 training.updates=2 training.batch_size=2 training.learning_rates=0.01 training.warmup=1 training.chunk=2 "
    "text.unit=word text.cut=4 text.buckets=4 text.vocabulary_size=20 signal.mels=10"
).split()


def called(folder, *arguments: object) -> int:
    """Exit status of a command on the user's recordings in `folder`."""
    command = ["--experiment=spoken_digits", "--arms=location_aware", *(f"--set={setting}" for setting in SETTINGS)]
    folders = [f"--workdir={folder / 'runs'}", f"--data_dir={folder}", f"--cache_dir={folder / 'cache'}"]
    return call(*command, *folders, *arguments)


@pytest.mark.long
def test_test_sets_and_lengths_beyond_training_through_the_command_line(several, capsys):
    """Trained lengths are those of train.tsv, whose texts have two words; errors of the most frequent one are counted by hand."""
    assert called(several, "--set=data.eval_lengths=1,2,3") == 0
    assert "nothing is tested that is 10 times as long as L = 2, the longest is 3" in capsys.readouterr().out
    directory = next((several / "runs" / "spoken_digits").glob("location_aware-*"))
    found = {(row["test"], row["length"], row["seen"]) for row in results.read(directory / "rows.jsonl")}
    assert found == {("test", 2, True), ("test", 3, False), ("test_loud", 2, True), ("test_quiet", 2, True)}
    unigram = {(row["test"], row["length"]): row["error_rate"] for row in results.read(directory / "measured.jsonl")}
    assert unigram == {("test", 2): 0.5, ("test", 3): 0.0, ("test_loud", 2): 0.5, ("test_quiet", 2): 0.0}


def test_trained_lengths_are_those_of_the_training_texts(several):
    config = Config(
        data=DataConfig(task="own_speech", eval_lengths=(1, 2, 3, 9)), signal=SignalConfig(mels=10), text=TextConfig(unit="word", cut=9)
    )
    assert sources.build(config, None, several, several).longest == 2
    coarse = replace(config, data=replace(config.data, eval_lengths=(1, 9)))
    assert sources.build(coarse, None, several, several).longest == 9  # texts of two words are in the bucket of 2 to 9
    beyond = replace(config, data=replace(config.data, eval_lengths=(1,)))
    assert sources.build(beyond, None, several, several).longest == 2
    (several / "test.tsv").write_text("wav/more0.wav\tword word word\n")
    with pytest.raises(DataError, match=r"test\.tsv: every text is longer than those of train\.tsv, 3 tokens or more"):
        sources.build(config, None, several, several)


@pytest.mark.long
def test_recordings_through_the_command_line(recordings, capsys):
    assert called(recordings, "--check_data") == 0
    assert "most times" in capsys.readouterr().out
    assert called(recordings) == 0
    assert (recordings / "runs" / "spoken_digits" / "report.html").exists()
    directory = next((recordings / "runs" / "spoken_digits").glob("location_aware-*"))
    free = [row for row in results.read(directory / "rows.jsonl") if row["mode"] == "free"]
    assert {row["length"] for row in free} == {2} and all(row["reference_symbols"] == 2 and row["error_rate"] >= 0 for row in free)
    names = [str(recordings / "wav" / f"{number}.wav") for number in (5, 0, 3)]
    together, (alone,) = trained.load(directory).decode(names), trained.load(directory).decode(names[1:2])
    assert [one.weights_TxS.shape[1] for one in together] == [-(-frames // 4) for frames in (68, 18, 48)]
    assert together[1].text == alone.text
    np.testing.assert_allclose(together[1].weights_TxS, alone.weights_TxS, atol=1e-5)
