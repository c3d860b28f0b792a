"""Markers that replace values in the author's text while a format parses it."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.rendering.document import Document, Placeholder

# The line breaks of str.splitlines(): some parsers accept each of them.
_LINE_BREAK = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# The characters that end a line, or the text, in the simplest grammars.
_NOT_IN_A_LINE = re.compile(r"[\n\r\0]")

# Far more levels than authors nest, and fewer than any parser's stack supports.
_MAX_DEPTH = 100


class Marker(ImmutableStruct, frozen=True, eq=False):
    """A placeholder, and its line in the rendered text."""

    placeholder: Placeholder
    where: str

    def error(self, what: str, todo: str) -> FormatError:
        """An error that names the value's origin and line."""
        return FormatError(f"{self.placeholder.origin} {what}", where=self.where, todo=todo)

    def text(self) -> str:
        """The value as text inside a string. Raises FormatError if it has no text form."""
        match self.placeholder.value:
            case str() as value:
                return self._encodable(value)
            case bool() as value:
                return "true" if value else "false"
            case int() as value:
                return self._digits(value)
            case float() as value if math.isfinite(value):
                return repr(float(value))
            case float():
                raise self.error("is NaN or infinite", "store a number, or a string")
            case None:
                raise self.error("is null", "store a value, or omit it with {% if %}")
            case bytes():
                raise self._binary()
            case _:
                raise self.error("is a structure where a string is expected", "add `| json`, or use one of its keys")

    def comment(self) -> str:
        """The value as part of a comment, which a newline would end."""
        text = self.text()
        if _LINE_BREAK.search(text):
            raise self.error("has several lines but is in a comment", "remove it from the comment")
        return text

    def line(self, grammar: str) -> str:
        """The value as text on one line, for a grammar without escapes. Raises FormatError if it has several lines."""
        text = self.text()
        if _NOT_IN_A_LINE.search(text):
            what = f"contains a newline or a NUL, which {grammar} does not support"
            raise self.error(what, "store it encoded, such as in base64")
        return text

    def json(self) -> str:
        """The value as JSON text. For a `structure`, `data` verifies that it is valid JSON."""
        value = self.placeholder.value
        return value if self.placeholder.structure and isinstance(value, str) else dumps(value)

    def data(self) -> object:
        """The value as plain JSON data. Raises FormatError if it is not JSON."""
        match self.placeholder.value:
            case str() as value if not self.placeholder.structure:  # The most frequent case, without parsing.
                return self._encodable(value)
            case bytes():
                raise self._binary()
            case _:
                return self._parsed()

    def _parsed(self) -> object:
        try:
            data = loads(self.json())
            self._encodable(dumps(data))
            _check_depth(data)
        except (TypeError, ValueError):
            raise self.error("is not a JSON value", "store JSON without NaN, Infinity and duplicate names") from None
        except RecursionError:
            raise self.error("is nested too deeply", "store a flatter structure") from None
        return data

    def _binary(self) -> FormatError:
        return self.error("is binary", "add `| b64encode`, or set `format: text`")

    def _encodable(self, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self.error("contains half a surrogate pair, which is invalid UTF-8", "store valid text") from None
        return text

    def _digits(self, value: int) -> str:
        try:
            return str(int(value))
        except ValueError:  # Python writes integers of up to 4300 digits.
            raise self.error("is a number that is too long", "store it as a string") from None


class MarkedText(ImmutableStruct, frozen=True):
    """The author's text with a marker for each placeholder: a word of letters and digits in every grammar."""

    name: str
    text: str
    markers: tuple[Marker, ...]
    word: str

    def split(self, text: str) -> list[str | Marker]:
        """Split a part of the text at its markers: text, marker, text, marker, …, text."""
        head, *rest = text.split(self.word)
        pieces: list[str | Marker] = [head]
        for piece in rest:
            index, _, tail = piece.partition("x")
            pieces += [self.markers[int(index)], tail]
        return pieces

    def markers_in(self, text: str) -> list[Marker]:
        return [piece for piece in self.split(text) if isinstance(piece, Marker)] if self.word in text else []

    def alone(self, text: str) -> Marker | None:
        """The marker, if the text consists of nothing else."""
        if not text.startswith(self.word):
            return None
        match self.split(text):
            case ["", Marker() as marker, ""]:
                return marker
            case _:
                return None

    def fill(self, text: str, spell: Callable[[Marker], str] = Marker.text) -> str:
        """The text with each marker replaced by the result of `spell`."""
        if self.word not in text:
            return text
        return "".join(piece if isinstance(piece, str) else spell(piece) for piece in self.split(text))

    def where(self, index: int) -> str:
        """The line of the rendered text at an index of `text`. Markers contain no newline."""
        return f"{self.name}:{self.text.count(chr(10), 0, index) + 1}"


def mark_values(document: Document) -> MarkedText:
    """Replace each placeholder by a marker.

    The marker is a hash of the author's text, so this text cannot contain it, not even in escapes.
    """
    author = "".join(part for part in document.parts if isinstance(part, str))
    try:
        digest = hashlib.sha256(author.encode()).hexdigest()
    except UnicodeEncodeError:
        what, todo = "the text contains half a surrogate pair, which is invalid UTF-8", "write whole characters"
        raise FormatError(what, where=document.name, todo=todo) from None
    word = f"lessee{digest[:16]}x"
    parts: list[str] = []
    markers: list[Marker] = []
    line = 1
    for part in document.parts:
        if isinstance(part, str):
            parts.append(part)
            line += part.count("\n")
        else:
            parts.append(f"{word}{len(markers)}x")
            markers.append(Marker(part, f"{document.name}:{line}"))
    return MarkedText(document.name, "".join(parts), tuple(markers), word)


def loads(text: str) -> object:
    """Parse JSON as in RFC 8259. Raises ValueError for NaN, Infinity and duplicate names."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=refuse_constant)


def dumps(value: object) -> str:
    """Compact JSON text with unescaped characters."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_mapping)


def _check_depth(data: object) -> None:
    level = [data]
    for _ in range(_MAX_DEPTH):
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
