"""What a template writes, piece by piece: the author's text, and the values apart from it."""

from collections.abc import Iterable, Mapping
from typing import NoReturn

from jinja2 import Undefined, nodes
from markupsafe import Markup

from lessee.core.immutable import replace
from lessee.core.secrets import SecretValueError, SecretView, Value
from lessee.rendering.document import Hole
from lessee.rendering.sandbox.bounds import PER_STEP, TEXT, Budget, refuse_size, size

NOWHERE = "an expression"
"""The origin of what was made in the template."""

_STRINGS = (str, bytes)
_PLAIN = frozenset({str, int, float, bool, type(None)})


class Mixed:
    """The author's text with values in it; what a macro, a block or a set block gives.

    It can only be written out: a filter or a comparison would not see the values in it.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[str | Hole, ...]) -> None:
        self.parts = parts

    def _refuse(self, *_: object) -> NoReturn:
        raise SecretValueError(
            "the result of a macro, a block or `| dotenv` that holds values was joined, compared or filtered",
            todo="do so with the values inside it, and write the pieces side by side",
        )

    __str__ = __bool__ = __eq__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __len__ = __iter__ = __contains__ = __getitem__ = __int__ = __float__ = __add__ = __radd__ = _refuse
    __hash__ = None  # type: ignore[assignment]  # As of anything that cannot be compared.


class Written(str):
    """The author's text alone: written out it stays text, used in an expression it is a string."""

    __slots__ = ()


class Json(str):
    """Text that is JSON already."""

    __slots__ = ()


class Yaml(str):
    """Text that is YAML; `json` says the same in JSON."""

    __slots__ = ("json",)
    json: str


class Indented(str):
    """Lines with blanks before them, which are layout and no part of the value: that is `plain`."""

    __slots__ = ("plain",)
    plain: str


Piece = str | Hole | Mixed


def mark_punctuation(found: Iterable[nodes.Node]) -> None:
    """Make text of what can be no value: the comma of `{{ "," if not loop.last }}` belongs to the file's grammar."""
    for node in found:
        if isinstance(node, nodes.Output):
            node.nodes = [_marked(child) for child in node.nodes]


def _marked(child: nodes.Expr) -> nodes.Expr:
    match child:
        case nodes.Const(value=str(text)) if text and not any(char.isalnum() for char in text):
            return nodes.MarkSafe(child, lineno=child.lineno, environment=child.environment)
        case nodes.CondExpr():
            child.expr1 = _marked(child.expr1)
            child.expr2 = _marked(child.expr2) if child.expr2 is not None else None
            return child
        case _:
            return child


def piece_of(value: object) -> Piece:
    """What `{{ }}` writes. Raises SecretValueError for what has no place in a file."""
    match value:
        case Value():
            return Hole(str.__str__(value), value.origin)
        case _ if type(value) in _PLAIN:
            return Hole(value, NOWHERE)
        case Mixed() | Written():
            return value
        case Markup():
            return Written(value)  # `mark_punctuation` alone makes these
        case Undefined():
            return Written(str(value))  # raises, but for what is not there in `{{ "x" if … }}`
        case SecretView():
            return Hole(plain(value), value.path)
        case Json():
            return Hole(str.__str__(value), NOWHERE, structure=True)
        case Yaml():
            return Hole(str.__str__(value), NOWHERE, yaml=value.json)
        case Indented():
            return _indented(value)
        case bytes():
            return Hole(value, NOWHERE)
        case _ if callable(value):
            todo = 'for a key of that name write secret("…")["name"]'
            raise SecretValueError("this is a function, not a value", todo=todo)
        case _:
            return Hole(plain(value), NOWHERE)


def _indented(value: Indented) -> Hole:
    hole = piece_of(value.plain)
    assert isinstance(hole, Hole)  # What is the author's own text was made a value before.
    unindented = str.__str__(value.plain) if hole.unindented is None else hole.unindented
    return replace(hole, value=str.__str__(value), unindented=unindented)


def plain(value: object) -> object:
    """JSON's own types, without our wrappers. Raises SecretValueError for what JSON has no word for."""
    match value:
        case str():
            return str.__str__(value)
        case Mapping():
            made = {_name(key): plain(item) for key, item in value.items()}
            if len(made) < len(value):
                raise SecretValueError("a mapping has two keys that are one name in a file", todo="make them differ")
            return made
        case list() | tuple():
            return [plain(item) for item in value]
        case bool() | int() | float() | None:
            return value
        case Undefined() | Mixed():
            return str(value)  # raises
        case bytes():
            raise SecretValueError("this is binary", todo="add `| b64encode`")
        case _:
            raise SecretValueError(f"a {type(value).__name__} has no place in a file", todo="name a part of it")


def _name(key: object) -> str:
    match key:
        case bool():
            return "true" if key else "false"
        case None:
            raise SecretValueError("a mapping has null for a key", todo="take a text or a number")
        case _:
            return str(key)


def parts_of(stream: Iterable[Piece], budget: Budget) -> tuple[str | Hole, ...]:
    """Text, hole, text and so on, within the bounds of a file."""
    parts: list[str | Hole] = []
    texts: list[str] = []
    total = 0
    for piece in stream:
        if isinstance(piece, Mixed):
            budget.spend(4 * len(piece.parts))
        for part in piece.parts if isinstance(piece, Mixed) else (piece,):
            value: object = part
            if isinstance(part, Hole):
                value = part.value
                parts += (*_merged(texts), part)
                texts = []
            else:
                texts.append(part)
            if isinstance(value, _STRINGS):
                total += len(value) if value.isascii() else size(value)
        if total > TEXT:
            refuse_size(total)
    budget.spend(total // PER_STEP)
    return (*parts, *_merged(texts))


def join(stream: Iterable[Piece], budget: Budget) -> Mixed | Written:
    """What a macro or a block gives."""
    match parts_of(stream, budget):
        case ():
            return Written()
        case (str(text),):
            return Written(text)
        case parts:
            return Mixed(parts)


def _merged(texts: list[str]) -> tuple[str, ...]:
    text = "".join(texts)
    return (text,) if text else ()
