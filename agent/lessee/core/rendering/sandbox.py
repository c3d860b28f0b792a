"""The Jinja that templates run in: immutable sandbox, nothing undefined, and values kept apart from text."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from types import CodeType
from typing import Any, NoReturn
from urllib.parse import quote

from jinja2 import BaseLoader, Environment, StrictUndefined, Template, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.filters import FILTERS
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.utils import missing
from markupsafe import Markup

from lessee.core.rendering.document import Hole
from lessee.core.secrets import Problem, SecretView, Value

_FILTERS = (  # noqa: SIM905  # One word a line would be forty lines.
    "abs batch capitalize count d default dictsort first float format groupby indent int items join last length"
    " list lower map max min reject rejectattr replace reverse round select selectattr slice sort string sum"
    " title trim truncate unique upper wordcount"
).split()
"""Jinja's own filters that neither write HTML nor reach for attributes by a computed name."""

_GLOBALS = ("range", "dict", "namespace", "cycler", "joiner")

_METHODS = frozenset({"items", "keys", "values", "get"})
"""Of a secret, as of any mapping, these words after a dot are methods."""


class Sandbox(ImmutableSandboxedEnvironment):
    """`{{ }}` gives a hole, not characters: a value meets the text only in the file's own grammar."""

    # Jinja's usual one writes str() around every expression.
    code_generator_class = NativeCodeGenerator

    def __init__(self, functions: Mapping[str, object]) -> None:
        super().__init__(
            undefined=_Missing,
            finalize=_finalize,
            autoescape=False,
            keep_trailing_newline=True,
            lstrip_blocks=True,
        )
        self.concat = _join  # type: ignore[assignment]  # Jinja's own seam, made for native types.
        self.filters = {name: FILTERS[name] for name in _FILTERS} | dict(_OWN_FILTERS)
        self.tests = dict(TESTS)
        self.globals = {name: self.globals[name] for name in _GLOBALS} | dict(functions)

    def load_from(self, codes: Mapping[str, Callable[[], CodeType]]) -> None:
        """From now on these templates may run; each gives what `compile` made of it."""
        self.loader = _Loader(codes)

    def check(self, node: nodes.Node, name: str) -> None:
        """Refuse what has no place here. Raises TemplateSyntaxError."""
        match node:
            case nodes.Filter() if node.name not in self.filters:
                what = f"there is no filter {node.name!r}"
            case nodes.Test() if node.name not in self.tests:
                what = f"there is no test {node.name!r}"
            case nodes.FilterBlock():
                what = "a filter takes a value, not a block: write it inside the {{ }} of each value"
            case nodes.EvalContextModifier():
                what = "autoescape is for HTML: the file's format escapes each value"
            case _:
                return
        raise TemplateSyntaxError(what, node.lineno, name, name)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Of a secret a word after a dot is a key, but for a mapping's methods."""
        if isinstance(obj, SecretView) and attribute not in _METHODS:
            return self.getitem(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Of a secret a word in brackets is a key."""
        if not isinstance(obj, SecretView):
            return super().getitem(obj, argument)
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return self.undefined(obj=obj, name=argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """What we have added to a text and to a string is not for templates."""
        ours = (isinstance(obj, Mixed) and attr == "parts") or (isinstance(obj, Value) and attr == "origin")
        return not ours and super().is_safe_attribute(obj, attr, value)


class Mixed:
    """The author's text with values in it; what a macro, a block or a set block gives.

    It can only be written out: a filter or a comparison would not see the values in it.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[str | Hole, ...]) -> None:
        self.parts = parts

    def _refuse(self, *_: object) -> NoReturn:
        raise Problem(
            "the result of a macro or block that holds values was joined, compared or filtered",
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


def parts_of(stream: Iterable[str | Mixed]) -> tuple[str | Hole, ...]:
    """What a template's root gave: text, hole, text and so on."""
    return tuple(_merged(part for piece in stream for part in _parts(piece)))


def _parts(piece: str | Mixed) -> tuple[str | Hole, ...]:
    return piece.parts if isinstance(piece, Mixed) else (piece,)


def _merged(parts: Iterable[str | Hole]) -> Iterator[str | Hole]:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
        text = ""
        yield part
    if text:
        yield text


def _join(stream: Iterable[str | Mixed]) -> Mixed | Written:
    parts = parts_of(stream)
    texts = [part for part in parts if isinstance(part, str)]
    return Mixed(parts) if len(texts) < len(parts) else Written("".join(texts))


@pass_context  # so that Jinja cannot fold `{{ "x" }}` into the text when it compiles: it stays a hole
def _finalize(_context: object, value: object) -> Mixed | Written:
    match value:
        case Mixed() | Written():
            return value
        case Markup():
            return Written(value)  # `mark_punctuation` alone makes these
        case Undefined():
            return Written(str(value))  # raises, but for what is not there in `{{ "x" if … }}`
        case Value():
            origin = value.origin
        case SecretView():
            origin = value.path
        case _ if callable(value):
            todo = 'for a key of that name write secret("…")["name"]'
            raise Problem("this is a function, not a value", todo=todo)
        case _:
            origin = "an expression"
    return Mixed((Hole(_plain(value), origin, structure=isinstance(value, Json)),))


def _plain(value: object) -> object:
    """JSON's own types, without our wrappers."""
    match value:
        case str():
            return str.__str__(value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case bool() | int() | float() | None:
            return value
        case Undefined() | Mixed():
            return str(value)  # raises
        case _:
            raise Problem(f"a {type(value).__name__} has no place in a file", todo="add `| list` or `| string`")


class _Loader(BaseLoader):
    """Gives what was compiled before: a file that is edited meanwhile changes nothing."""

    def __init__(self, codes: Mapping[str, Callable[[], CodeType]]) -> None:
        self._codes = codes

    def load(
        self,
        environment: Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002  # Jinja's word.
    ) -> Template:
        return Template.from_code(environment, self._codes[name](), globals or {})


class _Missing(StrictUndefined):
    """What is not there: any use of it raises, with the path and the keys that are there."""

    __slots__ = ()

    def __init__(self, hint: str | None = None, obj: Any = missing, name: Any = None, exc: Any = None) -> None:
        # Jinja calls what it takes for a class with a text of its own, which may hold a value.
        super().__init__(hint, obj, name, lambda _text: _absent(obj, name, exc))  # type: ignore[arg-type]


def _absent(obj: object, name: object, exc: object) -> Problem:
    if exc is SecurityError:
        return Problem("no template may reach this", word=name)
    if name is None:
        return Problem("an empty list has no first, last, smallest or greatest item")
    if obj is missing:
        return Problem("there is no such variable", word=name)
    if isinstance(obj, SecretView):
        # repr, because a key may hold a line's end.
        keys = ", ".join(sorted(map(repr, obj))) or "none"
        return Problem(f"{obj.path} has no such key", word=name, more=f"; the keys that are there: {keys}")
    origin = obj.origin if isinstance(obj, Value) else f"a {type(obj).__name__}"
    return Problem(f"{origin} has no such key", word=name)


def _to_json(value: object) -> Json:
    return Json(json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")))


def _to_sh(value: object) -> str:
    return "'" + _string(value).replace("'", "'\\''") + "'"


def _urlencode(value: object) -> str:
    return quote(_string(value), safe="")


def _b64encode(value: object) -> str:
    return base64.b64encode(_string(value).encode()).decode()


def _b64decode(value: object) -> str:
    try:
        # base64(1) and PEM break lines.
        return base64.b64decode("".join(_string(value).split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise Problem("b64decode: the value is not base64 of UTF-8 text") from None


def _string(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float() | Undefined() | Mixed():
            return str(value)  # raises for the last two
        case _:
            raise Problem("this filter takes a string or a number", todo="add `| json` for a structure")


_OWN_FILTERS: Mapping[str, Callable[..., object]] = {
    "json": _to_json,
    "tojson": _to_json,
    "sh": _to_sh,
    "urlencode": _urlencode,
    "b64encode": _b64encode,
    "b64decode": _b64decode,
}
