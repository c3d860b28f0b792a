"""INI as Python's configparser reads it without interpolation. It has no escapes, so values are written unchanged."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from configparser import DuplicateOptionError, DuplicateSectionError, Error, ParsingError, RawConfigParser
from io import StringIO

from lessee.core.errors import FormatError
from lessee.rendering.document import Document
from lessee.rendering.formats.outlines import collected
from lessee.rendering.formats.value_markers import MarkedText, Marker, mark_values

_LINE = re.compile(r"[^\r\n]*(?:\r\n|[\r\n]|\Z)")
_COMMENT = ("#", ";")
# configparser also accepts `]` in a section's name and `[` before a key; other parsers do not.
_SECTION = re.compile(r"[^\]]+")
_KEY = re.compile(r"[^\s=:#;\[](?:[^=:]*[^\s=:])?")

_Sections = dict[str, dict[str, str]]
"""Values by section and key. DEFAULT is the first section, and no other has its keys."""


def write(document: Document) -> str:
    """The document as INI. Raises FormatError if the text is not INI, or INI cannot represent a value."""
    return write_as(document, _text, lambda _key, _value, _marked: None)


def write_as(document: Document, spell: Callable[[Marker], str], check: Callable[[str, str, MarkedText], None]) -> str:
    """The document as INI. `spell` returns the text of a placeholder in a value, and `check` gets each key and value.

    Raises FormatError as `write` and `check` do.
    """
    marked = mark_values(document)
    author = _read_author(marked)
    lines = _LINE.findall(marked.text)
    _refuse_unread(lines, author, marked)
    for section, options in author.items():
        for key, value in options.items():
            check(marked.fill(f"{section}.{key}", lambda _marker: "…"), value, marked)
    expected = _expected(author, spell, marked)
    values = {
        marker for options in author.values() for value in options.values() for marker in marked.markers_in(value)
    }

    def spell_any(marker: Marker) -> str:
        return spell(marker) if marker in values else _text(marker)

    text = "".join(marked.fill(line, _comment if _is_comment(line) else spell_any) for line in lines)
    _verify(text, expected, marked)
    return text


def outline(text: str) -> tuple[str, ...]:
    """Keys with their sections, such as `server.port`, in their original case. Each section has those of DEFAULT."""
    try:
        sections = _read(text, xform=str)
    except Error:
        raise FormatError("the text is not INI", todo="render the file again") from None
    default = next(iter(sections.values()))
    return collected(f"{name}.{key}" for name, options in sections.items() for key in {**options, **default})


def _read(text: str, *, xform: Callable[[str], str] = str.lower) -> _Sections:
    # As when configparser opens a file, with universal newlines.
    lines = _Lines(text.replace("\r\n", "\n").replace("\r", "\n"))
    parser = _Parser(lines)
    parser.optionxform = xform  # type: ignore[method-assign, assignment]  # configparser's own extension point.
    parser.read_file(lines)
    return parser.sections_alone()


class _Lines:
    """The lines of a text, and the number of the one that was read last."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for line in StringIO(self._text):
            self.number += 1
            yield line


class _Key:
    """In the place of configparser's pattern of a line with a key. It raises ParsingError at the first other line.

    configparser continues, and copies its text for each further one, in the square of their number.
    """

    # As configparser's pattern, which compares each space before a missing delimiter with all later ones. The spaces
    # at the end of a key are removed later anyway.
    _PATTERN = re.compile(r"(?P<option>[^=:]++)(?P<vi>[=:])\s*(?P<value>.*)$")

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def match(self, line: str) -> re.Match[str]:
        """The key, its delimiter and its value."""
        if found := self._PATTERN.match(line):
            return found
        error = ParsingError("the text")
        error.append(self._lines.number, repr(line))
        raise error


class _Parser(RawConfigParser):
    _defaults: dict[str, str]
    _sections: _Sections

    def __init__(self, lines: _Lines) -> None:
        self.OPTCRE = _Key(lines)  # type: ignore[misc, assignment]
        super().__init__()

    def sections_alone(self) -> _Sections:
        """Without the keys of DEFAULT in each section, which may be millions together."""
        return {self.default_section: dict(self._defaults), **{name: dict(own) for name, own in self._sections.items()}}


def _read_author(marked: MarkedText) -> _Sections:
    try:
        return _read(marked.text)
    except DuplicateSectionError as exc:
        what, line, todo = "a section is duplicated", exc.lineno, "write all its keys below one of them"
    except DuplicateOptionError as exc:
        what, line, todo = "a key is duplicated", exc.lineno, "remove one; capital and small letters are the same"
    except ParsingError as exc:
        # One subclass has only a line, and no list of errors.
        line = getattr(exc, "lineno", None) or exc.errors[0][0]
        what, todo = "the text is not INI", "write a [section], and key = value below it"
        if marked.text.startswith("\ufeff"):
            what, todo = "the text begins with a byte order mark", "save the template as UTF-8 without it"
    raise FormatError(what, where=f"{marked.name}:{line}", todo=todo)


def _refuse_unread(lines: list[str], author: _Sections, marked: MarkedText) -> None:
    texts = [text for name, options in author.items() for text in (name, *options.keys(), *options.values())]
    read = {marker for text in texts for marker in marked.markers_in(text)}
    for line in lines:
        for marker in marked.markers_in(line):
            if marker not in read and not _is_comment(line):
                raise marker.error("is where configparser reads nothing", "write key = {{ … }}")


def _is_comment(line: str) -> bool:
    return line.strip().startswith(_COMMENT)


def _expected(author: _Sections, spell: Callable[[Marker], str], marked: MarkedText) -> _Sections:
    """The expected content: the author's structure with the values in it."""
    sections: _Sections = {}
    defaults: Mapping[str, str] = {}
    for name, token in _names(author, _SECTION, _text, marked).items():
        options = author[token]
        keys = _names(options, _KEY, lambda marker: _text(marker).lower(), marked, defaults)
        defaults = defaults if sections else keys
        sections[name] = {key: _value(options[token], spell, marked) for key, token in keys.items()}
    return sections


def _names(
    tokens: Iterable[str],
    shape: re.Pattern[str],
    spell: Callable[[Marker], str],
    marked: MarkedText,
    defaults: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The tokens by their names with the values in them. No value makes a key that DEFAULT has, either."""
    names: dict[str, str] = {}
    for token in tokens:
        name = marked.fill(token, spell)
        first = names.get(name) or (defaults or {}).get(name, "")
        if twins := marked.markers_in(first + token) if first else []:
            raise twins[0].error("duplicates a section or a key", "rename one")
        if (markers := marked.markers_in(token)) and not shape.fullmatch(name):
            todo = "a section cannot contain ]; a key cannot contain = or :, begin with # ; [ or have spaces around it"
            raise markers[0].error("does not form a valid name of a section or key", todo)
        names[name] = token
    return names


def _value(value: str, spell: Callable[[Marker], str], marked: MarkedText) -> str:
    first, *more = value.split("\n")
    filled = [_checked_line(first, spell, marked)]
    for line in more:
        filled.append(_checked_line(line, spell, marked))
        if (markers := marked.markers_in(line)) and (not filled[-1] or _is_comment(filled[-1])):
            todo = "write it after key ="
            raise markers[0].error("is empty or begins a comment on its own line", todo)
    return "\n".join(filled)


def _checked_line(line: str, spell: Callable[[Marker], str], marked: MarkedText) -> str:
    text = marked.fill(line, spell)
    markers = marked.markers_in(line)
    if markers and text != text.strip():
        raise markers[0].error("has white space at an end, which INI does not preserve", "store it without, or encoded")
    return text


def _text(marker: Marker) -> str:
    return marker.line("INI")


def _comment(marker: Marker) -> str:
    _text(marker)
    return marker.comment()


def _verify(text: str, expected: _Sections, marked: MarkedText) -> None:
    try:
        found = _read(text)
    except Error:
        found = {}
    if found != expected:
        todo = "put each value on its own line"
        raise FormatError("the file would parse back to different content", where=marked.name, todo=todo)
