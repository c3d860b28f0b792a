"""What print, println and printf write: texts and values side by side."""

import re
from collections.abc import Sequence

from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import (
    FILTER,
    FLOAT,
    LIST,
    MAP,
    NUMBER,
    TEXT,
    TRUTH,
    Expr,
    Joined,
    LostError,
    as_expr,
    joined,
    quote,
)

Part = Constant | Expr | Joined


def printed(value: Part) -> Constant | Joined:
    """What the value is written as. Raises LostError where Go writes it in a way of its own."""
    match value:
        case Joined():
            return value
        case Constant(str()):
            return joined(value)
        case Constant(bool() as truth):
            return Constant("true" if truth else "false")
        case Constant(int() as number):
            return Constant(str(number))
        case Constant(float()) | Expr(kind="float"):
            raise LostError("Go writes a floating-point number in a way of its own", "keep it as a string")
        case Constant():
            raise LostError("nil has no text", "leave it out")
        case Expr(kind="list" | "map"):
            raise LostError(f"Go writes a {value.kind} in a way of its own", "use join or toJSON, or name a key")
        case _:
            return joined(value)


def print_(values: Sequence[Part], *, line: bool = False) -> Constant | Joined:
    """As Go's print: a blank stands between two of which neither is a string; as println: between all."""
    parts: list[Constant | Joined] = []
    for before, value in zip((None, *values), values, strict=False):
        if before is not None and (line or not (_is_text(before) or _is_text(value))):
            parts.append(Constant(" "))
        parts.append(printed(value))
    return joined(*parts, Constant("\n" if line else ""))


def printf(form: str, values: Sequence[Part]) -> Constant | Joined:
    """As Go's printf. Raises LostError for what Python's `%` writes otherwise."""
    parts: list[Part] = []
    end, used, most = 0, 0, 0
    for verb in _VERB.finditer(form):
        parts.append(Constant(form[end : verb.start()]))
        end = verb.end()
        if verb[0] == "%%":
            parts.append(Constant("%"))
            continue
        used = int(verb["index"]) if verb["index"] else used + 1
        most = max(used, most)
        if not 0 < used <= len(values):
            raise LostError(f"printf {form!r} has more verbs than values", "give it as many")
        parts.append(_formatted(verb, values[used - 1]))
    if most < len(values) or "%" in form[end:]:
        raise LostError(f"printf {form!r} and its values do not fit", "give it as many values as verbs")
    return joined(*parts, Constant(form[end:]))


_VERB = re.compile(r"%(?:%|(?P<spec>[-+ 0]*[0-9]*(?:\.[0-9]*)?)(?:\[(?P<index>[0-9]+)\])?(?P<verb>[a-zA-Z]))")
_PYTHON = {"s": "s", "v": "s", "d": "d", "x": "x", "X": "X", "o": "o", "f": "f", "e": "e", "c": "c"}
_NUMBERS = frozenset("dxXoc")


def _formatted(verb: re.Match[str], value: Part) -> Part:
    kind, spec = verb["verb"], verb["spec"]
    if not spec and (kind == "v" or kind == _verb_of(value)):
        return printed(value)
    if kind == "q" and not spec:
        return _quoted(value)
    if "0" in spec[: len(spec) - len(spec.lstrip("-+ 0"))] and kind in "sv":
        raise LostError(f"printf's {verb[0]} writes zeros before a text", "leave the 0 out")
    fits = kind in "vfe" or _is_number(value) == (kind in _NUMBERS)
    if kind not in _PYTHON or not fits or as_expr(value).kind in {LIST, MAP, TRUTH}:
        raise LostError(f"printf's {verb[0]} writes this value in a way of Go's own", "write it with %s")
    return Expr(f"{quote(f'%{spec}{_PYTHON[kind]}')} | format({as_expr(value)})", FILTER, TEXT)


def _quoted(value: Part) -> Expr:
    """Go's quotes are JSON's, but for control characters."""
    expr = as_expr(value)
    return Expr(f"{expr:f} | json" if expr.kind == TEXT else f"{expr:f} | string | json", FILTER, TEXT)


def _is_text(value: Part) -> bool:
    """Secrets' values are taken for strings, which they nearly always are."""
    return as_expr(value).kind not in {NUMBER, FLOAT, TRUTH, LIST, MAP}


def _is_number(value: Part) -> bool:
    return _verb_of(value) == "d"


def _verb_of(value: Part) -> str:
    """The verb that fits the value's kind."""
    match as_expr(value).kind:
        case "number":
            return "d"
        case "truth":
            return "t"
        case _:
            return "s"
