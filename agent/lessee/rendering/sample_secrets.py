"""Sample secrets: they have every key of every path, and no two values are equal."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping

from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.rendering.value_shapes import ANY, Shape

NAME = "sample"
"""The prefix of the names that a loop over a mapping yields."""

Kind = Callable[[int], object]


def text(number: int) -> str:
    """Letters and digits that are valid base64, so that `b64decode` works too."""
    return b64encode(f"{NAME}{number:03}".encode()).decode()


def digits(number: int) -> str:
    """Digits that are valid base64 of UTF-8 text."""
    return "123"[number % 3] + "4567"[number // 3 % 4] + "014589"[number // 12 % 6] + str(number // 72 % 10)


def is_sample(name: str) -> bool:
    """Whether a name contains part of a sample."""
    return NAME in name or text(0)[: len(NAME)] in name


KINDS: tuple[Kind, ...] = (text, digits, lambda number: int(digits(number)), lambda _: True)
"""The kinds of values to try for a value of unknown type."""


class SampleSecrets(ImmutableStruct, frozen=True):
    """Samples of everything that templates can read, as a renderer takes it."""

    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]
    environ: Mapping[str, str]


def sample_secrets(references: Iterable[Need], shapes: Mapping[Need, Shape], kind: Kind) -> SampleSecrets:
    """Values of this kind, except where templates use a value as a structure."""
    maker = _Maker(kind)
    secrets: dict[Ref, Secret] = {}
    folders: dict[Folder, Mapping[str, Secret]] = {}
    dynamic: dict[DynamicSecret, Secret] = {}
    for need in references:
        inside = _AnyMapping(maker, shapes.get(need, Shape()), (need,))
        if isinstance(need, Ref):
            secrets[need] = Secret(inside)
        elif isinstance(need, Folder):
            folders[need] = {name: Secret(inside.below(name)) for name in inside.names()}
        else:
            dynamic[need] = Secret(inside)
    return SampleSecrets(secrets, folders, dynamic, _Environment(maker))


_Path = tuple[object, ...]


class _Maker:
    """Makes a different value for each path, and always the same one."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._numbers: dict[_Path, int] = {}

    def number(self, path: _Path) -> int:
        return self._numbers.setdefault(path, len(self._numbers))

    def value(self, shape: Shape, path: _Path) -> object:
        if shape.is_mapping:
            return _AnyMapping(self, shape, path)
        if shape.is_list:
            return [self.value(shape.below(ANY), (*path, index)) for index in range(2)]
        return self._kind(self.number(path))


class _AnyMapping(Mapping[str, object]):
    """A mapping that has every key. A loop yields two keys."""

    def __init__(self, maker: _Maker, shape: Shape, path: _Path) -> None:
        self._maker = maker
        self._shape = shape
        self._path = path

    def __getitem__(self, key: str) -> object:
        return self._maker.value(self._shape.below(key), (*self._path, key))

    def __iter__(self) -> Iterator[str]:
        return (f"{NAME}{self._maker.number((*self._path, index))}" for index in range(2))

    def __len__(self) -> int:
        return 2

    def below(self, key: str) -> "_AnyMapping":
        """The mapping below a key."""
        return _AnyMapping(self._maker, self._shape.below(key), (*self._path, key))

    def names(self) -> tuple[str, ...]:
        """The names that a loop yields, and those that templates use."""
        return (*self, *(name for name in self._shape.inner if name != ANY))


class _Environment(dict[str, str]):
    """Sample environment variables. If the template has a default, that is used."""

    def __init__(self, maker: _Maker) -> None:
        super().__init__()
        self._maker = maker

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # Of a narrower default.
        return text(self._maker.number(("env", name))) if default is None else default
