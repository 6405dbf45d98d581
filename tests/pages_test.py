"""Pages lead somewhere: links, the files and names that they speak of, and the first page in two languages."""

import io
import re
import tokenize
import unicodedata
from functools import cache
from pathlib import Path

import pytest

from docs import conf

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
TOP = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES = [*TOP, *sorted(ROOT.glob("docs/*.md")), ROOT / "docs" / "performance" / "appendix.md"]
LINKED = [*PAGES, *sorted(ROOT.glob("docs/results/*/*.md")), *sorted(ROOT.glob("docs/api/*.md"))]
CODE = re.compile(r"^```.*?^```|^<!-- \w+: .*?^<!-- end -->", re.MULTILINE | re.DOTALL)
"""Blocks that are run, printed or made."""


def named(path: Path) -> str:
    """How a test of a page is called."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", READMES, ids=named)
def test_the_first_page_is_short(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if width(line) > 110] == []


def width(line: str) -> int:
    """Columns of a terminal: Chinese letters and their punctuation take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


def test_both_first_pages_have_the_same_commands_links_and_numbers():
    english, chinese = (path.read_text() for path in READMES)

    def parts(text: str) -> tuple:
        fenced = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        code = [(language, re.sub(r"\s*# .*", "", block)) for language, block in fenced]
        places = [place.replace(".zh.", ".").partition("#") for _, place in links(text) if "README" not in place]
        return (
            code,
            re.findall(r"^<!-- (\w+: .*) -->$", text, re.MULTILINE),
            [place for place, _, _ in places],
            re.findall("^#+", text, re.MULTILINE),
        )

    for ours, theirs in zip(parts(english), parts(chinese), strict=True):
        assert ours == theirs


def links(text: str) -> list[tuple[str, str]]:
    """(text, target) of the links and pictures of a page, code aside."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "code", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)", text)


def anchors(path: Path) -> set[str]:
    """What a link into a page may name: its headings, as GitHub turns them into anchors."""
    text = CODE.sub("", path.read_text())
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", LINKED, ids=named)
def test_links_lead_somewhere(path):
    for text, target in links(path.read_text()):
        place, _, anchor = target.partition("#")
        if place.startswith(("http://", "https://")):
            continue
        there = (path.parent / place).resolve() if place else path
        assert there.is_file(), f"[{text}]({target}): no such file; a folder has no page on the site"
        assert not anchor or anchor in anchors(there), f"[{text}]({target}): no such heading"


def test_every_page_stands_in_the_contents_of_the_site():
    listed = {f"{page}.md" for pages in conf.CONTENTS.values() for page in pages} | {"README.md"}
    pages = {named(path) for path in LINKED if path.parent.name != "api"} | {"docs/api/README.md"}
    assert pages <= listed, f"docs/conf.py lacks {', '.join(sorted(pages - listed))}"


def test_how_links_are_read():
    assert links("[a](b.md#c) `[x](y)`\n```\n[u](v)\n```\n![two\nlines](p.png)") == [("a", "b.md#c"), ("two\nlines", "p.png")]


def test_every_page_is_found_from_the_first():
    found, queue = set(), [READMES[0]]
    while queue:
        path = queue.pop()
        found.add(path)
        targets = {(path.parent / target.partition("#")[0]).resolve() for _, target in links(path.read_text()) if "://" not in target}
        queue += [there for there in targets if there.suffix == ".md" and there not in found and ROOT in there.parents]
    lost = {named(path) for path in LINKED} - {named(path) for path in found}
    assert not lost, f"no way leads from README to {', '.join(sorted(lost))}"


MADE = ("runs/", ".venv", ".cache/", "build/", "dist/", "events/", "trials/", "checkpoint/", "links/")
"""What appears when something is run."""
ENDING = re.compile(r"/$|\.(py|md|jsonl|yaml|sbatch|sh|npz|svg|png|toml|cfg|txt)$")


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_files_that_a_page_speaks_of_are_there(path):
    """In code font, with a slash and an ending: from the top, from the package or from the page."""
    spans = re.findall(r"`([\w.-]+/[\w./-]*)`", CODE.sub("", path.read_text()))
    spoken = {span for span in spans if ENDING.search(span) and not span.startswith(MADE)}
    gone = {span for span in spoken if not any((base / span).exists() for base in (ROOT, ROOT / "attention_jax", path.parent))}
    assert not gone, f"there is no {', '.join(sorted(gone))}"


SOURCES = (
    "attention_jax/**/*",
    "experiments/**/*.py",
    "benchmarks/**/*.py",
    "fuzz/*.py",
    "docs/*.py",
    "jobs/*",
    "*",
    ".ci/*",
)
ENDINGS = (".py", ".sh", ".j2", ".sbatch", ".yaml", ".cfg", ".txt", ".toml", "")


@cache
def words() -> set[str]:
    """Every word of the sources, tests, comments and docstrings aside: those may speak of what is gone."""
    files = {path for pattern in SOURCES for path in ROOT.glob(pattern) if path.is_file() and path.suffix in ENDINGS}
    texts = [path.stem for path in files]
    texts += [told(path.read_text()) if path.suffix == ".py" else path.read_text() for path in files]
    return set(re.findall(r"\w+", "\n".join(texts)))


FORMATTED = getattr(tokenize, "FSTRING_MIDDLE", tokenize.NAME)
"""The text of an f-string, which from Python 3.12 on is a token of its own."""


def told(source: str) -> str:
    """Names and strings of a Python file, comments and docstrings aside."""
    found, before = [], tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        begins = before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        if token.type in (tokenize.NAME, FORMATTED) or (token.type == tokenize.STRING and not begins):
            found.append(token.string)
        before = before if token.type in (tokenize.COMMENT, tokenize.NL) else token.type
    return "\n".join(found)


def test_what_comments_and_docstrings_say_is_not_code():
    source = '"""doc"""\n\n\ndef f(x):  # comment\n    """more"""\n    return {"key": x}\n'
    assert told(source).split() == ["def", "f", "x", "return", '"key"', "x"]
    assert {"of", "a", "word"} <= set(re.findall(r"\w+", told('x = f"of {a} word"\n')))


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_names_that_a_page_speaks_of_are_in_the_code(path):
    """In code font, a dotted or underscored name: each of its parts is a word of the sources. A renamed thing is renamed here."""
    known = words()
    prose = CODE.sub("", path.read_text())
    gone = {code for code in re.findall(r"`([A-Za-z][\w.]*)`", prose) if not set(filter(None, code.split("."))) <= known}
    assert not gone - ELSEWHERE, f"no code has {', '.join(sorted(gone - ELSEWHERE))}"


ELSEWHERE = {
    "KillWait",
    "jax.pure_callback",
    "afterok",
    "nohup",
    "M_ARENA_MAX",
    "perf",
    "madvise",
    "NPROC",
    "CPU_OPT_PRESET_FAST_RUNTIME",
    "xla_backend_extra_options",
    "jax_enable_x64",
    "marshal",
    "pickle",
    "shelve",
    "nn.remat",
} | {"TraceContextError", "as_dataset", "config_flags", "pmean", "slots_k", "layer1"}
"""Names of other programs, and of the design."""
ELSEWHERE |= {"bias_hh_l0", "bias_ih_l0", "weight_hh_l0", "weight_ih_l0", "hi", "hf", "ii", "dense_h", "dense_i"}
"""Parameters as PyTorch and Flax call them."""


def test_the_page_of_verdicts_names_every_experiment_with_words_of_its_own():
    page = (ROOT / "docs" / "verdicts.md").read_text().split("\n\n")[1]
    own = set()
    for path in (ROOT / "experiments").glob("*.py"):
        text = path.read_text()
        if "\nPRESETS = " in text and "slower to train" not in text.split('"""')[1]:
            own.add(path.stem)
    assert own and own <= set(re.findall(r"`([a-z_0-9]+)`", page))
