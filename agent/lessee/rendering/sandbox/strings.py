"""What templates do with text: where it can grow, it is bounded before it does."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from jinja2 import Undefined
from jinja2.filters import do_title

from lessee.core.secrets import SecretValueError, SecretView, Value
from lessee.rendering.sandbox.bounds import ITEMS, TEXT, WIDTH, refuse_items, refuse_size, refuse_width, size
from lessee.rendering.sandbox.fragments import Indented, Json, Mixed, Yaml

# str.splitlines() splits at each of these.
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_CONVERSION = re.compile(r"%(?:\(([^()]*)\))?[#0 +-]*(\*|[0-9]*)(?:\.(\*|[0-9]*))?")
_DIGITS = re.compile(r"[0-9]+")
_NAME = re.compile(r"\w*")
_FLOAT = 400  # Digits that `%f` writes of the largest.


def text_of(value: object) -> str:
    """The text of what has one. Raises SecretValueError for the rest: Python's spelling of it belongs in no file."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            raise SecretValueError("NaN and infinity have no text", todo="store a number, or a string")
        case str() | int() | float() | Undefined() | Mixed() | SecretView():
            return str(value)  # raises for the last three
        case None:
            raise SecretValueError("null has no text", todo="add `| default('', true)`")
        case bytes():
            raise SecretValueError("this is binary", todo="add `| b64encode`")
        case _:
            raise SecretValueError(f"a {type(value).__name__} is no text", todo="name a part of it, or add `| json`")


def join(values: Iterable[object], separator: object = "") -> str:
    """The texts of values with a separator between them."""
    if isinstance(values, str):
        refuse_items(len(values))
    between, texts = text_of(separator), [text_of(value) for value in values]
    if sum(map(len, texts)) + len(between) * len(texts) > TEXT // 4:
        refuse_size(sum(map(size, texts)) + size(between) * len(texts))
    return between.join(texts)


def replace(text: str, old: object, new: object, count: int | None = None) -> str:
    """The text with `new` in place of `old`, `count` times or everywhere."""
    was, becomes, times = text_of(old), text_of(new), -1 if count is None else count
    found = text.count(was)
    refuse_size(size(text) + size(becomes) * (found if times < 0 else min(found, times)))
    return text.replace(was, becomes, times)


def split(text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    """As str.split(); a list that is too long is refused when it is there."""
    return text.split(sep, ITEMS if maxsplit < 0 else min(maxsplit, ITEMS))


def rsplit(text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    """As above, from the end."""
    return text.rsplit(sep, ITEMS if maxsplit < 0 else min(maxsplit, ITEMS))


def splitlines(text: str, keepends: object = False) -> list[str]:  # noqa: FBT002  # As str has it.
    """As str.splitlines()."""
    refuse_items(sum(map(text.count, _LINE_ENDS)))
    return text.splitlines(bool(keepends))


def strip(text: str, chars: str | None = None) -> str:
    """As str.strip(), which looks for each character in all of `chars`."""
    refuse_width(len(chars or ""))
    return text.strip(chars)


def lstrip(text: str, chars: str | None = None) -> str:
    """As above, of the beginning."""
    refuse_width(len(chars or ""))
    return text.lstrip(chars)


def rstrip(text: str, chars: str | None = None) -> str:
    """As above, of the end."""
    refuse_width(len(chars or ""))
    return text.rstrip(chars)


def title(text: str) -> str:
    """As Jinja's filter, which makes an object of each word."""
    refuse_items(len(text))
    return do_title(text)


def indent(value: object, width: int | str = 4, first: object = False, blank: object = False) -> str:  # noqa: FBT002
    """As Jinja's filter, but that a newline alone ends a line: whoever takes the blanks away has the value."""
    text = text_of(value)
    if isinstance(width, int):
        refuse_width(width)
    before = " " * width if isinstance(width, int) else text_of(width)
    lines = text.count("\n")
    refuse_items(lines)
    refuse_size(size(text) + size(before) * (lines + 1))
    head, *rest = text.split("\n")
    rest = [before + line if line or blank else line for line in rest]
    laid_out = "\n".join([before + head if first else head, *rest])
    if before.strip(" \t"):
        return laid_out
    indented = Indented(laid_out)
    indented.plain = value if isinstance(value, Value | Json | Yaml | Indented) else text
    return indented


def printf(text: str, values: object) -> str:
    """`text % values`."""
    refuse_items(text.count("%"))
    conversions = _CONVERSION.findall(text)
    arguments: Mapping[str, object] | tuple[object, ...]
    if isinstance(values, Mapping) and any(key for key, _, _ in conversions):
        arguments = {key: values[key] for key, _, _ in conversions if key}
        used = tuple(arguments.values())
    else:
        arguments = used = values if isinstance(values, tuple) else (values,)
    longest = max((size(text_of(value)) for value in used), default=0) + _FLOAT
    padded = sum(_width(number) for _, *numbers in conversions for number in numbers)
    refuse_size(size(text) + padded + longest * len(conversions))
    if isinstance(arguments, tuple):
        return text % tuple(map(_spelled, arguments))
    return text % {key: _spelled(value) for key, value in arguments.items()}


def formatted(text: str, /, *args: object, **kwargs: object) -> str:
    """As str.format(), but it reaches into no value."""
    return _Formatter().vformat(text, args, kwargs)


class _Truth(int):
    """A boolean that is a number to `%d`, as Python's are, and is spelled as in JSON."""

    def __repr__(self) -> str:
        return text_of(bool(self))


def _spelled(value: object) -> object:
    return _Truth(value) if isinstance(value, bool) else value


class _Formatter(Formatter):
    def __init__(self) -> None:
        self._size = 0

    def get_field(self, field_name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[Any, Any]:
        if not _NAME.fullmatch(field_name):
            raise SecretValueError("format() takes no part of a value", todo="give the part as an argument of its own")
        value, name = super().get_field(field_name, args, kwargs)
        return _spelled(value), name

    def convert_field(self, value: object, conversion: str | None) -> Any:
        text_of(value)  # raises for what has none
        return super().convert_field(value, conversion)

    def format_field(self, value: object, format_spec: str) -> str:
        for number in _DIGITS.findall(format_spec):
            _width(number)
        text: str = super().format_field(value, format_spec)
        self._size += size(text)
        refuse_size(self._size)
        return text


def _width(number: str) -> int:
    # A star takes the width from a value.
    width = WIDTH + 1 if number == "*" or len(number) > len(str(WIDTH)) else int(number or 0)
    refuse_width(width)
    return width
