"""One action of a Go template, read from its tokens."""

import math
from collections import deque
from collections.abc import Iterator

from lessee.core.errors import TemplateError
from lessee.core.go_escapes import unescape
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.golang.lexer import Action, Token
from lessee.ops.migrate.policy.golang.nodes import Chain, Constant, Dot, Field, Function, Operand, Pipe, Variable

_DEEPEST = 50
_KEYWORDS = frozenset({"if", "with", "range", "else", "end", "define", "block", "template", "break", "continue"})


class Words:
    """The tokens of one action, to be taken one by one. Raises TemplateError that names file and line."""

    def __init__(self, template: Text, action: Action, variables: list[str]) -> None:
        self._template = template
        self._action = action
        self._tokens = deque(action.tokens)
        self._variables = variables
        self._depth = 0

    def keyword(self) -> str | None:
        """The next word, if it is one that Go's templates keep for themselves."""
        token = self._peek()
        if token is None or token.kind != "word" or token.text not in _KEYWORDS:
            return None
        self._tokens.popleft()
        return token.text

    def name(self, of: str) -> str:
        """The name in quotes behind a keyword."""
        token = self._peek()
        if token is None or token.kind not in {"string", "raw"}:
            raise self._error(f"{of} wants a name in quotes")
        self._tokens.popleft()
        return self._string(token)

    def is_over(self) -> bool:
        """Whether all tokens are taken."""
        return not self._tokens

    def refuse_more(self, skipped: int = 0) -> None:
        """Whatever stands behind the first `skipped` tokens."""
        if len(self._tokens) > skipped:
            raise self._error(f"{self._tokens[skipped].text!r} has no place here")

    def pipe(self, *, of_range: bool = False) -> Pipe:
        """All that is left; a range may set two variables."""
        pipe = self._pipe(2 if of_range else 1)
        self.refuse_more()
        return pipe

    def _pipe(self, most: int) -> Pipe:
        names, assigns = self._declared(most)
        commands = tuple(self._commands())
        if not commands:
            raise self._error("a value is missing")
        if any(isinstance(words[0], Constant | Dot) for words in commands[1:]):
            raise self._error("behind a | must stand a function")
        return Pipe(commands, names, assigns)

    def _declared(self, most: int) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        for at, token in enumerate(self._tokens):
            if at % 2 == 0 and token.kind == "variable" and len(names) < most:
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
            words: list[Operand] = []
            while (operand := self._operand()) is not None:
                words.append(operand)
                following = self._peek()
                if following and not following.spaced and following.text not in {"|", ")"}:
                    raise self._error(f"before {following.text!r} a blank is missing")
            if not words:
                raise self._error("a value is missing")
            yield tuple(words)
            if not self._takes("|"):
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
                raise self._error(f".{names[0]} has no place here")
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
                return self._parenthesised()
            case "word", ("true" | "false" | "nil") as text:
                return Constant({"true": True, "false": False}.get(text))
            case "word", text if text not in _KEYWORDS:
                return Function(text)
        raise self._error(f"{token.text!r} has no place here")

    def _parenthesised(self) -> Pipe:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"parentheses stand in one another more than {_DEEPEST} deep")
        pipe = self._pipe(1)
        self._takes(")")
        self._depth -= 1
        return pipe

    def _variable(self, name: str) -> Variable:
        if name not in self._variables:
            raise self._error(f"there is no variable ${name}")
        return Variable(name)

    def _string(self, token: Token) -> str:
        if token.kind == "raw":
            return token.text[1:-1].replace("\r", "")
        try:
            return unescape(token.text[1:-1])
        except ValueError:
            raise self._error(
                "a string holds a backslash that begins no escape", r"write \\ for a backslash, or use `"
            ) from None

    def _number(self, text: str) -> int | float:
        try:
            if text.startswith("'"):
                return ord(unescape(text[1:-1].replace("\\'", "'")))
            digits = text.replace("_", "")
            if digits.lstrip("+-").startswith("0") and digits.lstrip("+-").isdigit():
                return int(digits, 8)
            return int(digits, 0) if digits.lstrip("+-")[:2].lower() in {"0x", "0o", "0b"} else _decimal(digits)
        except (TypeError, ValueError):
            raise self._error(f"{text} is no number") from None

    def _peek(self) -> Token | None:
        return self._tokens[0] if self._tokens else None

    def _takes(self, mark: str) -> bool:
        there = bool(self._tokens) and self._tokens[0].text == mark
        self._drop(int(there))
        return there

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._tokens.popleft()

    def _error(self, what: str, todo: str = "") -> TemplateError:
        return TemplateError(what, where=self._template.where(self._action.head.line), todo=todo)


def _decimal(digits: str) -> int | float:
    if not {".", "e", "E"} & set(digits):
        return int(digits)
    if math.isinf(number := float(digits)):
        raise ValueError
    return number
