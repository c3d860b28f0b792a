"""Immutable values: cheap to define, to compare and to change a copy of, and discreet in a repr.

A frozen dataclass with slots takes 0.5 ms of every start, and there are a hundred of them; a Struct takes a fortieth
of that, and its `replace` a twentieth of the dataclass's time (tests/bench/imports.py measures both).
"""

from typing import ClassVar

from msgspec import Struct
from msgspec.json import Decoder
from msgspec.structs import replace

__all__ = ["Record", "look_into", "replace"]


class Record(Struct, frozen=True):
    """A value whose repr leaves out the fields that are `hidden`, since they hold what nobody may read in a log."""

    hidden: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self.hidden)
        return f"{type(self).__name__}({', '.join(shown)})"


def look_into(*kinds: type) -> None:
    """Have msgspec look into Structs that hold other Structs, before any of them is read: for those that threads read.

    It does so where one is first read, and shows a second thread what it has half looked into: the process ends by
    SIGSEGV then (0.22, four of 40 tries with eight threads).
    """
    for kind in kinds:
        Decoder(kind)
