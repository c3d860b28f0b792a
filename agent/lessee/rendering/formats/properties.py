"""Java properties: a key or value that contains secrets is rewritten in ASCII on one line."""

import re
from collections import Counter
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.rendering.document import Document
from lessee.rendering.formats.value_markers import MarkedText, Marker, mark_values

# The grammar of java.util.Properties.load, which removes a newline after a backslash with the white space after it.
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
# Java decodes a byte stream as ISO 8859-1, so only ASCII is safe.
_SPECIAL_IN_KEYS = re.compile(r"[\\=:#!]|[^!-~]")
_SPECIAL_IN_VALUES = re.compile(r"\A[ =:]|\\|[^ -~]")


def write(document: Document) -> str:
    """The document as a properties file. Raises FormatError if it cannot represent a value."""
    marked = mark_values(document)
    statements = list(_read(marked.text, marked.name))
    text = "".join(_write(statement, marked) for statement in statements)
    _refuse_duplicates(statements, marked)
    _verify(text, statements, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The keys, in order. Raises FormatError if the text is not in this format."""
    statements = [statement for statement in _read(text) if statement.key is not None]
    if not all(statement.literals[1].strip() for statement in statements):  # It may be part of a value.
        raise FormatError("a line of the text has neither = nor :", todo="render the file again")
    return tuple(dict.fromkeys(statement.key for statement in statements if statement.key is not None))


class _Statement(ImmutableStruct, frozen=True):
    """An entry with the blank lines before it."""

    source: str
    before: str
    literals: tuple[str, str, str]
    """The source of key, separator and value, joined to one line."""
    after: str
    key: str | None
    """None for a comment or an empty line."""
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
    # A character beyond U+FFFF is written as a surrogate pair, which has to be joined.
    return _ESCAPE.sub(_meaning, literal).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _meaning(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    if escape[2] == "u":
        raise _MalformedError
    return _MEANINGS.get(escape[2], escape[2])


def _write(statement: _Statement, marked: MarkedText) -> str:
    if statement.key is None:
        return marked.fill(statement.source, Marker.comment)
    if not marked.markers_in(statement.source):
        return statement.source
    key, separator, literal = statement.literals
    if markers := marked.markers_in(key):
        key = _escape(_SPECIAL_IN_KEYS, marked.fill(statement.key))
        if not key:
            raise markers[0].error("makes an empty key", "add text to the key")
    if marked.markers_in(literal):
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


def _refuse_duplicates(statements: list[_Statement], marked: MarkedText) -> None:
    keys = [statement.key or "" for statement in statements]
    counts = Counter(marked.fill(key) for key in keys)
    for key in keys:
        markers = marked.markers_in(key)
        if markers and counts[marked.fill(key)] > 1:
            raise markers[0].error("duplicates a key", "rename one")


def _verify(text: str, statements: list[_Statement], marked: MarkedText) -> None:
    expected = [(marked.fill(entry.key), marked.fill(entry.value)) for entry in statements if entry.key is not None]
    found = [(entry.key, entry.value) for entry in _read(text, marked.name) if entry.key is not None]
    if found != expected:
        todo = "put each value on its own line"
        raise FormatError("the file would parse back to different content", where=marked.name, todo=todo)
