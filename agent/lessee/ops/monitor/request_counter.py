"""Counts the requests for secrets by environment, component and path, for metrics with a bounded number of series."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from lessee.config.grammar.monitor import RequestMetrics
from lessee.ops.monitor.policy.access import Access, LogEntry
from lessee.ops.monitor.policy.classification import component, is_secret, secret_path
from lessee.ops.monitor.policy.rates import OTHER

_OUTCOMES = ("succeeded", "denied", "failed")

_Row = tuple[tuple[str, ...], tuple[int, int, int]]


class _State(msgspec.Struct):
    labels: tuple[str, ...]
    rows: list[_Row]


class RequestCounter:
    """The counts since the monitor's first start, or since its labels were changed."""

    name = "requests"

    def __init__(self, config: RequestMetrics, environments: Collection[str]) -> None:
        """`environments` are the first elements of KV paths that are environments."""
        self._labels, self._max_series = config.labels, config.max_series
        self._environments = environments
        self._counts: dict[tuple[str, ...], list[int]] = {}

    def take(self, entries: Sequence[LogEntry]) -> None:
        """See Sink."""
        for entry in entries:
            access = entry.access
            if is_secret(access.path, access.local_mount, access.mount_type):
                outcome = 1 if access.denied else 2 if access.error is not None else 0
                self._row(tuple(self._value(label, access) for label in self._labels), outcome)[outcome] += 1

    def tick(self, now: float) -> None:
        """See Sink."""

    def state(self) -> Any:
        """See Sink."""
        return {"labels": self._labels, "rows": [[values, counts] for values, counts in self._counts.items()]}

    def restore(self, state: Any) -> None:
        """See Sink."""
        try:
            saved = msgspec.convert(state, _State)
        except msgspec.ValidationError:
            raise ValueError from None
        if saved.labels == self._labels:
            self._counts = {values: list(counts) for values, counts in saved.rows}

    def status(self) -> Mapping[str, Any]:
        """See Sink."""
        rows = [
            {"labels": dict(zip(self._labels, values, strict=True)), **dict(zip(_OUTCOMES, counts, strict=True))}
            for values, counts in self._counts.items()
        ]
        return {"requests": rows}

    def close(self) -> None:
        """See Sink."""

    def _row(self, values: tuple[str, ...], outcome: int) -> list[int]:
        row = self._counts.get(values)
        if row is None:
            # A client may request any path: one that was never answered takes no place from others.
            if outcome or len(self._counts) >= self._max_series:
                values = (OTHER,) * len(self._labels)
            row = self._counts.setdefault(values, [0, 0, 0])
        return row

    def _value(self, label: str, access: Access) -> str:
        if label == "component":
            return component(access)
        mount = access.local_mount
        if label == "path":
            return secret_path(access.path, mount, access.mount_type, access.namespace)
        below = access.path.removeprefix(f"{mount}/")
        first = (below.removeprefix("data/") if access.mount_type == "kv" else below).partition("/")[0]
        return first if first in self._environments else ""
