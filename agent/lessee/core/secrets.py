"""A secret as Vault gave it, and as a template sees it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Marker:
    """What tells one state of a KV v2 secret from another without reading its value.

    The version's own time is part of it: a secret whose metadata was deleted starts at version 1 again.
    """

    version: int
    created: str
    gone: str = ""
    """When the version was or will be deleted, or "destroyed"."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The fields of one secret. `marker` is None in KV v1, which has no versions."""

    data: Mapping[str, object] = field(repr=False)
    marker: Marker | None = None


class SecretView(Mapping[str, object]):
    """A secret, or a part of one, in a template: it knows its path, for the error that a missing key makes."""

    __slots__ = ("_data", "path")

    def __init__(self, path: str, data: Mapping[str, object]) -> None:
        self.path = path
        self._data = data

    def __getitem__(self, key: str) -> object:
        return view(f"{self.path}: {key}", self._data[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"<{self.path}>"


class Value(str):
    """A string out of a secret, which knows where it came from."""

    __slots__ = ("origin",)
    origin: str


def view(origin: str, value: object) -> object:
    """Give a value its origin, so far as its type can carry one."""
    match value:
        case SecretView():
            return value
        case str():
            known = Value(value)
            known.origin = origin
            return known
        case Mapping():
            return SecretView(origin, value)
        case list():
            return tuple(view(f"{origin}[{index}]", item) for index, item in enumerate(value))
        case _:
            return value
