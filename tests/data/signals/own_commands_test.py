"""The commands of docs/data.md for files of one's own, on small folders of each kind: they train, and tell trained lengths from others."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from attention_jax.running import results
from tests.experiments.command import call

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"
SMALL = (
    "model.hidden_size=4 model.embedding_size=4 model.decoder_size=4 model.attention_size=4 training.updates=2 training.seeds=2 "
    "training.batch_size=4 training.learning_rates=0.01 training.warmup=1 training.chunk=2"
).split()


def pictured(path: Path, rng: np.random.Generator) -> None:
    Image.fromarray(rng.integers(0, 256, (32, int(rng.integers(40, 90)))).astype(np.uint8)).save(path)


def framed(path: Path, rng: np.random.Generator) -> None:
    np.save(path, rng.normal(size=(int(rng.integers(8, 20)), 40)))


def sounded(path: Path, rng: np.random.Generator) -> None:
    wavfile.write(path, 16000, rng.normal(0, 3000, int(rng.integers(4000, 9000))).astype(np.int16))


KINDS = {"own_images": ("png", pictured), "own_frames": ("npy", framed), "own_speech": ("wav", sounded)}


def command_of(task: str) -> list[str]:
    """The arguments of the page's command that trains on such files."""
    blocks = re.findall(r"^```sh\n(python -m experiments\.run [^`]*)```", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    (found,) = [block for block in blocks if f"data.task={task} " in block.replace("\\\n", " ") and "--workdir" in block]
    return shlex.split(found.replace("\\\n", " "))[3:]


@pytest.mark.long
@pytest.mark.parametrize("task", KINDS)
def test_the_command_of_the_page_trains(task, tmp_path):
    suffix, write = KINDS[task]
    rng, arguments, number = np.random.default_rng(0), command_of(task), 0
    lengths = [int(length) for length in next(each for each in arguments if "eval_lengths" in each).split("=")[-1].split(",")]
    trained = lengths[:4]
    for split, counts in (("train", trained), ("validation", trained), ("test", (*lengths, lengths[-1] + 1)), ("test_b", trained)):
        for count in counts:
            name = f"{number}.{suffix}"
            write(tmp_path / name, rng)
            text = " ".join(rng.choice(["no", "yes"], count)) if "text.unit=word" in arguments else "".join(rng.choice(["a", "b"], count))
            with (tmp_path / f"{split}.tsv").open("a") as file:
                file.write(f"{name}\t{text}\n")
            number += 1
    arguments = [each for each in arguments if not each.startswith(("--data_dir", "--workdir"))]
    folders = [f"--data_dir={tmp_path}", f"--workdir={tmp_path / 'runs'}", f"--cache_dir={tmp_path / 'cache'}"]
    assert call(*arguments, *folders, "--index=0", *(f"--set={each}" for each in SMALL)) == 0
    (rows,) = (results.read(path) for path in (tmp_path / "runs").glob("*/*/rows.jsonl"))
    seen = {row["length"]: row["seen"] for row in rows if row["test"] == "test"}
    assert {length for length, is_trained in seen.items() if is_trained} == set(trained) and not all(seen.values())
    assert {row["test"] for row in rows} == {"test", "test_b"}
    (measured,) = (results.read(path) for path in (tmp_path / "runs").glob("*/*/measured.jsonl"))
    assert {(row["baseline"], row["test"]) for row in measured} == {("unigram", "test"), ("unigram", "test_b")}
