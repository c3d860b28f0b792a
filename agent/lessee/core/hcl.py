"""A parser for HCL version 1 and its JSON form, as Vault Agent and consul-template read them.

Existing libraries do not fit. Those for version 2 treat `${` and `%{` in a shell command as templates and reject
quoted keys; the one for version 1 mixes up repeated blocks. None reports line numbers.
"""

import json
import re
from collections.abc import Iterable, Iterator

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.go_escapes import unescape
from lessee.core.immutable import ImmutableStruct
from lessee.core.source_text import Lines, Text


class Item(ImmutableStruct, frozen=True):
    """A key with its value; a block's labels are further keys."""

    keys: tuple[str, ...]
    value: "Value"
    line: int


class Block(ImmutableStruct, frozen=True):
    """The content of a pair of braces, or the whole file."""

    items: tuple[Item, ...]
    line: int


Value = Text | int | float | bool | None | tuple["Value", ...] | Block


def parse(text: str, source: str, *, strict: bool = False) -> Block:
    """Parse a file as HCL does: as JSON if it begins with a brace. Raises ConfigError that names file and line.

    `strict`: a second value of an argument is an error, as in Vault since 1.21; else the last one counts.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if text.lstrip().startswith("{"):
        return _Json(text, source, strict=strict).read()
    return _Hcl(text, source, strict=strict).read()


_DEEPEST = 100
_BLANK = re.compile(r"(?:[ \t\r\n]+|(?:#|//)[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"[^\W\d][\w.-]*")
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)(?![\w.])")
_HEREDOC = re.compile(r"<<(-?)(\w+)\n")
_OPEN_BRACES = re.compile(r"[{}\\\"$\n]")


class _Reader:
    """A position in the text."""

    def __init__(self, text: str, source: str, *, strict: bool) -> None:
        self._strict = strict
        self._text = text
        self._lines = Lines(text)
        self._source = source
        self._at = 0
        self._depth = 0

    def _line(self, at: int | None = None) -> int:
        return self._lines.at(self._at if at is None else at)

    def _error(self, what: str, at: int | None = None, todo: str = "") -> ConfigError:
        return ConfigError([LesseeError(what, where=f"{self._source}:{self._line(at)}", todo=todo)])

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _accept(self, mark: str) -> bool:
        there = self._text.startswith(mark, self._at)
        self._at += len(mark) if there else 0
        return there

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"blocks and lists are nested more than {_DEEPEST} deep")

    def _distinct(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """The items. No two may set the same argument if the parser is strict; blocks can be repeated."""
        read: list[Item] = []
        lines: dict[tuple[str, ...], int] = {}
        for item in items:
            if self._strict and not _are_blocks(item.value):
                if item.keys in lines:
                    what = f"the argument {item.keys[0]!r} is already set in line {lines[item.keys]}"
                    where = f"{self._source}:{item.line}"
                    raise ConfigError([LesseeError(what, where=where, todo="remove one of the two")])
                lines[item.keys] = item.line
            read.append(item)
        return tuple(read)

    def _found(self) -> str:
        """What was found instead, for an error text; a string may be a secret and is not repeated."""
        char = self._text[self._at : self._at + 1]
        return "the end of the file" if not char else "a string" if char == '"' else repr(char)


class _Hcl(_Reader):
    def read(self) -> Block:
        return Block(self._distinct(self._items()), 1)

    def _skip(self) -> None:
        self._take(_BLANK)
        if self._text.startswith("/*", self._at):
            raise self._error("a comment is not closed", todo="close it with */")

    def _items(self) -> Iterator[Item]:
        self._skip()
        while self._at < len(self._text) and self._text[self._at] != "}":
            yield self._item()
            self._skip()
            self._accept(",")
            self._skip()
        if not self._depth and self._at < len(self._text):
            raise self._error("a } has no matching {")

    def _item(self) -> Item:
        line = self._line()
        keys: list[str] = []
        while (key := self._key()) is not None:
            keys.append(key)
            self._skip()
        if keys and self._text.startswith("{", self._at):
            return Item(tuple(keys), self._block(), line)
        if len(keys) == 1 and self._accept("="):
            self._skip()
            return Item(tuple(keys), self._value(), line)
        what = f"after the key {keys[0]!r} expected = or {{" if keys else "expected a key"
        raise self._error(f"{what}, found {self._found()}")

    def _key(self) -> str | None:
        if self._text.startswith('"', self._at):
            return self._string().value
        word = self._take(_WORD)
        return word[0] if word else None

    def _block(self) -> Block:
        self._enter()
        line, start = self._line(), self._at
        self._accept("{")
        items = self._distinct(self._items())
        if not self._accept("}"):
            raise self._error("a { is not closed", start, "close it with }")
        self._depth -= 1
        return Block(items, line)

    def _value(self) -> Value:
        match self._text[self._at : self._at + 1]:
            case '"':
                return self._string()
            case "{":
                return self._block()
            case "[":
                return tuple(self._list())
            case "<":
                return self._heredoc()
            case _:
                return self._word()

    def _word(self) -> int | float | bool:
        if number := self._take(_NUMBER):
            return self._number(number[0], number.start())
        start = self._at
        word = self._take(_WORD)
        if word and word[0] in {"true", "false"}:
            return word[0] == "true"
        self._at = start
        raise self._error(f"expected a value, found {self._found()}", todo="write a string in double quotes")

    def _list(self) -> Iterator[Value]:
        self._enter()
        start = self._at
        self._accept("[")
        self._skip()
        while not self._accept("]"):
            if self._at == len(self._text):
                raise self._error("a [ is not closed", start, "close it with ]")
            yield self._value()
            self._skip()
            if not self._accept(",") and not self._text.startswith("]", self._at):
                raise self._error(f"in a list expected a comma or ], found {self._found()}")
            self._skip()
        self._depth -= 1

    def _number(self, text: str, at: int) -> int | float:
        try:
            if re.fullmatch("-?0[0-7]+", text):
                return int(text, 8)
            return int(text, 0) if re.fullmatch(r"-?(?:0[xX]\w+|[0-9]+)", text) else float(text)
        except ValueError:
            raise self._error("this is not a number", at) from None

    def _string(self) -> Text:
        start, line = self._at, self._line()
        braces, parts, begin = 0, [], self._at + 1
        self._at += 1
        while True:
            found = _OPEN_BRACES.search(self._text, self._at)
            if found is None or (found[0] == "\n" and not braces):
                raise self._error("a string is not closed", start, "close it with a double quote, or write a <<EOT")
            self._at = found.end()
            match found[0]:
                case '"' if not braces:
                    parts.append(self._unescaped(begin, found.start()))
                    return Text("".join(parts), self._source, line, is_multiline=False)
                case "\\":
                    self._at += 1
                case "$" if not braces and self._accept("{"):
                    # The content of ${ } is taken literally, with quotes and escapes.
                    parts.append(self._unescaped(begin, found.start()))
                    braces, begin = 1, found.start()
                case "{" if braces:
                    braces += 1
                case "}" if braces:
                    braces -= 1
                    if not braces:
                        parts.append(self._text[begin : self._at])
                        begin = self._at

    def _unescaped(self, begin: int, end: int) -> str:
        try:
            return unescape(self._text[begin:end])
        except ValueError:
            raise self._error(
                "a string contains a backslash that does not begin an escape sequence",
                begin,
                r"write \\ for a backslash",
            ) from None

    def _heredoc(self) -> Text:
        start = self._at
        head = self._take(_HEREDOC)
        if head is None:
            raise self._error("a < does not begin a heredoc", start, "write <<EOT and the end of the line")
        begin, line = self._at, self._line()
        end = re.compile(rf"^([ \t\v\f\r]*){head[2]}\r*(?:\n|\Z)", re.MULTILINE).search(self._text, begin)
        if end is None:
            raise self._error("a heredoc is not closed", start, f"close it with {head[2]} on a line of its own")
        self._at = end.end(1) + len(head[2])
        body = self._text[begin : end.start()]
        return Text(_unindented(body, end[1]) if head[1] else body + end[1], self._source, line)


def _are_blocks(value: Value) -> bool:
    return isinstance(value, Block) or (isinstance(value, tuple) and any(isinstance(item, Block) for item in value))


def _unindented(body: str, indent: str) -> str:
    """As HCL does it: if any line, even an empty one, is indented less than the end mark, all lines stay unchanged."""
    lines = body.split("\n")[:-1]
    if not all(line.startswith(indent) for line in lines):
        return body
    return "".join(f"{line.removeprefix(indent)}\n" for line in lines)


class _Json(_Reader):
    _DECODER = json.JSONDecoder()
    _SPACE = re.compile(r"[ \t\r\n]*")

    def read(self) -> Block:
        value = self._value()
        self._take(self._SPACE)
        if not isinstance(value, Block) or self._at < len(self._text):
            raise self._error(f"unexpected content after the end of the JSON: {self._found()}")
        return value

    def _value(self) -> Value:
        self._take(self._SPACE)
        line = self._line()
        if self._accept("{"):
            return Block(self._distinct(self._members()), line)
        if self._accept("["):
            return tuple(self._elements())
        try:
            value, self._at = self._DECODER.raw_decode(self._text, self._at)
        except ValueError:
            raise self._error(f"this is not JSON: expected a value, found {self._found()}") from None
        return Text(_whole(value), self._source, line, is_multiline=False) if isinstance(value, str) else value

    def _members(self) -> Iterator[Item]:
        for _ in self._separated("}"):
            line = self._line()
            key = self._value()
            self._take(self._SPACE)
            if not isinstance(key, Text) or not self._accept(":"):
                raise self._error("this is not JSON: expected a key in double quotes and a colon")
            yield Item((key.value,), self._value(), line)

    def _elements(self) -> Iterator[Value]:
        for _ in self._separated("]"):
            yield self._value()

    def _separated(self, end: str) -> Iterator[None]:
        self._enter()
        self._take(self._SPACE)
        while not self._accept(end):
            yield
            self._take(self._SPACE)
            if not self._accept(",") and not self._text.startswith(end, self._at):
                raise self._error(f"this is not JSON: expected a comma or {end}, found {self._found()}")
            self._take(self._SPACE)
        self._depth -= 1


def _whole(text: str) -> str:
    """Replace each half of a surrogate pair by U+FFFD, as Go does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
