"""Rules about audit logs, services and components that have stopped reporting."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lessee.ops.monitor.policy.alerts import Detection
from lessee.ops.monitor.policy.classification import RequestKind, printable
from lessee.ops.monitor.policy.rules.rule import Request, Rule, approximate
from lessee.ops.monitor.policy.service_status import Snapshot

MAX_COMPONENTS = 1000
"""Components that a rule expects to send requests."""
_REGULAR = 5
"""A component is regular once it has sent requests for this many times `after` without a longer pause."""
_FORGET_AFTER = 7 * 86400.0


class AuditOff(Rule):
    """An audit log was unreadable for `after` seconds, or has had no entry for `silent_after`."""

    def __init__(self, name: str, after: float, silent_after: float | None) -> None:
        super().__init__(name)
        self._after, self._silent_after = after, silent_after
        self._unreadable_since: dict[str, float] = {}
        self._first_evaluated_at: dict[str, float] = {}

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        for source in snapshot.sources:
            if source.error is None:
                self._unreadable_since.pop(source.name, None)
                yield from self._silent(source.name, source.last_at, snapshot.now)
                continue
            since = self._unreadable_since.setdefault(source.name, snapshot.now)
            if snapshot.now - since >= self._after:
                text = f"the audit log {source.name} cannot be read: {source.error}"
                yield Detection(self.name, source.name, text, since, snapshot.now)

    def _silent(self, name: str, last_at: float | None, now: float) -> Iterator[Detection]:
        last = self._first_evaluated_at.setdefault(name, now) if last_at is None else last_at
        if self._silent_after is not None and now - last >= self._silent_after:
            text = f"the audit log {name} has had no entry for {approximate(now - last)}"
            yield Detection(self.name, name, text, last, now)

    def on_clock_set_back(self, now: float) -> None:
        self._unreadable_since = {name: min(at, now) for name, at in self._unreadable_since.items()}
        self._first_evaluated_at = {name: min(at, now) for name, at in self._first_evaluated_at.items()}

    def state(self) -> Any:
        return self._unreadable_since

    def restore(self, state: Any) -> None:
        self._unreadable_since = dict(state)


class AgentSilent(Rule):
    """A service has not answered for `after` seconds, or a regular component has stopped sending requests."""

    def __init__(self, name: str, after: float, components: Sequence[str]) -> None:
        super().__init__(name)
        self._after, self._expected = after, components
        self._failing_since: dict[str, float] = {}
        self._active: dict[str, tuple[float, float]] = {}
        """The first and last request of each component since its last long pause."""
        self._log_read_to = 0.0

    def matches(self, kind: RequestKind, *, root: bool) -> bool:
        del kind, root
        return bool(self._expected)

    def take(self, request: Request) -> None:
        self._log_read_to = max(self._log_read_to, request.at)
        known = self._active.get(request.component)
        if known is None:
            if len(self._active) >= MAX_COMPONENTS:
                return
            if not any(fnmatchcase(request.component, pattern) for pattern in self._expected):
                return
            known = (request.at, request.at)
        first = known[0] if request.at - known[1] < self._after else request.at
        self._active[request.component] = (min(first, request.at), max(known[1], request.at))

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        for name, poll in snapshot.services.items():
            if poll.error is None:
                self._failing_since.pop(name, None)
                continue
            since = self._failing_since.setdefault(name, poll.at)
            if snapshot.now - since >= self._after:
                text = f"{name} has not answered for {approximate(snapshot.now - since)}: {printable(poll.error)}"
                yield Detection(self.name, name, text, since, snapshot.now)
        # The log's own time counts: reading it late, or an outage of Vault, makes no component silent.
        for name, (first, last) in list(self._active.items()):
            quiet = self._log_read_to - last
            if quiet >= _FORGET_AFTER:
                del self._active[name]
            elif quiet >= self._after and last - first >= self._after * _REGULAR:
                text = f"{name} sent requests to Vault regularly, but has sent none for {approximate(quiet)}"
                yield Detection(self.name, name, text, last, self._log_read_to)

    def on_clock_set_back(self, now: float) -> None:
        self._failing_since = {name: min(at, now) for name, at in self._failing_since.items()}
        self._log_read_to = min(self._log_read_to, now)
        self._active = {name: (min(first, now), min(last, now)) for name, (first, last) in self._active.items()}

    def state(self) -> Any:
        return {"failing_since": self._failing_since, "active": self._active, "log_read_to": self._log_read_to}

    def restore(self, state: Any) -> None:
        self._failing_since, self._log_read_to = dict(state["failing_since"]), state["log_read_to"]
        self._active = {name: (first, last) for name, (first, last) in state["active"].items()}
