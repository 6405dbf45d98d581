"""gettext catalogues (.po): the text of a file comes in, its translated messages go out, as prose without reST markup.

    #: ../Doc/library/abc.rst:11         a comment
    #, fuzzy                             a flag: this translation is a guess, the entry is left out
    msgid "**See** "                     strings on consecutive lines are one string
    ":mod:`abc`."
    msgstr "**Ver** :mod:`abc`."         parse → ("**See** :mod:`abc`.", "**Ver** :mod:`abc`.");  prose → "See abc.", "Ver abc."

Left out too: the header (its msgid is empty), obsolete entries (#~), plural forms, and what is not translated yet.
"""

import re
from typing import Any

from attention_jax.data.corpora import words
from attention_jax.system.errors import DataError

FOLLOWS = {
    "": ("msgctxt", "msgid"),
    "msgctxt": ("msgid",),
    "msgid": ("msgid_plural", "msgstr"),
    "msgid_plural": ("msgstr",),
    "msgstr": ("msgctxt", "msgid", "msgstr"),
}
LINE = re.compile(r'(?:([a-z_]+)((?<=msgstr)\[\d+\])?\s*)?"((?:[^"\\]|\\.)*)"')
ESCAPE = re.compile(r"\\(.)")
ESCAPED = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}

MARKUP = re.compile(
    r"""
      ``(?P<literal>.+?)``
    | (?P<role>(?::[a-zA-Z][\w.+-]*){1,3}:)`(?P<shown>[^`]+)`
    | `(?P<link>[^`]+)`(?:__?)?
    | \*\*(?P<strong>[^\s*](?:[^*]*[^\s*])?)\*\*
    | (?<![\w*])\*(?P<emphasis>[^\s*](?:[^*]*[^\s*])?)\*(?![\w*])
    | \s*\[[\#\w]+\]_(?!\w)
    | (?P<colon>:):\s*\Z
    | \\(?P<escaped>.)
    """,
    re.VERBOSE | re.DOTALL,
)
LINK_TARGET = re.compile(r"(.*\S)\s*<[^<>]*>", re.DOTALL)
NAMED_ROLES = {":pep:": "PEP ", ":PEP:": "PEP ", ":rfc:": "RFC ", ":RFC:": "RFC "}


def parse(text: str, where: str) -> list[tuple[str, str]]:
    """Every (msgid, msgstr) that is surely translated, in order of the file; `where` names the file when a line is no gettext."""
    entries: list[dict[str, Any]] = []
    entry: dict[str, Any] = {}
    last, key, fuzzy = "", "", False
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if line.startswith("#"):
            fuzzy = not line.startswith("#~") and (fuzzy or (line.startswith("#,") and "fuzzy" in line))
        elif line:
            match = LINE.fullmatch(line)
            keyword, plural, string = match.groups() if match else ("no keyword", None, "")
            starts = last in ("", "msgstr") and keyword in FOLLOWS[""]
            if keyword:
                key = keyword + (plural or "")
                if keyword not in FOLLOWS[last] or (key in entry and not starts):
                    raise DataError(f"{where}, line {number}: {line[:60]!r} is not what a gettext file has after {last or 'its start'}")
                last = keyword
            if starts:
                entry, fuzzy = {"fuzzy": fuzzy}, False
                entries.append(entry)
            if not last or any(escape not in ESCAPED for escape in ESCAPE.findall(string)):
                raise DataError(f"{where}, line {number}: {line[:60]!r} has a string that gettext does not know how to read")
            entry[key] = entry.get(key, "") + ESCAPE.sub(lambda found: ESCAPED[found[1]], string)
    if last not in ("", "msgstr"):
        raise DataError(f"{where}: ends in the middle of an entry, after {last}; is the file complete?")
    return [(e["msgid"], e["msgstr"]) for e in entries if e["msgid"] and e.get("msgstr") and not e["fuzzy"]]


def prose(text: str) -> str:
    """The words a reader of the rendered page sees, whitespace collapsed: roles, literals, links and emphasis lose their markup."""
    return words.collapsed(MARKUP.sub(_shown, text))


def _shown(match: re.Match) -> str:
    found = match.groupdict()
    if found["escaped"]:
        return found["escaped"].strip()  # an escaped space is no space at all
    if found["shown"] or found["link"]:
        text = found["shown"] or found["link"]
        target = LINK_TARGET.fullmatch(text)
        text = target[1] if target else text.removeprefix("!")
        return NAMED_ROLES.get(found["role"], "") * (not target) + (text.rpartition(".")[2] if text.startswith("~") else text)
    return found["literal"] or found["strong"] or found["emphasis"] or found["colon"] or ""
