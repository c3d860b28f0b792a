"""INI as Python's configparser reads it without interpolation: it has no escapes, so that values stand as they are."""

import re
from collections.abc import Callable, Iterable
from configparser import DuplicateOptionError, DuplicateSectionError, Error, ParsingError, RawConfigParser

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats.value_markers import Marked, Slot, mark

_LINE = re.compile(r"[^\r\n]*(?:\r\n|[\r\n]|\Z)")
_COMMENT = ("#", ";")
# configparser also reads a `]` within a section's name and a `[` before a key; other readers do not.
_SECTION = re.compile(r"[^\]]+")
_KEY = re.compile(r"[^\s=:#;\[](?:[^=:]*[^\s=:])?")

_Sections = dict[str, dict[str, str]]
"""Values by section and key; those of DEFAULT are in each section."""


def write(document: Document) -> str:
    """The document as INI. Raises FormatError where a value or the author's text has no place in it."""
    marked = mark(document)
    author = _read_author(marked)
    lines = _LINE.findall(marked.text)
    _refuse_unread(lines, author, marked)
    expected = _expected(author, marked)
    text = "".join(marked.fill(line, _comment if _is_comment(line) else _text) for line in lines)
    _prove(text, expected, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """Keys behind their sections, as they are spelled, as in `server.port`; those of DEFAULT are in each section."""
    try:
        sections = _read(text, xform=str)
    except Error:
        raise FormatError("the text is no INI", todo="write the file anew") from None
    return tuple(f"{name}.{key}" for name, options in sections.items() for key in options)


def _read(text: str, *, xform: Callable[[str], str] = str.lower) -> _Sections:
    parser = RawConfigParser()
    parser.optionxform = xform  # type: ignore[method-assign, assignment]  # Its own way to be told.
    # Files are opened with universal newlines, strings are not.
    parser.read_string(text.replace("\r\n", "\n").replace("\r", "\n"))
    return {name: dict(options) for name, options in parser.items()}


def _read_author(marked: Marked) -> _Sections:
    try:
        return _read(marked.text)
    except (DuplicateSectionError, DuplicateOptionError) as exc:
        what, line, todo = "a section or a key stands twice", exc.lineno, "remove one"
    except ParsingError as exc:
        # Of its children one has the line alone, and no list of errors.
        line = getattr(exc, "lineno", None) or exc.errors[0][0]
        what, todo = "the text is no INI", "write [section] first, and below it key = value"
    raise FormatError(what, where=f"{marked.name}:{line}", todo=todo)


def _refuse_unread(lines: list[str], author: _Sections, marked: Marked) -> None:
    texts = [text for name, options in author.items() for text in (name, *options.keys(), *options.values())]
    read = {slot for text in texts for slot in marked.slots_in(text)}
    for line in lines:
        for slot in marked.slots_in(line):
            if slot not in read and not _is_comment(line):
                raise slot.refused("stands where configparser reads nothing", "write key = {{ … }}")


def _is_comment(line: str) -> bool:
    return line.strip().startswith(_COMMENT)


def _expected(author: _Sections, marked: Marked) -> _Sections:
    """What the file has to mean: the author's structure with the values in it."""
    sections: _Sections = {}
    for name, token in _names(author, _SECTION, _text, marked).items():
        options = author[token]
        keys = _names(options, _KEY, lambda slot: _text(slot).lower(), marked)
        sections[name] = {key: _value(options[token], marked) for key, token in keys.items()}
    return sections


def _names(
    tokens: Iterable[str], shape: re.Pattern[str], spell: Callable[[Slot], str], marked: Marked
) -> dict[str, str]:
    names: dict[str, str] = {}
    for token in tokens:
        name = marked.fill(token, spell)
        if name in names:
            slot = marked.slots_in(names[name] + token)[0]
            raise slot.refused("makes a section or a key that is there already", "make the names differ")
        if (slots := marked.slots_in(token)) and not shape.fullmatch(name):
            todo = "a section has no ]; a key has no = or :, no space around it and none of # ; [ before it"
            raise slots[0].refused("makes no name of a section or a key", todo)
        names[name] = token
    return names


def _value(value: str, marked: Marked) -> str:
    first, *more = value.split("\n")
    filled = [_bounded(first, marked)]
    for line in more:
        filled.append(_bounded(line, marked))
        if (slots := marked.slots_in(line)) and (not filled[-1] or _is_comment(filled[-1])):
            todo = "write it behind key ="
            raise slots[0].refused("is empty or begins a comment on a line of its own", todo)
    return "\n".join(filled)


def _bounded(line: str, marked: Marked) -> str:
    text = marked.fill(line, _text)
    slots = marked.slots_in(line)
    if slots and text != text.strip():
        raise slots[0].refused("has white space at an end, which INI cannot keep", "store it without, or encoded")
    return text


def _text(slot: Slot) -> str:
    return slot.line("INI")


def _comment(slot: Slot) -> str:
    _text(slot)
    return slot.comment()


def _prove(text: str, expected: _Sections, marked: Marked) -> None:
    try:
        found = _read(text)
    except Error:
        found = {}
    if found != expected:
        todo = "give each value a line of its own"
        raise FormatError("the file would not read back as it is written", where=marked.name, todo=todo)
