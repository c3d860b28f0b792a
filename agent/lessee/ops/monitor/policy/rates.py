"""Counts what happens in a sliding time, of so many things at most.

It is changed in place: a busy Vault writes thousands of lines a second, and a copy for each would cost more than
reading them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OTHER = "other"
"""Under this name all are counted for whom there was no room."""
HOUR = 3600.0
_PARTS = 60
_COARSE = 12
_ROWS = 1000
_SHOWN = 200


class Window:
    """How often something was in the last `span` seconds; what is older is let go by parts of it."""

    __slots__ = ("_counts", "_head", "_width", "total")

    def __init__(self, span: float, parts: int = _PARTS) -> None:
        """The more `parts`, the sharper: the time that it looks back is up to one part shorter than `span`."""
        self._width = span / parts
        self._counts = [0] * parts
        self._head = 0
        self.total = 0
        """As of the latest moment that it was told of."""

    def add(self, at: float, count: int = 1) -> None:
        """So many at this moment; what comes too late is left out."""
        part = int(at / self._width)
        if part != self._head:
            if part > self._head:
                self._go_on(part)
            elif part <= self._head - len(self._counts):
                return
        self._counts[part % len(self._counts)] += count
        self.total += count

    def at(self, now: float) -> int:
        """How many there were until now."""
        if (part := int(now / self._width)) > self._head:
            self._go_on(part)
        return self.total

    def set_back(self, now: float) -> None:
        """The clock was set back: what was counted by the wrong one is let go, or nothing new would count."""
        if int(now / self._width) < self._head:
            self._counts, self._head, self.total = [0] * len(self._counts), 0, 0

    def _go_on(self, part: int) -> None:
        counts = self._counts
        for gone in range(self._head + 1, min(part, self._head + len(counts)) + 1):
            index = gone % len(counts)
            self.total -= counts[index]
            counts[index] = 0
        self._head = part

    def kept(self) -> list[Any]:
        """As JSON. Parts in which nothing was are left out."""
        size = len(self._counts)
        parts = range(self._head - size + 1, self._head + 1)
        return [
            self._head,
            [[self._head - part, self._counts[part % size]] for part in parts if self._counts[part % size]],
        ]

    def restore(self, kept: Sequence[Any]) -> None:
        """Of `kept`, of one of the same span and parts."""
        self._head, parts = kept
        size = len(self._counts)
        for age, count in parts:
            self._counts[(self._head - age) % size] += count
            self.total += count


class _Row:
    __slots__ = ("last_at", "total", "window")

    def __init__(self) -> None:
        self.window = Window(HOUR, _COARSE)
        self.total = 0
        self.last_at = 0.0


Key = tuple[str, str, str]
"""Path, component, address."""
_REST = (OTHER, OTHER, OTHER)


class Rates:
    """Who has read what, and from where; and how often somebody was refused."""

    def __init__(self, most: int = _ROWS) -> None:
        self._most = most
        self._rows: dict[Key, _Row] = {}
        self._refused = _Row()

    def read(self, path: str, component: str, address: str, at: float) -> None:
        """One read."""
        _count(self._row((path, component, address)), at)

    def refused(self, at: float) -> None:
        """One refusal."""
        _count(self._refused, at)

    def forget(self, now: float) -> None:
        """Make room, where there is little: those that have not been for an hour are counted among the others."""
        if len(self._rows) < self._most:
            return
        for key, row in list(self._rows.items()):
            if key != _REST and not row.window.at(now):
                del self._rows[key]
                rest = self._row(_REST)
                rest.total += row.total
                rest.last_at = max(rest.last_at, row.last_at)

    def set_back(self, now: float) -> None:
        """The clock was set back."""
        for row in (*self._rows.values(), self._refused):
            row.window.set_back(now)
            row.last_at = min(row.last_at, now)

    def view(self, now: float) -> Mapping[str, Any]:
        """For status.json: the busiest of the hour first."""
        ordered = sorted(self._rows.items(), key=lambda item: (-item[1].window.at(now), -item[1].last_at, item[0]))
        return {
            "by_path": [
                {"path": path, "component": component, "address": address, **_shown(row)}
                for (path, component, address), row in ordered[:_SHOWN]
            ],
            "left_out": len(ordered[_SHOWN:]),
            "refused_last_hour": self._refused.window.at(now),
        }

    def kept(self) -> Any:
        """As JSON."""
        return [[*key, *_kept(row)] for key, row in [(("", "", ""), self._refused), *self._rows.items()]]

    def restore(self, kept: Any) -> None:
        """Of `kept`."""
        for path, component, address, *row in kept:
            key = (path, component, address)
            _restore(self._row(key) if any(key) else self._refused, row)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def _row(self, key: Key) -> _Row:
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= self._most and key != _REST:
                return self._row(_REST)
            row = self._rows[key] = _Row()
        return row


def _count(row: _Row, at: float) -> None:
    row.window.add(at)
    row.total += 1
    row.last_at = max(row.last_at, at)


def _shown(row: _Row) -> Mapping[str, Any]:
    return {"last_hour": row.window.total, "total": row.total, "last_at": row.last_at}


def _kept(row: _Row) -> list[Any]:
    return [row.total, row.last_at, row.window.kept()]


def _restore(row: _Row, kept: Sequence[Any]) -> None:
    row.total, row.last_at, window = kept
    row.window.restore(window)
