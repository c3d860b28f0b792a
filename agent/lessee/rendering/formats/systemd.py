"""systemd's EnvironmentFile: a variable that contains a value is written as one literal in double quotes."""

import re
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.rendering.document import Document
from lessee.rendering.formats import names
from lessee.rendering.formats.value_markers import MarkedText, Marker, mark_values
from lessee.rendering.formats.variables import Assignment

# The grammar of systemd 254 and later: parse_env_file_internal() in env-file.c.
_GAP = re.compile(r"[ \t\r\n]*([#;][^\r\n]*)?")
_KEY = re.compile(r"([^\r\n][^=\r\n]*)(=?)")
_BLANK = re.compile(r"[ \t]*")
_SINGLE = re.compile(r"'([^']*)('?)")
_DOUBLE = re.compile(r'"((?:\\.|[^"\\])*)(?:\\\Z)?("?)', re.DOTALL)
_BARE = re.compile(r"((?:[ \t]*(?:\\.|\\\Z|[^\\ \t\r\n]))*)[ \t]*", re.DOTALL)
_BARE_ESCAPE = re.compile(r"\\(?:[\r\n]|\Z|(.))")
_ESCAPE = re.compile(r"\\(?:\n|([\"\\`$]))")
_SPECIAL = re.compile(r"[\"\\`$]")
# Unicode's noncharacters: with one of them in a variable, systemd ignores the whole file.
_LAST_TWO = "".join(chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF))
_NONCHARACTER = re.compile(f"[\ufdd0-\ufdef{_LAST_TWO}]")
# Before systemd 254, such a comment continues on the next line.
_GOES_ON = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")


class _Line(ImmutableStruct, frozen=True):
    """A line, or several lines joined by quotes or a backslash. Its text is before + literal."""

    at: int
    before: str
    name: str | None = None
    """None for a comment, an empty line, or a line that systemd ignores with a warning."""
    literal: str = ""
    value: str = ""
    closed: bool = True
    """Whether the literal's quotes are closed."""


def write(document: Document) -> str:
    """The document as an environment file. Raises FormatError if it cannot represent a value."""
    marked = mark_values(document)
    lines = list(_read(marked.text))
    names.refuse_duplicates((line.name for line in lines if line.name is not None), marked)
    text = "".join(_write(line, marked) for line in lines)
    _verify(text, lines, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order. Raises FormatError for a line without one: it may be part of a value."""
    lines = list(_read(text))
    if any(line.name is None and not _GAP.fullmatch(line.before) for line in lines):
        raise FormatError("a line of the text assigns no variable", todo="render the file again")
    return tuple(dict.fromkeys(line.name for line in lines if line.name and names.NAME.fullmatch(line.name)))


def literals(text: str) -> Iterator[tuple[Assignment, tuple[str, ...]]]:
    """The variables of a file that systemd sets, each with its value: it knows no references."""
    for line in _read(text):
        if line.name is not None and names.NAME.fullmatch(line.name):
            begin = line.at + len(line.before)
            blank = len(line.literal) - len(line.literal.lstrip(" \t"))
            end = begin + len(line.literal.rstrip(" \t"))
            yield Assignment(line.name, line.literal, line.at, min(begin + blank, end), end), (line.value,)


def _read(text: str) -> Iterator[_Line]:
    at = 0
    while at < len(text):
        gap = _match(_GAP, text, at)
        if gap[0]:
            yield _Line(gap.start(1), gap[0])
        at = gap.end()
        key = _KEY.match(text, at) if not gap[1] else None
        if key and key[2]:
            literal, value, closed = _take_literal(text, key.end())
            yield _Line(at, key[0], key[1].rstrip(" \t"), literal, value, closed)
            at = key.end() + len(literal)
        elif key:
            yield _Line(at, key[0])
            at = key.end()


def _match(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    found = pattern.match(text, at)
    assert found is not None
    return found


def _take_literal(text: str, start: int) -> tuple[str, str, bool]:
    """A literal, its value, and whether its quotes are closed. Several quoted parts may precede an unquoted one."""
    value, closed = "", True
    at = _match(_BLANK, text, start).end()
    while text[at : at + 1] in {"'", '"'}:
        quoted = _match(_SINGLE if text[at] == "'" else _DOUBLE, text, at)
        value += quoted[1] if text[at] == "'" else _ESCAPE.sub(_unescaped, quoted[1])
        closed = bool(quoted[2])
        at = _match(_BLANK, text, quoted.end()).end()
    bare = _match(_BARE, text, at)
    return text[start : bare.end()], value + _BARE_ESCAPE.sub(_unescaped, bare[1]), closed


def _unescaped(escape: re.Match[str]) -> str:
    return escape[1] or ""


def _write(line: _Line, marked: MarkedText) -> str:
    if line.name is None:
        return _gap(line, marked)
    markers = marked.markers_in(line.before + line.literal)
    name = names.name(line.name, marked)
    if markers and not names.NAME.fullmatch(name):
        raise markers[0].error("is on a line with an invalid name, which systemd ignores", "write NAME={{ … }}")
    if marked.markers and not line.closed:
        raise FormatError("a quote is not closed", where=marked.where(line.at), todo="close it")
    if _NONCHARACTER.search(line.name + line.value):
        what = "the text contains a Unicode noncharacter, with which systemd ignores the whole file"
        raise FormatError(what, where=marked.where(line.at), todo="remove it")
    literal = line.literal
    if marked.markers_in(literal):
        text = _SPECIAL.sub(r"\\\g<0>", marked.fill(line.value, _text))
        literal = f'"{text}"'
    return marked.fill(line.before) + literal


def _text(marker: Marker) -> str:
    text = names.text(marker)
    if _NONCHARACTER.search(text):
        raise marker.error("contains a Unicode noncharacter", "store it encoded, such as in base64")
    return text


def _gap(line: _Line, marked: MarkedText) -> str:
    markers = marked.markers_in(line.before)
    if markers and not line.before.lstrip().startswith(("#", ";")):
        raise markers[0].error("is on a line that assigns no variable", "write NAME={{ … }}")
    text = marked.fill(line.before, names.comment)
    if marked.markers and _GOES_ON.search(text):
        what = "the comment ends in a backslash, which continues it in old versions of systemd"
        raise FormatError(what, where=marked.where(line.at), todo="remove the backslash")
    return text


def _verify(text: str, lines: list[_Line], marked: MarkedText) -> None:
    expected = [(marked.fill(line.name), marked.fill(line.value)) for line in lines if line.name is not None]
    if [(line.name, line.value) for line in _read(text) if line.name is not None] != expected:
        todo = "write NAME={{ … }} on its own line"
        raise FormatError("the file would parse back to different content", where=marked.name, todo=todo)
