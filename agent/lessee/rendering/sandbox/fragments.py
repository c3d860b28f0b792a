"""The fragments that a template writes: the author's text, and values separate from it."""

from collections.abc import Iterable, Mapping
from typing import NoReturn

from jinja2 import Undefined, nodes
from markupsafe import Markup

from lessee.core.immutable import replace
from lessee.core.secrets import SecretValueError, SecretView, Value
from lessee.rendering.document import Placeholder
from lessee.rendering.sandbox.bounds import PER_STEP, TEXT, Budget, check_size, size

EXPRESSION = "an expression"
"""The origin of values that the template computes."""

_STRINGS = (str, bytes)
_PLAIN = frozenset({str, int, float, bool, type(None)})


class MixedText:
    """The author's text with values in it: the result of a macro, a block or a set block.

    It can only be written: a filter or a comparison would not see its values.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[str | Placeholder, ...]) -> None:
        self.parts = parts

    def _refuse(self, *_: object) -> NoReturn:
        raise SecretValueError(
            "the result of a macro, a block or `| dotenv` contains values and cannot be joined, compared or filtered",
            todo="apply the operation to the values inside it",
        )

    __str__ = __bool__ = __eq__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __len__ = __iter__ = __contains__ = __getitem__ = __int__ = __float__ = __add__ = __radd__ = _refuse
    __hash__ = None  # type: ignore[assignment]  # It cannot be compared.


class AuthorText(str):
    """The author's text without values. It is written as text; an expression uses it as a string."""

    __slots__ = ()


class Json(str):
    """Text that is JSON."""

    __slots__ = ()


class Yaml(str):
    """Text that is YAML. `json` is the same value as JSON."""

    __slots__ = ("json",)
    json: str


class Indented(str):
    """Indented lines. The indentation is layout; `plain` is the value without it."""

    __slots__ = ("plain",)
    plain: str


Fragment = str | Placeholder | MixedText


def mark_punctuation(found: Iterable[nodes.Node]) -> None:
    """Treat constant punctuation as text: the comma of `{{ "," if not loop.last }}` belongs to the file's grammar."""
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


def fragment_of(value: object) -> Fragment:
    """The fragment that `{{ }}` writes. Raises SecretValueError for a value that cannot be in a file."""
    match value:
        case Value():
            return Placeholder(str.__str__(value), value.origin)
        case _ if type(value) in _PLAIN:
            return Placeholder(value, EXPRESSION)
        case MixedText() | AuthorText():
            return value
        case Markup():
            return AuthorText(value)  # Only `mark_punctuation` makes these.
        case Undefined():
            return AuthorText(str(value))  # Raises, except for a missing else in `{{ "x" if … }}`.
        case SecretView():
            return Placeholder(plain(value), value.path)
        case Json():
            return Placeholder(str.__str__(value), EXPRESSION, structure=True)
        case Yaml():
            return Placeholder(str.__str__(value), EXPRESSION, yaml=value.json)
        case Indented():
            return _indented(value)
        case bytes():
            return Placeholder(value, EXPRESSION)
        case _ if callable(value):
            todo = 'use secret("…")["name"] for a key of that name'
            raise SecretValueError("the expression is a function, not a value", todo=todo)
        case _:
            return Placeholder(plain(value), EXPRESSION)


def _indented(value: Indented) -> Placeholder:
    placeholder = fragment_of(value.plain)
    assert isinstance(placeholder, Placeholder)  # The indent filter has made a value of the author's text.
    unindented = str.__str__(value.plain) if placeholder.unindented is None else placeholder.unindented
    return replace(placeholder, value=str.__str__(value), unindented=unindented)


def plain(value: object) -> object:
    """Plain JSON types without our wrappers. Raises SecretValueError for values that JSON cannot represent."""
    match value:
        case str():
            return str.__str__(value)
        case Mapping():
            mapping = {_name(key): plain(item) for key, item in value.items()}
            if len(mapping) < len(value):
                raise SecretValueError("a mapping has two keys with the same name in the file", todo="rename one")
            return mapping
        case list() | tuple():
            return [plain(item) for item in value]
        case bool() | int() | float() | None:
            return value
        case Undefined() | MixedText():
            return str(value)  # Raises.
        case bytes():
            raise SecretValueError("the value is binary", todo="add `| b64encode`")
        case _:
            raise SecretValueError(f"a {type(value).__name__} cannot be in a file", todo="use a part of it")


def _name(key: object) -> str:
    match key:
        case bool():
            return "true" if key else "false"
        case None:
            raise SecretValueError("a mapping has null as a key", todo="use a string or a number")
        case _:
            return str(key)


def parts_of(stream: Iterable[Fragment], budget: Budget) -> tuple[str | Placeholder, ...]:
    """The parts of a document, within the limits of a file."""
    parts: list[str | Placeholder] = []
    texts: list[str] = []
    total = 0
    for piece in stream:
        if isinstance(piece, MixedText):
            budget.spend(4 * len(piece.parts))
        for part in piece.parts if isinstance(piece, MixedText) else (piece,):
            value: object = part
            if isinstance(part, Placeholder):
                value = part.value
                parts += (*_merged(texts), part)
                texts = []
            else:
                texts.append(part)
            if isinstance(value, _STRINGS):
                total += len(value) if value.isascii() else size(value)
        if total > TEXT:
            check_size(total)
    budget.spend(total // PER_STEP)
    return (*parts, *_merged(texts))


def join(stream: Iterable[Fragment], budget: Budget) -> MixedText | AuthorText:
    """The result of a macro or a block."""
    match parts_of(stream, budget):
        case ():
            return AuthorText()
        case (str(text),):
            return AuthorText(text)
        case parts:
            return MixedText(parts)


def _merged(texts: list[str]) -> tuple[str, ...]:
    text = "".join(texts)
    return (text,) if text else ()
