"""Splits nginx configuration into directives and words, as nginx does."""

import re

from lessee.core.immutable import ImmutableStruct

DATA = frozenset({"map", "geo", "types", "split_clients", "charset_map"})
"""Blocks of keys and values instead of directives."""

# ngx_conf_read_token() of nginx 1.26. A { after a $ is part of an unquoted word.
_GAP = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*+")
_COMMENT = re.compile(r"#[^\n]*")
_QUOTED = r'"(?:[^"\\]|\\.)*+"(?=[ \t\r\n;{)])' r"|'(?:[^'\\]|\\.)*+'(?=[ \t\r\n;{)])"
_BARE = r"(?![\"'])(?:[^ \t\r\n;{\\$]|\\.|\$\{*)+"
_TOKEN = re.compile(rf"[;{{}}]|{_QUOTED}|{_BARE}", re.DOTALL)
_ESCAPE = re.compile(r"\\([\"'\\trn])")
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n"}
_BUFFER = 4096

# The tokens with which lua-nginx-module finds the end of a block.
_LUA = re.compile(r"(?:--)?\[(=*)\[(?:.*?\]\1\]|.*\Z)|--[^\n]*|[\"'{}]", re.DOTALL)
_LUA_STRINGS = {'"': re.compile(r'(?:\\[^\n]|[^"\n\\])*"'), "'": re.compile(r"(?:\\[^\n]|[^'\n\\])*'")}
"""By the first character, the rest."""


class Word(ImmutableStruct, frozen=True):
    """A word of a directive: its position with quotes, and its text without."""

    at: int
    end: int
    text: str


class Directive(ImmutableStruct, frozen=True):
    """A directive, with its name as the first word, or an entry in a data block."""

    words: tuple[Word, ...]
    opens: bool
    block: int
    """The index of the directive whose block contains it, or -1."""
    holder: str
    """The name of that directive."""
    name: str
    """Empty for an entry in a data block."""


class UnparsableError(Exception):
    """The text is not nginx configuration, from index `at` on."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.what = what
        self.at = at


def read(text: str) -> list[Directive]:
    """All directives of the text, in order. Raises UnparsableError."""
    return _Reader(text).read()


def quote(text: str) -> str:
    """The source of a word. Raises ValueError if it is too long for nginx."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    source = f'"{escaped}"'
    if len(source.encode()) >= _BUFFER:
        raise ValueError
    return source


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: list[Directive] = []
        self.blocks: list[int] = []
        self.words: list[Word] = []

    def read(self) -> list[Directive]:
        self._skip_gap()
        while self.at < len(self.text):
            begin, token = self.at, _TOKEN.match(self.text, self.at)
            if not token:
                raise UnparsableError("a word or its quotes are not closed", begin)
            self.at = token.end()
            match token[0]:
                case "}" if self.blocks and not self.words:
                    self.blocks.pop()
                case ";" | "{" if self.words:
                    self._end(opens=token[0] == "{")
                case "}" | ";" | "{":
                    raise UnparsableError(f"unexpected {token[0]}", begin)
                case source:
                    self.words.append(self._word(begin, source))
            self._skip_gap()
        if self.words or self.blocks:
            raise UnparsableError("the file ends before its last ; or }", self.at)
        return self.found

    def _skip_gap(self) -> None:
        gap = _GAP.match(self.text, self.at)
        assert gap is not None
        for comment in _COMMENT.finditer(gap[0]):
            _refuse_length(comment[0], self.at + comment.start())
        self.at = gap.end()

    def _word(self, begin: int, source: str) -> Word:
        quoted = source[0] in "\"'"
        # nginx reads the character after a word before it finishes the word.
        after = self.text[self.at : self.at + 1].strip(";{)")
        _refuse_length(source[quoted:] + after, begin)
        body = source[1:-1] if quoted else source
        return Word(begin, self.at, _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), body))

    def _end(self, *, opens: bool) -> None:
        block = self.blocks[-1] if self.blocks else -1
        holder = self.found[block].name if self.blocks else ""
        name = "" if holder in DATA else self.words[0].text
        if opens and not name:
            raise UnparsableError("unexpected { among keys and values", self.at - 1)
        if name == "if":
            self._split_condition()
        if opens and name.endswith("_by_lua_block"):
            self._skip_lua()
        elif opens:
            self.blocks.append(len(self.found))
        self.found.append(Directive(tuple(self.words), opens, block, holder, name))
        self.words = []

    def _split_condition(self) -> None:
        """For nginx, a ) at the end of the last word is a separate word."""
        last = self.words[-1]
        if len(last.text) > 1 and self.text[last.end - 1] == ")":
            middle = last.end - 1
            self.words[-1:] = [Word(last.at, middle, last.text[:-1]), Word(middle, last.end, ")")]

    def _skip_lua(self) -> None:
        begin, depth = self.at, 1
        unclosed = dict.fromkeys(_LUA_STRINGS, 0)
        while depth:
            token = _LUA.search(self.text, self.at)
            if not token:
                raise UnparsableError("a block of Lua is not closed", begin)
            self.at = token.end()
            if token[0] in _LUA_STRINGS and self.at > unclosed[token[0]]:
                if string := _LUA_STRINGS[token[0]].match(self.text, self.at):
                    self.at = string.end()
                else:  # Nor does any later quote of this kind begin a string on this line: each is escaped.
                    end = self.text.find("\n", self.at)
                    unclosed[token[0]] = end if end >= 0 else len(self.text)
            depth += (token[0] == "{") - (token[0] == "}")
        self.words.append(Word(begin, self.at - 1, self.text[begin : self.at - 1]))


def _refuse_length(source: str, at: int) -> None:
    if len(source.encode()) >= _BUFFER:
        raise UnparsableError("a word or a comment exceeds nginx's limit of 4 KB", at)
