"""How many accesses there were, by what was done and what came of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lessee.ops.monitor.policy.access import Access, Line

_OPERATIONS = frozenset({"read", "list", "create", "update", "patch", "delete", "scan", "help", "renew", "revoke",
                         "rollback", "alias-lookahead", "resolve-role", "header"})  # fmt: skip
_OTHER = "other"
_OUTCOMES = ("answered", "refused", "failed")

_Counts = dict[str, dict[str, int]]


class Counting:
    """Since the first start."""

    name = "counting"

    def __init__(self) -> None:
        self._counts: _Counts = {}

    def take(self, lines: Sequence[Line]) -> None:
        """See Sink."""
        for line in lines:
            access = line.access
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
        total = {outcome: sum(one[outcome] for one in self._counts.values()) for outcome in _OUTCOMES}
        counts = {name: dict(one) for name, one in sorted(self._counts.items())}
        accesses = {"total": sum(total.values()), "refused": total["refused"], "failed": total["failed"]}
        return {"accesses": {**accesses, "by_operation": counts}}

    def close(self) -> None:
        """See Sink."""


def _outcome(access: Access) -> str:
    if access.refused:
        return "refused"
    return "failed" if access.error is not None else "answered"
