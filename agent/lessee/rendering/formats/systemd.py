"""systemd's EnvironmentFile: a variable with a value in it gets one literal in double quotes."""

import re
from collections.abc import Iterator

from lessee.core.errors import FormatError
from lessee.core.immutable import Record
from lessee.rendering.document import Document
from lessee.rendering.formats import names
from lessee.rendering.formats.value_markers import Marked, Slot, mark

# The grammar of systemd 254 and later: parse_env_file_internal() in env-file.c.
_ASIDE = re.compile(r"[ \t\r\n]*([#;][^\r\n]*)?")
_KEY = re.compile(r"([^\r\n][^=\r\n]*)(=?)")
_BLANK = re.compile(r"[ \t]*")
_SINGLE = re.compile(r"'([^']*)('?)")
_DOUBLE = re.compile(r'"((?:\\.|[^"\\])*)(?:\\\Z)?("?)', re.DOTALL)
_BARE = re.compile(r"((?:[ \t]*(?:\\.|\\\Z|[^\\ \t\r\n]))*)[ \t]*", re.DOTALL)
_BARE_ESCAPE = re.compile(r"\\(?:[\r\n]|\Z|(.))")
_ESCAPE = re.compile(r"\\(?:\n|([\"\\`$]))")
_SPECIAL = re.compile(r"[\"\\`$]")
# Unicode's noncharacters: one of them in a variable, and systemd reads nothing of the file.
_LAST_TWO = "".join(chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF))
_NO_CHARACTER = re.compile(f"[\ufdd0-\ufdef{_LAST_TWO}]")
# Before systemd 254 such a comment goes on in the next line.
_GOES_ON = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")


class _Line(Record, frozen=True):
    """A line, or several that quotes or a backslash join; before + literal is its text."""

    at: int
    before: str
    name: str | None = None
    """None: a comment, nothing at all, or what systemd passes over with a warning."""
    literal: str = ""
    value: str = ""
    closed: bool = True
    """Whether the quotes in the literal are."""


def write(document: Document) -> str:
    """The document as an environment file. Raises FormatError where a value has no place in it."""
    marked = mark(document)
    lines = list(_read(marked.text))
    names.refuse_twins((line.name for line in lines if line.name is not None), marked)
    text = "".join(_write(line, marked) for line in lines)
    _prove(text, lines, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """The names of the variables, in order. Raises FormatError where a line sets none: it may be part of a value."""
    lines = list(_read(text))
    if any(line.name is None and not _ASIDE.fullmatch(line.before) for line in lines):
        raise FormatError("a line of the text assigns nothing", todo="write the file anew")
    return tuple(dict.fromkeys(line.name for line in lines if line.name and names.NAME.fullmatch(line.name)))


def _read(text: str) -> Iterator[_Line]:
    at = 0
    while at < len(text):
        aside = _match(_ASIDE, text, at)
        if aside[0]:
            yield _Line(aside.start(1), aside[0])
        at = aside.end()
        key = _KEY.match(text, at) if not aside[1] else None
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
    """A literal, its value, and whether its quotes are closed. Quoted parts may follow each other, then a bare one."""
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


def _write(line: _Line, marked: Marked) -> str:
    if line.name is None:
        return _aside(line, marked)
    slots = marked.slots_in(line.before + line.literal)
    name = names.name(line.name, marked)
    if slots and not names.NAME.fullmatch(name):
        raise slots[0].refused("stands on a line whose name is none, which systemd passes over", "write NAME={{ … }}")
    if marked.slots and not line.closed:
        raise FormatError("a quote is not closed", where=marked.where(line.at), todo="close it")
    if _NO_CHARACTER.search(line.name + line.value):
        what = "the text holds a code point that is no character, and systemd would read nothing of the file"
        raise FormatError(what, where=marked.where(line.at), todo="remove it")
    literal = line.literal
    if marked.slots_in(literal):
        text = _SPECIAL.sub(r"\\\g<0>", marked.fill(line.value, _text))
        literal = f'"{text}"'
    return marked.fill(line.before) + literal


def _text(slot: Slot) -> str:
    text = names.text(slot)
    if _NO_CHARACTER.search(text):
        raise slot.refused("holds a code point that is no character", "store it encoded, as with base64")
    return text


def _aside(line: _Line, marked: Marked) -> str:
    slots = marked.slots_in(line.before)
    if slots and not line.before.lstrip().startswith(("#", ";")):
        raise slots[0].refused("stands on a line that assigns nothing", "write NAME={{ … }}")
    text = marked.fill(line.before, names.comment)
    if marked.slots and _GOES_ON.search(text):
        what = "this comment ends in a backslash, behind which old versions of systemd read on"
        raise FormatError(what, where=marked.where(line.at), todo="remove the backslash")
    return text


def _prove(text: str, lines: list[_Line], marked: Marked) -> None:
    wanted = [(marked.fill(line.name), marked.fill(line.value)) for line in lines if line.name is not None]
    if [(line.name, line.value) for line in _read(text) if line.name is not None] != wanted:
        todo = "write NAME={{ … }} on a line of its own"
        raise FormatError("the file would not read back as it is written", where=marked.name, todo=todo)
