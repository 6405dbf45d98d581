"""Reuters-21578: news stories of 1987, the lead of each → its headline.

The collection is SGML that no SGML parser takes as it is: control characters stand in it, as bytes and as references, and one byte of no
encoding. Tags are found by their text, one after the other, so that reading takes one pass whatever the files hold.

    lead        the first paragraph of a story's body, where it is one of prose (`is_prose`)
    headline    its title, which has capitals alone

Both are in lower case, without the codes of companies (`<IBM>`, `<TIME.O>`) and without angle brackets. Tables of figures, briefs without a
body, and stories whose lead and headline have no word of four letters in common are left out (as Rush, Chopra, Weston 2015 did).
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow_datasets as tfds

from attention_jax.data.corpora import archives, raw, words
from attention_jax.data.corpora.archives import listing
from attention_jax.data.corpora.builder import PairBuilder
from attention_jax.system.errors import DataError

ADDRESS = "https://kdd.ics.uci.edu/databases/reuters21578/reuters21578.tar.gz"
SHA256 = "de23e8c34607119edcc0e112bc7a1cc035db9870d07963774836771c1beb13a6"  # of the listing of all 22 .sgm files
STORIES = 21_578

FEWEST, MOST = 8, 60  # words of a lead
SHORTEST = 3  # words of a headline
FIGURES = 0.25  # the largest share of a lead's words that have a digit
BEGIN, END = "<REUTERS ", "</REUTERS>"
SPLIT = re.compile(r'LEWISSPLIT="([A-Z-]{1,20})"')
CODE = re.compile(r"<[A-Z]{1,5}(?:\.[A-Z]{1,3})?>")
CONTROL = re.compile(r"&#\d{1,3};|[\x00-\x09\x0b-\x1f\x7f-\x9f]")
PARAGRAPH = re.compile(r"\n {3,8}(?=\S)")


class Story(NamedTuple):
    """A story as it was published: its split, "TRAIN", "TEST" or "NOT-USED", its title and its body; empty where it has none."""

    split: str
    title: str
    body: str


class Reuters(PairBuilder):
    """Leads and headlines by the split of Lewis (stories before and after 8 April 1987), a twentieth of its training set for validation.

    Left out of training are stories whose lead or headline a test or validation story has, and of validation those of test; within a
    split a lead counts once.
    """

    HOMEPAGE = "https://kdd.ics.uci.edu/databases/reuters21578/reuters21578.html"
    LICENSE = "free for research: Reuters and Carnegie Group keep the copyright"
    CITATION = """@misc{reuters21578, title={Reuters-21578 text categorization test collection, distribution 1.0}, author={Lewis, David D.},
        howpublished={https://kdd.ics.uci.edu/databases/reuters21578}, year={1997}}"""
    RESTRICTED = True
    LANGUAGES = ("lead-headline",)
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=pair) for pair in LANGUAGES]

    def read(self, place: raw.Place) -> dict[str, list[tuple[str, str]]]:
        stories = raw.obtain(place, "reuters21578", "reuters21578.tar.gz", ADDRESS, _read)
        return split(stories)


def _read(data: bytes, where: str) -> list[Story]:
    members = archives.untar(data, where, lambda path: path.endswith(".sgm"))
    files = {path.removeprefix("./"): members[path] for path in sorted(members)}
    raw.verify(listing(files), SHA256, f"{where} ({len(files)} .sgm files)", f"get it from {ADDRESS}")
    found = [story for path, content in files.items() for story in parse(content, f"{where}, {path}")]
    if len(found) != STORIES:
        raise DataError(f"{where} has {len(found)} stories, and the collection {STORIES}; get it from {ADDRESS}")
    return found


def parse(content: bytes, where: str) -> list[Story]:
    """Returns the stories of a file, in its order. Raises `DataError` for a story without an end, or of no split."""
    text = CONTROL.sub(" ", content.decode("latin-1").replace("\r\n", "\n"))
    found = []
    for number, part in enumerate(text.split(BEGIN)[1:], start=1):
        head, _, rest = part.partition(">")
        story, end, _ = rest.partition(END)
        of_split = SPLIT.search(head)
        if not end or not of_split:
            raise DataError(f"{where}, story {number} has {'no LEWISSPLIT' if end else f'no {END}'}; that is not the file it should be")
        found.append(Story(of_split[1], _between(story, "TITLE"), _between(story, "BODY")))
    return found


def _between(story: str, tag: str) -> str:
    """Returns the text of an element, unescaped; empty where the story lacks it."""
    inner, end, _ = story.partition(f"<{tag}>")[2].partition(f"</{tag}>")
    return html.unescape(inner) if end else ""


def split(stories: list[Story]) -> dict[str, list[tuple[str, str]]]:
    """Returns leads and headlines of each split. Stories of no use, and those that another split has, are left out."""
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for story in stories:
        for lead, headline in pairs(story):
            part = "validation" if raw.percentile(lead) < 5 else "train"
            if story.split in ("TRAIN", "TEST"):
                splits["test" if story.split == "TEST" else part].append((lead, headline))
    leads: set[str] = set()
    headlines: set[str] = set()
    for name in ("test", "validation", "train"):
        of_earlier, kept = set(headlines), []
        for lead, headline in splits[name]:
            if letters(lead) not in leads and letters(headline) not in of_earlier:
                kept.append((lead, headline))
                leads.add(letters(lead))
                headlines.add(letters(headline))
        splits[name] = kept
    return splits


def pairs(story: Story) -> Iterator[tuple[str, str]]:
    """Yields (lead, headline) of a story, cleaned, if it is of use."""
    lead, headline = (clean(text) for text in (PARAGRAPH.split(story.body.strip())[0], story.title))
    of_both = [{word for word in re.findall(r"[a-z]+", text) if len(word) > 3} for text in (lead, headline)]
    if is_prose(lead) and len(words.split(headline)) >= SHORTEST and of_both[0] & of_both[1]:
        yield lead, headline


def clean(text: str) -> str:
    """Returns a text in lower case, without codes, angle brackets and the agency's name at its end."""
    text = words.collapsed(CODE.sub(" ", text).replace("<", " ").replace(">", " ")).lower()
    return text.removesuffix(" reuter")


def is_prose(lead: str) -> bool:
    """Returns whether a lead is a sentence or more: of 8 to 60 words, a full stop at its end, and few figures."""
    found = words.split(lead)
    figures = sum(any(letter.isdigit() for letter in word) for word in found)
    return FEWEST <= len(found) <= MOST and lead.endswith(".") and figures <= FIGURES * len(found)


def letters(text: str) -> str:
    """Returns the letters and digits of a text: what makes two stories the same."""
    return re.sub(r"[^a-z0-9]", "", text)
