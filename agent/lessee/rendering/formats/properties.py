"""Properties as Java reads them: a key or a value with values in it is spelled anew, in ASCII and on one line."""

import re
from collections import Counter
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.core.immutable import Record
from lessee.rendering.document import Document
from lessee.rendering.formats.value_markers import Marked, Slot, mark

# The grammar of java.util.Properties.load: a line's end behind a backslash is nothing, with the white space after it.
_STATEMENT = re.compile(
    r"(?P<before>(?:[ \t\f\r\n]|\\(?:\r\n|[\r\n]))*+)"
    r"(?:(?P<comment>[#!][^\r\n]*)|(?P<line>(?:[^\\\r\n]|\\(?:\r\n|.))*+))"
    r"(?P<after>\\?(?:\r\n|[\r\n]|\Z))",
    re.DOTALL,
)
_CONTINUATION = re.compile(r"\\(?:(\r\n|[\r\n])[ \t\f]*|.)", re.DOTALL)
_PARTS = re.compile(r"((?:[^\\=: \t\f]|\\.)*+)([ \t\f]*[=:]?[ \t\f]*)(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_MEANINGS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_SHORT_ESCAPES = {meaning: f"\\{letter}" for letter, meaning in _MEANINGS.items()}
# Java takes a stream of bytes for ISO 8859-1, so that only ASCII is the same for all.
_SPECIAL_IN_KEYS = re.compile(r"[\\=:#!]|[^!-~]")
_SPECIAL_IN_VALUES = re.compile(r"\A[ =:]|\\|[^ -~]")


def write(document: Document) -> str:
    """The document as a properties file. Raises FormatError where a value has no place in it."""
    marked = mark(document)
    statements = list(_read(marked.text, marked.name))
    text = "".join(_write(statement, marked) for statement in statements)
    _refuse_twins(statements, marked)
    _prove(text, statements, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The keys, in order. Raises FormatError where the text is not of this format."""
    statements = [statement for statement in _read(text) if statement.key is not None]
    if not all(statement.literals[1].strip() for statement in statements):  # It may be part of a value.
        raise FormatError("a line of the text has neither = nor :", todo="write the file anew")
    return tuple(dict.fromkeys(statement.key for statement in statements if statement.key is not None))


class _Statement(Record, frozen=True):
    """An entry with the blank lines before it."""

    source: str
    before: str
    literals: tuple[str, str, str]
    """Key, separator and value as they are spelled, on one line."""
    after: str
    key: str | None
    """None: a comment, or nothing at all."""
    value: str


class _MalformedError(Exception):
    pass


def _read(text: str, name: str = "") -> Iterator[_Statement]:
    for found in _STATEMENT.finditer(text):
        line = found["line"]
        parts = _PARTS.fullmatch(_CONTINUATION.sub(lambda pair: "" if pair[1] else pair[0], line or ""))
        assert parts is not None
        try:
            key, value = _decode(parts[1]), _decode(parts[3])
        except _MalformedError:
            where = f"{name}:{text.count(chr(10), 0, found.start('line')) + 1}" if name else ""
            raise FormatError(r"\u without four hex digits", where=where, todo=r"write \\u") from None
        literals = parts[1], parts[2], parts[3]
        yield _Statement(found[0], found["before"], literals, found["after"], key if line else None, value)


def _decode(literal: str) -> str:
    # A character outside the first 65536 is spelled as two halves, which have to meet again.
    return _ESCAPE.sub(_meaning, literal).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _meaning(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    if escape[2] == "u":
        raise _MalformedError
    return _MEANINGS.get(escape[2], escape[2])


def _write(statement: _Statement, marked: Marked) -> str:
    if statement.key is None:
        return marked.fill(statement.source, Slot.comment)
    if not marked.slots_in(statement.source):
        return statement.source
    key, separator, literal = statement.literals
    if slots := marked.slots_in(key):
        key = _escape(_SPECIAL_IN_KEYS, marked.fill(statement.key))
        if not key:
            raise slots[0].refused("makes an empty key", "put some text before it")
    if marked.slots_in(literal):
        literal = _escape(_SPECIAL_IN_VALUES, marked.fill(statement.value))
    return statement.before + key + separator + literal + statement.after


def _escape(special: re.Pattern[str], text: str) -> str:
    return special.sub(_spell, text)


def _spell(found: re.Match[str]) -> str:
    char = found[0]
    if " " <= char <= "~":
        return f"\\{char}"
    halves = re.findall("....", char.encode("utf-16-be", "surrogatepass").hex().upper())
    return _SHORT_ESCAPES.get(char) or "".join(f"\\u{half}" for half in halves)


def _refuse_twins(statements: list[_Statement], marked: Marked) -> None:
    keys = [statement.key or "" for statement in statements]
    counts = Counter(marked.fill(key) for key in keys)
    for key in keys:
        slots = marked.slots_in(key)
        if slots and counts[marked.fill(key)] > 1:
            raise slots[0].refused("makes a key that is there already", "make the keys differ")


def _prove(text: str, statements: list[_Statement], marked: Marked) -> None:
    expected = [(marked.fill(entry.key), marked.fill(entry.value)) for entry in statements if entry.key is not None]
    found = [(entry.key, entry.value) for entry in _read(text, marked.name) if entry.key is not None]
    if found != expected:
        todo = "give each value a line of its own"
        raise FormatError("the file would not read back as it is written", where=marked.name, todo=todo)
