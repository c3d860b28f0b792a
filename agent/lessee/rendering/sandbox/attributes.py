"""The attributes that templates can access, by an allow-list for each type."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2.environment import TemplateModule
from jinja2.filters import _GroupTuple
from jinja2.runtime import BlockReference, LoopContext, TemplateReference
from jinja2.utils import Cycler, Namespace, missing

from lessee.rendering.sandbox import strings

_Methods = Mapping[str, tuple[Callable[..., object], int]]


class Method:
    """A method of a value. `rate` is the cost of iterating over the value in each call."""

    __slots__ = ("_function", "of", "rate")

    def __init__(self, of: object, function: Callable[..., object], rate: int) -> None:
        self.of = of
        self.rate = rate
        self._function = function

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self._function(self.of, *args, **kwargs)


def attribute_of(of: object, word: str) -> object:
    """The attribute of this name, or `missing` if templates cannot access it."""
    if found := _methods(of).get(word):
        return Method(of, *found)
    if word in _WORDS.get(type(of), ()):
        return getattr(of, word)
    if isinstance(of, Namespace | TemplateModule) and not word.startswith("_"):
        return getattr(of, word, missing)
    if isinstance(of, TemplateReference):
        try:
            return of[word]
        except KeyError:
            return missing
    return missing


def _methods(of: object) -> _Methods:
    match of:
        case str():
            return _OF_TEXT
        case Mapping():
            return OF_MAPPINGS
        case list() | tuple():
            return _OF_LISTS
        case _:
            return {}


def _join(separator: str, values: Any) -> str:
    return strings.join(values, separator)


def _get(mapping: Mapping[Any, object], key: object, default: object = None) -> object:
    return mapping.get(key, default)


def _items(mapping: Mapping[Any, object]) -> Iterator[object]:
    return iter(mapping.items())


def _keys(mapping: Mapping[Any, object]) -> Iterator[object]:
    return iter(mapping.keys())


def _values(mapping: Mapping[Any, object]) -> Iterator[object]:
    return iter(mapping.values())


def _count(items: Any, item: object) -> int:
    return int(items.count(item))


def _index(items: Any, item: object) -> int:
    return int(items.index(item))


_NO_LONGER_THAN_BEFORE = (  # noqa: SIM905  # One word per line would take thirty lines.
    "capitalize casefold count endswith find isalnum isalpha isascii isdecimal isdigit islower isnumeric isspace"
    " istitle isupper lower partition removeprefix removesuffix rfind rpartition startswith swapcase title upper"
).split()

_OF_TEXT: _Methods = {
    **{name: (getattr(str, name), 1) for name in _NO_LONGER_THAN_BEFORE},
    "format": (strings.formatted, 400),
    "join": (_join, 1),
    "lstrip": (strings.lstrip, 1),
    "replace": (strings.replace, 2),
    "rsplit": (strings.rsplit, 1),
    "rstrip": (strings.rstrip, 1),
    "split": (strings.split, 1),
    "splitlines": (strings.splitlines, 1),
    "strip": (strings.strip, 1),
}
"""Without the methods that pad, that return bytes, and that take a translation table."""

OF_MAPPINGS: _Methods = {"get": (_get, 0), "items": (_items, 0), "keys": (_keys, 0), "values": (_values, 0)}

_OF_LISTS: _Methods = {"count": (_count, 1), "index": (_index, 1)}

_WORDS: Mapping[type, frozenset[str]] = {
    LoopContext: frozenset(
        {"changed", "cycle", "depth", "depth0", "first", "index", "index0", "last", "length", "nextitem", "previtem"}
        | {"revindex", "revindex0"}
    ),
    Cycler: frozenset({"current", "next", "reset"}),
    BlockReference: frozenset({"super"}),
    _GroupTuple: frozenset({"grouper", "list"}),
}
