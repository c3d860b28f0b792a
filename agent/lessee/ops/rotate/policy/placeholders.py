"""Texts with `{…}` in which values are put, so that no value gets out of its place."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

_PLACE = re.compile(r"\{([a-z_]+(?:\.[^{}\s\"]+)?)\}")
_BASE = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+(?:/[A-Za-z0-9._~%/-]*)?")
_HEADER = re.compile(r"[\x20-\x7e]*")
_CURSOR = frozenset({"", ".", ".."})

Values = Mapping[str, Any]
"""What each placeholder stands for, by its whole name: `admin.api_key`, `handle`."""


class UnfitError(Exception):
    """What a placeholder stands for is not there, or has no place there; the text names the placeholder alone."""


def names(text: Any) -> Iterator[str]:
    """The placeholders in a text, or in the texts of a JSON document."""
    match text:
        case str():
            yield from _PLACE.findall(text)
        case list():
            for item in text:
                yield from names(item)
        case dict():
            for item in text.values():
                yield from names(item)
        case _:
            pass


def in_url(text: str, values: Values) -> str:
    """Every value is one element or one argument, and no more; but what the URL begins with is one itself.

    Raises UnfitError.
    """

    def put(name: str, value: str, start: int) -> str:
        if start == 0:
            if not _BASE.fullmatch(value) or ".." in urlsplit(value).path.split("/"):
                raise UnfitError(f"{{{name}}} is no URL of a host and a path alone")
            return value.removesuffix("/")
        if value in _CURSOR:
            raise UnfitError(f"{{{name}}} is empty, or dots alone, and would make another URL")
        return quote(value, safe="")

    return _put(text, values, put)


def in_header(text: str, values: Values) -> str:
    """Raises UnfitError where a value would begin another header, or is none that a header can hold."""

    def put(name: str, value: str, _: int) -> str:
        if not _HEADER.fullmatch(value):
            raise UnfitError(f"{{{name}}} holds characters that no header can hold")
        return value

    return _put(text, values, put)


def in_json(document: Any, values: Values) -> Any:
    """A value is a text, or a part of one; where it stands alone it keeps its type. Raises UnfitError."""
    match document:
        case str():
            alone = _PLACE.fullmatch(document)
            if alone:
                return _value(alone[1], values)
            return _put(document, values, lambda _, value, __: value)
        case list():
            return [in_json(item, values) for item in document]
        case dict():
            return {key: in_json(item, values) for key, item in document.items()}
        case _:
            return document


def _put(text: str, values: Values, put: Callable[[str, str, int], str]) -> str:
    return _PLACE.sub(lambda found: put(found[1], str(_value(found[1], values)), found.start()), text)


def _value(name: str, values: Values) -> Any:
    if values.get(name) is None:
        raise UnfitError(f"there is no {{{name}}}")
    return values[name]
