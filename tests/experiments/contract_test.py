"""What every claim promises to the command and to sweeps."""

import importlib

import pytest

from attention_jax import attention
from attention_jax.data import corpora, signals, sources, tasks
from attention_jax.report import report
from attention_jax.report.findings import Finding
from attention_jax.report.tables import Score
from attention_jax.statistics.verdicts import Verdict
from attention_jax.sweeps import agreement, comparison, sweep
from experiments import run

OWN_PROTOCOL = ("echo",)
"""Claims that reproduce a published protocol, of one budget and a constant rate: their docstrings say so."""


@pytest.mark.parametrize("name", run.CLAIMS)
class TestContract:
    """What every claim promises to `run` and `sweep`."""

    def test_docstring(self, name):
        text = importlib.import_module(f"experiments.{name}").__doc__
        assert "\nClaim. " in text and "\nVerdict, fixed before the runs" in text and "inconclusive" in text
        assert "\nPresets. tiny" in text

    def test_docstring_of_the_study(self, name):
        """Who says it, the command, and what is to be expected of it."""
        claim = importlib.import_module(f"experiments.{name}")
        if getattr(claim, "DATA", "synthetic") == "real":
            pytest.skip("its source and command are those of its data")
        text = claim.__doc__
        order = [
            text.index(part) for part in ("\nClaim. ", "\nSource. ", "\nExpected. ", "\nVerdict, fixed before the runs", "\nPresets. ")
        ]
        assert order == sorted(order)
        expected = text[order[2] : text.index("\n\n", order[2])]
        assert f"\n    python -m experiments.run --experiment={name} --preset=" in expected
        presets = text[order[-1] :]
        assert "minute" in presets and all(f"{preset}: " in presets for preset in claim.PRESETS if preset not in ("rates", "verdict"))

    def test_plans(self, name):
        claim = importlib.import_module(f"experiments.{name}")
        assert len(claim.ARMS) > 1
        assert hasattr(claim, "CHOICES") or set(claim.ARMS) & set(attention.fixed_vectors())  # what attention is compared with
        for preset in claim.PRESETS:
            runs = sweep.plan(claim, preset, sizes_of=sources.most_sizes)
            names = [planned.config.run for planned in runs]
            assert len(names) > 1 and len(set(names)) == len(names)
            assert all(name.isascii() and not set(name) & set(" /\\") for name in names)
            if name in OWN_PROTOCOL:
                continue
            budgets = {arm: {run.config.training.updates for run in runs if f"{arm}-" in run.config.run} for arm in claim.ARMS}
            assert all(len(found & budgets[claim.ARMS[0]]) > 1 for found in budgets.values())  # arms meet at two budgets or more
            assert all(run.config.training.schedule != "constant" for run in runs)
        assert sweep.plan(claim, sizes_of=sources.most_sizes) == sweep.plan(claim, claim.PRESETS[0], sizes_of=sources.most_sizes)

    def test_its_data_are_what_it_says(self, name):
        claim = importlib.import_module(f"experiments.{name}")
        tasks_of = {config.data.task for preset in claim.PRESETS for config in claim.sweep(preset, claim.ARMS)}
        assert tasks_of <= set({**corpora.TABLE, **signals.TABLE} if getattr(claim, "DATA", "synthetic") == "real" else tasks.TABLE)

    def test_scores_and_draws(self, name):
        claim = importlib.import_module(f"experiments.{name}")
        rows = fake_rows(sweep.plan(claim, "tiny", sizes_of=sources.most_sizes))
        score = claim.score(rows, {})
        assert isinstance(score, Score) and score.verdict.value == "inconclusive" and score.verdict.needs  # there are no rate curves
        assert score.verdict.reason and score.budget
        assert score.tables
        for table in score.tables:
            assert all(len(row) == len(table.header) and all(isinstance(cell, str) for cell in row) for row in table.rows)
            assert report.text_table(table.header, table.rows)
        assert claim.figures(rows)
        for finding in claim.findings(rows, {}) if hasattr(claim, "findings") else ():
            assert isinstance(finding, Finding) and finding.claim and finding.source and finding.number

    def test_rows_compared_with_themselves_agree(self, name):
        """By --compare, of all arms of the second preset: what tells them apart is a field of `GROUP`, or the claim names them."""
        claim = importlib.import_module(f"experiments.{name}")
        rows = comparison.named(fake_rows(sweep.plan(claim, claim.PRESETS[1], sizes_of=sources.most_sizes)), claim)
        sides = [agreement.Side(side, rows, {}, Verdict("inconclusive", "")) for side in "ab"]
        group = (*agreement.GROUP, *getattr(claim, "GROUP", ()))
        found = agreement.between(*sides, group, getattr(claim, "VALUE", "exact_match"))
        assert found.outcome == "same" and agreement.table(found).rows


def fake_rows(runs) -> list[dict]:
    """Rows such as a sweep leaves: every value depends on arm, length and seed."""
    rows = []
    for planned in runs:
        config, lengths = planned.config, planned.config.data.eval_lengths
        for seed in range(3):
            for length in lengths:
                value = 1 / (1 + length * (seed + 1) / 50 * (config.model.attention != "additive"))
                of_run = {
                    "run": config.run,
                    "experiment": config.experiment,
                    "parameters": 1,
                } | planned.fields
                shared = {**of_run, "seed": seed, "role": "reported"}
                shared |= {"length": length, "seen": length <= 40, "examples": 9, "learning_rate": 1e-3, "seconds": 1.0}
                shared |= {"budget": config.training.updates, "step": config.training.updates, "exact": round(9 * value)}
                shared |= {"exact_match": value, "token_accuracy": value, "bleu": 50 * value, "chrf": 60 * value}
                shared |= {"bleu_signature": "a", "chrf_signature": "b", "symbols": 9 * length, "symbol_errors": 1}
                shared |= {"error_rate": 1 - value, "edits": round(9 * length * (1 - value)), "reference_symbols": 9 * length}
                rows += [shared | {"mode": "free", "loss": None}, shared | {"mode": "forced", "loss": 2 - value}]
    return rows
