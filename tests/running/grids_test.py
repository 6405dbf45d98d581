"""Cells of images, against the encoder whose memory they are; and what is kept of images and of images of several sizes."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from attention_jax import encoders
from attention_jax.config import Config, DataConfig, ModelConfig, SignalConfig, TextConfig, TrainingConfig
from attention_jax.data import sources
from attention_jax.data.signals import mnist
from attention_jax.report import explorer
from attention_jax.running import evaluation, examples, grids
from attention_jax.running.grids import Grid
from attention_jax.running.resolved import resolve
from tests.built import started
from tests.data.signals.conftest import small_mnist  # noqa: F401  # a fixture

MODEL = ModelConfig(
    encoder="image",
    rows=16,
    kernel=3,
    stride=2,
    convolutions=2,
    hidden_size=4,
    embedding_size=4,
    decoder_size=4,
    attention_size=4,
)
DIGITS = Config(
    model=MODEL,
    data=DataConfig(task="digits", shortest=1, longest=2, eval_lengths=(1, 2, 3), eval_examples=2),
    signal=SignalConfig(height=32, widths=(96,), patch=2, clutter=2, smallest=14, largest=20),
    training=TrainingConfig(seeds=2, updates=2, warmup=1, batch_size=2, chunk=2),
)


def real_cells(weights_TxP: np.ndarray, mask_S: np.ndarray, grid: Grid) -> np.ndarray:
    """Weights of cells, of those that are real in a padded image."""
    rows = -(-grid.rows // grid.side)
    width = -(-int(mask_S.reshape(grid.rows, -1)[0].sum()) // grid.side)
    return weights_TxP.reshape(len(weights_TxP), rows, -1)[:, :, :width].reshape(len(weights_TxP), -1)


@pytest.mark.parametrize(("rows", "columns", "width"), [(16, 20, 20), (16, 20, 13), (6, 5, 5), (7, 9, 2)])
def test_weights_of_cells_are_those_of_memory_vectors(rows, columns, width):
    """What the encoder spreads over places is gathered again, of images whose sides are no multiples of a cell's, and of narrower ones."""
    model = replace(MODEL, rows=rows)
    grid, encoder = grids.of(model, rows), encoders.build(model, model.embedding_size)
    assert grid == Grid(rows, 4) and encoder.spread is not None
    mask_S = np.tile(np.arange(columns) < width, rows)
    P = -(-rows // 4) * -(-columns // 4)
    is_real_P = np.tile(np.arange(-(-columns // 4)) < -(-width // 4), -(-rows // 4))
    weights_TxP = np.random.default_rng(0).dirichlet(np.ones(P), 3).astype(np.float32) * is_real_P
    spread_TxS = np.asarray(encoder.spread(jnp.asarray(weights_TxP)[None], jnp.asarray(mask_S)[None])[0])
    real_S = grids.real(mask_S, rows)
    assert mask_S[real_S].all() and len(real_S) == mask_S.sum()
    found_TxP = grids.celled(spread_TxS[:, real_S], grid)
    assert found_TxP.shape[1] == grids.cells(mask_S, grid)
    np.testing.assert_allclose(found_TxP, real_cells(weights_TxP, mask_S, grid), rtol=1e-5)
    image_YxX = grids.pictured(np.random.default_rng(0).normal(size=(len(real_S), 4)), grid)
    assert image_YxX is not None and image_YxX.size % found_TxP.shape[1] == 0
    kept = examples.of((["0"] * found_TxP.shape[1], ["a"] * 3, None), found_TxP, image_YxX=image_YxX)
    assert examples.from_json(examples.to_json(kept), "x") == kept
    assert explorer.columns(kept) == -(-width // 4)


def test_a_sequence_has_no_cells():
    grid = grids.of(ModelConfig(encoder="pyramidal", layers=2), 1)
    mask_S = np.arange(7) < 4
    assert not grid.is_image and grids.real(mask_S, 1).tolist() == [0, 1, 2, 3] and grids.cells(mask_S, grid) == 4
    assert grids.celled(np.eye(4), grid).shape == (4, 4) and grids.pictured(np.eye(4), grid) is None
    assert not len(grids.real(np.zeros(3, bool), 0))


@pytest.mark.long
def test_large_canvases_are_kept_and_the_picture_is_of_a_trained_length(small_mnist, tmp_path, monkeypatch):  # noqa: F811
    folder, hashes = small_mnist
    monkeypatch.setattr(mnist, "FILES", hashes)
    source = sources.build(DIGITS, None, folder, tmp_path)
    params = started(DIGITS, [0, 1], [0.0, 0.0]).params
    tested = evaluation.Evaluator(resolve(DIGITS), source).tested(params, [0, 1])
    assert {(seed, length) for seed, length, _ in tested.examples} == {(seed, length) for seed in (0, 1) for length in (1, 2, 3)}
    for _, _, example in tested.examples:
        assert len(example.source) == 4 * 12 and example.weights is not None and example.image is not None
        assert examples.pixels(example.image).shape == (32, 96)
    assert len(tested.example["target"]) == 3  # two digits and EOS, of up to three


@pytest.mark.long
def test_images_of_several_widths_are_kept_without_padding(tmp_path):
    """The first one that is tested is narrower than others, with whom it is padded."""
    for number, (split, width) in enumerate((("train", 60), ("train", 48), ("validation", 40), ("test", 20), ("test", 96))):
        pixels = np.random.default_rng(number).integers(0, 256, (32, width), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        with (tmp_path / f"{split}.tsv").open("a") as file:
            file.write(f"{number}.png\t{'word ' * (1 + (split == 'test' and number == 4))}\n")
    config = replace(DIGITS, data=replace(DIGITS.data, task="own_images"), text=TextConfig(unit="word", cut=4))
    (tmp_path / "train.tsv").write_text("0.png\tword word\n1.png\tword\n")
    source = sources.build(config, None, tmp_path, tmp_path)
    params = started(config, [0, 1], [0.0, 0.0], source.sizes).params
    tested = evaluation.Evaluator(resolve(config, source.sizes), source).tested(params, [0, 1])
    found = {length: example for seed, length, example in tested.examples if seed == 0}
    assert [len(found[length].source) for length in (1, 2)] == [4 * 3, 4 * 12]
    narrow = found[1]
    assert narrow.image is not None and examples.pixels(narrow.image).shape == (32, 24) and explorer.columns(narrow) == 3
    pixels = np.random.default_rng(3).integers(0, 256, (32, 20), np.uint8).astype(float)
    shown = examples.pixels(narrow.image)[:, :20]
    assert np.corrcoef(pixels.ravel(), shown.ravel())[0, 1] > 0.999 and not examples.pixels(narrow.image)[:, 20:].any()
    assert np.array(tested.example["image"]).shape == (32, 20)  # the first of its batch
