"""A checkpoint goes on only with the config and the data it was made with, on whatever devices."""

import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from attention_jax import config as settings
from attention_jax import trained
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, TextConfig, TrainingConfig
from attention_jax.running import checkpoint, failures, logs, loop, results
from attention_jax.running.resolved import resolve
from attention_jax.system.errors import RunError, Stopped, StorageError
from attention_jax.training import compiled

TINY = Config(
    experiment="bottleneck",
    run="tiny",
    model=ModelConfig(hidden_size=6, embedding_size=4),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2), eval_examples=4),
    training=TrainingConfig(seeds=1, updates=2, batch_size=8, learning_rates=(1e-2,), warmup=1, chunk=2, checkpoint_every=2),
)


def longer(config: Config) -> Config:
    """The same run with a larger budget, which is another config."""
    return replace(config, training=replace(config.training, updates=4))


@pytest.mark.long
def test_a_checkpoint_of_another_config_is_refused(tmp_path):
    loop.run(TINY, tmp_path / "one", {})
    shutil.copytree(tmp_path / "one" / "checkpoint", tmp_path / "two" / "checkpoint")
    with pytest.raises(RunError, match=r"checkpoint/2 belongs to another config; use another workdir"):
        loop.run(longer(TINY), tmp_path / "two", {})
    assert (
        settings.fingerprint(TINY) == settings.fingerprint(settings.from_json(settings.to_json(TINY))) != settings.fingerprint(longer(TINY))
    )


@pytest.mark.long
@pytest.mark.usefixtures("tfds")
def test_data_that_changed_are_refused(tmp_path):
    lines = [f"a{i % 7} b{i % 5} c{i}\tx{i % 7} y{i}\n" for i in range(120)]
    file = tmp_path / "lines.tsv"
    file.write_text("".join(lines))
    text = TextConfig(source_file=str(file), vocabulary_size=80, buckets=(24,), cut=24)
    data = replace(TINY.data, task="parallel_text", eval_lengths=(3,))
    config = replace(TINY, data=data, text=text)
    loop.run(config, tmp_path / "run", {}, cache_dir=tmp_path / "cache")
    rows = tmp_path / "run" / "rows.jsonl"
    rows.unlink()
    loop.run(config, tmp_path / "run", {}, cache_dir=tmp_path / "cache")
    rows.unlink()
    file.write_text("".join(line.replace("a1 ", "a2 ") for line in lines))
    with pytest.raises(RunError, match=r"checkpoint/2 belongs to other data; use another workdir"):
        loop.run(config, tmp_path / "run", {}, cache_dir=tmp_path / "cache")


def begin(config: Config, directory, updates: int, monkeypatch) -> None:
    """A process that comes only so far: it is stopped, and saves."""
    before = compiled.advance

    def advance(config, source):
        inner = before(config, source)
        return lambda states, seeds, step, most: inner(states, seeds, step, min(most, updates - step))

    with monkeypatch.context() as patch:
        patch.setattr(compiled, "advance", advance)
        patch.setattr(loop.Run, "stopped", lambda run: "a test" * (logs._at["update"] == updates))
        with pytest.raises(Stopped, match=f"saved at update {updates}"):
            loop.run(config, directory, {})


@pytest.mark.long
@pytest.mark.of_cpus("eight devices")
def test_a_run_of_one_seed_shares_its_batches_and_goes_on_on_fewer_devices(tmp_path, monkeypatch):
    whole = loop.run(TINY, tmp_path / "whole", {})
    assert resolve(TINY).mesh.shape == {"seeds": 1, "data": 8}
    begin(TINY, tmp_path / "part", 1, monkeypatch)
    two = jax.devices()[:2]
    monkeypatch.setattr(jax, "devices", lambda *backend: two)
    rows = loop.run(TINY, tmp_path / "part", {})
    assert resolve(TINY).mesh.shape == {"seeds": 1, "data": 2}
    for row, other in zip(rows, whole, strict=True):
        assert row | {"seconds": 0} == {name: pytest.approx(value, abs=1e-5) for name, value in other.items()} | {"seconds": 0}


@pytest.mark.long
def test_64_bits_change_nothing(tmp_path, monkeypatch):
    """A run that is begun without jax_enable_x64 goes on, is loaded and decodes with it, bit for bit as without."""
    model = replace(TINY.model, dropout=0.3, estimator="reinforce", mixing=0.5)
    config = replace(TINY, model=model, training=replace(TINY.training, updates=6, sampling="scheduled", schedule="luong", chunk=3))
    rows = loop.run(config, tmp_path / "whole", {})
    begin(config, tmp_path / "part", 3, monkeypatch)
    with jax.enable_x64(True):
        assert jax.numpy.ones(1).dtype == np.float64
        like = compiled.shapes(resolve(config))
        assert {x.dtype.name for x in jax.tree.leaves(like)} == {"float32", "int32", "key<fry>"}
        continued = loop.run(config, tmp_path / "part", {})
        fresh = loop.run(config, tmp_path / "fresh", {})
        outputs = decoded(tmp_path / "whole")
    assert timeless(continued) == timeless(fresh) == timeless(rows)
    _, expected, _ = checkpoint.restore(tmp_path / "whole" / "checkpoint", like)
    for name in ("part", "fresh"):
        step, progress, _ = checkpoint.restore(tmp_path / name / "checkpoint", like)
        assert step == 6
        assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(data(a), data(b)), progress, expected))
    assert outputs == decoded(tmp_path / "whole")


def timeless(rows):
    return [row | {"seconds": 0} for row in rows]


def data(x):
    return jax.random.key_data(x) if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def decoded(directory):
    """What each method of search makes of a few lines, with scores."""
    searches = SearchConfig(), SearchConfig("sample", top_k=5, top_p=0.9), SearchConfig("beam", n_best=2, coverage_penalty=0.2)
    run = trained.load(directory)
    return [[[(o.text, o.score) for o in outputs] for outputs in run.decode_n_best(["0 1 2", "2"], settings)] for settings in searches]


def test_a_directory_that_vanishes_is_not_made_again(tmp_path, monkeypatch):
    save = checkpoint.Saver.save

    def vanish(saver, *arguments):
        save(saver, *arguments)
        saver.wait()
        shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr(checkpoint.Saver, "save", vanish)
    with pytest.raises(StorageError, match="run is gone, or cannot be reached: nothing more is written"):
        loop.run(TINY, tmp_path / "run", {})
    assert not (tmp_path / "run").exists()


def test_a_save_that_fails_in_the_background_is_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_seal", refuse)
    with pytest.raises(StorageError, match=r"cannot write a checkpoint to .*checkpoint: full; once that is mended"):
        loop.run(TINY, tmp_path, {})
    monkeypatch.undo()
    assert checkpoint.steps(tmp_path / "checkpoint") == [] and not failures.failed(tmp_path)
    assert np.isfinite([row["exact_match"] for row in loop.run(TINY, tmp_path, {})]).all()
    assert results.read_json(tmp_path / "config.json")["config"]["run"] == "tiny"


def refuse(*arguments):
    raise OSError(28, "full")
