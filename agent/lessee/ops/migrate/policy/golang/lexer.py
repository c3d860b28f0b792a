"""Splits a Go template into literal text and the tokens of its actions."""

import re
from collections.abc import Iterator

from lessee.core.errors import TemplateError
from lessee.core.immutable import ImmutableStruct
from lessee.core.source_text import Lines, Text
from lessee.ops.migrate.policy.golang.nodes import Literal, Origin


class Token(ImmutableStruct, frozen=True):
    """A token of an action. `spaced`: white space precedes it."""

    kind: str
    text: str
    spaced: bool


class Action(ImmutableStruct, frozen=True):
    """The content between two delimiters; a comment has no tokens."""

    origin: Origin
    tokens: tuple[Token, ...]
    is_comment: bool = False


def lex(template: Text, left: str, right: str) -> Iterator[Literal | Action]:
    """Split a template like text/template, and apply its trim markers. Raises TemplateError."""
    lexer = _Lexer(template, left or "{{", right or "}}")
    before = ""
    while (begin := lexer.text.find(lexer.left, lexer.at)) >= 0:
        literal = lexer.text[lexer.at : begin]
        trims = bool(_LEFT_TRIM.match(lexer.text, begin + len(lexer.left)))
        trimmed = literal.rstrip(_SPACE) if trims else literal
        yield Literal(trimmed, before, literal[len(trimmed) :])
        lexer.at = begin
        yield lexer.action(trims=trims)
        before = lexer.trimmed_space()
    yield Literal(lexer.text[lexer.at :], before, "")


_SPACE = " \t\r\n"
_LEFT_TRIM = re.compile(r"-[ \t\r\n]")
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n])
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*")
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\[^\n])+')
    |(?P<variable>\$\w*)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:[0-9][0-9_]*\.?|\.[0-9])[0-9_]*(?:[eE][+-]?[0-9_]+)?))
    |(?P<word>\w+)
    |(?P<punctuation>:=|[=|(),.])""",
    re.VERBOSE,
)
_TERMINATOR = re.compile(r"[\s.,|:)(]|\Z")
"""What must follow a word."""


class _Lexer:
    def __init__(self, template: Text, left: str, right: str) -> None:
        self._template = template
        self.text = template.value
        self._lines = Lines(self.text)
        self.left = left
        self._right = right
        self.at = 0
        self._trims = False

    def action(self, *, trims: bool) -> Action:
        """The action at the current position."""
        begin, line = self.at, self._line()
        self.at += len(self.left) + (2 if trims else 0)
        is_comment = self.text.startswith("/*", self.at)
        if is_comment:
            self._skip_comment(begin)
        tokens = () if is_comment else tuple(self._tokens(begin))
        return Action(Origin(self.text[begin : self.at], line), tokens, is_comment=is_comment)

    def trimmed_space(self) -> str:
        """The white space after the action that its trim marker removes; moves past it."""
        begin = self.at
        if self._trims:
            rest = self.text[begin:]
            self.at += len(rest) - len(rest.lstrip(_SPACE))
        return self.text[begin : self.at]

    def _skip_comment(self, begin: int) -> None:
        end = self.text.find("*/", self.at + 2)
        if end < 0:
            raise self._error("unclosed comment", begin, f"close it with */{self._right}")
        self.at = end + 2
        if not self._accept_end():
            raise self._error(f"expected {self._right} after the */ of a comment", begin)

    def _accept_end(self) -> bool:
        """Whether the action ends at the current position; moves past the delimiter."""
        self._trims = self.text[self.at : self.at + 1] in tuple(_SPACE) and self.text.startswith(
            f"-{self._right}", self.at + 1
        )
        if not self._trims and not self.text.startswith(self._right, self.at):
            return False
        self.at += len(self._right) + (2 if self._trims else 0)
        return True

    def _tokens(self, begin: int) -> Iterator[Token]:
        spaced, depth = False, 0
        while not self._accept_end():
            match = _TOKEN.match(self.text, self.at)
            if match is None:
                raise self._error(*self._no_token(begin))
            kind, text = str(match.lastgroup), match[0]
            self.at = match.end()
            if kind == "space":
                spaced = True
                continue
            if kind in {"word", "variable", "field", "number"}:
                self._expect_terminator(text)
            depth += {"(": 1, ")": -1}.get(text, 0)
            yield Token(kind, text, spaced)
            spaced = False
            if depth < 0:
                raise self._error("unexpected )", self.at - 1)
        if depth:
            raise self._error("unclosed (", begin, "close it with )")

    def _no_token(self, begin: int) -> tuple[str, int, str]:
        match self.text[self.at : self.at + 1]:
            case "":
                return "unclosed action", begin, f"close it with {self._right}"
            case '"' | "`" | "'":
                return "unterminated string", self.at, "close it with the same quote"
            case char:
                return f"unexpected {char!r} in an action", self.at, ""

    def _expect_terminator(self, text: str) -> None:
        if not _TERMINATOR.match(self.text, self.at) and not self.text.startswith(self._right, self.at):
            raise self._error(f"unexpected {self.text[self.at]!r} after {text!r}", self.at, "put a space between them")

    def _line(self, at: int | None = None) -> int:
        return self._lines.at(self.at if at is None else at)

    def _error(self, what: str, at: int, todo: str = "") -> TemplateError:
        return TemplateError(what, where=self._template.where(self._line(at)), todo=todo)
