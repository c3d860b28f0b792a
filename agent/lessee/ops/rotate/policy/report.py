"""How rotation is told: what came of one, and how all targets stand."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lessee.config.durations import spell
from lessee.config.grammar.rotation import Rotation
from lessee.core.consumers import Standing
from lessee.core.immutable import Record
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.journal import Journal, Step
from lessee.ops.rotate.policy.schedule import opening, schedule
from lessee.ops.rotate.policy.selection import kind, next_at

_AGES = (("d", 86400.0), ("h", 3600.0), ("m", 60.0))
_HEADINGS = ("TARGET", "KIND", "COUNT", "LAST", "AGE", "EVERY", "NEXT", "CONSUMERS", "STATE")


class Result(Record, frozen=True):
    """What came of a target; `seconds` is how long it took here."""

    name: str
    outcome: Outcome
    journal: Journal
    standing: Standing | None
    seconds: float
    other: str = ""
    """Another holder, who finishes it."""


class Row(Record, frozen=True):
    """A target as it stands. `version` of its secret, and when that was written: 0 where there is none."""

    name: str
    said: Rotation
    journal: Journal
    standing: Standing | None = None
    version: int = 0
    changed_at: float = 0.0
    holder_left: bool = False
    """Whoever held it has ended without letting go."""

    def age(self, now: float) -> float | None:
        """Seconds since the credential became what it is; None where nobody knows."""
        since = self.journal.rotated_at or self.changed_at
        return max(0.0, now - since) if since else None

    def is_overdue(self, now: float) -> bool:
        """It is older than its `every` and the time by which it may come later."""
        since, planned = self.journal.rotated_at or self.changed_at, schedule(self.said)
        if not since or planned.every is None:
            return False
        return now > opening(planned, since + planned.every) + planned.jitter


class Problem(Record, frozen=True):
    """What could not be looked at, and why."""

    target: str
    error: str


def line(result: Result) -> str:
    """One line: its name, what came of it, the secret's version, and who works with that."""
    journal, standing = result.journal, result.standing or Standing()
    words = [f"{result.name}: {_outcome(result)}"]
    if journal.published_version:
        words.append(f"version {journal.published_version}")
    words.append(f"{result.seconds:.1f} s")
    if result.other:
        words.append(f"{printable(_who(result.other))} is at it")
    elif journal.step is Step.PUBLISHED:
        who = ", ".join(standing.missing) or "whoever reads it"
        words.append(f"the old one stays valid for {who} until the next `lessee rotate`")
    elif result.outcome is Outcome.ROTATED:
        words += [f"confirmed by {', '.join(standing.confirmed)}"] * bool(standing.confirmed)
        words += [f"NOT confirmed by {', '.join(standing.missing)}"] * bool(standing.missing)
        words += ["nobody is known to read it"] * (not standing.is_known)
    if journal.step is Step.KEEPING:
        words.append(f"the old one is kept, disabled, until {moment(journal.keep_until)}")
    return "; ".join(words)


def _outcome(result: Result) -> str:
    if result.other and result.outcome is Outcome.WAITING:
        return "left to another rotator"
    # Where something was open, there is nothing more to do.
    return "finished" if result.outcome is Outcome.NOTHING else result.outcome.value


def not_due(name: str, said: Rotation, journal: Journal, now: float) -> str:
    """One line of a target with which nothing is to be done."""
    due = next_at(said, journal, now)
    return f"{name}: not due; " + ("when asked for, for it has no `every`" if due is None else f"next {moment(due)}")


def table(rows: Sequence[Row], problems: Iterable[Problem], now: float) -> str:
    """For people."""
    cells = [_HEADINGS, *(_cells(row, now) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def spaced(some: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(some, widths, strict=True)).rstrip()

    lines = [spaced(_HEADINGS)]
    for row, some in zip(rows, cells[1:], strict=True):
        lines += [spaced(some), *(f"  {note}" for note in _notes(row, now))]
    lines += [f"! {problem.target}: {problem.error}" for problem in problems]
    return "".join(f"{one}\n" for one in lines)


def as_data(environment: str | None, rows: Iterable[Row], problems: Iterable[Problem], now: float) -> dict[str, Any]:
    """For programs. More keys may come, these stay; times as of RFC 3339, null where there is none."""
    return {
        "environment": environment,
        "at": moment(now),
        "targets": [dict(_data(row, now)) for row in rows],
        "problems": [{"target": problem.target, "error": problem.error} for problem in problems],
    }


def moment(seconds: float) -> str:
    """Seconds since 1970 as of RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def state(row: Row, now: float) -> str:
    """In one word, the worst first."""
    journal = row.journal
    if journal.failures:
        return "FAILED"
    if row.is_overdue(now):
        return "OVERDUE"
    if journal.is_open:
        return journal.step.value
    return "never rotated" if not journal.count and not journal.rotated_at else journal.step.value


def _cells(row: Row, now: float) -> tuple[str, ...]:
    journal, age, due = row.journal, row.age(now), next_at(row.said, row.journal, now)
    return (
        row.name,
        kind(row.said),
        str(journal.count),
        moment(journal.rotated_at) if journal.rotated_at else "never",
        _short(age) if age is not None else "-",
        spell(row.said.every) if row.said.every is not None else "-",
        "when asked" if due is None else moment(due) if due > now else "now",
        _counted(row.standing),
        state(row, now),
    )


def _counted(standing: Standing | None) -> str:
    if standing is None:
        return "?"
    count = len(standing.confirmed)
    return f"{count}/{count + len(standing.missing)}"


def _notes(row: Row, now: float) -> Iterator[str]:
    journal = row.journal
    if journal.is_open:
        yield f"{journal.step.value} since {moment(journal.started_at)}, {_held(row, now)}"
    if journal.step is Step.KEEPING:
        yield f"the old one is kept, disabled, until {moment(journal.keep_until)}"
    if row.standing is not None and row.standing.missing:
        yield f"not yet confirmed by {', '.join(row.standing.missing)}"
    if journal.missing:
        yield f"the last retirement did not wait for {', '.join(journal.missing)}"
    if journal.error:
        count = journal.failures
        times = f"{count} time{'s' * (count != 1)} in a row, last {moment(journal.failed_at)}" if count else "given up"
        yield f"! {times}: {printable(journal.error)}"


def printable(text: str) -> str:
    """What others chose, so that it cannot write over a terminal."""
    return text if text.isprintable() else repr(text)


def _held(row: Row, now: float) -> str:
    journal = row.journal
    if not journal.holder or journal.held_until <= now or row.holder_left:
        return "and nobody is at it: `lessee rotate` finishes it"
    return f"held by {printable(_who(journal.holder))} until {moment(journal.held_until)}"


def _who(holder: str) -> str:
    """Of `machine:namespace:pid:start:chance`, what a person can use."""
    machine, _, rest = holder.partition(":")
    _, _, behind = rest.partition(":")
    pid = behind.partition(":")[0]
    return f"process {pid} on the machine booted as {machine}" if pid else holder


def _data(row: Row, now: float) -> Iterator[tuple[str, Any]]:
    journal, standing, age, due = row.journal, row.standing, row.age(now), next_at(row.said, row.journal, now)
    is_held = bool(journal.holder) and journal.held_until > now and not row.holder_left
    yield from (("name", row.name), ("kind", kind(row.said)), ("secret", row.said.secret))
    yield from (("state", state(row, now)), ("step", journal.step.value), ("count", journal.count))
    yield from (("version", row.version or None), ("rotated_at", _moment(journal.rotated_at)))
    yield "next_at", None if due is None else moment(due)
    yield from (("every", row.said.every), ("age", round(age, 3) if age is not None else None))
    yield from (("overdue", row.is_overdue(now)), ("started_at", _moment(journal.started_at * journal.is_open)))
    yield "held_by", journal.holder if is_held else None
    yield "held_until", _moment(journal.held_until * is_held)
    yield "keep_until", _moment(journal.keep_until)
    yield "confirmed", list(standing.confirmed) if standing is not None else None
    yield "missing", list(standing.missing) if standing is not None else None
    yield "not_waited_for", list(journal.missing)
    yield from (("failures", journal.failures), ("error", journal.error or None))
    yield "failed_at", _moment(journal.failed_at)
    yield "propagations", list(journal.propagations)
    yield "history", [dict(_past(at=one.at, version=one.version, name=one.id)) for one in journal.history]


def _past(*, at: float, version: int, name: str) -> Mapping[str, Any]:
    return {"id": name, "at": moment(at), "version": version}


def _moment(seconds: float) -> str | None:
    return moment(seconds) if seconds else None


def _short(seconds: float) -> str:
    for unit, size in _AGES:
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
