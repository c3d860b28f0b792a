"""What operators do and functions of Jinja's own give, bounded before they do."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.utils import Cycler, Joiner, Namespace

from lessee.core.secrets import SecretValueError
from lessee.rendering.sandbox.bounds import ITEMS, refuse_bits, refuse_items, refuse_size, size
from lessee.rendering.sandbox.strings import printf, text_of

KEYS = (str, int, float, type(None))


def key(value: object) -> object:
    """Raises SecretValueError for what is no key: a structure, through all of which each lookup would go."""
    if not isinstance(value, KEYS):
        text_of(value)  # raises, where there is more to be said
        raise SecretValueError("a mapping's keys are texts and numbers", todo="take one of them")
    return value


def _times(left: Any, right: Any) -> Any:
    for one, count in ((left, right), (right, left)):
        if not isinstance(count, int):
            continue
        if isinstance(one, str | bytes):
            refuse_size(size(one) * count)
        elif isinstance(one, list | tuple):
            refuse_items(len(one) * count)
        elif isinstance(one, int):
            refuse_bits(one.bit_length() + count.bit_length())
    return left * right


def _power(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int) and left:
        refuse_bits(int(math.log2(abs(left)) * right))
    return left**right


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, str | bytes):
        return printf(text_of(left), right)
    return left % right


def _range(*bounds: int) -> list[int]:
    numbers = range(*bounds)
    refuse_items(ITEMS + 1 if numbers[ITEMS:] else 0)  # len() of a long one fails.
    return list(numbers)


def _dict(pairs: Any = (), /, **keywords: object) -> dict[object, object]:
    made = dict(pairs, **keywords)
    return {key(name): value for name, value in made.items()}


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
