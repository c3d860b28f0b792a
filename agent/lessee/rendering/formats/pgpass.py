"""pgpass as libpq reads it: five fields per line, in which a backslash escapes the next character."""

import re

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats.value_markers import MarkedText, Marker, mark_values

_SEPARATOR = re.compile(r"\\.|:")
_ESCAPE = re.compile(r"\\(.)")
_SPECIAL = re.compile(r"[\\:]")
_WHOLE, _PASSWORD = 5, 4

_Entry = list[str | None]
"""The fields of a line. None matches any host, port, database or user. A comment has no fields."""


def write(document: Document) -> str:
    """The document as a password file. Raises FormatError if it cannot represent a value."""
    marked = mark_values(document)
    entries = _read(marked.text)
    lines = marked.text.split("\n")
    text = "\n".join(_spell(line, entry, marked) for line, entry in zip(lines, entries, strict=True))
    _verify(text, entries, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The entries by number only, because each of their fields may be a value."""
    entries = [entry for entry in _read(text) if len(entry) == _WHOLE]
    return tuple(f"entry[{number}]" for number in range(len(entries)))


def _read(text: str) -> list[_Entry]:
    return [_entry(line.rstrip("\r")) for line in text.split("\n")]


def _entry(line: str) -> _Entry:
    if line.startswith("#"):
        return []
    return [None if (at < _PASSWORD and field == "*") else _decode(field) for at, field in enumerate(_fields(line))]


def _fields(line: str) -> list[str]:
    if "\\" not in line:
        return line.split(":")
    return _SEPARATOR.sub(lambda found: "\n" if found[0] == ":" else found[0], line).split("\n")


def _decode(field: str) -> str:
    return _ESCAPE.sub(r"\1", field) if "\\" in field else field


def _spell(line: str, entry: _Entry, marked: MarkedText) -> str:
    if line.startswith("#"):
        return marked.fill(line, _comment)
    if not (markers := marked.markers_in(line)):
        return line
    if len(entry) != _WHOLE:
        todo = r"write host:port:database:user:password, and \: for a colon in one of them"
        raise markers[0].error("is on a line without five fields", todo)
    body = line.rstrip("\r")
    fields = zip(_fields(body), entry, strict=True)
    return ":".join(_field(at, *field, marked) for at, field in enumerate(fields)) + line[len(body) :]


def _field(at: int, source: str, field: str | None, marked: MarkedText) -> str:
    if field is None or not marked.markers_in(field):
        return source
    text = marked.fill(field, _text)
    # At the start of a line, # begins a comment, and a single * matches anything. Both must be escaped.
    special = (at == 0 and text.startswith("#")) or (at < _PASSWORD and text == "*")
    return "\\" * special + _SPECIAL.sub(r"\\\g<0>", text)


def _text(marker: Marker) -> str:
    return marker.line("pgpass")


def _comment(marker: Marker) -> str:
    _text(marker)
    return marker.comment()


def _verify(text: str, entries: list[_Entry], marked: MarkedText) -> None:
    expected = [[field if field is None else marked.fill(field) for field in entry] for entry in entries]
    if _read(text) != expected:
        todo = "put each value into its own field"
        raise FormatError("the file would parse back to different content", where=marked.name, todo=todo)
