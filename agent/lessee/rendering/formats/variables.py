"""Env files by trial: of a value's spellings the first that every reader of the format reads as it was."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, zip_longest

from lessee.core.errors import FormatError
from lessee.core.immutable import Record
from lessee.rendering.document import Document
from lessee.rendering.formats import names
from lessee.rendering.formats.value_markers import Marked, Slot, mark

_COMMENT = re.compile(r"(#[^\r\n]*)")
# A name that nobody refers to, and comments that a quote left open would swallow.
_TRIAL = "LESSEE_TRIAL={}\n#'\n#\"\n#`\n"
_NOTHING = ("stands on a line that assigns nothing", "write NAME={{ … }}")


class Assignment(Record, frozen=True):
    """A variable of a file: text[at:begin] is its name and what sets it apart, text[begin:end] its literal."""

    name: str
    raw: str | None
    """What the literal holds, references and all; None: a name alone, which takes its value from elsewhere."""
    at: int
    begin: int
    end: int


Reading = tuple[str, tuple[str, ...] | None]
"""A variable's name, and its value cut or computed in such a way that it tells how the value came about."""


class Grammar(Record, frozen=True):
    """How a format is read, and how it can be written."""

    scan: Callable[[str], Iterable[Assignment]]
    readers: tuple[Callable[[str], list[Reading]], ...]
    """Every one of them must find the same in what is written."""
    spellings: Callable[[str, str], Iterable[str]]
    """Literals of what is held raw; the second argument is the author's quote, or the first letter of his literal."""
    cannot: str
    """What is wrong with a value that has no literal, as an error says it."""
    references: Callable[[str], Iterable[str]] = lambda _raw: ()
    """The parts of what is held raw that a reader replaces."""
    escape: Callable[[str], str] = str
    """Keeps a reader from finding references in a value."""
    todo: str = "close the quotes on this line and before it"


class UnreadableError(Exception):
    """A reader would read nothing of this file."""

    def __init__(self, what: str, at: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.at = at


def write(document: Document, grammar: Grammar) -> str:
    """The document in this grammar. Raises FormatError where a value has no place in it."""
    marked = mark(document)
    try:
        return _written(marked, grammar)
    except UnreadableError as exc:
        raise FormatError(exc.what, where=marked.where(exc.at), todo=grammar.todo) from None


def outline(text: str, grammar: Grammar) -> tuple[str, ...]:
    """The names of the variables that are set, in order. Raises FormatError where the text is not of this grammar.

    A name alone, whose value is the reader's, may as well be a line of a value.
    """
    try:
        found = list(grammar.scan(text))
    except UnreadableError as exc:
        raise FormatError(exc.what, todo="write the file anew") from None
    asides = (_COMMENT.sub("", aside).split() for aside in _asides(text, found))
    nameless = any(not assignment.name for assignment in found)
    if nameless or any(words not in ([], ["export"]) for words in asides):  # It may be part of a value.
        raise FormatError("a line of the text assigns nothing", todo="write the file anew")
    return tuple(dict.fromkeys(assignment.name for assignment in found if assignment.raw is not None))


def _written(marked: Marked, grammar: Grammar) -> str:
    found = list(grammar.scan(marked.text))
    readings = [reader(marked.text) for reader in grammar.readers]
    asides = [_aside(aside, marked) for aside in _asides(marked.text, found)]
    _refuse_quarrels(readings, marked)
    names.refuse_twins([assignment.name for assignment in found], marked)
    assigned = [_assigned(assignment, marked, grammar) for assignment in found]
    text = "".join(chain.from_iterable(zip(asides, [*assigned, ""], strict=True)))
    _prove(text, readings, found, marked, grammar)
    return text


def _refuse_quarrels(readings: list[list[Reading]], marked: Marked) -> None:
    first, *others = ([one for one in reading if _slots(one, marked)] for reading in readings)
    for other in others:
        for mine, theirs in zip_longest(first, other):
            if mine != theirs:
                todo = "write NAME='{{ … }}' and no more on its line"
                raise _slots(mine or theirs, marked)[0].refused("stands where the readers of this format differ", todo)


def _slots(reading: Reading, marked: Marked) -> list[Slot]:
    name, value = reading
    return marked.slots_in("".join([name, *(value or ())]))


def _asides(text: str, found: list[Assignment]) -> Iterator[str]:
    """What stands between the assignments."""
    ends = [0, *(assignment.end for assignment in found)]
    starts = [*(assignment.at for assignment in found), len(text)]
    return (text[end:start] for end, start in zip(ends, starts, strict=True))


def _aside(text: str, marked: Marked) -> str:
    """What stands between variables: comments, and what no reader looks at."""
    pieces = _COMMENT.split(text)
    for slot in marked.slots_in("\n".join(pieces[::2])):
        raise slot.refused(*_NOTHING)
    return "".join(marked.fill(piece, names.comment) for piece in pieces)


def _assigned(assignment: Assignment, marked: Marked, grammar: Grammar) -> str:
    before = marked.text[assignment.at : assignment.begin]
    literal = marked.text[assignment.begin : assignment.end]
    slots = marked.slots_in(before + literal)
    if slots and (assignment.raw is None or not assignment.name):
        raise slots[0].refused(*_NOTHING)
    if assignment.raw is not None and marked.slots_in(literal):
        literal = _spell(assignment.raw, literal, marked, grammar)
    return marked.fill(before, names.text) + literal


def _spell(raw: str, literal: str, marked: Marked, grammar: Grammar) -> str:
    for slot in marked.slots_in("\n".join(grammar.references(raw))):
        todo = "take it out of the ${…}, or escape the $ before it"
        raise slot.refused("stands inside a reference to another variable", todo)
    held = marked.fill(raw, lambda slot: grammar.escape(names.text(slot)))
    wanted = [_filled(reader(_TRIAL.format(literal)), marked) for reader in grammar.readers]
    for spelling in grammar.spellings(held, literal[:1]):
        if [_tried(reader, _TRIAL.format(spelling)) for reader in grammar.readers] == wanted:
            return spelling
    raise marked.slots_in(literal)[0].refused(grammar.cannot, "store it encoded, as with base64")


def _tried(reader: Callable[[str], list[Reading]], text: str) -> list[Reading] | None:
    try:
        return reader(text)
    except UnreadableError:
        return None


def _filled(reading: list[Reading], marked: Marked) -> list[Reading]:
    return [
        (marked.fill(name), None if value is None else tuple(marked.fill(part) for part in value))
        for name, value in reading
    ]


def _prove(text: str, readings: list[list[Reading]], found: list[Assignment], marked: Marked, grammar: Grammar) -> None:
    what = "the file would not read back as it is written"
    for reader, reading in zip(grammar.readers, readings, strict=True):
        had = _tried(reader, text)
        if had is None:
            raise FormatError(what, where=marked.name, todo=grammar.todo)
        for (name, _), wanted, one in zip_longest(reading, _filled(reading, marked), had, fillvalue=("", None)):
            if one != wanted:
                at = next((assignment.at for assignment in found if assignment.name == name), 0)
                raise FormatError(what, where=marked.where(at), todo=grammar.todo)
