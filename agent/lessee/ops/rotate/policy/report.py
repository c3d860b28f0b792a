"""Reports the result of a rotation, and the status of all targets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lessee.config.durations import spell
from lessee.config.grammar.rotation import Rotation
from lessee.core.consumers import ConfirmationStatus
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import HistoryEntry, Journal, Step
from lessee.ops.rotate.policy.schedule import next_window, schedule_of
from lessee.ops.rotate.policy.selection import kind, next_rotation_at

_AGES = (("d", 86400.0), ("h", 3600.0), ("m", 60.0))
_HEADINGS = ("TARGET", "KIND", "COUNT", "LAST", "AGE", "PERIOD", "NEXT", "CONFIRMED", "STATE")


class Result(ImmutableStruct, frozen=True):
    """The result for one target; `seconds`: how long this process took."""

    name: str
    outcome: Outcome
    journal: Journal
    confirmation: ConfirmationStatus | None
    seconds: float
    lock_owner: str = ""
    """Another rotator that finishes the rotation."""
    stays_valid: bool = False
    """The old credential is valid until it is deleted."""


class Row(ImmutableStruct, frozen=True):
    """A target's status. `version` of its secret, and when it was written: 0 where there is no secret."""

    name: str
    config: Rotation
    journal: Journal
    confirmation: ConfirmationStatus | None = None
    version: int = 0
    changed_at: float = 0.0
    lock_owner_exited: bool = False
    """The lock's owner exited without releasing it."""

    @property
    def last_changed_at(self) -> float:
        """When the credential was last rotated or written; 0 where it is not known."""
        return self.journal.rotated_at or self.changed_at

    def age(self, now: float) -> float | None:
        """Seconds since the credential was last changed; None where it is not known."""
        return max(0.0, now - self.last_changed_at) if self.last_changed_at else None

    def is_overdue(self, now: float) -> bool:
        """Whether it is older than its period, its jitter and the wait for a window."""
        schedule = schedule_of(self.config)
        if not self.last_changed_at or schedule.period is None:
            return False
        return now > next_window(schedule, self.last_changed_at + schedule.period) + schedule.jitter

    def is_locked(self, now: float) -> bool:
        """Whether a rotator has the lock."""
        journal = self.journal
        return bool(journal.lock_owner) and journal.locked_until > now and not self.lock_owner_exited


class Problem(ImmutableStruct, frozen=True):
    """What could not be read, and why."""

    target: str
    error: str


def line(result: Result) -> str:
    """One line: the target's name, the outcome, the secret's version, and the consumers."""
    journal, confirmation = result.journal, result.confirmation or ConfirmationStatus()
    words = [f"{result.name}: {_outcome(result)}"]
    if journal.published_version:
        words.append(f"version {journal.published_version}")
    words.append(f"{result.seconds:.1f} s")
    if result.lock_owner:
        words.append(f"{printable(_process(result.lock_owner))} rotates it")
    elif journal.step is Step.PUBLISHED:
        consumers = ", ".join(confirmation.missing) or "unknown consumers"
        words.append(f"the old credential stays valid for {consumers} until the next `lessee rotate`")
    elif result.outcome is Outcome.ROTATED:
        words += [f"confirmed by {', '.join(confirmation.confirmed)}"] * bool(confirmation.confirmed)
        words += [f"NOT confirmed by {', '.join(confirmation.missing)}"] * bool(confirmation.missing)
        words += ["no consumer is known"] * (not confirmation.is_known)
    if journal.step is Step.RETAINING:
        words.append(_retention(journal, stays_valid=result.stays_valid))
    return "; ".join(words)


def _outcome(result: Result) -> str:
    if result.lock_owner and result.outcome is Outcome.WAITING:
        return "left to another rotator"
    if result.outcome is Outcome.WAITING and result.journal.step is Step.CREATED:
        return "waiting for servers to load the new credential"
    # Where a rotation was open, "nothing to do" means that it is finished now.
    return "finished" if result.outcome is Outcome.NOTHING else result.outcome.value


def _retention(journal: Journal, *, stays_valid: bool) -> str:
    if stays_valid:
        return f"the old credential stays valid until {rfc3339(journal.delete_at)}"
    return f"the old credential is disabled, and deleted after {rfc3339(journal.delete_at)}"


def not_due(name: str, config: Rotation, journal: Journal, now: float) -> str:
    """One line about a target for which nothing is due."""
    due = next_rotation_at(config, journal, now)
    return f"{name}: not due; " + (f"next {rfc3339(due)}" if due is not None else "no `rotation_period`")


def table(rows: Sequence[Row], problems: Iterable[Problem], now: float) -> str:
    """The status as text."""
    cells = [_HEADINGS, *(_cells(row, now) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def spaced(some: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(some, widths, strict=True)).rstrip()

    lines = [spaced(_HEADINGS)]
    for row, some in zip(rows, cells[1:], strict=True):
        lines += [spaced(some), *(f"  {note}" for note in _notes(row, now))]
    lines += [f"! {problem.target}: {problem.error}" for problem in problems]
    return "".join(f"{text}\n" for text in lines)


def as_data(environment: str | None, rows: Iterable[Row], problems: Iterable[Problem], now: float) -> dict[str, Any]:
    """The status as JSON. Later versions may add keys. Times are in RFC 3339, null if unknown."""
    return {
        "environment": environment,
        "at": rfc3339(now),
        "targets": [_data(row, now) for row in rows],
        "problems": [{"target": problem.target, "error": problem.error} for problem in problems],
    }


def rfc3339(seconds: float) -> str:
    """A time in seconds since 1970 in RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def state(row: Row, now: float) -> str:
    """The target's state in a word, the worst first."""
    journal = row.journal
    if journal.failures:
        return "FAILED"
    if row.is_overdue(now):
        return "OVERDUE"
    if journal.is_open:
        return journal.step.value
    return "never rotated" if not journal.count and not journal.rotated_at else journal.step.value


def _cells(row: Row, now: float) -> tuple[str, ...]:
    journal, age, due = row.journal, row.age(now), next_rotation_at(row.config, row.journal, now)
    return (
        row.name,
        kind(row.config),
        str(journal.count),
        rfc3339(journal.rotated_at) if journal.rotated_at else "never",
        _short(age) if age is not None else "-",
        spell(row.config.rotation_period) if row.config.rotation_period is not None else "-",
        "on request" if due is None else rfc3339(due) if due > now else "now",
        _confirmed(row.confirmation),
        state(row, now),
    )


def _confirmed(confirmation: ConfirmationStatus | None) -> str:
    if confirmation is None:
        return "?"
    count = len(confirmation.confirmed)
    return f"{count}/{count + len(confirmation.missing)}"


def _notes(row: Row, now: float) -> Iterator[str]:
    journal = row.journal
    if journal.is_open:
        yield f"{journal.step.value} since {rfc3339(journal.started_at)}, {_lock(row, now)}"
    if journal.step is Step.RETAINING:
        yield _retention(journal, stays_valid=row.config.stays_valid)
    if row.confirmation is not None and row.confirmation.missing:
        yield f"not yet confirmed by {', '.join(row.confirmation.missing)}"
    if journal.missing:
        yield f"not confirmed at the last revocation by {', '.join(journal.missing)}"
    if journal.error:
        count = journal.failures
        plural = "s" * (count != 1)
        failures = f"{count} consecutive failure{plural}, last {rfc3339(journal.failed_at)}" if count else "abandoned"
        yield f"! {failures}: {printable(journal.error)}"


def printable(text: str) -> str:
    """Text from elsewhere, escaped where it could control a terminal."""
    return text if text.isprintable() else repr(text)


def _lock(row: Row, now: float) -> str:
    if not row.is_locked(now):
        return "and no rotator has the lock: run `lessee rotate` to finish it"
    return f"locked by {printable(_process(row.journal.lock_owner))} until {rfc3339(row.journal.locked_until)}"


def _process(owner: str) -> str:
    """The process in `machine:namespace:pid:start:chance`, as an operator can look it up."""
    machine, _, rest = owner.partition(":")
    pid = rest.partition(":")[2].partition(":")[0]
    return f"process {pid} on the machine with boot id {machine}" if pid else owner


def _data(row: Row, now: float) -> dict[str, Any]:
    journal, confirmation, age = row.journal, row.confirmation, row.age(now)
    due, is_locked = next_rotation_at(row.config, journal, now), row.is_locked(now)
    return {
        "name": row.name,
        "kind": kind(row.config),
        "secret": row.config.secret,
        "state": state(row, now),
        "step": journal.step.value,
        "version": row.version or None,
        "rotation_count": journal.count,
        "last_rotated_at": _rfc3339(journal.rotated_at),
        "next_rotation_at": None if due is None else rfc3339(due),
        "rotation_period": row.config.rotation_period,
        "age": round(age, 3) if age is not None else None,
        "overdue": row.is_overdue(now),
        "started_at": _rfc3339(journal.started_at * journal.is_open),
        "lock_owner": journal.lock_owner if is_locked else None,
        "locked_until": _rfc3339(journal.locked_until * is_locked),
        "delete_at": _rfc3339(journal.delete_at),
        "confirmed_consumers": list(confirmation.confirmed) if confirmation is not None else None,
        "unconfirmed_consumers": list(confirmation.missing) if confirmation is not None else None,
        "unconfirmed_at_revocation": list(journal.missing),
        "consecutive_failures": journal.failures,
        "error": journal.error or None,
        "last_failed_at": _rfc3339(journal.failed_at),
        "propagation_times": list(journal.propagation_times),
        "history": [_entry(entry) for entry in journal.history],
    }


def _entry(entry: HistoryEntry) -> Mapping[str, Any]:
    return {"id": entry.id, "at": rfc3339(entry.at), "version": entry.version}


def _rfc3339(seconds: float) -> str | None:
    return rfc3339(seconds) if seconds else None


def _short(seconds: float) -> str:
    for unit, size in _AGES:
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
