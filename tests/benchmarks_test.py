"""Benchmarks: what a row holds, formulas against counts, equal work at tiny sizes without peers, the command line. Nothing is timed."""

import ast
import importlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import training
from attention_jax.system.errors import RunError
from attention_jax.training import parallel
from benchmarks import apart, attention_memory, decoding, devices, flops, layer, measure, peers, pipeline, plain, plots, rows
from benchmarks import training as step_benchmark
from benchmarks.rows import Row, Target
from tests.built import built

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "benchmarks").glob("*.py"))
NAMES = "layer training attention_memory seeds sweep compilation decoding pipeline scaling roofline devices imports gpu".split()
FIELDS = {
    "text": "name what sizes unit peer target note device".split(),
    "number": "ours repeats cores".split(),
    "number or nothing": "theirs ratio memory_mb flop flop_per_s peak_flop_per_s share_of_peak".split(),
}


def command(module: str, *arguments: str) -> subprocess.CompletedProcess:
    """`python -m module arguments`, in the repository."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment)


def example(**fields) -> Row:
    """A row: ours 2 s, the peer 5 s."""
    given = {"ours": rows.sample([2.0, 1.0, 3.0]), "peer": "them", "theirs": rows.sample([5.0]), "flop": 4e9, "peak": 1e10}
    return Row("layer", "forward", "B=1", **(given | fields))


def test_a_row_says_what_was_measured_where():
    row = json.loads(json.dumps(example(targets=(Target("ratio", "≥", 2.5),)).to_json()))
    assert {name for names in FIELDS.values() for name in names} < set(row)
    assert all(isinstance(row[name], str) for name in FIELDS["text"])
    assert all(isinstance(row[name], int | float) for name in FIELDS["number"])
    assert (row["ours"], row["ours_quartiles"], row["repeats"], row["ratio"]) == (2.0, [1.5, 2.5], 3, 2.5)
    assert (row["flop_per_s"], row["share_of_peak"], row["target"], row["met"]) == (2e9, 0.2, "ratio ≥ 2.5", True)
    assert row["device"] and {"python", "jax", "jaxlib", "numpy", "torch", "joeynmt"} <= set(row["versions"])


@pytest.mark.parametrize(
    "lines, name",
    [
        ("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\ncpu family\t: 25", "AMD EPYC (family 25, model 17)"),
        ("model name\t: A chip", "A chip"),
        ("Hardware: something", rows.platform.machine()),
    ],
)
def test_processors_of_one_name_are_told_apart(lines, name, monkeypatch):
    monkeypatch.setattr(rows.Path, "read_text", lambda path: lines)
    assert rows.cpu_name() == name


@pytest.mark.parametrize(
    "target, met",
    [
        (Target("ratio", "≥", 2.6), False),
        (Target("share_of_peak", "≥", 0.2), True),
        (Target("ours", "≤", 2.0), True),
        (Target("memory_mb", "≤", 1.0), False),  # not measured
    ],
)
def test_targets(target, met):
    assert example(targets=(target,)).met is met
    assert example().met is None


def test_what_has_no_peer_has_no_ratio():
    row = example(peer="", theirs=None, unit="programs", flop=None)
    assert row.ratio is row.flop_per_s is row.share_of_peak is None
    assert "3 programs" in rows.table([example(unit="programs", ours=rows.sample([3])).to_json()])


def test_the_table_has_a_line_per_row_and_says_which_target_is_missed():
    missed, no_target = example(targets=(Target("ratio", "≥", 9.0),)).to_json(), example(ours=rows.sample([0.0123])).to_json()
    heading, _, first, second = rows.table([missed, no_target]).splitlines()
    assert heading.split()[:3] == ["benchmark", "what", "sizes"]
    assert " 2 s " in first and first.endswith("NO")
    assert " 12.3 ms " in second


def test_rows_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        rows.append(tmp_path / "file" / "rows.jsonl", example())


def test_turns_alternate():
    calls = []
    found = measure.alternate({name: partial(slow, calls, name) for name in "AB"}, seconds=0)
    assert "".join(calls) == "AABB" + "AB" * measure.FEWER
    assert {name: sample.repeats for name, sample in found.items()} == {"A": measure.FEWER, "B": measure.FEWER}


def slow(calls: list, name: str) -> None:
    """Something that takes a whole turn."""
    calls.append(name)
    measure.time.sleep(measure.TURN)


def test_work_that_is_not_equal_is_refused():
    measure.assert_equal_work("here", {"x": np.array([1.0, 2.0])}, {"x": jnp.array([1.0, 2.0001])})
    for ours in ({"x": [1.0, 2.001]}, {"x": [1.0, np.nan]}, {"x": [1.0]}, {"y": [1.0, 2.0]}, {}):
        with pytest.raises(RunError, match="here: "):
            measure.assert_equal_work("here", ours, {"x": [1.0, 2.0]})
    tokens = np.arange(12).reshape(4, 3)
    with pytest.raises(RunError, match=r"only 75\.0%"):
        decoding.assert_same_outputs("greedy", (tokens, np.ones(4)), (np.where(tokens == 11, 0, tokens), np.ones(4)))


def test_a_peer_has_a_process_of_its_own_and_one_with_memory_kept():
    with apart.beside("them", dict, {"process": os.getpid, "fails": int.from_bytes}) as columns:
        assert list(columns) == ["them", "them, memory kept"]
        assert len({os.getpid(), *(functions["process"].result() for functions in columns.values())}) == 3
        assert 0 <= columns["them"]["process"].seconds() < 60
        with pytest.raises(RunError, match=r"builtins\.dict: TypeError"):
            columns["them"]["fails"].result()
        with pytest.raises(RunError, match=r"builtins\.dict ended"):
            columns["them"]["process"].result()


PROGRAM = """
  %all-reduce.1 = (f32[3,4]{1,0}, f32[]) all-reduce(%a, %b), channel_id=1
  %start = bf16[10]{0} all-reduce-start(%c), channel_id=2
  %gather = (s32[2], u32[]) all-gather(%d), dimensions={0}
  %sum = f32[3] add(%e, %f)
"""


def test_collectives_of_a_program_and_what_they_send():
    assert devices.collectives(PROGRAM) == {"all-reduce": [52, 20], "all-gather": [12]}


def test_predicted_efficiency_by_hand():
    assert devices.efficiency(2, 1.0, 1e9, 1e9, 0.0) == pytest.approx(0.5)  # each sends and receives half, twice
    assert devices.efficiency(8, 1.0, 0, 1e9, 1e-3) == pytest.approx(1 / 1.006)
    assert devices.efficiency(512, 1.0, 1e9, 4e9, 0.0) == pytest.approx(1 / (1 + 2 * 511 / 512 / 4))


def test_figures_are_drawn_from_rows(tmp_path):
    lines = [
        example(peer="", theirs=None, memory_mb=None if axis == "seeds" else 3.0).to_json()
        | {"name": "scaling", "what": f"{mechanism}, {axis}", "sizes": f"{axis}={size}"}
        for mechanism in plots.COLORS
        for axis in plots.AXES
        for size in (1, 2)
    ]
    ceilings = {"bandwidth": 50.0, "matrix peak": 100.0, "gru forward": 80.0}
    bare = example(peer="", theirs=None).to_json() | {"name": "roofline", "sizes": "", "note": "9.5 operations"}
    lines += [bare | {"what": what, "ours": ours} for what, ours in ceilings.items()]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    assert plots.main([str(file), str(tmp_path / "figures")]) == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"scaling.svg", "roofline.svg"}


def test_flop_formulas_by_hand():
    assert flops.layer("lstm", B=2, T=3, D=5, H=7) == 3 * 2 * 2 * (5 + 7) * 4 * 7
    assert flops.additive_attention(B=2, T=3, S=5, A=7, M=11) == 2 * 2 * 3 * 5 * (7 + 11)
    encoder = 2 * (2 * 5 * (3 + 4) * 12) + 2 * (8 * 4) + 2 * 5 * (8 * 4)  # both directions, the bridge, keys; B = 1, S = T = 5
    decoder = 2 * 5 * ((3 + 4 + 4) * 12 + 4 * 4 + 5 * 4 + 5 * 8 + (4 + 8) * 4 + 4 * 9)
    assert flops.encoder_decoder(V=9, E=3, H=4, B=1, S=5, T=5) == encoder + decoder
    assert flops.training(flops.encoder_decoder(8000, 256, 512, 64, 50, 50)) // 10**9 == 193


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_layer_formula_against_xla(cell):
    B, D, H = 8, 96, 128
    gates = flops.GATES[cell]
    affines = {"input": (D, gates * H), "hidden": (H, gates * H)}
    made = {name: {"weight": jnp.zeros(shape), "bias": jnp.zeros(shape[1])} for name, shape in affines.items()}
    params = {"input": made["input"], "recurrent": {"hidden": made["hidden"]}}
    counted = operations(partial(plain.layer, cell), params, jnp.zeros((B, 1, D)))
    assert counted == pytest.approx(flops.layer(cell, B, 1, D, H), rel=0.1)


@pytest.mark.long
def test_encoder_decoder_formula_against_xla():
    V, E, H, B = 200, 64, 96, 8
    params = training.init(*built(step_benchmark.settings(V, E, H, B)), 0, 1e-3).params
    batch = step_benchmark.full_batch(V, B, 1)
    forward = operations(plain.nll, params, batch.source_BxS, batch.target_BxT)
    extra = flops.product(B, E, H)  # our readout reads the previous token as well
    assert forward - extra == pytest.approx(flops.encoder_decoder(V, E, H, B, 1, 1), rel=0.1)


def operations(function, *arguments) -> float:
    """What XLA counts, elementwise operations included; bodies of loops count once."""
    return jax.jit(function).lower(*arguments).cost_analysis()["flops"]


@pytest.mark.long
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_layers_do_equal_work(cell, monkeypatch):
    monkeypatch.setattr(peers, "installed", lambda name: False)
    compared = []
    monkeypatch.setattr(measure, "compare", lambda *arguments: compared.append(arguments) or [])
    assert list(layer.at_size(cell, 8, 3, 4, 5, 0, layer.TARGETS)) == []
    assert [set(arguments[3]) for arguments in compared] == [{"ours", "plain lax.scan", "flax.linen"}] * 2


@pytest.mark.long
def test_training_steps_do_equal_work():
    config, batch = step_benchmark.settings(12, 4, 6, 8), step_benchmark.full_batch(12, 8, 3)
    state = training.init(*built(config), 0, step_benchmark.RATE)
    step_benchmark.assert_equals_plain(step_benchmark.ours(config, state.params, batch), state.params, batch)
    ours = step_benchmark.stepping(parallel.jitted(step_benchmark.update_of(config)), state, batch)
    theirs = step_benchmark.stepping(*step_benchmark.plain_step(state, batch), batch)
    for _ in range(3):
        sums, loss = ours(), theirs()
        np.testing.assert_allclose(sums.nll / sums.tokens, loss, rtol=1e-4)


def test_joeynmt_gets_every_weight_it_has_and_our_extras_are_zero():
    V, E, H = 12, 4, 6
    params = peers.without_extras(training.init(*built(step_benchmark.settings(V, E, H, 8)), 0, 1e-3).params)
    weights = peers.joeynmt_weights(params)
    assert weights["decoder.rnn.weight_ih_l0"].shape == (3 * H, E + H)
    assert weights["decoder.att_vector_layer.weight"].shape == (H, H + 2 * H)
    extras = sum(np.size(x) for x in (params["decoder"]["readout"]["weight"][-E:], params["logits"]["bias"]))
    assert sum(map(np.size, weights.values())) == sum(map(np.size, jax.tree.leaves(params))) - extras
    assert not params["decoder"]["readout"]["weight"][-E:].any() and not params["logits"]["bias"].any()


def test_additive_attention_does_equal_work():
    sizes = {"B": 2, "T": 3, "S": 5, "A": 4}
    ours, theirs = (attention_memory.build(which, **sizes)() for which in (attention_memory.OURS, attention_memory.JAX))
    measure.assert_equal_work("additive", ours, theirs)
    assert attention_memory.scores_mb(1, 2048, 2048, 512) == 8192


@pytest.mark.long
def test_the_peak_is_of_numbers_that_differ(monkeypatch):
    """With ones a GPU draws less power, and is faster than it can be."""
    multiplied = []
    monkeypatch.setattr(jnp, "matmul", lambda a, b: multiplied.append((a, b)) or a)
    monkeypatch.setattr(jax, "jit", lambda function, **options: function)
    measure.matrix_peak.__wrapped__(repeats=1)
    assert {x.shape for pair in multiplied for x in pair} == {(3072, 3072)}
    assert all(float(x.std()) == pytest.approx(1, abs=0.01) for x in multiplied[0])


class Card:
    """A device with a memory of its own: 1 MiB is in use, once it was 3, and it may be 8."""

    def memory_stats(self):
        return {"bytes_in_use": 1 << 20, "peak_bytes_in_use": 3 << 20, "bytes_limit": 8 << 20}


@pytest.mark.of_cpus("the memory of this machine")
def test_memory_is_the_card_s_where_it_has_its_own(monkeypatch):
    assert measure.reset_peak_memory_mb() > 30 and measure.available_mb() > 100, "of this process, of this machine"
    monkeypatch.setattr(jax, "local_devices", lambda: [Card()])
    assert (measure.reset_peak_memory_mb(), measure.peak_memory_mb(), measure.available_mb()) == (1, 3, 7)


def test_without_joeynmt_the_whole_model_has_pytorch_s_layers_for_a_peer(monkeypatch):
    """And has the same targets. tests/peers says that these do equal work."""
    monkeypatch.setattr(peers, "installed", lambda name: name == "torch")
    monkeypatch.setattr(step_benchmark, "assert_equals_peers", lambda found, made: None)
    asked, compared = [], []

    @contextmanager
    def beside(name, factory, *arguments):
        asked.append(factory)
        yield {name: {"step": "a step"}}

    monkeypatch.setattr(apart, "beside", beside)
    monkeypatch.setattr(measure, "compare", lambda *arguments: compared.append(arguments) or [])
    assert list(step_benchmark.at_size(12, 4, 6, 8, 3, ("a target",), 0)) == []
    ((_, _, _, functions, _, targets, _),) = compared
    assert asked == [step_benchmark.torch_step] and functions["torch.nn"] == "a step" and targets == {"torch.nn": ("a target",)}


def test_made_up_lines_are_a_parallel_text(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "LINES", 20)
    pipeline.write_lines(tmp_path / "lines.tsv")
    pairs = [line.split("\t") for line in (tmp_path / "lines.tsv").read_text().splitlines()]
    assert len(pairs) == 20 and all(target == source[::-1] and 4 <= len(source.split()) <= 20 for source, target in pairs)
    assert pipeline.SHARE.findall("1/2 [loss 2.1, data 12.3%]\r2/2 [loss 2.0, data 0.4%]") == ["12.3", "0.4"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_short_documented_and_import_no_peer_before_it_is_asked_for(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 250
    module = ast.parse(source)
    public = [n for n in module.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    assert ast.get_docstring(module) and all(map(ast.get_docstring, public))
    imported = {name.split(".")[0] for node in module.body if isinstance(node, ast.Import) for name in (a.name for a in node.names)}
    imported |= {node.module.split(".")[0] for node in module.body if isinstance(node, ast.ImportFrom)}
    assert not imported & {"torch", "joeynmt"}


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_a_run(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert callable(module.run) and module.__doc__
    assert all(len(size) == len(module.LETTERS) for size in getattr(module, "SIZES", ()))


@pytest.mark.long
def test_list_names_every_benchmark():
    listed = command("benchmarks.run", "--list")
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == NAMES


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--only=training,lair"], "'lair' is unknown (did you mean 'layer'?)"),
        (["--only=layer", "--sizes=1,2"], "does not fit layer: give B,T,D,H"),
        (["--only=pipeline", "--sizes=1"], "pipeline has no sizes"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(flags, says):
    refused = command("benchmarks.run", *flags)
    assert refused.returncode == 2 and refused.stderr.startswith("error: ")
    assert says in refused.stderr and len(refused.stderr.splitlines()) == 1


@pytest.mark.long
def test_rows_are_appended_and_shown_and_a_failure_is_one_line(tmp_path):
    file = tmp_path / "new" / "rows.jsonl"
    sizes = "--sizes=3,2,2,2"  # a vocabulary of three has no words, which attention_memory needs none of
    run = command("benchmarks.run", "--only=decoding,attention_memory", sizes, "--seconds=0", f"--out={file}")
    assert run.returncode == 1
    first, last = run.stderr.splitlines()
    assert first.startswith("decoding failed: error: V=3: ") and last == "failed: decoding"
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert {(row["name"], row["what"]) for row in written} == {("attention_memory", "memory"), ("attention_memory", "time")}
    table, compared = run.stdout.rpartition("─\n")[2].split("\n\n")
    assert len(table.splitlines()) == len(written)
    assert compared.startswith(f"Compared with {ROOT / 'docs' / 'performance' / 'rows.jsonl'}. Nothing to compare")


@pytest.mark.long
def test_rows_are_compared_with_those_of_before_and_anew_leaves_none_of_them(tmp_path):
    """The file that is written and the one that is compared with may be the same."""
    file, fields = tmp_path / "rows.jsonl", {"name": "roofline", "what": "matrix peak", "sizes": "", "peer": ""}
    before = example(unit="GFLOP/s", ours=rows.sample([1e9]), theirs=None, flop=None).to_json() | fields
    file.write_text(json.dumps(before) + "\n")
    arguments = ("--only=roofline", "--sizes=2,2,2,2", "--seconds=0", f"--out={file}", f"--stored={file}")
    run = command("benchmarks.run", *arguments, "--anew")
    assert run.returncode == 0, run.stderr
    assert "Rows in both: 1." in run.stdout and "Moved beyond noise: 0 for the better, 1 for the worse." in run.stdout
    assert json.dumps(before) not in file.read_text() and "matrix peak" in file.read_text()
    file.write_text("torn")
    run = command("benchmarks.run", *arguments)
    assert run.returncode == 1 and run.stderr.startswith(f"error: {file}, line 1") and run.stdout == "", "before anything is measured"


@pytest.mark.long
def test_the_listener_reports_what_a_command_compiled(tmp_path):
    run = command("benchmarks.listener", str(tmp_path / "report.json"), "--experiment=bottleneck", "--list")
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report) == {"programs", "first_step", "hits", "misses"} and report["first_step"] is None
