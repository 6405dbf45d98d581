"""A run used: what comes out is what greedy search says of that line alone, in order, whatever stands beside it."""

import jax
import numpy as np
import pytest

from attention_jax import checkpoint, loop, search, trained, training
from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.types import EOS, FIRST_SYMBOL, DataError, RunError

TINY = Config(
    experiment="bottleneck",
    run="tiny",
    model=ModelConfig(hidden_size=6, embedding_size=4),
    data=DataConfig(symbols=3, longest=3, eval_lengths=(1, 2, 4), eval_examples=4),
    training=TrainingConfig(seeds=2, first_seed=7, updates=6, batch_size=4, learning_rates=(2e-2,), warmup=1, chunk=2, checkpoint_every=4),
)
LINES = ["0 1 2", "", "2", "  1   1 0 ", "0 " * 20, "2 1"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained")
    loop.run(TINY, path, {"attention": "additive"})
    return path


@pytest.fixture(scope="module")
def loaded(directory):
    return trained.load(directory)


def test_decode_is_greedy_search_line_by_line(loaded):
    for line, decoded in zip(LINES, loaded.decode(LINES), strict=True):
        if not line:
            assert decoded.text == "" and decoded.source_tokens == decoded.output_tokens == [] and decoded.weights_TxS.size == 0
            continue
        tokens = [int(word) + FIRST_SYMBOL for word in line.split()] + [EOS]
        S = -(-len(tokens) // 16) * 16
        source_1xS = np.array([tokens + [0] * (S - len(tokens))])
        output, weights = search.greedy(loaded.model, loaded.params, source_1xS, np.arange(S)[None, :] < len(tokens), S)
        output = np.asarray(output[0])
        T = list(output).index(EOS) + 1 if EOS in output else S
        assert decoded.source_tokens == [*line.split(), "⏎"]
        words = {0: "·", 1: "⇤", 2: "⏎", 3: "?"}
        assert decoded.output_tokens == [words.get(t, str(t - FIRST_SYMBOL)) for t in output[:T]]
        assert decoded.text == " ".join(token for token in decoded.output_tokens if token != "⏎")
        assert decoded.weights_TxS.shape == (T, len(tokens))
        np.testing.assert_allclose(decoded.weights_TxS, weights[0, :T, : len(tokens)], atol=1e-5)
        np.testing.assert_allclose(decoded.weights_TxS.sum(1), 1, atol=1e-5)


def test_neighbours_and_order_change_nothing(loaded):
    outputs = [decoded.text for decoded in loaded.decode(LINES)]
    assert [loaded.decode([line])[0].text for line in LINES] == outputs
    many = LINES * 12  # more than one batch
    assert [decoded.text for decoded in loaded.decode(many)] == outputs * 12
    assert [decoded.text for decoded in loaded.decode(many[::-1])] == outputs[::-1] * 12
    assert loaded.decode([]) == []


def test_a_very_long_input(loaded):
    short, long = loaded.decode(["0 1 2", "0 1 2 " * 400])
    assert short.text == loaded.decode(["0 1 2"])[0].text
    assert len(long.source_tokens) == 1201 and long.weights_TxS.shape == (len(long.output_tokens), 1201)
    assert 0 < len(long.output_tokens) <= 1216


@pytest.mark.parametrize("word", ["3", "-1", "x", "1.0", "²", "9" * 5000, "1_0"])
def test_an_unknown_symbol_is_named_with_its_line(loaded, word):
    with pytest.raises(DataError, match=r"input line 3: '.{1,40}' is no symbol of copy; valid: 0 to 2$"):
        loaded.decode(["1", "", f"0 {word} 1"])


def test_seeds(directory, loaded):
    like = loop.start(TINY, [7, 8], [0.0, 0.0])
    _, progress, _ = checkpoint.restore(directory / "checkpoint", like)
    for seed, run in ((7, loaded), (7, trained.load(directory, 7)), (8, trained.load(str(directory), seed=8))):
        assert run.seed == seed and run.config == TINY and run.vocabulary is None
        assert run.model is training.build(TINY.model, 7)
        jax.tree.map(lambda x, y, r=seed - 7: np.testing.assert_array_equal(x[r], y), progress.states.params, run.params)
    with pytest.raises(RunError, match=r"has no seed 0; valid: 7 to 8"):
        trained.load(directory, 0)


def test_what_is_no_run(directory, tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(RunError, match=r"is no run: it has no config\.json"):
            trained.load(path)
    (tmp_path / "config.json").write_bytes((directory / "config.json").read_bytes())
    with pytest.raises(RunError, match=r"has no checkpoint yet: train it first"):
        trained.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        trained.load(tmp_path)
