"""Secrets that are made up: every key of every path is there, and no two values are the same."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping

from lessee.core.immutable import Record
from lessee.core.paths import Dynamic, Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.rendering.value_shapes import ANY, Shape

NAME = "madeup"
"""How a name begins that a loop over a mapping finds."""

Kind = Callable[[int], object]


def text(number: int) -> str:
    """Letters and digits, which are base64 of some more, so that `b64decode` has its way too."""
    return b64encode(f"{NAME}{number:03}".encode()).decode()


def digits(number: int) -> str:
    """Digits of which the same is true: few are, but all these give UTF-8."""
    return "123"[number % 3] + "4567"[number // 3 % 4] + "014589"[number // 12 % 6] + str(number // 72 % 10)


def is_made_up(name: str) -> bool:
    """Whether a name has something of what is made up in it."""
    return NAME in name or text(0)[: len(NAME)] in name


KINDS: tuple[Kind, ...] = (text, digits, lambda number: int(digits(number)), lambda _: True)
"""What a value may be, where nothing is known of it."""


class MadeUp(Record, frozen=True):
    """All that templates can read, as a renderer wants it."""

    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[Dynamic, Secret]
    environ: Mapping[str, str]


def made_up(needs: Iterable[Need], shapes: Mapping[Need, Shape], kind: Kind) -> MadeUp:
    """Every value is of this kind, unless templates take it for a structure."""
    maker = _Maker(kind)
    secrets: dict[Ref, Secret] = {}
    folders: dict[Folder, Mapping[str, Secret]] = {}
    dynamic: dict[Dynamic, Secret] = {}
    for need in needs:
        inside = _Everything(maker, shapes.get(need, Shape()), (need,))
        if isinstance(need, Ref):
            secrets[need] = Secret(inside)
        elif isinstance(need, Folder):
            folders[need] = {name: Secret(inside.below(name)) for name in inside.names()}
        else:
            dynamic[need] = Secret(inside)
    return MadeUp(secrets, folders, dynamic, _Environment(maker))


_Path = tuple[object, ...]


class _Maker:
    """Makes the same value for the same path, and another for another."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._numbers: dict[_Path, int] = {}

    def number(self, path: _Path) -> int:
        return self._numbers.setdefault(path, len(self._numbers))

    def value(self, shape: Shape, path: _Path) -> object:
        if shape.is_mapping:
            return _Everything(self, shape, path)
        if shape.is_list:
            return [self.value(shape.below(ANY), (*path, index)) for index in range(2)]
        return self._kind(self.number(path))


class _Everything(Mapping[str, object]):
    """Whatever key is asked for is there; a loop finds two."""

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

    def below(self, key: str) -> "_Everything":
        """What lies there, where that is known to be a mapping."""
        return _Everything(self._maker, self._shape.below(key), (*self._path, key))

    def names(self) -> tuple[str, ...]:
        """Those that a loop finds, and those that templates ask for."""
        return (*self, *(name for name in self._shape.inner if name != ANY))


class _Environment(dict[str, str]):
    """Of the agent's variables nothing is known either; but a default that the author gave is one of theirs."""

    def __init__(self, maker: _Maker) -> None:
        super().__init__()
        self._maker = maker

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # Of a narrower default.
        return text(self._maker.number(("env", name))) if default is None else default
