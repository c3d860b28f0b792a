"""A mapping whose versions share what they have in common, and that knows when its first item is due.

A state has thousands of items, and a step changes a few of them. A new version costs what was changed, and the next
deadline costs one comparison for each chunk of items.
"""

import sys
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from typing import Any, Generic, NamedTuple, TypeVar, cast, overload

from lessee.agent.machine.session.state import NEVER

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

CHUNK = 64
"""Items in a chunk, which is copied as a whole at the first change of one of them."""
_ABSENT: Any = object()


class TableKind(Generic[V]):
    """What tables of these values know: when a value is due, and how many of the values satisfy each predicate."""

    __slots__ = ("due_at", "predicates")

    def __init__(
        self, due_at: Callable[[V], float] = lambda _value: NEVER, predicates: tuple[Callable[[V], bool], ...] = ()
    ) -> None:
        self.due_at = due_at
        self.predicates = predicates


class Table(Mapping[K, V]):
    """An immutable mapping in the order of insertion. `edit` returns a copy that can be changed."""

    __slots__ = ("_chunks", "_counts", "_end", "_firsts", "_length", "_slots", "kind")

    def __init__(self, kind: TableKind[V], parts: "Parts[K, V] | None" = None) -> None:
        self.kind = kind
        parts = parts or Parts({}, [], [], [0] * len(kind.predicates), 0, 0)
        self._slots, self._chunks, self._firsts, self._counts, self._end, self._length = parts

    def __getitem__(self, key: K) -> V:
        value: V = self.get(key, _ABSENT)
        if value is _ABSENT:
            raise KeyError(key)
        return value

    @overload
    def get(self, key: K, /) -> V | None: ...

    @overload
    def get(self, key: K, /, default: V | T) -> V | T: ...

    def get(self, key: K, /, default: Any = None) -> Any:
        """The value, or the default."""
        slot = self._slots.get(key, _UNUSED)
        if slot >= self._end:
            return default
        value = self._chunks[slot // CHUNK].values[slot % CHUNK]
        return default if value is _ABSENT else value

    def __contains__(self, key: object) -> bool:
        return self.get(cast("K", key), _ABSENT) is not _ABSENT

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[K]:
        return (key for key, _ in self.pairs())

    def __repr__(self) -> str:
        return f"Table({dict(self.pairs())!r})"

    def pairs(self) -> Iterator[tuple[K, V]]:
        """The items. A value that is replaced meanwhile may be the old one."""
        for chunk in self._chunks:
            for pair in zip(chunk.keys, chunk.values, strict=True):
                if pair[1] is not _ABSENT:
                    yield pair

    def items(self) -> ItemsView[K, V]:
        """The items, without a look-up of each key."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """The values, without a look-up of each key."""
        return _Values(self)

    @property
    def parts(self) -> "Parts[K, V]":
        """The parts, for another version."""
        return Parts(self._slots, self._chunks, self._firsts, self._counts, self._end, self._length)

    def edit(self) -> "TableEditor[K, V]":
        """A copy that can be changed, at no cost before the first change."""
        return TableEditor(self)

    def in_order(self, keys: Iterable[K]) -> list[K]:
        """Those of the keys that are in the table, in its order."""
        return sorted((key for key in keys if key in self), key=self._slots.__getitem__)

    @property
    def first_due_at(self) -> float:
        """When the first of the items is due."""
        return min(self._firsts, default=NEVER)

    def due(self, now: float) -> Iterator[K]:
        """The items that are due, in order. They must not change before the iteration ends."""
        for first, chunk in zip(self._firsts, self._chunks, strict=True):
            if first <= now:
                yield from (key for key, at in zip(chunk.keys, chunk.due_at, strict=True) if at <= now)

    def count(self, predicate: Callable[[V], bool]) -> int:
        """How many values satisfy one of the predicates of this kind of table."""
        return self._counts[self.kind.predicates.index(predicate)]


class TableEditor(Table[K, V], MutableMapping[K, V]):
    """A table while it is changed; the table that it came from remains as it is."""

    __slots__ = ("_base", "_copied", "changes")

    def __init__(self, base: Table[K, V]) -> None:
        super().__init__(base.kind, base.parts)
        self._base = base
        self._copied: set[int] = set()
        """The numbers of the chunks that no other version has."""
        self.changes: dict[K, V | None] = {}
        """What was set or deleted, with the value before; None: it did not exist."""

    def __setitem__(self, key: K, value: V) -> None:
        slot = self._slots.get(key, _UNUSED)
        self._put(slot if slot < self._end else self._append(key), key, value)

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._put(self._slots[key], key, _ABSENT)

    def replace_all(self, items: Mapping[K, V]) -> None:
        """Have exactly these items, in their order."""
        for key, value in [*self.pairs()]:
            self.changes.setdefault(key, value)
        self._start_again(items)

    def freeze(self) -> Table[K, V]:
        """The table with the changes; then this object must not be used any more."""
        if not self.changes:
            return self._base
        if self._end > 2 * self._length + CHUNK:
            self._start_again(dict(self.pairs()))
        return Table(self.kind, self.parts)

    def _start_again(self, items: Mapping[K, V]) -> None:
        super().__init__(self.kind)
        self._copied = set()
        for key, value in items.items():
            self._put(self._append(key), key, value)

    def _append(self, key: K) -> int:
        if len(self._slots) != self._end:  # Another version that came from the same one has added to it.
            self._slots = {known: slot for known, slot in self._slots.items() if slot < self._end}
        slot = self._slots[key] = self._end
        self._end += 1
        return slot

    def _put(self, slot: int, key: K, value: V) -> None:
        number, index = divmod(slot, CHUNK)
        chunk = self._chunk_to_change(number)
        before, due_before, first = chunk.values[index], chunk.due_at[index], self._firsts[number]
        self.changes.setdefault(key, None if before is _ABSENT else before)
        due_at = NEVER if value is _ABSENT else self.kind.due_at(value)
        chunk.keys[index], chunk.values[index], chunk.due_at[index] = key, value, due_at
        if due_at < first:
            self._firsts[number] = due_at
        elif due_before == first:
            self._firsts[number] = min(chunk.due_at)
        self._count(before, -1)
        self._count(value, 1)

    def _count(self, value: V, by: int) -> None:
        if value is _ABSENT:
            return
        self._length += by
        for number, predicate in enumerate(self.kind.predicates):
            if predicate(value):
                self._counts[number] += by

    def _chunk_to_change(self, number: int) -> "_Chunk[K, V]":
        if number in self._copied:
            return self._chunks[number]
        if not self._copied:
            self._chunks, self._firsts, self._counts = [*self._chunks], [*self._firsts], [*self._counts]
        self._copied.add(number)
        if number == len(self._chunks):
            self._chunks.append(_Chunk())
            self._firsts.append(NEVER)
        else:
            self._chunks[number] = self._chunks[number].copy()
        return self._chunks[number]


_UNUSED = sys.maxsize


class Parts(NamedTuple, Generic[K, V]):
    """What versions share: a version that changes one of these copies it first."""

    slots: dict[K, int]
    """Only the newest version adds to it: in an older one, slots from its `end` on are unused."""
    chunks: "list[_Chunk[K, V]]"
    firsts: list[float]
    """When the first item of each chunk is due."""
    counts: list[int]
    """For each predicate, how many of the values satisfy it."""
    end: int
    length: int


class _Chunk(Generic[K, V]):
    __slots__ = ("due_at", "keys", "values")

    def __init__(self) -> None:
        self.keys: list[K] = [_ABSENT] * CHUNK
        self.values: list[V] = [_ABSENT] * CHUNK
        self.due_at = [NEVER] * CHUNK

    def copy(self) -> "_Chunk[K, V]":
        chunk = _Chunk.__new__(type(self))
        chunk.keys, chunk.values, chunk.due_at = [*self.keys], [*self.values], [*self.due_at]
        return chunk


class _Items(ItemsView[K, V]):
    _mapping: Table[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.pairs()


class _Values(ValuesView[V]):
    _mapping: Table[Any, V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping.pairs())
