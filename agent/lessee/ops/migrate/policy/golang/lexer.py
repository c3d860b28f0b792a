"""The text of a Go template in pieces: literal text, and the tokens of its actions."""

import re
from collections.abc import Iterator

from lessee.core.errors import TemplateError
from lessee.core.immutable import Record
from lessee.core.source_text import Lines, Text
from lessee.ops.migrate.policy.golang.nodes import Head, Literal


class Token(Record, frozen=True):
    """A word of an action. `spaced`: white space stands before it."""

    kind: str
    text: str
    spaced: bool


class Action(Record, frozen=True):
    """What stands between delimiters; a comment has no tokens."""

    head: Head
    tokens: tuple[Token, ...]
    comment: bool = False


def lex(template: Text, left: str, right: str) -> Iterator[Literal | Action]:
    """As text/template reads it, with white space cut as its trim markers say. Raises TemplateError."""
    lexer = _Lexer(template, left or "{{", right or "}}")
    before = ""
    while (begin := lexer.text.find(lexer.left, lexer.at)) >= 0:
        literal = lexer.text[lexer.at : begin]
        trims = bool(_LEFT_TRIM.match(lexer.text, begin + len(lexer.left)))
        kept = literal.rstrip(_SPACE) if trims else literal
        yield Literal(kept, before, literal[len(kept) :])
        lexer.at = begin
        yield lexer.action(trims=trims)
        before = lexer.cut()
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
    |(?P<mark>:=|[=|(),.])""",
    re.VERBOSE,
)
_ENDED = re.compile(r"[\s.,|:)(]|\Z")
"""What must come after a word."""


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
        """The action that begins here."""
        begin, line = self.at, self._line()
        self.at += len(self.left) + (2 if trims else 0)
        comment = self.text.startswith("/*", self.at)
        if comment:
            self._skip_comment(begin)
        tokens = () if comment else tuple(self._tokens(begin))
        return Action(Head(self.text[begin : self.at], line), tokens, comment=comment)

    def cut(self) -> str:
        """White space behind the action, if it cuts any."""
        begin = self.at
        if self._trims:
            rest = self.text[begin:]
            self.at += len(rest) - len(rest.lstrip(_SPACE))
        return self.text[begin : self.at]

    def _skip_comment(self, begin: int) -> None:
        end = self.text.find("*/", self.at + 2)
        if end < 0:
            raise self._error("a comment is not closed", begin, f"close it with */{self._right}")
        self.at = end + 2
        if not self._ends():
            raise self._error("behind the */ of a comment its action must end", begin)

    def _ends(self) -> bool:
        """Whether the action ends here, and steps over its end."""
        self._trims = self.text[self.at : self.at + 1] in tuple(_SPACE) and self.text.startswith(
            f"-{self._right}", self.at + 1
        )
        if not self._trims and not self.text.startswith(self._right, self.at):
            return False
        self.at += len(self._right) + (2 if self._trims else 0)
        return True

    def _tokens(self, begin: int) -> Iterator[Token]:
        spaced, depth = False, 0
        while not self._ends():
            found = _TOKEN.match(self.text, self.at)
            if found is None:
                raise self._error(*self._unreadable(begin))
            kind, text = str(found.lastgroup), found[0]
            self.at = found.end()
            if kind == "space":
                spaced = True
                continue
            if kind in {"word", "variable", "field", "number"}:
                self._refuse_unended(text)
            depth += {"(": 1, ")": -1}.get(text, 0)
            yield Token(kind, text, spaced)
            spaced = False
            if depth < 0:
                raise self._error("a ) closes nothing", self.at - 1)
        if depth:
            raise self._error("a ( is not closed", begin, "close it with )")

    def _unreadable(self, begin: int) -> tuple[str, int, str]:
        match self.text[self.at : self.at + 1]:
            case "":
                return "an action is not closed", begin, f"close it with {self._right}"
            case '"' | "`" | "'":
                return "a string is not closed", self.at, "close it with the same quote"
            case char:
                return f"{char!r} has no place in an action", self.at, ""

    def _refuse_unended(self, text: str) -> None:
        if not _ENDED.match(self.text, self.at) and not self.text.startswith(self._right, self.at):
            raise self._error(f"behind {text!r} stands {self.text[self.at]!r}", self.at, "put a blank between them")

    def _line(self, at: int | None = None) -> int:
        return self._lines.at(self.at if at is None else at)

    def _error(self, what: str, at: int, todo: str = "") -> TemplateError:
        return TemplateError(what, where=self._template.where(self._line(at)), todo=todo)
