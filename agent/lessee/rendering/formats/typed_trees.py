"""Functions for JSON, TOML and YAML: trees of typed data in which a value may be a whole node or name."""

import re
from collections.abc import Callable, Iterator, Mapping

from lessee.rendering.formats.value_markers import MarkedText, Marker, dumps

Bare = frozenset[Marker]
"""The markers outside strings, which are whole values or names."""

_PLAIN_NAME = re.compile(r"[\w-]+")
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def whole(text: str, marked: MarkedText, bare: Bare) -> Marker | None:
    """The marker, if the text is one outside a string."""
    marker = marked.alone(text)
    return marker if marker in bare else None


def name(token: str, marked: MarkedText, bare: Bare) -> str:
    """A name with the values in it. Raises FormatError if a value is not a string."""
    marker = whole(token, marked, bare)
    if not marker:
        return marked.fill(token)
    made = marker.data()
    if not isinstance(made, str):
        raise marker.error("is not a string but is used as a name", "put quotes around it")
    return made


def quoted(text: str, special: re.Pattern[str]) -> str:
    """A string in double quotes, with special characters escaped so that TOML and YAML read it alike."""
    return f'"{special.sub(_escape, text)}"'


def paths(data: object, kind: Callable[[object], str], path: str = "") -> Iterator[str]:
    """The structure without its values, such as `hosts[0].port: integer`."""
    match data:
        case Mapping() if data:
            for key, value in data.items():
                yield from paths(value, kind, below(path, key))
        case list() if data:
            for index, value in enumerate(data):
                yield from paths(value, kind, f"{path}[{index}]")
        case _:
            yield f"{path}: {kind(data)}" if path else kind(data)


def below(path: str, key: str) -> str:
    """The path of a mapping's key."""
    word = key if _PLAIN_NAME.fullmatch(key) else dumps(key)
    return f"{path}.{word}" if path else word


def _escape(found: re.Match[str]) -> str:
    return _SHORT_ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04X}"
