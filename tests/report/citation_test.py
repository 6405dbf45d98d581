"""Citations: every row that names a paper has its entry, no entry is unused, and a config prints what it uses and nothing else."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from attention_jax import attention, training
from attention_jax.config import Config, override_all
from attention_jax.model import decoder
from attention_jax.report import citation
from attention_jax.statistics import alignments, intervals, laws, metrics, probes, similarity
from attention_jax.sweeps import claims
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.training import regularisers
from attention_jax.types.citations import cites, papers_of
from experiments.run import CLAIMS

ROOT = Path(__file__).resolve().parent.parent.parent
TABLES = {
    **{f"{setting} {i}": table for setting, tables in claims.TABLES.items() for i, table in enumerate(tables)},
    "model.timing": decoder.TIMINGS,
    "training.optimizer": training.OPTIMIZERS,
}
STATISTICS = {
    f"{module.__name__}.{name}": function
    for module in (alignments, intervals, laws, metrics, probes, similarity, regularisers)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__
}
ROWS = {f"{setting} {name}": row for setting, table in TABLES.items() for name, row in table.items()} | STATISTICS
ENTRIES = citation.entries()


def keys_in(text: str) -> list[str]:
    """Keys of BibTeX, in order."""
    return re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)


def test_every_row_s_papers_have_an_entry():
    gone = {name: key for name, row in ROWS.items() for key in papers_of(row) if key not in ENTRIES}
    assert not gone, gone
    assert len([name for name, row in ROWS.items() if papers_of(row)]) > 50


def test_no_entry_is_unused():
    used = {key for row in ROWS.values() for key in papers_of(row)} | {key for each in citation.SETTINGS for key in each.papers}
    used |= {key for name in CLAIMS for key in importlib.import_module(f"experiments.{name}").PAPERS}
    assert set(ENTRIES) == used


NAMED = re.compile(r"[A-Z][a-zé]+(?: (?:&|and) [A-Z][a-z]+)?,? (?:19|20)\d\d")


@pytest.mark.parametrize("setting", [name for name in TABLES if name.split()[0] not in ("model.loop", "data.task", "model.encoder")])
def test_a_row_whose_own_text_names_a_paper_has_one(setting):
    """Where a row's docstring cites by name and year, its record does as well."""
    for name, row in TABLES[setting].items():
        functions = row if isinstance(row, tuple) else (row,)
        text = " ".join(function.__doc__ or "" for function in functions if inspect.isfunction(function))
        assert papers_of(row) or not NAMED.search(text.partition("\n")[0]), f"{setting}={name} names a paper: {text}"


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_is_whole(key):
    kind = re.match(r"@(\w+)\{", ENTRIES[key])[1]
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", ENTRIES[key], re.MULTILINE))
    needed = {"article": {"journal"}, "inproceedings": {"booktitle"}, "misc": {"url" if "url" in fields else "eprint"}}[kind]
    assert needed | {"author", "title", "year"} <= set(fields)
    assert re.match(r"[a-z]+(\d{4})", key)[1] == fields["year"], "a key names the year"
    surname = re.sub(r"[^a-z]", "", fields["author"].partition(",")[0].lower().replace("\\'", ""))
    assert surname.startswith(re.match("[a-z]+", key)[0]), "and its first author"
    assert ("eprint" in fields) == ("archiveprefix" in fields) and re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1234.5678"))
    assert len(ENTRIES[key].splitlines()) == len(fields) + 2, "a field a line"
    assert ENTRIES[key].count("{") == ENTRIES[key].count("}")


OF_TEXT = {"papineni2002", "popovic2015", "post2018"}
PLAIN = {"holm1979", "zou2008", "kingma2015", "cho2014", "schuster1997"}
CASES = {
    (): {"bahdanau2015"},
    ("model.attention=summary",): {"bahdanau2015"},
    ("model.normaliser=entmax",): {"bahdanau2015", "peters2019", "blondel2019"},
    ("model.attention=none",): {"sutskever2014"},
    ("model.attention=general", "model.timing=after", "model.normaliser=sparsemax"): {"luong2015", "martins2016"},
    ("model.attention=location_aware", "model.normaliser=stepwise"): {"chorowski2015", "he2019", "bahdanau2015"},
    ("model.estimator=gumbel", "model.dropout=0.1"): {"jang2017", "maddison2017", "srivastava2014", "bahdanau2015"},
    ("model.copy=true", "training.sampling=scheduled"): {"see2017", "bengio2015", "bahdanau2015"},
    ("data.task=recall", "search.method=beam", "search.length_penalty=0.6"): {"arora2024zoology", "wu2016", "bahdanau2015"},
    ("search.method=beam",): {"bahdanau2015"},
    ("data.task=multi30k",): {"elliott2016", "kudo2018", "bahdanau2015", *OF_TEXT},
    ("data.task=parallel_text", "text.unit=character"): {"bahdanau2015", "levenshtein1966", *OF_TEXT},
}


@pytest.mark.parametrize("settings", CASES, ids=" ".join)
def test_a_config_cites_what_it_uses(settings):
    found = keys_in(citation.citation(override_all(Config(), settings)))
    assert set(found) == PLAIN | CASES[settings] and found == sorted(found)


def test_cells_optimizers_and_encoders_are_those_that_run():
    config = override_all(Config(), ["model.cell=lstm", "training.optimizer=adadelta", "model.direction=forward"])
    assert {"hochreiter1997", "gers2000", "zeiler2012"} <= citation.papers(config)
    assert not {"kingma2015", "cho2014", "schuster1997"} & citation.papers(config)
    config = override_all(Config(), ["model.encoder=self_attention", "model.cell=rnn", "model.decoder_cell=lstm"])
    assert "hochreiter1997" in citation.papers(config) and not {"elman1990", "schuster1997"} & citation.papers(config)


def test_several_configs_and_their_claim():
    both = [override_all(Config(), [f"model.attention={name}"]) for name in ("summary", "cosine")]
    found = keys_in(citation.citation(both, ("hewitt2019",)))
    assert {"graves2014", "hewitt2019", "cho2014"} <= set(found) and len(found) == len(set(found))


def test_what_is_wrong_gets_one_line():
    with pytest.raises(DataError, match=r"no entry of papers\.bib has the key nobody1999"):
        citation.citation(Config(), ("nobody1999",))
    with pytest.raises(ConfigError, match=r"model\.attention='aditive' is unknown"):
        citation.citation(override_all(Config(), ["model.attention=aditive"]))


def test_a_row_of_one_s_own_cites():
    @cites("luong2015", "vaswani2017")
    def mine(config, sizes):
        """Nothing."""

    assert papers_of(mine) == ("luong2015", "vaswani2017") and papers_of((mine, 2)) == papers_of(mine) and papers_of(len) == ()
    assert papers_of(attention.SCORES["dot"]) == ("luong2015",)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_cites_the_statistics_that_it_calls(name):
    """By its own text: every function `module.name(…)` of statistics that has papers."""
    tree = ast.parse((ROOT / "experiments" / f"{name}.py").read_text())
    called = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    needed = {key for full, function in STATISTICS.items() if ".".join(full.split(".")[-2:]) in called for key in papers_of(function)}
    common = {key for function in citation.STATISTICS for key in papers_of(function)}
    assert needed <= common | set(importlib.import_module(f"experiments.{name}").PAPERS)
