"""Counts reads and denials in a sliding window, for a bounded number of keys.

The counters are changed in place: a busy Vault writes thousands of lines a second, and copying the counters for each
line would cost more than reading it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OTHER = "other"
"""The key that counts everything beyond the limit."""
HOUR = 3600.0
PARTS = 60
_COARSE_PARTS = 12
_MAX_ROWS = 1000
_MAX_BUSIEST = 20
_MAX_ROWS_IN_STATUS = 200


class Window:
    """Counts events of the last `span` seconds, and drops older ones part by part."""

    __slots__ = ("_counts", "_head", "_width", "total")

    def __init__(self, span: float, parts: int = PARTS) -> None:
        """More `parts` are more precise: the window is up to one part shorter than `span`."""
        self._width = span / parts
        self._counts = [0] * parts
        self._head = 0
        self.total = 0
        """The count as of the latest moment passed to this window."""

    def add(self, at: float, count: int = 1) -> None:
        """Count events of this moment, unless it is older than the window."""
        part = int(at / self._width)
        if part != self._head:
            if part > self._head:
                self._advance(part)
            elif part <= self._head - len(self._counts):
                return
        self._counts[part % len(self._counts)] += count
        self.total += count

    def at(self, now: float) -> int:
        """The count of the window that ends now."""
        if (part := int(now / self._width)) > self._head:
            self._advance(part)
        return self.total

    def on_clock_set_back(self, now: float) -> None:
        """Drop what was counted in the future, which would keep new events out."""
        if int(now / self._width) < self._head:
            self._counts, self._head, self.total = [0] * len(self._counts), 0, 0

    def _advance(self, part: int) -> None:
        counts = self._counts
        for expired in range(self._head + 1, min(part, self._head + len(counts)) + 1):
            index = expired % len(counts)
            self.total -= counts[index]
            counts[index] = 0
        self._head = part

    def state(self) -> list[Any]:
        """The counts as JSON, without empty parts."""
        size = len(self._counts)
        parts = range(self._head - size + 1, self._head + 1)
        return [
            self._head,
            [[self._head - part, self._counts[part % size]] for part in parts if self._counts[part % size]],
        ]

    def restore(self, state: Sequence[Any]) -> None:
        """Take over the `state` of a window with the same span and parts."""
        self._head, parts = state
        size = len(self._counts)
        for age, count in parts:
            self._counts[(self._head - age) % size] += count
            self.total += count


class Busiest:
    """The names with the most events in the last half to whole `span` seconds, for a bounded number of names.

    With more names, the rarest gives its place and its count to a new one (Space-Saving, Metwally et al. 2005): a name
    with more than a `limit`-th of all events is among them, and its count is at most that much too high.
    """

    __slots__ = ("_counts", "_half", "_head", "_limit")

    def __init__(self, span: float, limit: int = _MAX_BUSIEST) -> None:
        self._half, self._limit = span / 2, limit
        self._head = 0
        self._counts: tuple[dict[str, int], dict[str, int]] = ({}, {})
        """Those of the current half, and of the half before."""

    def add(self, name: str, at: float) -> None:
        """Count an event of this moment."""
        half = int(at / self._half)
        if half > self._head:
            self._counts = ({}, self._counts[0] if half == self._head + 1 else {})
            self._head = half
        counts = self._counts[0]
        if name not in counts and len(counts) >= self._limit:
            rarest = min(counts, key=counts.__getitem__)
            counts[name] = counts.pop(rarest)
        counts[name] = counts.get(name, 0) + 1

    def top(self, number: int) -> list[tuple[str, int]]:
        """The busiest names with their counts."""
        return (Counter(self._counts[0]) + Counter(self._counts[1])).most_common(number)

    def state(self) -> Any:
        """The counts as JSON."""
        return [self._head, *self._counts]

    def restore(self, state: Sequence[Any]) -> None:
        """Take over the `state` of one with the same span."""
        self._head, current, before = state
        self._counts = (dict(current), dict(before))


class _Row:
    __slots__ = ("last_at", "total", "window")

    def __init__(self) -> None:
        self.window = Window(HOUR, _COARSE_PARTS)
        self.total = 0
        self.last_at = 0.0


Key = tuple[str, str, str]
"""Path, component, address."""
_OTHERS = (OTHER, OTHER, OTHER)


class Rates:
    """Which component read which path from which address, and how often, and how many requests were denied."""

    def __init__(self, max_rows: int = _MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._rows: dict[Key, _Row] = {}
        self._denials = _Row()

    def add_read(self, path: str, component: str, address: str, at: float) -> None:
        """Count one read."""
        _count(self._row((path, component, address)), at)

    def add_denial(self, at: float) -> None:
        """Count one denial."""
        _count(self._denials, at)

    def prune(self, now: float) -> None:
        """If all rows are in use, merge those without a read in the last hour into `OTHER`."""
        if len(self._rows) < self._max_rows:
            return
        for key, row in list(self._rows.items()):
            if key != _OTHERS and not row.window.at(now):
                del self._rows[key]
                others = self._row(_OTHERS)
                others.total += row.total
                others.last_at = max(others.last_at, row.last_at)

    def on_clock_set_back(self, now: float) -> None:
        """Drop what was counted in the future."""
        for row in (*self._rows.values(), self._denials):
            row.window.on_clock_set_back(now)
            row.last_at = min(row.last_at, now)

    def view(self, now: float) -> Mapping[str, Any]:
        """The part `accesses` of status.json, the busiest rows of the last hour first."""
        ordered = sorted(self._rows.items(), key=lambda item: (-item[1].window.at(now), -item[1].last_at, item[0]))
        return {
            "by_path": [
                {"path": path, "component": component, "address": address, **_row_view(row)}
                for (path, component, address), row in ordered[:_MAX_ROWS_IN_STATUS]
            ],
            "omitted": len(ordered[_MAX_ROWS_IN_STATUS:]),
            "denied_last_hour": self._denials.window.at(now),
        }

    def state(self) -> Any:
        """The counts as JSON."""
        return [[*key, *_row_state(row)] for key, row in [(("", "", ""), self._denials), *self._rows.items()]]

    def restore(self, state: Any) -> None:
        """Take over `state`."""
        for path, component, address, *row in state:
            key = (path, component, address)
            _restore(self._row(key) if any(key) else self._denials, row)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def _row(self, key: Key) -> _Row:
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= self._max_rows and key != _OTHERS:
                return self._row(_OTHERS)
            row = self._rows[key] = _Row()
        return row


def _count(row: _Row, at: float) -> None:
    row.window.add(at)
    row.total += 1
    row.last_at = max(row.last_at, at)


def _row_view(row: _Row) -> Mapping[str, Any]:
    return {"last_hour": row.window.total, "total": row.total, "last_at": row.last_at}


def _row_state(row: _Row) -> list[Any]:
    return [row.total, row.last_at, row.window.state()]


def _restore(row: _Row, state: Sequence[Any]) -> None:
    row.total, row.last_at, window = state
    row.window.restore(window)
