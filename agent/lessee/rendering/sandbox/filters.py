"""The filters and tests of templates, each with its cost. There are no others."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2 import Environment, Undefined, pass_context
from jinja2 import filters as jinja
from jinja2.runtime import Context
from jinja2.tests import TESTS as JINJAS

from lessee.core.secrets import SecretValueError, Value
from lessee.rendering.sandbox import encodings, strings
from lessee.rendering.sandbox.bounds import Budget, check_items, check_width, is_short

_Function = Callable[..., Any]
_LONGEST = 10_000  # Characters of an attribute's name, which Jinja splits at dots.


def _bounded(
    function: _Function, rate: int = 1, prepared: _Function | None = None, passed: _Function | None = None
) -> _Function:
    """A filter that spends the cost of its arguments before it runs, and whose result is limited."""

    @pass_context
    def run(context: Context, value: object, *args: object, **kwargs: object) -> object:
        budget: Budget = context.environment.budget  # type: ignore[attr-defined]  # It is a Sandbox.
        if rate and (args or kwargs or not is_short(value)):
            budget.charge(value, *args, *kwargs.values(), rate=rate)
        given = value if prepared is None else prepared(value)
        result = (
            function(given, *args, **kwargs) if passed is None else function(passed(context), given, *args, **kwargs)
        )
        if type(result) is str and isinstance(value, Value):
            origin, result = value.origin, Value(result)
            result.origin = origin
        return budget.checked(result)

    return run


def _of_text(function: _Function, rate: int = 1) -> _Function:
    return _bounded(function, rate, strings.text_of)


def _of_items(function: _Function, rate: int = 1) -> _Function:
    return _bounded(function, rate, _items)


def _of_number(function: _Function) -> _Function:
    return _bounded(function, prepared=_number)


def _of_attributes(function: _Function, rate: int = 1) -> _Function:
    return _bounded(_with_short_arguments(function), rate, _items, _environment)


def _environment(context: Context) -> Environment:
    return context.environment


def _of_names(function: _Function) -> _Function:
    return _bounded(_with_short_arguments(function), 20, _items, lambda context: context)


def _with_short_arguments(function: _Function) -> _Function:
    def run(first: object, value: object, *args: object, **kwargs: object) -> object:
        if any(isinstance(name, str) and len(name) > _LONGEST for name in (*args, *kwargs.values())):
            raise SecretValueError(f"an argument has more than {_LONGEST:,} characters", todo="make it shorter")
        return function(first, value, *args, **kwargs)

    return run


def _items(value: object) -> object:
    if isinstance(value, str | bytes):
        check_items(len(value))  # Each character becomes an item.
    return value


def _number(value: object) -> object:
    if isinstance(value, Undefined):
        str(value)  # Raises.
    if not isinstance(value, int | float):
        raise SecretValueError("this filter or test takes a number", todo="add `| int` or `| float`")
    return value


def _pairs(value: object) -> Iterator[tuple[object, object]]:
    if isinstance(value, Undefined):
        str(value)  # Raises.
    if not isinstance(value, Mapping):
        raise SecretValueError("this filter takes a secret or another mapping", todo="loop over the list itself")
    return iter(value.items())


def _batch(value: Any, linecount: int, fill_with: object = None) -> Iterator[object]:
    check_items(linecount)
    return jinja.do_batch(value, linecount, fill_with)


def _slice(value: Any, slices: int, fill_with: object = None) -> Iterator[object]:
    check_items(slices)
    return jinja.sync_do_slice(value, slices, fill_with)


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    check_width(abs(precision))
    return jinja.do_round(value, precision, method)


def _sum(environment: Any, value: Any, attribute: Any = None, start: Any = 0) -> object:
    # Adding lists would copy them each time.
    return jinja.sync_do_sum(environment, value, attribute, _number(start))


def _format(text: str, *args: object, **kwargs: object) -> str:
    return strings.printf(text, kwargs or args)


def _count_words(text: str) -> int:
    check_items(len(text))
    return jinja.do_wordcount(text)


def _join(environment: Any, value: Any, d: object = "", attribute: Any = None) -> str:
    attributes = value if attribute is None else map(jinja.make_attrgetter(environment, attribute), value)
    return strings.join(attributes, d)


# The numbers are measured rates: steps for each item or each 32 bytes of the input.
FILTERS: Mapping[str, _Function] = {
    "abs": _of_number(abs),
    "b64decode": _bounded(encodings.b64decode, 4),
    "b64encode": _bounded(encodings.b64encode, 2),
    "batch": _of_items(_batch),
    "capitalize": _of_text(str.capitalize),
    "count": len,
    "d": jinja.do_default,
    "default": jinja.do_default,
    "dictsort": _bounded(jinja.do_dictsort, 30),
    "dotenv": _bounded(encodings.to_dotenv, 20),
    "first": jinja.sync_do_first,
    "float": _bounded(jinja.do_float),
    "format": _of_text(_format, 200),
    "fromjson": _bounded(encodings.from_json, 160),
    "groupby": _of_attributes(jinja.sync_do_groupby, 40),
    "hmac_sha256": _bounded(encodings.hmac_sha256),
    "indent": _bounded(strings.indent, 16),
    "int": _bounded(jinja.do_int),
    "items": _bounded(_pairs, 0),
    "join": _of_attributes(_join, 3),
    "json": _bounded(encodings.to_json, 10),
    "last": jinja.do_last,
    "length": len,
    "list": _of_items(list),
    "lower": _of_text(str.lower),
    "map": _of_names(jinja.sync_do_map),
    "max": _of_attributes(jinja.do_max, 10),
    "md5": _bounded(encodings.md5),
    "min": _of_attributes(jinja.do_min, 10),
    "reject": _of_names(jinja.sync_do_reject),
    "rejectattr": _of_names(jinja.sync_do_rejectattr),
    "replace": _of_text(strings.replace, 2),
    "reverse": _of_items(jinja.do_reverse),
    "round": _of_number(_round),
    "select": _of_names(jinja.sync_do_select),
    "selectattr": _of_names(jinja.sync_do_selectattr),
    "sh": _bounded(encodings.to_sh),
    "sha256": _bounded(encodings.sha256),
    "slice": _of_items(_slice),
    "sort": _of_attributes(jinja.do_sort, 30),
    "string": _of_text(str),
    "sum": _of_attributes(_sum, 2),
    "title": _of_text(strings.title, 160),
    "tojson": _bounded(encodings.to_json, 10),
    "trim": _of_text(strings.strip),
    "truncate": _bounded(jinja.do_truncate, prepared=strings.text_of, passed=_environment),
    "unique": _of_attributes(jinja.sync_do_unique, 10),
    "upper": _of_text(str.upper),
    "urlencode": _bounded(encodings.urlencode, 16),
    "wordcount": _of_text(_count_words, 20),
    "yaml": _bounded(encodings.to_yaml, 200),
}
"""Without Jinja's filters that write HTML, access a computed attribute, pad, or are random."""

_TESTS: Mapping[str, Any] = dict(JINJAS.items())
_ASKING = (  # noqa: SIM905  # One word per line would take a page.
    "boolean defined false float integer iterable mapping none number sameas sequence string true undefined"
).split()
_COMPARING = "!= < <= == > >= eq equalto ge greaterthan gt in le lessthan lt ne".split()  # noqa: SIM905  # As above.

TESTS: Mapping[str, _Function] = {
    **{name: _TESTS[name] for name in _ASKING},
    **{name: _bounded(_TESTS[name]) for name in _COMPARING},
    **{name: _of_number(_TESTS[name]) for name in ("divisibleby", "even", "odd")},
    **{name: _of_text(_TESTS[name]) for name in ("lower", "upper")},
}
"""Without the tests for functions, filters and HTML."""
