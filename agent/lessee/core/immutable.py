"""The base class of immutable values: cheap to define, compare and copy, and without secrets in their repr.

A frozen dataclass with slots adds 0.5 ms to every start, and there are a hundred of them. A Struct takes a fortieth of
that, and its `replace` a twentieth of the dataclass's time (tests/bench/imports.py measures both).
"""

from typing import ClassVar

from msgspec import Struct
from msgspec.json import Decoder
from msgspec.structs import replace

__all__ = ["ImmutableStruct", "replace", "resolve_types"]


class ImmutableStruct(Struct, frozen=True):
    """A value whose repr omits the fields named in `hidden`, because they hold secrets."""

    hidden: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        visible = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self.hidden)
        return f"{type(self).__name__}({', '.join(visible)})"


def resolve_types(*kinds: type) -> None:
    """Have msgspec resolve the annotations of nested Structs now, before several threads decode them.

    msgspec 0.22 resolves a Struct when it first decodes one, and a second thread can see the half-resolved type. The
    process then ends by SIGSEGV (in four of 40 attempts with eight threads).
    """
    for kind in kinds:
        Decoder(kind)
