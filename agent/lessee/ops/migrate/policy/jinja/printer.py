"""Translates print, println and printf to texts and expressions in sequence."""

import re
from collections.abc import Sequence
from decimal import Decimal

from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import (
    FILTER,
    FLOAT,
    GO_TEXT,
    LIST,
    MAP,
    NUMBER,
    PRIMARY,
    TEXT,
    TRUTH,
    Expr,
    Joined,
    UnsupportedError,
    as_expr,
    join,
    quote,
)

Part = Constant | Expr | Joined


def as_output(value: Part) -> Constant | Joined:
    """The output of a value. Raises UnsupportedError if Go formats it differently from Jinja."""
    match value:
        case Joined():
            return value
        case Constant(str()):
            return join(value)
        case Constant(bool() as truth):
            return Constant("true" if truth else "false")
        case Constant(int() as number):
            return Constant(str(number))
        case Constant(float(number)):
            return Constant(spell_float(number))
        case Expr(kind="float"):
            raise UnsupportedError("Go and Jinja format floating-point numbers differently", "write it as a string")
        case Constant():
            raise UnsupportedError("nil has no output", "remove it")
        case Expr(kind="list" | "map"):
            return join(Expr(f"{GO_TEXT}({value.text})", PRIMARY, TEXT))
        case _:
            return join(value)


def spell_float(number: float) -> str:
    """A floating-point number as Go prints it: as %g with the fewest digits that are exact."""
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    point = len(digits) + int(exponent)
    if _MIN_POINT <= point <= _MAX_POINT:
        return f"{number:.0f}" if number.is_integer() else repr(number)
    first, rest = digits[0], "".join(map(str, digits[1:]))
    return f"{'-' * sign}{first}{'.' * bool(rest)}{rest}e{point - 1:+03d}"


_MIN_POINT, _MAX_POINT = -3, 6
"""The positions of the decimal point without an exponent: 0.0001 and 100000."""


def translate_print(values: Sequence[Part], *, line: bool = False) -> Constant | Joined:
    """Go's print, with a space between two values that are not strings; with `line`, println."""
    parts: list[Constant | Joined] = []
    for before, value in zip((None, *values), values, strict=False):
        if before is not None and (line or not (_is_text(before) or _is_text(value))):
            parts.append(Constant(" "))
        parts.append(as_output(value))
    return join(*parts, Constant("\n" if line else ""))


def translate_printf(form: str, values: Sequence[Part]) -> Constant | Joined:
    """Go's printf. Raises UnsupportedError if Python's `%` has another result."""
    parts: list[Part] = []
    end, used, max_used = 0, 0, 0
    for verb in _VERB.finditer(form):
        parts.append(Constant(form[end : verb.start()]))
        end = verb.end()
        if verb[0] == "%%":
            parts.append(Constant("%"))
            continue
        used = int(verb["index"]) if verb["index"] else used + 1
        max_used = max(used, max_used)
        if not 0 < used <= len(values):
            raise UnsupportedError(f"printf {form!r} has more verbs than values", "add the missing values")
        parts.append(_format(verb, values[used - 1]))
    if max_used < len(values) or "%" in form[end:]:
        what = f"printf {form!r} has more values than verbs, or an invalid verb"
        raise UnsupportedError(what, "write one verb for each value")
    return join(*parts, Constant(form[end:]))


_VERB = re.compile(r"%(?:%|(?P<spec>[-+ 0]*[0-9]*(?:\.[0-9]*)?)(?:\[(?P<index>[0-9]+)\])?(?P<verb>[a-zA-Z]))")
_PYTHON_VERBS = {"s": "s", "v": "s", "d": "d", "x": "x", "X": "X", "o": "o", "f": "f", "e": "e", "c": "c"}
_NUMBER_VERBS = frozenset("dxXoc")


def _format(verb: re.Match[str], value: Part) -> Part:
    kind, spec = verb["verb"], verb["spec"]
    if not spec and (kind == "v" or kind == _verb_of(value)):
        return as_output(value)
    if kind == "q" and not spec and _is_text(value):
        return _quote(value)
    if "0" in spec[: len(spec) - len(spec.lstrip("-+ 0"))] and kind in "sv":
        raise UnsupportedError(f"printf's {verb[0]} pads a text with zeros", "remove the 0")
    fits = kind in "vfe" or _is_number(value) == (kind in _NUMBER_VERBS)
    if kind not in _PYTHON_VERBS or not fits or as_expr(value).kind in {LIST, MAP, TRUTH}:
        raise UnsupportedError(f"Go and Jinja format this value with {verb[0]} differently", "use %s")
    return Expr(f"{quote(f'%{spec}{_PYTHON_VERBS[kind]}')} | format({as_expr(value)})", FILTER, TEXT)


def _quote(value: Part) -> Expr:
    """`%q` as JSON, which is the same except for control characters."""
    expr = as_expr(value)
    return Expr(f"{expr:f} | json" if expr.kind == TEXT else f"{expr:f} | string | json", FILTER, TEXT)


def _is_text(value: Part) -> bool:
    """Whether the value is a string; the values of secrets nearly always are, so this assumes it."""
    return as_expr(value).kind not in {NUMBER, FLOAT, TRUTH, LIST, MAP}


def _is_number(value: Part) -> bool:
    return _verb_of(value) == "d"


def _verb_of(value: Part) -> str:
    """The verb for the value's type."""
    match as_expr(value).kind:
        case "number":
            return "d"
        case "truth":
            return "t"
        case _:
            return "s"
