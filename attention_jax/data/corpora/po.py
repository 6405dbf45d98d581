"""gettext catalogues (.po): the text of a file → its translated messages, as prose without reST markup.

    #: ../Doc/library/abc.rst:11         a comment
    #, fuzzy                             a flag: this translation is a guess, the entry is left out
    msgid "**See** "                     strings on consecutive lines are one string
    ":mod:`abc`."
    msgstr "**Ver** :mod:`abc`."         parse → ("**See** :mod:`abc`.", "**Ver** :mod:`abc`.");  prose → "See abc.", "Ver abc."

Left out too: the header (its msgid is empty), obsolete entries (#~), plural forms, and what is not translated yet.
"""

import re
from typing import NamedTuple

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


class _Entry(NamedTuple):
    """One message: its strings, one a line, of each keyword; "msgstr[0]" is a plural form."""

    fuzzy: bool
    strings: dict[str, list[str]]

    def text(self, keyword: str) -> str:
        """Returns the text of a keyword; empty where the entry lacks it."""
        return "".join(self.strings.get(keyword, ()))


def parse(text: str, where: str) -> list[tuple[str, str]]:
    """Returns (msgid, msgstr) of every entry that is translated and not fuzzy, in order of the file.

    Raises `DataError` for a line that is not gettext; `where` names the file in its message.
    """
    messages = ((entry.text("msgid"), entry.text("msgstr")) for entry in _entries(text, where) if not entry.fuzzy)
    return [(msgid, msgstr) for msgid, msgstr in messages if msgid and msgstr]


def _entries(text: str, where: str) -> list[_Entry]:
    """Returns all entries of a file, the header among them."""
    entries: list[_Entry] = []
    strings: list[str] = []  # of the keyword that is being read
    last, fuzzy = "", False
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if line.startswith("#"):
            fuzzy = _is_fuzzy(line, fuzzy)
        elif line:
            keyword, form, string = _split(line)
            if keyword and last in ("", "msgstr") and keyword in FOLLOWS[""]:
                entries.append(_Entry(fuzzy, {}))
                fuzzy = False
            elif keyword and (keyword not in FOLLOWS[last] or keyword + form in entries[-1].strings):
                raise DataError(f"{where}, line {number}: {line[:60]!r} is not what a gettext file has after {last or 'its start'}")
            if keyword:
                last = keyword
                strings = entries[-1].strings[keyword + form] = []
            if not last or not ESCAPED.keys() >= {*ESCAPE.findall(string)}:
                raise DataError(f"{where}, line {number}: {line[:60]!r} has a string that gettext does not know how to read")
            strings.append(ESCAPE.sub(lambda found: ESCAPED[found[1]], string))
    if last not in ("", "msgstr"):
        raise DataError(f"{where}: ends in the middle of an entry, after {last}; is the file complete?")
    return entries


def _is_fuzzy(comment: str, fuzzy: bool) -> bool:
    """True where the next entry is fuzzy after this comment; an obsolete entry takes its flag with it."""
    return not comment.startswith("#~") and (fuzzy or (comment.startswith("#,") and "fuzzy" in comment))


def _split(line: str) -> tuple[str, str, str]:
    """Splits a line into keyword, plural form and string; a continuation line has an empty keyword, nonsense one that gettext has not."""
    match = LINE.fullmatch(line)
    if not match:
        return "no keyword", "", ""
    keyword, form, string = match.groups(default="")
    return keyword, form, string


def prose(text: str) -> str:
    """Removes reST markup of roles, literals, links and emphasis, and collapses whitespace: the text of the rendered page."""
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
