"""The site, `make docs`: README, CHANGELOG and every page of this folder, as they are, by Sphinx. GitHub shows the same Markdown.

Notebooks are run, and shown with what they print and draw.

The sources are the checkout's top, so that links between README, docs and files lead to the same places on GitHub and on the site.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "attention_jax"
author = copyright = "attention_jax developers"
extensions = ["myst_nb"]  # which reads plain Markdown by myst_parser
root_doc = "README"
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
include_patterns = [
    "README*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/notebooks/*.ipynb",
    "docs/performance/*.md",
    "docs/results/*/*.md",
    "docs/api/*.md",
]
exclude_patterns = [".*", "build", "dist", "runs", "wheels"]
html_theme = "furo"
html_title = "attention_jax"
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "cache"
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # bars of progress
suppress_warnings = ["myst.header"]  # tables.md of a folder of results begin with headings of the second level

CONTENTS = {
    "Start": ["README.zh", "docs/install", "docs/results", "docs/verdicts", "docs/choosing", "docs/using", "docs/own_model"],
    "Notebooks": [f"docs/notebooks/{path.stem}" for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb"))],
    "Experiments": ["docs/running", "docs/mechanisms", "docs/gallery", "docs/data", "docs/jobs", "docs/safety"],
    "Evidence": ["docs/evidence", "docs/characteristics", "docs/performance", "docs/performance/appendix"],
    "Results in full": [f"docs/results/{path.parent.name}/tables" for path in sorted((ROOT / "docs/results").glob("*/tables.md"))],
    "The code": ["docs/layout", "docs/where_it_runs", "docs/extending", "docs/decisions", "docs/api/README", "CONTRIBUTING", "CHANGELOG"],
}
"""The site's list of pages; a page that stands nowhere in it is a warning, and so an error."""


def add_contents(app, docname: str, source: list[str]) -> None:
    """Adds the list of pages to the first page, which GitHub would show as code, and the modules to the API's."""
    if docname == root_doc:
        for title, pages in CONTENTS.items():
            source[0] += toctree(title, [page for page in pages if any((ROOT / f"{page}{suffix}").exists() for suffix in source_suffix)])
    if docname == "docs/api/README":
        source[0] += toctree("", sorted(path.stem for path in (ROOT / "docs" / "api").glob("attention_jax*.md")))


def toctree(title: str, pages: list[str]) -> str:
    """A hidden list of pages, as MyST writes it: by their first heading, tables of results by their experiment."""
    named = [f"{Path(page).parent.name} <{page}>" if page.endswith("/tables") else page for page in pages]
    return "\n".join(["\n```{toctree}", ":hidden:", *([f":caption: {title}"] if title else []), "", *named, "```\n"])


def add_index(app, exception) -> None:
    """Puts the first page where servers look for it."""
    if exception is None and app.builder.name == "html":
        out = Path(app.outdir)
        (out / "index.html").write_bytes((out / "README.html").read_bytes())


def setup(app) -> None:
    """Connects both to Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", add_index)
