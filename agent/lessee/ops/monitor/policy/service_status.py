"""What the alert rules need to know about agents and rotators, parsed from their status."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.monitor.policy.classification import printable
from lessee.ops.monitor.policy.fleet import AgentSummary, parse_agent, polled_row
from lessee.ops.monitor.policy.timestamps import rfc3339

_YEAR_10000 = 253_402_300_800.0
"""The first moment that no RFC 3339 text can express."""


class AgentLease(ImmutableStruct, frozen=True):
    """A lease or certificate of an agent. Moments are in seconds since 1970."""

    path: str
    expires_at: float
    renew_at: float | None
    state: str


class RotationTarget(ImmutableStruct, frozen=True):
    """A target of the rotator."""

    name: str
    due_at: float | None
    failures: int
    error: str
    open_seconds: float
    entry_due: bool = False
    """An operator must enter the new credential."""


class ServiceStatus(ImmutableStruct, frozen=True):
    """The status of one service."""

    leases: tuple[AgentLease, ...] = ()
    targets: tuple[RotationTarget, ...] = ()
    agent: AgentSummary | None = None


class PollResult(ImmutableStruct, frozen=True):
    """The result of the last poll of a service. `error` tells why the service did not answer."""

    at: float
    error: str | None
    status: ServiceStatus | None
    """The last status that the service returned in any poll."""
    address: str = ""
    """The URL or socket that is polled."""
    answered_at: float = 0.0
    """When the service answered last."""


class LogSource(ImmutableStruct, frozen=True):
    """A source of the audit log."""

    name: str
    error: str | None
    last_at: float | None
    """The time of its last entry."""
    idle: bool = True
    """Whether it is read to its end."""


class Snapshot(ImmutableStruct, frozen=True):
    """Everything that rules know at one moment apart from the log's entries."""

    now: float
    sources: tuple[LogSource, ...] = ()
    services: Mapping[str, PollResult] = {}
    """By the name of the service."""


def parse_service_status(status: Any) -> ServiceStatus:
    """Parse a status.json. Fields of an unexpected type are ignored."""
    return ServiceStatus(tuple(_leases(status)), tuple(_targets(status)), parse_agent(status))


def parse_source(status: Any) -> LogSource:
    """Parse one source of the monitor's own status."""
    return LogSource(
        printable(str(_key(status, "name"))),
        _text(_key(status, "error")) or None,
        _moment(_key(status, "last_at")) or None,
        _key(status, "idle") is not False,
    )


def services_view(services: Mapping[str, PollResult]) -> Mapping[str, Any]:
    """The parts `services` and `rotation` of status.json. A service that does not answer has its last known status."""
    known = {name: poll.status for name, poll in services.items() if poll.status is not None}
    return {
        "services": [
            {
                "name": name,
                "checked_at": rfc3339(poll.at),
                "error": poll.error,
                "leases": len(known[name].leases) if name in known else None,
                "targets": len(known[name].targets) if name in known else None,
            }
            for name, poll in sorted(services.items())
        ],
        "rotation": [
            {
                "service": name,
                "target": target.name,
                "next_rotation_at": rfc3339(target.due_at),
                "consecutive_failures": target.failures,
                "error": target.error or None,
                "open_seconds": target.open_seconds or None,
            }
            for name, status in sorted(known.items())
            for target in status.targets
        ],
    }


def polled_agents(services: Mapping[str, PollResult]) -> Mapping[str, Mapping[str, Any]]:
    """The part `fleet` of status.json: the polled services that are agents, or were when they answered last."""
    known = {name: poll.status.agent for name, poll in services.items() if poll.status is not None}
    return {
        name: polled_row(summary, services[name].address, services[name].answered_at, services[name].error)
        for name, summary in sorted(known.items())
        if summary is not None
    }


def _leases(status: Any) -> Iterator[AgentLease]:
    leases = _key(status, "leases")
    for lease in leases if isinstance(leases, Sequence) and not isinstance(leases, str) else ():
        expires_at = _moment(_key(lease, "expires_at"))
        if expires_at is not None:
            path, state = _text(_key(lease, "path")), _text(_key(lease, "state"))
            yield AgentLease(path, expires_at, _moment(_key(lease, "renew_at")), state)


def _targets(status: Any) -> Iterator[RotationTarget]:
    targets = _key(status, "targets")
    for name, target in targets.items() if isinstance(targets, Mapping) else ():
        if isinstance(target, Mapping):
            due_at, error = _moment(target.get("next_rotation_at")), _text(target.get("error"))
            failures = _number(target.get("consecutive_failures"))
            open_seconds = _number(target.get("open_seconds"))
            yield RotationTarget(
                printable(str(name)), due_at, int(failures), error, open_seconds, target.get("entry_due") is True
            )


def _key(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _text(value: Any) -> str:
    return printable(value) if isinstance(value, str) else ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 2**53 else 0.0


def _moment(value: Any) -> float | None:
    try:
        moment = _number(value) if isinstance(value, int | float) else datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if 0 <= moment < _YEAR_10000 else None
