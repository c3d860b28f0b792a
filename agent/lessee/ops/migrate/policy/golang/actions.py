"""Parses the tokens of one action of a Go template."""

import math
from collections import deque
from collections.abc import Iterator

from lessee.core.errors import TemplateError
from lessee.core.go_escapes import unescape
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.golang.lexer import Action, Token
from lessee.ops.migrate.policy.golang.nodes import Chain, Constant, Dot, Field, Function, Operand, Pipe, Variable

_MAX_DEPTH = 50
_KEYWORDS = frozenset({"if", "with", "range", "else", "end", "define", "block", "template", "break", "continue"})


class ActionParser:
    """Consumes the tokens of an action. Raises TemplateError that names file and line."""

    def __init__(self, template: Text, action: Action, variables: list[str]) -> None:
        """`variables`: the declared ones; the parser adds to them."""
        self._template = template
        self._action = action
        self._tokens = deque(action.tokens)
        self._variables = variables
        self._depth = 0

    def keyword(self) -> str | None:
        """Consume the next token if it is a keyword."""
        token = self._peek()
        if token is None or token.kind != "word" or token.text not in _KEYWORDS:
            return None
        self._tokens.popleft()
        return token.text

    def name(self, keyword: str) -> str:
        """Consume the quoted name after a keyword."""
        token = self._peek()
        if token is None or token.kind not in {"string", "raw"}:
            raise self._error(f"{keyword} expects a name in quotes")
        self._tokens.popleft()
        return self._string(token)

    def is_at_end(self) -> bool:
        """Whether all tokens are consumed."""
        return not self._tokens

    def expect_end(self, allowed: int = 0) -> None:
        """Raise an error if more than `allowed` tokens remain."""
        if len(self._tokens) > allowed:
            raise self._error(f"unexpected {self._tokens[allowed].text!r}")

    def pipe(self, *, of_range: bool = False) -> Pipe:
        """Consume all remaining tokens as a pipeline; a range may declare two variables."""
        pipe = self._pipe(2 if of_range else 1)
        self.expect_end()
        return pipe

    def _pipe(self, max_variables: int) -> Pipe:
        names, assigns = self._declaration(max_variables)
        commands = tuple(self._commands())
        if not commands:
            raise self._error("expected a value")
        if any(isinstance(operands[0], Constant | Dot) for operands in commands[1:]):
            raise self._error("expected a function after |")
        return Pipe(commands, names, assigns)

    def _declaration(self, max_variables: int) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        for at, token in enumerate(self._tokens):
            if at % 2 == 0 and token.kind == "variable" and len(names) < max_variables:
                names.append(token.text.removeprefix("$"))
            elif at % 2 and token.text in {":=", "="}:
                self._drop(at + 1)
                self._variables += names
                return tuple(names), token.text == "="
            elif not (at % 2 and token.text == ","):
                break
        return (), False

    def _commands(self) -> Iterator[tuple[Operand, ...]]:
        while self._tokens and self._tokens[0].text != ")":
            operands: list[Operand] = []
            while (operand := self._operand()) is not None:
                operands.append(operand)
                following = self._peek()
                if following and not following.spaced and following.text not in {"|", ")"}:
                    raise self._error(f"expected a space before {following.text!r}")
            if not operands:
                raise self._error("expected a value")
            yield tuple(operands)
            if not self._accept("|"):
                return

    def _operand(self) -> Operand | None:
        term = self._term()
        names = []
        while term is not None and (token := self._peek()) and token.kind == "field" and not token.spaced:
            names.append(token.text[1:])
            self._tokens.popleft()
        match term:
            case Field() if names:
                return Field((*term.names, *names))
            case Variable() if names:
                return Variable(term.name, tuple(names))
            case Constant() | Dot() if names:
                raise self._error(f"unexpected .{names[0]}")
            case None:
                return None
            case _:
                return Chain(term, tuple(names)) if names else term

    def _term(self) -> Operand | None:
        token = self._peek()
        if token is None or token.text in {")", "|"}:
            return None
        self._tokens.popleft()
        match token.kind, token.text:
            case (("string" | "raw"), _):
                return Constant(self._string(token))
            case (("number" | "char"), text):
                return Constant(self._number(text))
            case "field", text:
                return Field((text[1:],))
            case "variable", text:
                return self._variable(text[1:])
            case _, ".":
                return Dot()
            case _, "(":
                return self._parentheses()
            case "word", ("true" | "false" | "nil") as text:
                return Constant({"true": True, "false": False}.get(text))
            case "word", text if text not in _KEYWORDS:
                return Function(text)
        raise self._error(f"unexpected {token.text!r}")

    def _parentheses(self) -> Pipe:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"parentheses are nested more than {_MAX_DEPTH} deep")
        pipe = self._pipe(1)
        self._accept(")")
        self._depth -= 1
        return pipe

    def _variable(self, name: str) -> Variable:
        if name not in self._variables:
            raise self._error(f"undefined variable ${name}")
        return Variable(name)

    def _string(self, token: Token) -> str:
        if token.kind == "raw":
            return token.text[1:-1].replace("\r", "")
        try:
            return unescape(token.text[1:-1])
        except ValueError:
            what = "a string contains a backslash that does not begin an escape sequence"
            raise self._error(what, r"write \\ for a backslash, or use `") from None

    def _number(self, text: str) -> int | float:
        try:
            if text.startswith("'"):
                return ord(unescape(text[1:-1].replace("\\'", "'")))
            digits = text.replace("_", "")
            if digits.lstrip("+-").startswith("0") and digits.lstrip("+-").isdigit():
                return int(digits, 8)
            return int(digits, 0) if digits.lstrip("+-")[:2].lower() in {"0x", "0o", "0b"} else _decimal(digits)
        except (TypeError, ValueError):
            raise self._error(f"invalid number {text}") from None

    def _peek(self) -> Token | None:
        return self._tokens[0] if self._tokens else None

    def _accept(self, text: str) -> bool:
        """Consume the next token if it is this one."""
        matches = bool(self._tokens) and self._tokens[0].text == text
        self._drop(int(matches))
        return matches

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._tokens.popleft()

    def _error(self, what: str, todo: str = "") -> TemplateError:
        return TemplateError(what, where=self._template.where(self._action.origin.line), todo=todo)


def _decimal(digits: str) -> int | float:
    if not {".", "e", "E"} & set(digits):
        return int(digits)
    if math.isinf(number := float(digits)):
        raise ValueError
    return number
