"""Jinja expressions, and how they combine."""

from lessee.core.immutable import ImmutableStruct
from lessee.ops.migrate.policy.golang.nodes import Constant

CONDITION, OR, AND, NOT, COMPARE, SUM, CONCAT, PRODUCT, FILTER, PRIMARY = range(10)
"""The precedence of an expression; an operand whose precedence is too low gets parentheses."""

ANY, TEXT, NUMBER, FLOAT = "any", "text", "number", "float"
TRUTH, LIST, NUMBERS, MAP = "truth", "list", "numbers", "map"
"""The types of values, as far as they are known without the secrets."""


GO_TEXT = "go_text"
"""The macro that writes lists and maps as Go does."""


class UnsupportedError(Exception):
    """A part of a template that cannot be carried over."""

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo


class Expr(ImmutableStruct, frozen=True):
    """A Jinja expression with its precedence and type."""

    text: str
    precedence: int = PRIMARY
    kind: str = ANY
    optional: "Expr | None" = None
    """The expression for a context in which a field may be missing, such as a condition."""
    variable: str = ""
    """The same value in lessee.yaml, if the expression reads the environment."""

    def __format__(self, spec: str) -> str:
        """`{expr:f}` is the expression as the operand of a filter; see `_MIN_PRECEDENCE` for the letters."""
        return self.text if self.precedence >= _MIN_PRECEDENCE[spec] else f"({self.text})"

    @property
    def condition(self) -> "Expr":
        """The expression as a condition."""
        return self.optional or self


_MIN_PRECEDENCE = {
    "": CONDITION,
    "o": OR,
    "a": AND,
    "n": NOT,
    "c": SUM,
    "s": SUM,
    "t": CONCAT,
    "m": PRODUCT,
    "f": FILTER,
    "p": PRIMARY,
}


class Joined(ImmutableStruct, frozen=True):
    """Constant texts and expressions in sequence."""

    parts: tuple[Constant | Expr, ...]


def quote(text: str) -> str:
    """A Jinja string literal. Control characters are escaped, because Jinja normalizes line ends in its source."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else _escape(char) for char in escaped) + '"'


def literal(constant: Constant) -> Expr:
    """A Go constant as a Jinja literal."""
    match constant.value:
        case None:
            return Expr("none")
        case bool(value):
            return Expr("true" if value else "false", kind=TRUTH)
        case str(value):
            return Expr(quote(value), kind=TEXT)
        case int(value):
            return Expr(str(value), kind=NUMBER)
        case value:
            return Expr(f"{value:.0f}" if value.is_integer() else repr(value), kind=FLOAT)


def join(*parts: Constant | Expr | Joined) -> Constant | Joined:
    """The parts in sequence; all constants are strings."""
    flat: list[Constant | Expr] = []
    for part in parts:
        for item in part.parts if isinstance(part, Joined) else (part,):
            last = flat[-1] if flat else None
            if isinstance(item, Constant) and isinstance(last, Constant):
                flat[-1] = Constant(f"{last.value}{item.value}")
            elif item != Constant(""):
                flat.append(item)
    match flat:
        case []:
            return Constant("")
        case [Constant() as constant]:
            return constant
        case _:
            return Joined(tuple(flat))


def as_expr(value: Constant | Expr | Joined) -> Expr:
    """The value as one expression."""
    match value:
        case Constant():
            return literal(value)
        case Joined():
            return _concatenate(value)
        case _:
            return value


def _concatenate(joined: Joined) -> Expr:
    """One expression of type text for all parts."""
    match joined.parts:
        case [Expr(kind="text") as single]:
            return single
        case [Expr() as single]:
            return Expr(f"{single:f} | string", FILTER, TEXT)
        case _:
            pass
    texts = [literal(part) if isinstance(part, Constant) else part for part in joined.parts]
    return Expr(" ~ ".join(f"{text:m}" for text in texts), CONCAT, TEXT)


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()
