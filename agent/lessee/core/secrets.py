"""A secret as Vault returned it, and as a template sees it."""

from collections.abc import Iterator, Mapping

from lessee.core.immutable import ImmutableStruct

MAX_SIZE = 8 * 2**20
"""Characters of all names and texts in one secret: as many as a file may have."""
MAX_ITEMS = 20_000
"""Strings, numbers and structures in one secret: twice as many as a file with a verified structure may have."""
MAX_DEPTH = 100
"""Levels of nested lists and mappings, as in the formats."""


class VersionMetadata(ImmutableStruct, frozen=True):
    """What distinguishes one version of a KV v2 secret from another without reading its value.

    `created_time` is part of it: a secret whose metadata was deleted starts at version 1 again.
    """

    version: int
    created_time: str
    deletion_time: str = ""
    """When the version was or will be deleted, or "destroyed"."""


class Secret(ImmutableStruct, frozen=True):
    """The fields of one secret. KV v1 has no versions, and so no `metadata`."""

    hidden = ("data",)

    data: Mapping[str, object]
    metadata: VersionMetadata | None = None


def excess(data: Mapping[str, object]) -> str | None:
    """What about a secret is too large to be rendered and redacted; None if nothing is."""
    size = items = 0
    level: list[object] = [data]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for value in level:
            match value:
                case str():
                    size += len(value)
                case Mapping():
                    items += len(value)
                    size += sum(map(len, value))
                    inner += value.values()
                case list():
                    items += len(value)
                    inner += value
                case _:
                    pass
            if items > MAX_ITEMS:
                return f"it has more than {MAX_ITEMS:,} items"
            if size > MAX_SIZE:
                return f"it has more than {MAX_SIZE // 2**20} MiB"
        level = inner
        if not level:
            return None
    return f"it is nested more than {MAX_DEPTH} levels deep"


class SecretView(Mapping[str, object]):
    """A secret or a part of one, in a template. It knows its path, which the error about a missing key names."""

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

    def __str__(self) -> str:
        # Jinja would write Python's representation of the mapping into the file.
        raise SecretValueError(f"{self.path} is a mapping, not text", todo="name one of its keys, or add `| json`")


class Value(str):
    """A string from a secret. `origin` is the path and key that it was read from."""

    __slots__ = ("origin",)
    origin: str


class SecretValueError(Exception):
    """A template uses a secret's value wrongly; `word` is printed only if the template's own text contains it."""

    def __init__(self, what: str, *, word: object = None, more: str = "", todo: str = "") -> None:
        super().__init__(what)
        self._what = what
        self._word = word
        self._more = more
        self.todo = todo

    def message(self, words: frozenset[str]) -> str:
        """The text for users. `words` are those of the template, which are safe to print."""
        if self._word is None:
            return self._what
        is_printable = isinstance(self._word, str) and self._word in words
        return f"{self._what}: {repr(self._word) if is_printable else 'a computed one'}{self._more}"


def view(origin: str, value: object) -> object:
    """The value with its origin, if its type can have one."""
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
            return [view(f"{origin}[{index}]", item) for index, item in enumerate(value)]
        case _:
            return value
