"""Counts all accesses by operation and outcome."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lessee.ops.monitor.policy.access import Access, LogEntry

_OPERATIONS = frozenset({"read", "list", "create", "update", "patch", "delete", "scan", "help", "renew", "revoke",
                         "rollback", "alias-lookahead", "resolve-role", "header"})  # fmt: skip
_OTHER = "other"
_OUTCOMES = ("succeeded", "denied", "failed")

_Counts = dict[str, dict[str, int]]


class AccessCounter:
    """The counts since the monitor's first start."""

    name = "counters"

    def __init__(self) -> None:
        self._counts: _Counts = {}

    def take(self, entries: Sequence[LogEntry]) -> None:
        """See Sink."""
        for entry in entries:
            access = entry.access
            operation = access.operation if access.operation in _OPERATIONS else _OTHER
            by_outcome = self._counts.setdefault(operation, dict.fromkeys(_OUTCOMES, 0))
            by_outcome[_outcome(access)] += 1

    def tick(self, now: float) -> None:
        """See Sink."""

    def state(self) -> _Counts:
        """See Sink."""
        return self._counts

    def restore(self, state: Any) -> None:
        """See Sink."""
        try:
            counts = msgspec.convert(state, _Counts)
        except msgspec.ValidationError:
            raise ValueError from None
        self._counts = {name: dict.fromkeys(_OUTCOMES, 0) | counts[name] for name in counts}

    def status(self) -> Mapping[str, Any]:
        """See Sink."""
        total = {outcome: sum(counts[outcome] for counts in self._counts.values()) for outcome in _OUTCOMES}
        by_operation = {name: dict(counts) for name, counts in sorted(self._counts.items())}
        accesses = {"total": sum(total.values()), "denied": total["denied"], "failed": total["failed"]}
        return {"accesses": {**accesses, "by_operation": by_operation}}

    def close(self) -> None:
        """See Sink."""


def _outcome(access: Access) -> str:
    if access.denied:
        return "denied"
    return "failed" if access.error is not None else "succeeded"
