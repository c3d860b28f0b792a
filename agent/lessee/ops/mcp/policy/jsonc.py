"""Parses JSON with comments and trailing commas into nodes with their offsets in the file."""

import json
import re
from collections.abc import Iterator

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct


class String(ImmutableStruct, frozen=True):
    """A string. `start` and `end` are offsets in the file, and include the quotes."""

    hidden = ("value",)

    value: str
    start: int
    end: int


class Literal(ImmutableStruct, frozen=True):
    """A number, a boolean or null, as written."""

    hidden = ("source",)

    source: str
    start: int
    end: int


class Array(ImmutableStruct, frozen=True):
    """An array."""

    items: tuple["Node", ...]
    start: int
    end: int


class Member(ImmutableStruct, frozen=True):
    """A key and its value; `comma` is the offset of the comma after it."""

    key: String
    value: "Node"
    comma: int | None


class Object(ImmutableStruct, frozen=True):
    """An object."""

    members: tuple[Member, ...]
    start: int
    end: int

    def get(self, key: str) -> "Node | None":
        """The value of a key."""
        return next((member.value for member in self.members if member.key.value == key), None)


Node = String | Literal | Array | Object


class Document(ImmutableStruct, frozen=True):
    """A file's text, its root object, and the spans of its comments."""

    hidden = ("text",)

    text: str
    root: Object
    comments: tuple[tuple[int, int], ...]

    def line(self, offset: int) -> int:
        """The line of an offset, from 1."""
        return self.text.count("\n", 0, offset) + 1


def parse(text: str, source: str) -> Document:
    """Parse a file. Raises ConfigError with the line, and without the line's content."""
    return _Parser(text, source).document()


_MAX_DEPTH = 100
_STRING = r'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"'
_TOKEN = re.compile(
    rf"(?P<space>[ \t\r\n]+)|(?P<comment>//[^\n]*|/\*[\s\S]*?\*/)|(?P<string>{_STRING})"
    r"|(?P<literal>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])|(?:true|false|null)(?!\w))"
    r"|(?P<punctuation>[{}\[\]:,])"
)
_Token = tuple[str, int, int]
_END = "end of file"


class _Parser:
    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self._comments: list[tuple[int, int]] = []
        self._tokens = self._scan()
        self._next: _Token = next(self._tokens)

    def document(self) -> Document:
        root = self._node(0)
        if not isinstance(root, Object):
            raise self._error("expected an object in braces", root.start)
        if self._next[0] != _END:
            raise self._error("unexpected text after the end of the object", self._next[1])
        return Document(self._text, root, tuple(self._comments))

    def _scan(self) -> Iterator[_Token]:
        """The tokens. The kind of a punctuation token is the character itself."""
        at = 1 if self._text.startswith("\ufeff") else 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._error("invalid JSON", at)
            kind, at = str(match.lastgroup), match.end()
            if kind == "comment":
                self._comments.append(match.span())
            elif kind != "space":
                yield match[0] if kind == "punctuation" else kind, *match.span()
        while True:
            yield _END, at, at

    def _take(self) -> _Token:
        token, self._next = self._next, next(self._tokens)
        return token

    def _node(self, depth: int) -> Node:
        kind, start, end = self._take()
        if depth > _MAX_DEPTH:
            raise self._error("the file is nested too deeply", start)
        match kind:
            case "string":
                return String(self._decode(start, end), start, end)
            case "literal":
                return Literal(self._text[start:end], start, end)
            case "{":
                return self._object(start, depth)
            case "[":
                return self._array(start, depth)
            case _:
                raise self._error("expected a value", start)

    def _object(self, start: int, depth: int) -> Object:
        members: list[Member] = []
        keys: set[str] = set()
        while self._next[0] != "}":
            kind, at, end = self._take()
            if kind != "string":
                raise self._error("expected a key in quotes, or a closing brace", at)
            key = String(self._decode(at, end), at, end)
            if key.value in keys:
                raise self._error(f"duplicate key {key.value!r}", at, "remove one of the two")
            keys.add(key.value)
            self._expect(":", "expected a colon")
            value = self._node(depth + 1)
            comma = self._comma("}")
            members.append(Member(key, value, comma))
        return Object(tuple(members), start, self._take()[2])

    def _array(self, start: int, depth: int) -> Array:
        items: list[Node] = []
        while self._next[0] != "]":
            items.append(self._node(depth + 1))
            self._comma("]")
        return Array(tuple(items), start, self._take()[2])

    def _comma(self, closing: str) -> int | None:
        if self._next[0] == ",":
            return self._take()[1]
        if self._next[0] != closing:
            raise self._error(f"expected a comma or {closing}", self._next[1])
        return None

    def _expect(self, character: str, what: str) -> None:
        kind, at, _ = self._take()
        if kind != character:
            raise self._error(what, at)

    def _decode(self, start: int, end: int) -> str:
        try:
            return str(json.loads(self._text[start:end]))
        except ValueError:
            raise self._error("invalid escape sequence in a string", start) from None

    def _error(self, what: str, at: int, todo: str = "") -> ConfigError:
        line = self._text.count("\n", 0, at) + 1
        return ConfigError([LesseeError(what, where=f"{self._source}:{line}", todo=todo)])
