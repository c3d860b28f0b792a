"""Jinja expressions that are put together from others."""

from lessee.core.immutable import Record
from lessee.ops.migrate.policy.golang.nodes import Constant

CONDITION, OR, AND, NOT, COMPARE, SUM, CONCAT, PRODUCT, FILTER, PRIMARY = range(10)
"""How fast an expression holds together; an operand that holds less than is wanted gets parentheses."""

ANY, TEXT, NUMBER, FLOAT = "any", "text", "number", "float"
TRUTH, LIST, NUMBERS, MAP = "truth", "list", "numbers", "map"
"""What is known of a value before any is there."""


class LostError(Exception):
    """Something in a template that cannot be carried over."""

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo


class Expr(Record, frozen=True):
    """A Jinja expression."""

    text: str
    level: int = PRIMARY
    kind: str = ANY
    absent: "Expr | None" = None
    """The same where what it reads may be missing."""
    variable: str = ""
    """The same in lessee.yaml, where it reads the environment."""

    def __format__(self, spec: str) -> str:
        """`{expr:f}` is the expression as an operand of a filter; the letters are those of `_LEVELS`."""
        return self.text if self.level >= _LEVELS[spec] else f"({self.text})"

    @property
    def condition(self) -> "Expr":
        """The expression where only its truth counts."""
        return self.absent or self


_LEVELS = {
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


class Joined(Record, frozen=True):
    """Texts and values side by side."""

    parts: tuple[Constant | Expr, ...]


def quote(text: str) -> str:
    """A string of Jinja's; control characters are escaped, for it changes line ends in its text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else _escape(char) for char in escaped) + '"'


def literal(constant: Constant) -> Expr:
    """A constant of Go's as one of Jinja's."""
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
            return Expr(repr(value), kind=FLOAT)


def joined(*parts: Constant | Expr | Joined) -> Constant | Joined:
    """Parts side by side, of which constants are strings."""
    flat: list[Constant | Expr] = []
    for part in parts:
        for one in part.parts if isinstance(part, Joined) else (part,):
            last = flat[-1] if flat else None
            if isinstance(one, Constant) and isinstance(last, Constant):
                flat[-1] = Constant(f"{last.value}{one.value}")
            elif one != Constant(""):
                flat.append(one)
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
            return concatenated(value)
        case _:
            return value


def concatenated(parts: Joined) -> Expr:
    """One expression, of a string, for all of them."""
    match parts.parts:
        case [Expr(kind="text") as alone]:
            return alone
        case [Expr() as alone]:
            return Expr(f"{alone:f} | string", FILTER, TEXT)
        case _:
            pass
    texts = [literal(part) if isinstance(part, Constant) else part for part in parts.parts]
    return Expr(" ~ ".join(f"{text:m}" for text in texts), CONCAT, TEXT)


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()
