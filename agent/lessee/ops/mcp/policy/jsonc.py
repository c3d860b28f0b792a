"""JSON with comments and trailing commas, as nodes that know where they stand."""

import json
import re
from collections.abc import Iterator

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import Record


class Text(Record, frozen=True):
    """A string. `start` and `end` are offsets in the file, quotes included."""

    hidden = ("value",)

    value: str
    start: int
    end: int


class Other(Record, frozen=True):
    """A number, a boolean or null, as it is spelt."""

    hidden = ("spelt",)

    spelt: str
    start: int
    end: int


class Array(Record, frozen=True):
    """A list."""

    items: tuple["Node", ...]
    start: int
    end: int


class Member(Record, frozen=True):
    """A key and its value; `comma` is the offset of the one behind it."""

    key: Text
    value: "Node"
    comma: int | None


class Object(Record, frozen=True):
    """A mapping."""

    members: tuple[Member, ...]
    start: int
    end: int

    def get(self, key: str) -> "Node | None":
        """The value of a key."""
        return next((member.value for member in self.members if member.key.value == key), None)


Node = Text | Other | Array | Object


class Document(Record, frozen=True):
    """A whole file, and the spans of its comments."""

    hidden = ("text",)

    text: str
    root: Object
    comments: tuple[tuple[int, int], ...]

    def line(self, offset: int) -> int:
        """From 1."""
        return self.text.count("\n", 0, offset) + 1


def parse(text: str, source: str) -> Document:
    """Raises ConfigError with the line, and nothing of what stands there."""
    return _Parser(text, source).document()


_DEEPEST = 100
_STRING = r'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"'
_TOKEN = re.compile(
    rf"(?P<space>[ \t\r\n]+)|(?P<comment>//[^\n]*|/\*[\s\S]*?\*/)|(?P<text>{_STRING})"
    r"|(?P<other>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])|(?:true|false|null)(?!\w))"
    r"|(?P<mark>[{}\[\]:,])"
)
_Token = tuple[str, int, int]
_END = "the end of the file"


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
            raise self._error("something stands behind the end of the object", self._next[1])
        return Document(self._text, root, tuple(self._comments))

    def _scan(self) -> Iterator[_Token]:
        """Marks are tokens of their own kind."""
        at = 1 if self._text.startswith("\ufeff") else 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise self._error("this is not JSON", at)
            kind, at = str(found.lastgroup), found.end()
            if kind == "comment":
                self._comments.append(found.span())
            elif kind != "space":
                yield found[0] if kind == "mark" else kind, *found.span()
        while True:
            yield _END, at, at

    def _take(self) -> _Token:
        token, self._next = self._next, next(self._tokens)
        return token

    def _node(self, depth: int) -> Node:
        kind, start, end = self._take()
        if depth > _DEEPEST:
            raise self._error("it is nested too deeply", start)
        match kind:
            case "text":
                return Text(self._value(start, end), start, end)
            case "other":
                return Other(self._text[start:end], start, end)
            case "{":
                return self._object(start, depth)
            case "[":
                return self._array(start, depth)
            case _:
                raise self._error("a value is missing", start)

    def _object(self, start: int, depth: int) -> Object:
        members: list[Member] = []
        keys: set[str] = set()
        while self._next[0] != "}":
            kind, at, end = self._take()
            if kind != "text":
                raise self._error("expected a key in quotes, or a closing brace", at)
            key = Text(self._value(at, end), at, end)
            if key.value in keys:
                raise self._error(f"the key {key.value!r} stands there twice", at, "leave one of them")
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

    def _expect(self, mark: str, what: str) -> None:
        kind, at, _ = self._take()
        if kind != mark:
            raise self._error(what, at)

    def _value(self, start: int, end: int) -> str:
        try:
            return str(json.loads(self._text[start:end]))
        except ValueError:
            raise self._error("a string has an escape that there is not", start) from None

    def _error(self, what: str, at: int, todo: str = "") -> ConfigError:
        line = self._text.count("\n", 0, at) + 1
        return ConfigError([LesseeError(what, where=f"{self._source}:{line}", todo=todo)])
