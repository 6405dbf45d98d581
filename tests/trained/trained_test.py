"""A run used: what comes out is what greedy search says of that line alone, in order, whatever stands beside it."""

import os
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from attention_jax import model, trained
from attention_jax.config import Config, DataConfig, ModelConfig, SearchConfig, TextConfig, TrainingConfig
from attention_jax.data.corpora import subwords, vocabularies
from attention_jax.data.corpora.vocabulary import Vocabulary
from attention_jax.model import search
from attention_jax.running import checkpoint, loop, results
from attention_jax.running.resolved import resolve
from attention_jax.system import machine
from attention_jax.system.errors import ConfigError, DataError, RunError
from attention_jax.trained import batching
from attention_jax.training import compiled
from attention_jax.types import EOS, FIRST_SYMBOL, UNK, Model

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


find = jax.jit(search.decode, static_argnames=("model", "positions", "settings"))
SEARCHES = {
    "greedy": SearchConfig(),
    "sample": SearchConfig("sample", temperature=2.0),
    "beam": SearchConfig("beam", beam_size=3, n_best=2, length_penalty=0.6),
}


@pytest.mark.long
@pytest.mark.parametrize("method", SEARCHES)
def test_decode_is_a_search_line_by_line(loaded, method):
    """Of each line alone; a draw depends on the number of the line."""
    settings = SEARCHES[method]
    for number, (line, best) in enumerate(zip(LINES, loaded.decode_n_best(LINES, settings), strict=True)):
        assert len(best) == (settings.n_best if line else 1)
        if not line:
            assert (
                best[0].text == ""
                and best[0].source_tokens == best[0].output_tokens == []
                and best[0].weights_TxS.size == best[0].score == 0
            )
            continue
        tokens = [int(word) + FIRST_SYMBOL for word in line.split()] + [EOS]
        S = -(-len(tokens) // 16) * 16
        source_1xS = np.array([tokens + [0] * (S - len(tokens))])
        mask_1xS, example_1 = np.arange(S)[None, :] < len(tokens), np.array([number])
        found = find(loaded.model, loaded.params, source_1xS, mask_1xS, S, settings, example_B=example_1)
        for n, decoded in enumerate(best):
            output = found.tokens_BxNxT[0, n].tolist()
            T = output.index(EOS) + 1 if EOS in output else S
            assert decoded.source_tokens == [*line.split(), "⏎"]
            words = {0: "·", 1: "⇤", 2: "⏎", 3: "<unk>"}
            assert decoded.output_tokens == [words[t] if t in words else str(t - FIRST_SYMBOL) for t in output[:T]]
            assert decoded.text == " ".join(token for token in decoded.output_tokens if token != "⏎")
            assert decoded.weights_TxS.shape == (T, len(tokens))
            assert decoded.score == pytest.approx(float(found.scores_BxN[0, n]), rel=1e-4)
            np.testing.assert_allclose(decoded.weights_TxS, found.weights_BxNxTxS[0, n, :T, : len(tokens)], atol=1e-5)
            np.testing.assert_allclose(decoded.weights_TxS.sum(1), 1, atol=1e-5)
    assert [output.text for output in loaded.decode(LINES, settings)] == [best[0].text for best in loaded.decode_n_best(LINES, settings)]


@pytest.mark.long
@pytest.mark.parametrize("method", SEARCHES)
def test_what_a_decoder_knew_goes_with_each_output(loaded, method):
    """The outputs are the same; the first token that greedy search says is the likeliest."""
    settings = SEARCHES[method]
    plain, examined = (list(loaded.decode_each(LINES, settings, examine=examine)) for examine in (False, True))
    for best, others in zip(plain, examined, strict=True):
        for output, other in zip(best, others, strict=True):
            assert (output.text, output.output_tokens) == (other.text, other.output_tokens)
            assert output.score == pytest.approx(other.score, rel=1e-6) and output.known is None
            if not output.source_tokens:
                assert other.known is None
                continue
            T, K = len(other.output_tokens), min(5, loaded.sizes.target)
            known = other.known
            assert known.norm_T.shape == (T,) and known.probability_TxK.shape == (T, K) and {len(each) for each in known.likely} == {K}
            assert np.all(np.diff(known.probability_TxK) <= 0) and np.all(known.probability_TxK.sum(1) <= 1 + 1e-5)
            if method == "greedy":
                assert [likely[0] for likely in known.likely] == other.output_tokens
                assert np.log(known.probability_TxK[:, 0]).sum() == pytest.approx(other.score, rel=1e-4)


@pytest.mark.long
def test_neighbours_and_order_change_nothing(loaded):
    outputs = [decoded.text for decoded in loaded.decode(LINES)]
    assert [loaded.decode([line])[0].text for line in LINES] == outputs
    many = LINES * 12  # more than one batch
    assert [decoded.text for decoded in loaded.decode(many)] == outputs * 12
    assert [decoded.text for decoded in loaded.decode(many[::-1])] == outputs[::-1] * 12
    assert loaded.decode([]) == []


@pytest.mark.long
@pytest.mark.of_cpus("eight devices")
@pytest.mark.parametrize("method", SEARCHES)
def test_devices_change_nothing(loaded, method, monkeypatch):
    """More lines than one device takes at once are spread over all: what comes out is the same to the last bit."""
    monkeypatch.setattr(batching, "ROWS", 2)
    together = loaded.decode_n_best(LINES * 3, SEARCHES[method])
    assert len(jax.devices()) == 8 and len([line for line in LINES if line]) > 2
    first = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: first)
    alone = loaded.decode_n_best(LINES * 3, SEARCHES[method])
    assert [[output.text for output in outputs] for outputs in together] == [[output.text for output in outputs] for outputs in alone]
    for outputs, others in zip(together, alone, strict=True):
        for output, other in zip(outputs, others, strict=True):
            assert output.score == other.score
            np.testing.assert_array_equal(output.weights_TxS, other.weights_TxS)


def test_batches():
    """Of as many as devices take at once, fewer where they are long or have many outputs each."""
    lengths = [3] * 130 + [batching.LONG] * 2 + [batching.LONG + 1] * 3
    order = list(range(len(lengths)))
    found = batching.batches(order, lengths.__getitem__, SearchConfig(), 2)
    assert [len(batch) for batch in found] == [128, 4, 2, 1] and [i for batch in found for i in batch] == order
    beams = [SearchConfig("beam", beam_size=size) for size in (1, 5, 200)]
    assert [batching.rows(3, settings) for settings in (SearchConfig("sample"), *beams)] == [64, 64, 32, 1]


@pytest.mark.long
def test_a_very_long_input(loaded):
    short, long = loaded.decode(["0 1 2", "0 1 2 " * 400])
    assert short.text == loaded.decode(["0 1 2"])[0].text
    assert len(long.source_tokens) == 1201 and long.weights_TxS.shape == (len(long.output_tokens), 1201)
    assert 0 < len(long.output_tokens) <= 1216


@pytest.mark.long
def test_the_runs_own_search_is_the_default(loaded):
    settings = SearchConfig(max_length=2)
    own = loaded._replace(config=replace(loaded.config, search=settings))
    assert [output.text for output in own.decode(LINES)] == [output.text for output in loaded.decode(LINES, settings)]
    assert max(len(output.output_tokens) for output in own.decode(LINES)) == 2
    with pytest.raises(ConfigError, match=r"search\.n_best=2 needs search\.method=beam"):
        loaded.decode(LINES, SearchConfig(n_best=2))


def copying(vocabulary: Vocabulary) -> trained.Trained:
    """A run of text whose model says UNK and looks from left to right."""
    config = replace(TINY, text=TextConfig(vocabulary_size=64, cut=16))

    def start(params, source_BxS, mask_BxS):
        return source_BxS, jax.numpy.zeros(len(source_BxS), int)

    def step(params, source_BxS, position_B, token_B, keys_B=None):
        said_B = jax.numpy.where(position_B == 1, 62, UNK)  # the vocabulary has no such id: unknown, too
        return jax.nn.one_hot(said_B, 64), jax.nn.one_hot(position_B, source_BxS.shape[1]), position_B + 1

    return trained.Trained(config, vocabularies.shared(vocabulary), Model(None, None, start, step), {}, 0)


@pytest.mark.long
def test_unknown_words_come_from_the_source():
    """Of a text with a character that training never saw."""
    vocabulary = subwords.from_bytes(subwords.train(["der alte Hund sah das Meer", "ein Hund sah den alten Mann"], 60))
    run, line = copying(vocabulary), "der Hund ☃ sah"
    settings = SearchConfig(max_length=len(vocabulary.encode(line)))
    (plain,), (named,) = run.decode([line], settings), run.decode([line], replace(settings, replace_unknown=True))
    assert plain.text.count("⁇") == settings.max_length > 4
    assert named.text == line and named.output_tokens == vocabulary.model.encode(line, out_type=str)
    assert named.score == plain.score < 0
    longer = run.decode([line], replace(settings, max_length=settings.max_length + 1, replace_unknown=True))[0]
    assert longer.text == f"{line} ⁇", "the source's EOS is no word"


@pytest.mark.parametrize("line", ["<s> ▁☃▁ x", "▅\0 <unk>", "⁇ </s>▁", "der\xa0Hund\u202f!", "\U0010ffff1 Hund"])
def test_whatever_is_copied_stays_as_it_is(line):
    """No text is taken for a space, for EOS or for what is unknown, seen in training or not."""
    for lines in (["der Hund"], ["der Hund", line], ["<s> ▁ \0 \U0010ffff0"]):
        run = copying(subwords.from_bytes(subwords.train(lines, 60)))
        settings = SearchConfig(max_length=len(run.vocabularies.source.encode(line)), replace_unknown=True)
        (output,) = run.decode([line], settings)
        assert output.text == " ".join(line.split())
        assert output.output_tokens == [part.replace("▁", r"\u2581").replace(" ", "▁") for part in run.vocabularies.source.spelled(line)]


def test_white_space_of_any_kind_is_white_space():
    """As in training: French sets ? and ! apart by U+202F, which no vocabulary has. A line of nothing else is empty."""
    lines = ["Ça va ?", "Au feu !", "10 000 francs !"]
    run = copying(subwords.from_bytes(subwords.train(lines, 60)))
    odd = ["Ça va\u202f?", "Au\u3000feu\xa0!", "\t10\u2009000 francs\xa0\xa0!\r"]
    for plain, other in zip(run.decode(lines), run.decode(odd), strict=True):
        assert plain.source_tokens == other.source_tokens and plain.text == other.text
        assert "".join(plain.source_tokens).replace("▁", " ")[1:-1] in lines  # nothing is unknown
    nothing = run.decode(["\xa0", "\u202f\t\u3000 ", ""])
    assert [(output.text, output.source_tokens) for output in nothing] == [("", [])] * 3


@pytest.mark.long
def test_a_field_has_one_size_and_no_end():
    data = DataConfig(task="spot", symbols=3, longest=2, eval_lengths=(1, 2), eval_examples=4)
    config = replace(TINY, data=data, model=replace(TINY.model, encoder="image", start="bridge"))
    built = resolve(config).model
    run = trained.Trained(config, None, built, built.init(jax.random.key(0)), 0)
    (output,) = run.decode(["3 3 3 0 3 3 1 3 3"])
    assert output.source_tokens == "3 3 3 0 3 3 1 3 3".split() and output.weights_TxS.shape[1] == 9
    with pytest.raises(DataError, match="input line 2: spot reads a field of 9 symbols, not 2"):
        run.decode(["", "3 0"])


@pytest.mark.long
@pytest.mark.parametrize("word", ["3", "-1", "x", "1.0", "²", "9" * 5000, "1_0"])
def test_an_unknown_symbol_is_named_with_its_line(loaded, word):
    with pytest.raises(DataError, match=r"input line 3: '.{1,40}' is no symbol of copy; valid: 0 to 2$"):
        loaded.decode(["1", "", f"0 {word} 1"])


@pytest.mark.long
def test_seeds(directory, loaded):
    like = compiled.start(resolve(TINY), [7, 8], [0.0, 0.0])
    _, progress, _ = checkpoint.restore(directory / "checkpoint", like)
    for seed, run in ((7, loaded), (7, trained.load(directory, 7)), (8, trained.load(str(directory), seed=8))):
        assert run.seed == seed and run.config == TINY and run.vocabularies is None
        assert run.model is model.build(TINY.model, 7)
        jax.tree.map(lambda x, y, r=seed - 7: np.testing.assert_array_equal(x[r], y), progress.states.params, run.params)
    with pytest.raises(RunError, match=r"has no seed 0; valid: 7 to 8"):
        trained.load(directory, 0)


@pytest.mark.long
@pytest.mark.of_cpus("options of its compiler")
def test_a_run_is_loaded_where_every_core_is_a_device(directory, loaded, monkeypatch):
    """As on the command line: programs then have options of their own, which JAX takes at the top level only."""
    monkeypatch.setattr(machine, "cores", jax.device_count)
    compiled._init.cache_clear()
    assert machine.compiler_options(resolve(TINY).mesh.size)
    assert jax.tree.all(jax.tree.map(np.array_equal, trained.load(directory).params, loaded.params))


@pytest.mark.long
def test_what_is_no_run(directory, tmp_path):
    for path, reason in ((tmp_path, r"it has no config\.json"), (tmp_path / "absent", "it does not exist")):
        with pytest.raises(RunError, match=rf"is no run: {reason}; a run is a folder such as"):
            trained.load(path)
    (tmp_path / "config.json").write_bytes((directory / "config.json").read_bytes())
    with pytest.raises(RunError, match=r"has no checkpoint yet: train it first"):
        trained.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        trained.load(tmp_path)
    (tmp_path / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(RunError, match=r"cannot read .*config\.json: it is no regular file"):
        trained.load(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "sort"}, r"config\.json is not what the run was trained with"),  # its arrays would fit
        ({"task": "magic"}, r"config\.json is not of this version: data\.task='magic' is unknown"),
    ],
)
def test_other_settings_than_it_was_trained_with(directory, tmp_path, change, message):
    shutil.copytree(directory, tmp_path / "run")
    content = results.read_json(directory / "config.json")
    content["config"]["data"] |= change
    results.write_json(tmp_path / "run" / "config.json", content)
    with pytest.raises(RunError, match=message):
        trained.load(tmp_path / "run")
