"""What agents and the rotator say of themselves, as far as alerts want to know it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from lessee.core.immutable import Record
from lessee.ops.monitor.policy.interpretation import shown

_END = 253_402_300_800.0
"""The year 10,000, of which no text can be made."""


class Held(Record, frozen=True):
    """A lease or certificate of an agent; moments in seconds since 1970."""

    path: str
    ends_at: float
    renew_at: float | None
    state: str


class Rotated(Record, frozen=True):
    """A target of the rotator."""

    name: str
    due_at: float | None
    failures: int
    error: str
    open_for: float


class Heard(Record, frozen=True):
    """One service's status."""

    held: tuple[Held, ...] = ()
    rotated: tuple[Rotated, ...] = ()


class Answer(Record, frozen=True):
    """How asking a service went the last time. `error` None: it answered."""

    at: float
    error: str | None
    heard: Heard | None
    """The last that was heard, whenever."""


class Source(Record, frozen=True):
    """A source of the audit log."""

    name: str
    error: str | None
    last_at: float | None
    """Of its last line."""


class World(Record, frozen=True):
    """What is known at one moment, beside the log."""

    now: float
    sources: tuple[Source, ...] = ()
    answers: Mapping[str, Answer] = {}
    """By the name of the service."""


def heard(status: Any) -> Heard:
    """Of a status.json; what is not as it should be is left out."""
    return Heard(tuple(_held(status)), tuple(_rotated(status)))


def source(said: Any) -> Source:
    """Of one in the monitor's own status."""
    return Source(
        shown(str(_key(said, "name"))), _text(_key(said, "error")) or None, _moment(_key(said, "last_at")) or None
    )


def _held(status: Any) -> Iterator[Held]:
    leases = _key(status, "leases")
    for lease in leases if isinstance(leases, Sequence) and not isinstance(leases, str) else ():
        ends_at = _moment(_key(lease, "expires_at"))
        if ends_at is not None:
            path, state = _text(_key(lease, "path")), _text(_key(lease, "state"))
            yield Held(path, ends_at, _moment(_key(lease, "renew_at")), state)


def _rotated(status: Any) -> Iterator[Rotated]:
    targets = _key(status, "targets")
    for name, target in targets.items() if isinstance(targets, Mapping) else ():
        if isinstance(target, Mapping):
            due_at, error = _moment(target.get("next")), _text(target.get("error"))
            failures, open_for = _number(target.get("failures")), _number(target.get("open_for"))
            yield Rotated(shown(str(name)), due_at, int(failures), error, open_for)


def _key(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _text(value: Any) -> str:
    return shown(value) if isinstance(value, str) else ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 2**53 else 0.0


def _moment(value: Any) -> float | None:
    try:
        moment = _number(value) if isinstance(value, int | float) else datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if 0 <= moment < _END else None
