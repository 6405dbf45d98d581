import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.data.corpora import po
from attention_jax.system.errors import DataError

CATALOGUE = r"""
# a translator's comment
msgid ""
msgstr ""
"Project-Id-Version: x\n"

#: ../Doc/a.rst:1
msgid "one"
msgstr "uno"

#, python-format
msgid ""
"two \"quoted\"\n"
"lines\\"
msgstr "dos"
" líneas"
#, fuzzy, python-format
msgid "guess"
msgstr "conjetura"

msgctxt "menu"
msgid "open"
msgstr "abrir"
msgid "directly after"
msgstr "justo después"

msgid "file"
msgid_plural "files"
msgstr[0] "archivo"
msgstr[1] "archivos"

msgid "not yet"
msgstr ""

#, fuzzy
#~ msgid "gone"
#~ msgstr "ido"

msgid "last"
msgstr "último"
"""


def test_entries_strings_escapes_and_what_is_left_out():
    assert po.parse(CATALOGUE, "a.po") == [
        ("one", "uno"),
        ('two "quoted"\nlines\\', "dos líneas"),
        ("open", "abrir"),
        ("directly after", "justo después"),
        ("last", "último"),
    ]


def test_crlf_reads_the_same():
    assert po.parse(CATALOGUE.replace("\n", "\r\n"), "a.po") == po.parse(CATALOGUE, "a.po")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('msgid "a"\nmsgstr "b', 2),  # no closing quote
        ('msgid "a"\nmsgstr b"', 2),  # no opening quote
        ('msgid "a"\n\nmsgid "b"', 3),  # no msgstr before the next
        ('msgstr "b"', 1),
        ('"a"', 1),
        ('msgid "a"\nmsgstr "b"\nmsgstr "c"', 3),
        ('msgid "a"\nmsgtext "b"', 2),
        ('msgid[0] "a"', 1),
        ('msgid "a\\q"', 1),
        ("<html>", 1),
    ],
)
def test_what_is_no_gettext_is_refused_with_its_line(text, line):
    with pytest.raises(DataError, match=rf"^a\.po, line {line}: [^\n]*$"):
        po.parse(text, "a.po")


def test_a_file_that_stops_in_an_entry_is_refused():
    with pytest.raises(DataError, match=r"a\.po: ends in the middle"):
        po.parse('msgid "a"\nmsgstr "b"\nmsgid "c"', "a.po")


def quoted(text: str) -> str:
    """Written from the manual, not from the parser."""
    table = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(table.get(character, character) for character in text) + '"'


MESSAGE = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(st.lists(st.tuples(MESSAGE, MESSAGE, st.booleans()), max_size=5), st.integers(0, 19))
def test_whatever_is_written_is_read_back(entries, cut):
    text = ""
    for source, target, fuzzy in entries:
        flag = "#, fuzzy\n" if fuzzy else ""
        text += f"{flag}msgid {quoted(source[:cut])}\n{quoted(source[cut:])}\nmsgstr {quoted(target)}\n\n"
    assert po.parse(text, "a.po") == [(source, target) for source, target, fuzzy in entries if not fuzzy]


@given(st.lists(st.sampled_from([*CATALOGUE.split("\n"), 'msgid "', '"x', "\\", 'msgstr[2] "z"', "#, fuzzy"]), max_size=12))
def test_shuffled_lines_give_pairs_or_a_data_error(lines):
    try:
        pairs = po.parse("\n".join(lines), "a.po")
    except DataError as error:
        assert re.match(r"a\.po(, line \d+)?: ", str(error)) and "\n" not in str(error)
    else:
        assert all(source and target for source, target in pairs)


@pytest.mark.parametrize(
    ("markup", "shown"),
    [
        (":class:`Foo` and :c:func:`PyObject_New`", "Foo and PyObject_New"),
        (":meth:`~http.client.HTTPConnection.request`, :func:`!hidden`", "request, hidden"),
        (":ref:`the tutorial <tut-index>`", "the tutorial"),
        (":pep:`3119`, :rfc:`2822`, :pep:`that one <8>`", "PEP 3119, RFC 2822, that one"),
        ("``x = *args``, ``**kwargs``", "x = *args, **kwargs"),
        ("`Docutils <https://docutils.sourceforge.io/>`_ or `other`__", "Docutils or other"),
        ("*emphasis* and **strong words** but 2 * 3 * 4", "emphasis and strong words but 2 * 3 * 4"),
        ("see [1]_ and [#note]_.", "see and."),
        (":mod:`io`\\ s   on\ntwo lines", "ios on two lines"),
        ("an example::", "an example:"),
        ("std::vector at 12:30", "std::vector at 12:30"),
        ("``C:\\dir``", "C:\\dir"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_prose(markup, shown):
    assert po.prose(markup) == shown


@given(st.text(max_size=40))
def test_prose_of_anything_is_one_clean_line(text):
    assert po.prose(text) == " ".join(po.prose(text).split())
