"""String functions of templates, which check their limits before the text grows."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from jinja2 import Undefined
from jinja2.filters import do_title

from lessee.core.secrets import SecretValueError, SecretView, Value
from lessee.rendering.sandbox.bounds import ITEMS, TEXT, WIDTH, check_items, check_size, check_width, size
from lessee.rendering.sandbox.fragments import Indented, Json, MixedText, Yaml

# The characters at which str.splitlines() splits.
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_CONVERSION = re.compile(r"%(?:\(([^()]*)\))?[#0 +-]*(\*|[0-9]*)(?:\.(\*|[0-9]*))?")
_DIGITS = re.compile(r"[0-9]+")
_NAME = re.compile(r"\w*")
_FLOAT = 400  # Digits that `%f` writes for the largest float.


def text_of(value: object) -> str:
    """The text of a value. Raises SecretValueError for types whose Python representation does not belong in a file."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            raise SecretValueError("NaN and infinity have no text form", todo="store a number, or a string")
        case str() | int() | float() | Undefined() | MixedText() | SecretView():
            return str(value)  # Raises for the last three.
        case None:
            raise SecretValueError("null has no text form", todo="add `| default('', true)`")
        case bytes():
            raise SecretValueError("the value is binary", todo="add `| b64encode`")
        case _:
            raise SecretValueError(f"a {type(value).__name__} is not text", todo="use a part of it, or add `| json`")


def join(values: Iterable[object], separator: object = "") -> str:
    """The values' texts, with a separator between them."""
    if isinstance(values, str):
        check_items(len(values))
    between, texts = text_of(separator), [text_of(value) for value in values]
    if sum(map(len, texts)) + len(between) * len(texts) > TEXT // 4:
        check_size(sum(map(size, texts)) + size(between) * len(texts))
    return between.join(texts)


def replace(text: str, old: object, new: object, count: int | None = None) -> str:
    """The text with `new` in place of `old`, `count` times or everywhere."""
    was, becomes, times = text_of(old), text_of(new), -1 if count is None else count
    found = text.count(was)
    check_size(size(text) + size(becomes) * (found if times < 0 else min(found, times)))
    return text.replace(was, becomes, times)


def split(text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    """As str.split(), with a limited number of items."""
    return text.split(sep, ITEMS if maxsplit < 0 else min(maxsplit, ITEMS))


def rsplit(text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    """As `split`, from the end."""
    return text.rsplit(sep, ITEMS if maxsplit < 0 else min(maxsplit, ITEMS))


def splitlines(text: str, keepends: object = False) -> list[str]:  # noqa: FBT002  # As in str.
    """As str.splitlines()."""
    check_items(sum(map(text.count, _LINE_ENDS)))
    return text.splitlines(bool(keepends))


def strip(text: str, chars: str | None = None) -> str:
    """As str.strip(), which compares each character with all of `chars`."""
    check_width(len(chars or ""))
    return text.strip(chars)


def lstrip(text: str, chars: str | None = None) -> str:
    """As `strip`, at the beginning."""
    check_width(len(chars or ""))
    return text.lstrip(chars)


def rstrip(text: str, chars: str | None = None) -> str:
    """As `strip`, at the end."""
    check_width(len(chars or ""))
    return text.rstrip(chars)


def title(text: str) -> str:
    """Jinja's filter, which creates an object for each word."""
    check_items(len(text))
    return do_title(text)


def indent(value: object, width: int | str = 4, first: object = False, blank: object = False) -> str:  # noqa: FBT002
    """Jinja's filter, except that only a newline ends a line: removing the indentation restores the value."""
    text = text_of(value)
    if isinstance(width, int):
        check_width(width)
    before = " " * width if isinstance(width, int) else text_of(width)
    lines = text.count("\n")
    check_items(lines)
    check_size(size(text) + size(before) * (lines + 1))
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
    check_items(text.count("%"))
    conversions = _CONVERSION.findall(text)
    arguments: Mapping[str, object] | tuple[object, ...]
    if isinstance(values, Mapping) and any(key for key, _, _ in conversions):
        arguments = {key: values[key] for key, _, _ in conversions if key}
        used = tuple(arguments.values())
    else:
        arguments = used = values if isinstance(values, tuple) else (values,)
    longest = max((size(text_of(value)) for value in used), default=0) + _FLOAT
    padded = sum(_width(number) for _, *numbers in conversions for number in numbers)
    check_size(size(text) + padded + longest * len(conversions))
    if isinstance(arguments, tuple):
        return text % tuple(map(_json_boolean, arguments))
    return text % {key: _json_boolean(value) for key, value in arguments.items()}


def formatted(text: str, /, *args: object, **kwargs: object) -> str:
    """As str.format(), without access to parts of a value."""
    return _Formatter().vformat(text, args, kwargs)


class _Truth(int):
    """A boolean that `%d` formats as a number, and `%s` as in JSON."""

    def __repr__(self) -> str:
        return text_of(bool(self))


def _json_boolean(value: object) -> object:
    return _Truth(value) if isinstance(value, bool) else value


class _Formatter(Formatter):
    def __init__(self) -> None:
        self._size = 0

    def get_field(self, field_name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[Any, Any]:
        if not _NAME.fullmatch(field_name):
            raise SecretValueError("format() cannot access parts of a value", todo="pass the part as its own argument")
        value, name = super().get_field(field_name, args, kwargs)
        return _json_boolean(value), name

    def convert_field(self, value: object, conversion: str | None) -> Any:
        text_of(value)  # Raises for a value without a text form.
        return super().convert_field(value, conversion)

    def format_field(self, value: object, format_spec: str) -> str:
        for number in _DIGITS.findall(format_spec):
            _width(number)
        text: str = super().format_field(value, format_spec)
        self._size += size(text)
        check_size(self._size)
        return text


def _width(number: str) -> int:
    # With a star, a value sets the width.
    width = WIDTH + 1 if number == "*" or len(number) > len(str(WIDTH)) else int(number or 0)
    check_width(width)
    return width
