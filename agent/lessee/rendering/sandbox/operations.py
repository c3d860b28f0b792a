"""Operators and Jinja's own functions, which check their limits before they run."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.utils import Cycler, Joiner, Namespace

from lessee.core.secrets import SecretValueError
from lessee.rendering.sandbox.bounds import ITEMS, check_bits, check_items, check_size, size
from lessee.rendering.sandbox.strings import printf, text_of

KEYS = (str, int, float, type(None))


def key(value: object) -> object:
    """Raises SecretValueError for a structure: each lookup of such a key would iterate over it."""
    if not isinstance(value, KEYS):
        text_of(value)  # Raises a more specific error for some types.
        raise SecretValueError("a mapping's keys are strings and numbers", todo="use one of them")
    return value


def _times(left: Any, right: Any) -> Any:
    for one, count in ((left, right), (right, left)):
        if not isinstance(count, int):
            continue
        if isinstance(one, str | bytes):
            check_size(size(one) * count)
        elif isinstance(one, list | tuple):
            check_items(len(one) * count)
        elif isinstance(one, int):
            check_bits(one.bit_length() + count.bit_length())
    return left * right


def _power(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int) and left:
        check_bits(int(math.log2(abs(left)) * right))
    return left**right


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, str | bytes):
        return printf(text_of(left), right)
    return left % right


def _range(*bounds: int) -> list[int]:
    numbers = range(*bounds)
    check_items(ITEMS + 1 if numbers[ITEMS:] else 0)  # len() of a long one fails.
    return list(numbers)


def _dict(pairs: Any = (), /, **keywords: object) -> dict[object, object]:
    mapping = dict(pairs, **keywords)
    return {key(name): value for name, value in mapping.items()}


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "*": _times,
    "**": _power,
    "+": operator.add,
    "%": _remainder,
}

FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "cycler": Cycler,
    "dict": _dict,
    "joiner": Joiner,
    "namespace": Namespace,
    "range": _range,
}
