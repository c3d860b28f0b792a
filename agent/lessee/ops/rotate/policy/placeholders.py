"""Fills the placeholders `{…}` of recipes, so that a value cannot change the structure around it."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

_PLACEHOLDER = re.compile(r"\{([a-z_]+(?:\.[^{}\s\"]+)?)\}")
_BASE_URL = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+(?:/[A-Za-z0-9._~%/-]*)?")
_HEADER = re.compile(r"[\x20-\x7e]*")
_PATH_CHANGING = frozenset({"", ".", ".."})

Values = Mapping[str, Any]
"""The value of each placeholder, by its whole name: `admin.api_key`, `handle`."""


class PlaceholderError(Exception):
    """A placeholder has no value, or one that is not allowed there. The text holds only the placeholder's name."""


def names(text: Any) -> Iterator[str]:
    """The placeholders in a text, or in the texts of a JSON document."""
    match text:
        case str():
            yield from _PLACEHOLDER.findall(text)
        case list():
            for item in text:
                yield from names(item)
        case dict():
            for item in text.values():
                yield from names(item)
        case _:
            pass


def in_url(text: str, values: Values) -> str:
    """The URL with its values. Each is one path segment or argument, except a base URL at the beginning.

    Raises PlaceholderError.
    """

    def encode(name: str, value: str, start: int) -> str:
        if start == 0:
            if not _BASE_URL.fullmatch(value) or ".." in urlsplit(value).path.split("/"):
                raise PlaceholderError(f"{{{name}}} is not a URL with only a host and a path")
            return value.removesuffix("/")
        if value in _PATH_CHANGING:
            raise PlaceholderError(f"{{{name}}} is empty, or only dots, which would change the URL's path")
        return quote(value, safe="")

    return _fill(text, values, encode)


def in_header(text: str, values: Values) -> str:
    """The header with its values. Raises PlaceholderError where one has a character that headers do not allow."""

    def encode(name: str, value: str, _: int) -> str:
        if not _HEADER.fullmatch(value):
            raise PlaceholderError(f"{{{name}}} has characters that are not allowed in a header")
        return value

    return _fill(text, values, encode)


def in_json(document: Any, values: Values) -> Any:
    """The JSON document with its values, which keep their types where they are not part of a longer text.

    Raises PlaceholderError.
    """
    match document:
        case str():
            whole = _PLACEHOLDER.fullmatch(document)
            if whole:
                return _value(whole[1], values)
            return _fill(document, values, lambda _, value, __: value)
        case list():
            return [in_json(item, values) for item in document]
        case dict():
            return {key: in_json(item, values) for key, item in document.items()}
        case _:
            return document


def _fill(text: str, values: Values, encode: Callable[[str, str, int], str]) -> str:
    return _PLACEHOLDER.sub(lambda found: encode(found[1], str(_value(found[1], values)), found.start()), text)


def _value(name: str, values: Values) -> Any:
    if values.get(name) is None:
        raise PlaceholderError(f"{{{name}}} has no value")
    return values[name]
