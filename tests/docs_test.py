"""Documentation that runs: every Python block of every page, in a folder with a tiny run and a file of weights in it; API pages."""

import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from attention_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from attention_jax.running import loop

ROOT = Path(__file__).resolve().parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
PAGES = [*READMES, *sorted(ROOT.glob("docs/*.md")), ROOT / "docs" / "performance" / "appendix.md"]
BLOCKS = {
    f"{path.relative_to(ROOT)}, block {number}": block
    for path in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL))
}
LINES = 20
PROGRAMS = dict(re.findall(r'^```python title="(.*?)"\n(.*?)^```', (ROOT / "docs" / "own_model.md").read_text(), re.MULTILINE | re.DOTALL))
"""Whole programs, by the names under which they are to be saved: they may import each other."""


TINY = Config(
    experiment="bottleneck",
    run="additive-gru-h16-d8-u400",
    model=ModelConfig(hidden_size=4, embedding_size=3),
    data=DataConfig(symbols=8, longest=3, eval_lengths=(2,), eval_examples=2),
    training=TrainingConfig(seeds=1, updates=2, batch_size=2, warmup=1, chunk=2, checkpoint_every=2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the page takes for granted: a finished run, and the weights of a two-layer bidirectional LSTM as PyTorch names them."""
    path = tmp_path_factory.mktemp("docs")
    loop.run(TINY, path / "runs" / "bottleneck" / "additive-gru-h16-d8-u400", {"attention": "additive"})
    draw, weights = np.random.default_rng(0).normal, {}
    for place, inputs in {"l0": 8, "l0_reverse": 8, "l1": 32, "l1_reverse": 32}.items():
        weights |= {f"weight_ih_{place}": draw(size=(64, inputs)), f"weight_hh_{place}": draw(size=(64, 16))}
        weights |= {f"bias_ih_{place}": draw(size=64), f"bias_hh_{place}": draw(size=64)}
    np.savez(path / "lstm.npz", **{name: array.astype(np.float32) for name, array in weights.items()})
    return path


@pytest.mark.long
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_of_a_page_runs(name, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = {"__name__": "__main__"}
    exec(compile(BLOCKS[name], name, "exec"), names)
    if "same" in names:
        np.testing.assert_allclose(names["same"].states_BxSxM, names["memory"].states_BxSxM, rtol=1e-5, atol=1e-6)
    if "decoded" in names:
        assert capsys.readouterr().out.count("⏎") >= 2


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder with all programs of a page."""
    path = tmp_path_factory.mktemp("programs")
    for name, text in PROGRAMS.items():
        (path / name).write_text(text)
    return path


@pytest.mark.long
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_a_page_trains_until_it_is_right(name, programs, monkeypatch, capsys):
    """It asserts so itself; what it says is a share of new examples."""
    monkeypatch.syspath_prepend(programs)
    runpy.run_path(str(programs / name), run_name="__main__")
    assert re.match(r"(100|9\d)\.\d% of new ", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["speech.py", "speech_nnx.py"])
def test_the_speech_program_takes_an_encoder_that_shortens_its_input(name, programs, monkeypatch):
    """With the encoder of the page's sentence, and no other change, it starts and writes; weights are of half as many positions."""
    monkeypatch.syspath_prepend(programs)
    text = PROGRAMS[name].replace("hidden_size=32", 'encoder="pyramidal", layers=2, hidden_size=32')
    names = {"__name__": "speech"}
    exec(compile(text, name, "exec"), names)
    *frames, letters_BxT = names["examples"](0, 4)
    if "nnx" in names:
        found = names["write"](names["Listener"](names["nnx"].Rngs(0)), *map(names["jnp"].asarray, frames))
    else:
        variables = jax.jit(names["model"].init)(jax.random.key(0), *frames, letters_BxT)
        assert np.isfinite(names["loss"](variables, *frames, letters_BxT))
        found = names["write"](variables, *frames)
    assert found.weights_BxNxTxS.shape[-1] == frames[1].shape[1] // 2


def test_programs_are_of_both_kinds_of_flax():
    assert len(PROGRAMS) == 5 and sum("from flax import nnx" in text for text in PROGRAMS.values()) == 2
    assert all("assert right > 0.9" in text for text in PROGRAMS.values())


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_the_first_example_prints_what_the_page_says(path, capsys):
    block, said = re.search(r"^```python\n(.*?)^```\n+```text\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL).groups()
    exec(compile(block, path.name, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == said
    assert len([line for line in block.splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_short(name):
    statements = [line for line in BLOCKS[name].splitlines() if line.strip() and not line.startswith(("import ", "from "))]
    assert len(statements) <= LINES, f"{name} has {len(statements)} lines, imports aside"


def test_there_is_an_example_for_each_use():
    page = "\n".join(BLOCKS.values())
    for use in (
        "attention.build(",
        "encoders.build(",
        "nn.Module",
        "Encoder(",
        "Attention(",
        "ToNNX(",
        "trained.load(",
        "recurrent_from_torch(",
        "search.over(",
        "attention_weights.from_keras(",
        "citation.citation(",
    ):
        assert use in page, use


def make_api():
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_api_pages_are_what_the_docstrings_say():
    check = [sys.executable, str(ROOT / "docs" / "make_api.py"), "--check"]
    run = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_an_api_page_for_each_module():
    made = make_api().pages()
    files = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "attention_jax").glob("**/*.py")}
    names = {".".join(p.parts).removesuffix(".__init__") for p in files}
    assert set(made) == {f"{name}.md" for name in names} | {"README.md"}
    assert all(f"({name}.md)" in made["README.md"] for name in names)
    assert "## build\n" in made["attention_jax.attention.md"] and "_fold" not in made["attention_jax.model.md"]
    assert "states_BxSxM: Array" in made["attention_jax.types.md"] and "### Trained.decode\n" in made["attention_jax.trained.md"]


def test_how_a_docstring_becomes_markdown():
    markdown = make_api().markdown
    assert markdown("One *line*, h_t of `a*b`, y_{t}.\ntwo") == "One \\*line\\*, h_t of `a*b`, y\\_{t}.\ntwo\n"
    assert markdown("Text.\n\n    c = Σ α h\n\n    d = 1\n\nMore.") == "Text.\n\n```text\nc = Σ α h\n\nd = 1\n```\n\nMore.\n"
    assert markdown("") == ""
