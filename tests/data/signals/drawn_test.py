"""Rows of signals.DRAWN on canvases: what is said is there, in its box; batches are pure functions of (seed, step), of a split's images."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

from attention_jax.config import Config, DataConfig, ModelConfig, SignalConfig
from attention_jax.data import signals, sources
from attention_jax.data.signals import canvas, captions, digits, drawn, mnist
from attention_jax.running import evaluation
from attention_jax.system.errors import ConfigError
from attention_jax.types import EOS, FIRST_SYMBOL, PAD
from tests.data.signals.conftest import BRIGHT

N = 40
BASE = Config(
    model=ModelConfig(encoder="image", rows=16),
    data=DataConfig(task="digits", shortest=2, longest=5, eval_lengths=(2, 5, 6), eval_examples=N),
    signal=SignalConfig(clutter=3, widths=(256, 320)),
)
CASES = {
    "left": BASE,
    "size": replace(BASE, signal=replace(BASE.signal, order="size", smallest=14, largest=42)),
    "query": replace(BASE, signal=replace(BASE.signal, order="query")),
    "captions": replace(BASE, data=replace(BASE.data, task="captions"), signal=replace(BASE.signal, smallest=14, largest=30)),
}
EVERY = pytest.mark.parametrize("name", CASES)


def scenes_of(name: str, data, seed: int = 0, K: int = 5):
    """(scenes, counts) of one draw."""
    config, module = CASES[name], captions if name == "captions" else digits
    rng = np.random.default_rng(seed)
    count_N = rng.integers(2, K + 1, N)
    return module.task(config).draw(rng, data, count_N, K, 256), count_N


def said(target_T) -> list[int]:
    """The words of a target as numbers, without EOS."""
    target = [int(token) for token in target_T if token != PAD]
    assert target[-1] == EOS
    return [token - FIRST_SYMBOL for token in target[:-1]]


def test_every_row_has_a_case():
    of_sound = {"spoken_digits"}  # has tests of its own
    assert {config.data.task for config in CASES.values()} == set(signals.DRAWN) - of_sound
    assert {name for name, config in CASES.items() if config.data.task == "digits"} == set(digits.ORDERS)


@pytest.mark.parametrize("order", digits.ORDERS)
def test_digits_are_read_in_their_order(digits_dir, tmp_path, order):
    """Against plain Python that sees what stands where."""
    data = mnist.read(digits_dir, tmp_path)["train"]
    scenes, count_N = scenes_of(order, data)
    layout = scenes.layout
    for n in range(N):
        count = count_N[n]
        things = [
            (int(layout.left_NxK[n, k]), int(layout.size_NxK[n, k]), int(data.label_N[layout.image_NxK[n, k]]), k) for k in range(count)
        ]
        labels = said(scenes.target_NxT[n])
        if order == "left":
            expected = sorted(things)
        elif order == "size":
            expected = sorted(things, key=lambda thing: thing[1])
            assert len({size for _, size, *_ in things}) == count
        else:
            assert len({label for _, _, label, _ in things}) == count
            right = next(i for i, thing in enumerate(sorted(things)) if thing[2] == labels[0])
            asked = (int(layout.left_NxK[n, -1]), int(layout.size_NxK[n, -1]), labels[0], layout.real_NxK.shape[1] - 1)
            expected = [asked, sorted(things)[right], sorted(things)[right - 1]]
            assert right > 0 and asked[0] + asked[1] < min(things)[0]
        assert labels == [label for _, _, label, _ in expected]
        boxes = layout.box_NxKx4[n, [k for *_, k in expected]]
        assert np.array_equal(scenes.box_NxTx4[n, : len(labels)], boxes) and (scenes.box_NxTx4[n, len(labels) :] == -1).all()


def test_captions_say_what_stands_where(digits_dir, tmp_path):
    data = mnist.read(digits_dir, tmp_path)["train"]
    scenes, count_N = scenes_of("captions", data)
    layout, seen = scenes.layout, set()
    for n in range(N):
        words = [captions.WORDS[number] for number in said(scenes.target_NxT[n])]
        assert len(words) == 4 * count_N[n] - 1
        for k in range(count_N[n]):
            top, left, bottom, right = layout.box_NxKx4[n, k]
            of_object = words[4 * k : 4 * k + 3]
            label = int(data.label_N[layout.image_NxK[n, k]])
            assert of_object == ["a", {14: "small", 30: "large"}[bottom - top], captions.CLASSES["noun"][label]]
            assert (scenes.box_NxTx4[n, 4 * k : 4 * k + 3] == [top, left, bottom, right]).all()
            if k + 1 == count_N[n]:
                continue
            below = layout.box_NxKx4[n, k + 1, [0, 2]].mean() - (top + bottom) / 2
            word = words[4 * k + 3]
            assert right <= layout.left_NxK[n, k + 1]
            assert {"above": below >= captions.APART, "below": below <= -captions.APART, "beside": abs(below) < captions.LEVEL + 1}[word]
            both = layout.box_NxKx4[n, k : k + 2]
            assert scenes.box_NxTx4[n, 4 * k + 3].tolist() == [*both.min(0)[:2], *both.max(0)[2:]]
            seen.add(word)
    assert seen == set(captions.CLASSES["preposition"])


@EVERY
def test_batches_are_a_function_of_seed_and_step(digits_dir, name):
    first, again = (sources.build(CASES[name], None, digits_dir, digits_dir) for _ in range(2))
    one, same, other = first.read.read([3, 4], 7), again.read.read([4, 3], 7), again.read.read([3, 4], 8)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a[::-1], b), one, same))
    assert not np.array_equal(one.source_BxS, other.source_BxS) and not np.array_equal(one.source_BxS[0], one.source_BxS[1])
    assert one.source_BxS.shape == (2, 32, 1024, 16) and one.box_BxTx4 is None
    lengths = one.length_B
    assert lengths.min() == 2 and lengths.max() == 5


def regions(box_BxTx4: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """How much of each place lies within the box of each target token; zeros where there is none."""

    def within(first: int, size: int) -> np.ndarray:
        place_S, (low_BxT, high_BxT) = np.arange(size), (box_BxTx4[..., i] for i in (first, first + 2))
        over_BxTxS = np.minimum(place_S + 1, high_BxT[..., None]) - np.maximum(place_S, low_BxT[..., None])
        return np.maximum(over_BxTxS, 0)

    share_BxTxYxX = within(0, rows)[..., :, None] * within(1, columns)[..., None, :]
    return np.where(box_BxTx4[..., 2:3] > 0, share_BxTxYxX.reshape(*box_BxTx4.shape[:2], rows * columns), 0)


@EVERY
def test_a_split_shows_its_own_images_alone(digits_dir, name):
    """The images of each split have a brightness of their own: no pixel is brighter, and every digit is brighter than those before."""
    source = sources.build(CASES[name], None, digits_dir, digits_dir)
    train = source.read.read([0], 0).source_BxS
    pixel = 255 / canvas.WHITE
    assert round(pixel * float(train.max())) <= BRIGHT["train"]
    for split, darker in (("validation", "train"), *((test, "validation") for test in source.tests)):
        for batch in source.evaluation(split, [0]):
            assert round(pixel * float(batch.source_BxS.max())) <= BRIGHT[split.partition("_")[0]]
            brightest_BxS = batch.source_BxS[0].max(2)
            region_BxTxS = regions(batch.box_BxTx4[0], 16, brightest_BxS.shape[1] // 16)
            of_digit_BxT = np.where(region_BxTxS == 1, brightest_BxS[:, None], 0).max(2)
            assert (pixel * of_digit_BxT[batch.gold_BxT[0] >= 0] > BRIGHT[darker]).all()


@EVERY
def test_evaluation_has_every_length_and_boxes_in_places(digits_dir, name):
    config = CASES[name]
    source = sources.build(config, None, digits_dir, digits_dir)
    assert dict(source.tests) == {"test": "64x256", "test_320": "64x320"} and source.rows == 16
    for split, columns in (("test", 64), ("test_320", 80)):
        batches = list(source.evaluation(split, [0, 1]))
        assert [set(batch.length_B.ravel().tolist()) for batch in batches] == [{2}, {5}, {6}]
        for batch in batches:
            assert batch.source_BxS.shape[1:3] == (N, 16 * columns) and batch.target_BxT.shape[2] <= source.longest_output
            has = batch.box_BxTx4[..., 2] > 0
            assert np.array_equal(has, batch.target_mask_BxT & (batch.target_BxT != EOS)) and np.array_equal(has, batch.gold_BxT >= 0)
            inside = batch.box_BxTx4[has]
            assert (inside >= 0).all() and (inside[:, 2] <= 16).all() and (inside[:, 3] <= columns).all()
    lengths = np.concatenate([batch.length_B for batch in source.evaluation("validation", [0])], axis=1)
    assert lengths.size >= drawn.VALIDATION_EXAMPLES and set(lengths.ravel().tolist()) == {2, 3, 4, 5}


def test_a_blind_source_shows_nothing_and_says_the_same(digits_dir):
    seeing, blind = (
        sources.build(replace(BASE, signal=replace(BASE.signal, dark=blind)), None, digits_dir, digits_dir) for blind in (False, True)
    )
    ours, theirs = (source.read.read([0], 1) for source in (seeing, blind))
    assert np.array_equal(ours.target_BxT, theirs.target_BxT) and ours.source_BxS.any() and not theirs.source_BxS.any()


def test_a_curriculum_begins_with_the_shortest():
    data = replace(BASE.data, curriculum=10)
    drawn_at = {step: drawn.lengths(np.random.default_rng(0), data, step, 500) for step in (0, 5, 10, 99)}
    assert {step: (int(found.min()), int(found.max())) for step, found in drawn_at.items()} == {
        0: (2, 2),
        5: (2, 3),
        10: (2, 5),
        99: (2, 5),
    }


def test_an_image_is_what_its_places_are_patches_of(digits_dir):
    source = sources.build(BASE, None, digits_dir, digits_dir)
    batch = next(iter(source.evaluation("test", [0])))
    image = evaluation.image(batch.source_BxS[0, 0], source.rows)
    patch_F = 255 * batch.source_BxS[0, 0, 70] / batch.source_BxS[0, 0].max()
    assert image.shape == (64, 256) and image[4:8, 24:28].ravel().tolist() == np.rint(patch_F).tolist()


@EVERY
def test_an_image_of_a_canvas_is_read_as_the_source_that_it_shows(digits_dir, tmp_path, name):
    """Pixels of a canvas are bytes, of which 255 is 4 to a model and 0 is 0: a PNG of them is what training saw."""
    config = CASES[name]
    source = sources.build(config, None, digits_dir, digits_dir)
    for split in source.tests:
        shown_SxF = np.asarray(next(iter(source.evaluation(split, [0]))).source_BxS)[0, 3]
        assert shown_SxF.max() == np.float32(4 / 255) * BRIGHT["test"]
        patches_YxXx4x4 = np.rint(shown_SxF * 255 / 4).astype(np.uint8).reshape(16, -1, 4, 4)
        Image.fromarray(np.block([list(row) for row in patches_YxXx4x4])).save(tmp_path / "canvas.png")
        np.testing.assert_array_equal(signals.features(config, str(tmp_path / "canvas.png"), "x"), shown_SxF)
    dark = replace(config, signal=replace(config.signal, dark=True))
    assert not signals.features(dark, str(tmp_path / "canvas.png"), "x").any()


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"signal.widths": (128,)}, r"signal\.widths=\(128,\) has no room for 6 digits of up to 25 pixels"),
        ({"signal.order": "lefft"}, r"signal\.order='lefft' is unknown \(did you mean 'left'\?\)"),
        ({"signal.order": "query", "data.shortest": 1}, r"signal\.order=query needs 2 digits or more"),
        ({"signal.order": "size", "signal.smallest": 24}, "no two digits of a size"),
        ({"signal.patch": 5}, r"signal\.patch=5 must divide signal\.height=64"),
        ({"model.rows": 8}, r"model\.rows=8 is not the number of rows .* set model\.rows=16"),
        ({"model.encoder": "recurrent", "model.copy": True}, r"data\.task=digits has no tokens as sources, and model\.copy=True"),
        ({"data.task": "captions", "signal.smallest": 25}, "captions tell small from large"),
        ({"data.task": "captions", "signal.height": 32, "model.rows": 8}, "has no room above and below"),
        ({"search.replace_unknown": True}, r"search\.replace_unknown=True puts words of the source"),
    ],
)
def test_what_cannot_be_is_refused(settings, said):
    from attention_jax.config import override
    from attention_jax.running.resolved import check

    config = BASE
    for path, value in settings.items():
        config = override(config, path, value)
    with pytest.raises(ConfigError, match=said):
        check(config)
