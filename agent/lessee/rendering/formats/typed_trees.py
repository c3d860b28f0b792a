"""What JSON, TOML and YAML have in common: a tree of typed data, in which a value may be a whole node or name."""

import re
from collections.abc import Callable, Iterator, Mapping

from lessee.rendering.formats.value_markers import Marked, Slot, dumps

Bare = frozenset[Slot]
"""The slots outside strings: those of whole values and names."""

_PLAIN_NAME = re.compile(r"[\w-]+")
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def whole(text: str, marked: Marked, bare: Bare) -> Slot | None:
    """The slot of which the text is the token, where it stands outside a string."""
    slot = marked.alone(text)
    return slot if slot in bare else None


def name(token: str, marked: Marked, bare: Bare) -> str:
    """A name with the values in it. Raises FormatError where a value is no string."""
    slot = whole(token, marked, bare)
    if not slot:
        return marked.fill(token)
    made = slot.data()
    if not isinstance(made, str):
        raise slot.refused("is no string and stands as a name", "put quotes around it")
    return made


def quoted(text: str, special: re.Pattern[str]) -> str:
    """A string in double quotes, with what is special escaped as TOML and YAML read it alike."""
    return f'"{special.sub(_escape, text)}"'


def paths(data: object, kind: Callable[[object], str], path: str = "") -> Iterator[str]:
    """The structure without its values, as in `hosts[0].port: integer`."""
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
    """The path of what a mapping has under a key."""
    word = key if _PLAIN_NAME.fullmatch(key) else dumps(key)
    return f"{path}.{word}" if path else word


def _escape(found: re.Match[str]) -> str:
    return _SHORT_ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04X}"
