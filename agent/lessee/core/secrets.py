"""A secret as Vault gave it, and as a template sees it."""

from collections.abc import Iterator, Mapping

from lessee.core.immutable import Record


class Marker(Record, frozen=True):
    """What tells one state of a KV v2 secret from another without reading its value.

    The version's own time is part of it: a secret whose metadata was deleted starts at version 1 again.
    """

    version: int
    created: str
    gone: str = ""
    """When the version was or will be deleted, or "destroyed"."""


class Secret(Record, frozen=True):
    """The fields of one secret. `marker` is None in KV v1, which has no versions."""

    hidden = ("data",)

    data: Mapping[str, object]
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

    def __str__(self) -> str:
        # Jinja would take Python's spelling of a mapping for text and write it into the file.
        raise SecretValueError(f"{self.path} is no text", todo="name a key of it, or add `| json`")


class Value(str):
    """A string out of a secret, which knows where it came from."""

    __slots__ = ("origin",)
    origin: str


class SecretValueError(Exception):
    """Something wrong in a template; `word` is repeated only if it stands in the template's own text."""

    def __init__(self, what: str, *, word: object = None, more: str = "", todo: str = "") -> None:
        super().__init__(what)
        self._what = what
        self._word = word
        self._more = more
        self.todo = todo

    def tell(self, words: frozenset[str]) -> str:
        """The text for people, with the word if it is the author's own."""
        if self._word is None:
            return self._what
        own = isinstance(self._word, str) and self._word in words
        return f"{self._what}: {repr(self._word) if own else 'a computed one'}{self._more}"


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
            return [view(f"{origin}[{index}]", item) for index, item in enumerate(value)]
        case _:
            return value
