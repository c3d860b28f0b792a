"""Rules about rotations and leases, from the status of rotators and agents."""

from collections.abc import Iterator
from typing import Any

from lessee.ops.monitor.policy.alerts import Detection
from lessee.ops.monitor.policy.rules.rule import Rule, approximate
from lessee.ops.monitor.policy.service_status import AgentLease, RotationTarget, Snapshot

_MAX_NAMED = 3


class RotationOverdue(Rule):
    """A rotation has been due, or in progress, for `after` seconds."""

    def __init__(self, name: str, after: float) -> None:
        super().__init__(name)
        self._after = after

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        for service, target in _targets(snapshot):
            overdue = snapshot.now - target.due_at if target.due_at is not None else 0.0
            if overdue >= self._after:
                text = f"the rotation of {target.name} has been due for {approximate(overdue)}{_reason(target)}"
            elif target.open_seconds >= self._after:
                text = f"the rotation of {target.name} has been in progress for {approximate(target.open_seconds)}"
            else:
                continue
            yield Detection(self.name, f"{service}: {target.name}", text, snapshot.now, snapshot.now)


class RotationFailing(Rule):
    """A rotation has failed `limit` times in a row, or its journal cannot be read."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(name)
        self._limit = limit

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        for service, target in _targets(snapshot):
            if target.failures >= self._limit:
                text = f"the rotation of {target.name} has failed {target.failures} times in a row{_reason(target)}"
            elif target.error and not target.failures:
                text = f"the rotation of {target.name} cannot start{_reason(target)}"
            else:
                continue
            yield Detection(self.name, f"{service}: {target.name}", text, snapshot.now, snapshot.now)


class LeaseExpiring(Rule):
    """A lease has less than `before` seconds left. None: half of the time between its due renewal and its end."""

    def __init__(self, name: str, before: float | None) -> None:
        super().__init__(name)
        self._before = before

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        for service, poll in snapshot.services.items():
            ending = [lease for lease in (poll.status.leases if poll.status else ()) if self._ends(lease, snapshot.now)]
            if not ending:
                continue
            ending.sort(key=lambda lease: lease.expires_at)
            named = ", ".join(dict.fromkeys(lease.path for lease in ending[:_MAX_NAMED]))
            more = f" and {len(ending) - _MAX_NAMED} more" if len(ending) > _MAX_NAMED else ""
            left = ending[0].expires_at - snapshot.now
            if left > 0:
                first = f"the first expires in {approximate(left)}"
            else:
                first = f"the first expired {approximate(-left)} ago"
            text = f"{service}: not renewed in time: {named}{more}; {first}"
            yield Detection(self.name, service, text, snapshot.now, snapshot.now)

    def _ends(self, lease: AgentLease, now: float) -> bool:
        if lease.state == "retiring":
            return False  # A new lease has already replaced it.
        if self._before is not None:
            return lease.expires_at - now < self._before
        renew_at = lease.expires_at if lease.renew_at is None else lease.renew_at
        return lease.state == "expired" or now >= (renew_at + lease.expires_at) / 2


class AgentNotFresh(Rule):
    """An agent has said for `after` seconds that an app has no files, or that its files may be outdated."""

    def __init__(self, name: str, after: float) -> None:
        super().__init__(name)
        self._after = after
        self._since: dict[str, float] = {}

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        for service, poll in snapshot.services.items():
            agent = poll.status.agent if poll.status is not None else None
            if agent is None or poll.error is not None:
                continue  # Another rule reports an agent that does not answer.
            if agent.ready and agent.fresh:
                self._since.pop(service, None)
                continue
            since = self._since.setdefault(service, poll.at)
            if snapshot.now - since >= self._after:
                state = "may have outdated files" if agent.ready else "has no files for an app"
                reason = f": {agent.problem}" if agent.problem else ""
                text = f"{service} {state} since {approximate(snapshot.now - since)}{reason}"
                yield Detection(self.name, service, text, since, snapshot.now)

    def on_clock_set_back(self, now: float) -> None:
        self._since = {name: min(at, now) for name, at in self._since.items()}

    def state(self) -> Any:
        return self._since

    def restore(self, state: Any) -> None:
        self._since = dict(state)


def _targets(snapshot: Snapshot) -> Iterator[tuple[str, RotationTarget]]:
    for service, poll in snapshot.services.items():
        for target in poll.status.targets if poll.status else ():
            yield service, target


def _reason(target: RotationTarget) -> str:
    if target.entry_due:
        return f": create a new credential, and run `lessee rotate {target.name} --enter`"
    return f": {target.error}" if target.error else ""
