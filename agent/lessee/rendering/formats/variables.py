"""Env files by trial: of a value's possible literals, use the first that every parser of the format reads back."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, zip_longest

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.rendering.document import Document
from lessee.rendering.formats import names
from lessee.rendering.formats.value_markers import MarkedText, Marker, mark_values

_COMMENT = re.compile(r"(#[^\r\n]*)")
# An unused name, and comments that an open quote would swallow.
_TRIAL = "LESSEE_TRIAL={}\n#'\n#\"\n#`\n"
_NO_VARIABLE = ("is on a line that assigns no variable", "write NAME={{ … }}")


class Assignment(ImmutableStruct, frozen=True):
    """A variable of a file: text[at:begin] is its name and separator, text[begin:end] its literal."""

    name: str
    raw: str | None
    """The literal's content, including references. None for a bare name, whose value is set elsewhere."""
    at: int
    begin: int
    end: int


Reading = tuple[str, tuple[str, ...] | None]
"""A variable's name, and its value split or computed so that different references give different results."""


class Grammar(ImmutableStruct, frozen=True):
    """How a format is parsed and written."""

    scan: Callable[[str], Iterable[Assignment]]
    readers: tuple[Callable[[str], list[Reading]], ...]
    """All of them must read the same from the written file."""
    spellings: Callable[[str, str], Iterable[str]]
    """Possible literals of a raw value. The second argument is the first character of the author's literal."""
    cannot: str
    """The error text for a value without a valid literal."""
    references: Callable[[str], Iterable[str]] = lambda _raw: ()
    """The parts of a raw value that a parser expands."""
    escape: Callable[[str], str] = str
    """Escapes a value so that a parser finds no references in it."""
    todo: str = "close the quotes on this line and earlier lines"


class UnparsableError(Exception):
    """A parser would reject the file."""

    def __init__(self, what: str, at: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.at = at


def write(document: Document, grammar: Grammar) -> str:
    """The document in this grammar. Raises FormatError if it cannot represent a value."""
    marked = mark_values(document)
    try:
        return _written(marked, grammar)
    except UnparsableError as exc:
        raise FormatError(exc.what, where=marked.where(exc.at), todo=grammar.todo) from None


def outline(text: str, grammar: Grammar) -> tuple[str, ...]:
    """The names of the variables that are set, in order. Raises FormatError if the text is not in this grammar.

    A bare name may also be a line of a value.
    """
    try:
        found = list(grammar.scan(text))
    except UnparsableError as exc:
        raise FormatError(exc.what, todo="render the file again") from None
    gaps = (_COMMENT.sub("", gap).split() for gap in _gaps(text, found))
    nameless = any(not assignment.name for assignment in found)
    if nameless or any(words not in ([], ["export"]) for words in gaps):  # It may be part of a value.
        raise FormatError("a line of the text assigns no variable", todo="render the file again")
    return tuple(dict.fromkeys(assignment.name for assignment in found if assignment.raw is not None))


def _written(marked: MarkedText, grammar: Grammar) -> str:
    found = list(grammar.scan(marked.text))
    readings = [reader(marked.text) for reader in grammar.readers]
    gaps = [_gap(gap, marked) for gap in _gaps(marked.text, found)]
    _refuse_ambiguous(readings, marked)
    names.refuse_duplicates([assignment.name for assignment in found], marked)
    assigned = [_assigned(assignment, marked, grammar) for assignment in found]
    text = "".join(chain.from_iterable(zip(gaps, [*assigned, ""], strict=True)))
    _verify(text, readings, found, marked, grammar)
    return text


def _refuse_ambiguous(readings: list[list[Reading]], marked: MarkedText) -> None:
    first, *others = ([one for one in reading if _slots(one, marked)] for reading in readings)
    for other in others:
        for mine, theirs in zip_longest(first, other):
            if mine != theirs:
                todo = "write NAME='{{ … }}' on its own line"
                raise _slots(mine or theirs, marked)[0].error("is where the parsers of this format differ", todo)


def _slots(reading: Reading, marked: MarkedText) -> list[Marker]:
    name, value = reading
    return marked.markers_in("".join([name, *(value or ())]))


def _gaps(text: str, found: list[Assignment]) -> Iterator[str]:
    """The texts between the assignments."""
    ends = [0, *(assignment.end for assignment in found)]
    starts = [*(assignment.at for assignment in found), len(text)]
    return (text[end:start] for end, start in zip(ends, starts, strict=True))


def _gap(text: str, marked: MarkedText) -> str:
    """The text between two assignments: comments, and text that no parser reads."""
    pieces = _COMMENT.split(text)
    for marker in marked.markers_in("\n".join(pieces[::2])):
        raise marker.error(*_NO_VARIABLE)
    return "".join(marked.fill(piece, names.comment) for piece in pieces)


def _assigned(assignment: Assignment, marked: MarkedText, grammar: Grammar) -> str:
    before = marked.text[assignment.at : assignment.begin]
    literal = marked.text[assignment.begin : assignment.end]
    markers = marked.markers_in(before + literal)
    if markers and (assignment.raw is None or not assignment.name):
        raise markers[0].error(*_NO_VARIABLE)
    if assignment.raw is not None and marked.markers_in(literal):
        literal = _spell(assignment.raw, literal, marked, grammar)
    return marked.fill(before, names.text) + literal


def _spell(raw: str, literal: str, marked: MarkedText, grammar: Grammar) -> str:
    for marker in marked.markers_in("\n".join(grammar.references(raw))):
        todo = "move it out of the ${…}, or escape the $ before it"
        raise marker.error("is inside a reference to another variable", todo)
    held = marked.fill(raw, lambda marker: grammar.escape(names.text(marker)))
    expected = [_filled(reader(_TRIAL.format(literal)), marked) for reader in grammar.readers]
    for spelling in grammar.spellings(held, literal[:1]):
        if [_read_or_none(reader, _TRIAL.format(spelling)) for reader in grammar.readers] == expected:
            return spelling
    raise marked.markers_in(literal)[0].error(grammar.cannot, "store it encoded, such as in base64")


def _read_or_none(reader: Callable[[str], list[Reading]], text: str) -> list[Reading] | None:
    try:
        return reader(text)
    except UnparsableError:
        return None


def _filled(reading: list[Reading], marked: MarkedText) -> list[Reading]:
    return [
        (marked.fill(name), None if value is None else tuple(marked.fill(part) for part in value))
        for name, value in reading
    ]


def _verify(
    text: str, readings: list[list[Reading]], found: list[Assignment], marked: MarkedText, grammar: Grammar
) -> None:
    what = "the file would parse back to different content"
    for reader, reading in zip(grammar.readers, readings, strict=True):
        actual = _read_or_none(reader, text)
        if actual is None:
            raise FormatError(what, where=marked.name, todo=grammar.todo)
        for (name, _), expected, one in zip_longest(reading, _filled(reading, marked), actual, fillvalue=("", None)):
            if one != expected:
                at = next((assignment.at for assignment in found if assignment.name == name), 0)
                raise FormatError(what, where=marked.where(at), todo=grammar.todo)
