"""Tokens that stand for the values while the author's text is read."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping

from lessee.core.errors import FormatError
from lessee.core.immutable import Record
from lessee.rendering.document import Document, Hole

# What str.splitlines() takes for a line's end: some reader does, whatever the grammar says.
_LINE_BREAK = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# What ends a line for the readers of the plainest grammars, or the text itself.
_NOT_IN_A_LINE = re.compile(r"[\n\r\0]")

# Far more than a person nests, and less than any reader's stack holds.
_DEEPEST = 100


class Slot(Record, frozen=True, eq=False):
    """A hole, and the line of the rendered text in which it stands."""

    hole: Hole
    where: str

    def refused(self, what: str, todo: str) -> FormatError:
        """An error that names the origin of the value and the place where it does not fit."""
        return FormatError(f"{self.hole.origin} {what}", where=self.where, todo=todo)

    def text(self) -> str:
        """The value as text inside a string. Raises FormatError where it has no text."""
        match self.hole.value:
            case str() as value:
                return self._encodable(value)
            case bool() as value:
                return "true" if value else "false"
            case int() as value:
                return self._digits(value)
            case float() as value if math.isfinite(value):
                return repr(float(value))
            case float():
                raise self.refused("is NaN or infinite", "store a number, or a string")
            case None:
                raise self.refused("is null", "store a value, or leave it out with {% if %}")
            case bytes():
                raise self._binary()
            case _:
                raise self.refused("is a structure where text is wanted", "add `| json`, or name a key of it")

    def comment(self) -> str:
        """The value as part of a comment, which a line's end would close."""
        text = self.text()
        if _LINE_BREAK.search(text):
            raise self.refused("has several lines and stands in a comment", "take it out of the comment")
        return text

    def line(self, grammar: str) -> str:
        """The value as text on one line, for a grammar without escapes. Raises FormatError where it has more."""
        text = self.text()
        if _NOT_IN_A_LINE.search(text):
            what = f"holds a line's end or a NUL, which {grammar} cannot"
            raise self.refused(what, "store it encoded, as with base64")
        return text

    def json(self) -> str:
        """The value as JSON text, which a `structure` is already; `data` tells whether it is sound."""
        value = self.hole.value
        return value if self.hole.structure and isinstance(value, str) else dumps(value)

    def data(self) -> object:
        """The value as plain JSON data. Raises FormatError where it is none."""
        match self.hole.value:
            case str() as value if not self.hole.structure:  # the most of them, and quickly done
                return self._encodable(value)
            case bytes():
                raise self._binary()
            case _:
                return self._parsed()

    def _parsed(self) -> object:
        try:
            data = loads(self.json())
            self._encodable(dumps(data))
            _refuse_depth(data)
        except (TypeError, ValueError):
            raise self.refused("is no JSON value", "store JSON: no NaN, no Infinity, no name twice") from None
        except RecursionError:
            raise self.refused("is nested too deep", "store it flatter") from None
        return data

    def _binary(self) -> FormatError:
        return self.refused("is binary", "add `| b64encode`, or give the file `format: text`")

    def _encodable(self, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self.refused("holds half a surrogate pair, which UTF-8 cannot", "store whole text") from None
        return text

    def _digits(self, value: int) -> str:
        try:
            return str(int(value))
        except ValueError:  # Python writes integers of up to 4300 digits.
            raise self.refused("is too long a number", "store it as a string") from None


class Marked(Record, frozen=True):
    """The author's text with a token for each hole: a word of letters and digits in every grammar here."""

    name: str
    text: str
    slots: tuple[Slot, ...]
    word: str

    def pieces(self, text: str) -> list[str | Slot]:
        """Text, slot, text, slot, …, text: what the tokens in a part of the text stand for."""
        head, *rest = text.split(self.word)
        pieces: list[str | Slot] = [head]
        for piece in rest:
            index, _, tail = piece.partition("x")
            pieces += [self.slots[int(index)], tail]
        return pieces

    def slots_in(self, text: str) -> list[Slot]:
        return [piece for piece in self.pieces(text) if isinstance(piece, Slot)] if self.word in text else []

    def alone(self, text: str) -> Slot | None:
        """The slot, where a token is all of the text."""
        if not text.startswith(self.word):
            return None
        match self.pieces(text):
            case ["", Slot() as slot, ""]:
                return slot
            case _:
                return None

    def fill(self, text: str, spell: Callable[[Slot], str] = Slot.text) -> str:
        """The text with each token replaced by what `spell` makes of its slot."""
        if self.word not in text:
            return text
        return "".join(piece if isinstance(piece, str) else spell(piece) for piece in self.pieces(text))

    def where(self, index: int) -> str:
        """The line of the rendered text at an index of `text`; tokens have no line's end."""
        return f"{self.name}:{self.text.count(chr(10), 0, index) + 1}"


def mark(document: Document) -> Marked:
    """Puts a token in the place of each hole.

    The token is a hash of the author's text, so that this text cannot hold it, not even behind escapes.
    """
    author = "".join(part for part in document.parts if isinstance(part, str))
    try:
        digest = hashlib.sha256(author.encode()).hexdigest()
    except UnicodeEncodeError:
        what, todo = "the text holds half a surrogate pair, which UTF-8 cannot", "write whole characters"
        raise FormatError(what, where=document.name, todo=todo) from None
    word = f"lessee{digest[:16]}x"
    parts: list[str] = []
    slots: list[Slot] = []
    line = 1
    for part in document.parts:
        if isinstance(part, str):
            parts.append(part)
            line += part.count("\n")
        else:
            parts.append(f"{word}{len(slots)}x")
            slots.append(Slot(part, f"{document.name}:{line}"))
    return Marked(document.name, "".join(parts), tuple(slots), word)


def loads(text: str) -> object:
    """JSON as RFC 8259 has it; raises ValueError for NaN, Infinity and a name that stands twice."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=refuse_constant)


def dumps(value: object) -> str:
    """Compact JSON text with every character as it is."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_mapping)


def _refuse_depth(data: object) -> None:
    level = [data]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise RecursionError


def _inside(data: object) -> Iterable[object]:
    match data:
        case dict():
            return data.values()
        case list():
            return data
        case _:
            return ()


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError
    return names


def refuse_constant(_name: str) -> object:
    raise ValueError


def _mapping(value: object) -> dict[object, object]:
    if not isinstance(value, Mapping):
        raise TypeError
    return dict(value)
