"""Rows from the audit trail: actions, secret reads and exceptions in a period."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from lessee.audit_trail.policy.entries import ALTERED, REPAIRED, Action
from lessee.audit_trail.policy.verification import Finding
from lessee.ops.audit.policy.rows import LocatedEntry, Row, Section

_EXCEPTIONS = frozenset({"actions dropped", REPAIRED, ALTERED, "consumer not confirmed in time"})
"""Actions that are exceptions, whatever their outcome."""
_RECORDS_ENDS = frozenset({"operator", "monitor"})
"""The actors that record an action before it starts, and when it ends."""
_DRY_RUN = {"started": "dry run started", "done": "dry run: nothing was changed", "failed": "dry run failed"}
_READS = frozenset({"secret read", "lease issued", "static role read"})
_SECRET_KEYS = ("secret", "path")


@dataclass(slots=True)
class _Group:
    """Entries that share a row. Only their number and range are stored, however many they are."""

    first: str = ""
    last: str = ""
    count: int = 0
    time: str = ""
    versions: set[int] = field(default_factory=set)

    def add(self, located: LocatedEntry) -> None:
        self.first = self.first or located.where
        self.last, self.time = located.where, located.entry.action.at
        self.count += 1

    @property
    def source(self) -> str:
        return self.first if self.count == 1 else f"{self.first} … {self.last}"


def in_period(entries: Iterable[LocatedEntry], begins: float, ends: float) -> Iterator[LocatedEntry]:
    """The entries of a period in seconds since 1970, without `ends`; also those with an invalid timestamp."""
    return (located for located in entries if begins <= _timestamp(located.entry.action.at, begins) < ends)


def action_rows(entries: Iterable[LocatedEntry]) -> Iterator[Row]:
    """A row for each action of each actor, with the number of times and the first and last location."""
    groups: dict[tuple[str, ...], _Group] = {}
    for located in entries:
        action = located.entry.action
        key = (action.environment or "", _actor(action), _describe(action), _outcome(action))
        groups.setdefault(key, _Group()).add(located)
    for (environment, actor, item, outcome), group in groups.items():
        detail = f"{group.count} times {outcome}" if group.count > 1 else outcome
        yield Row(Section.ACTIONS, environment, actor, item, detail, group.time, group.source)


def read_rows(entries: Iterable[LocatedEntry]) -> Iterator[Row]:
    """A row for each secret that an agent read, with the versions that it read."""
    groups: dict[tuple[str, str, str], _Group] = {}
    for located in entries:
        action = located.entry.action
        path = next((str(action.subject[key]) for key in _SECRET_KEYS if key in action.subject), None)
        if action.name in _READS and path is not None:
            group = groups.setdefault((action.environment or "", _actor(action), path), _Group())
            group.add(located)
            version = action.subject.get("version")
            if isinstance(version, int):
                group.versions.add(version)
    for (environment, actor, path), group in groups.items():
        versions = ", ".join(map(str, sorted(group.versions)))
        detail = f"versions {versions}" if versions else f"{group.count} times"
        yield Row(Section.READS, environment, actor, path, detail, group.time, group.source)


def exception_rows(entries: Iterable[LocatedEntry], findings: Iterable[Finding], folder: str) -> Iterator[Row]:
    """A row for each alteration of the trail, failure, manual change, and action whose end is not recorded."""
    for finding in findings:
        source = f"{folder}/{finding.file}:{finding.line}"
        detail = f"entry {finding.n}: {finding.what}"
        yield Row(Section.EXCEPTIONS, "", "", "the audit trail was altered", detail, "", source)
    started: dict[tuple[str, ...], LocatedEntry] = {}
    for located in entries:
        action = located.entry.action
        environment, actor = action.environment or "", _actor(action)
        if action.actor.kind in _RECORDS_ENDS and "step" not in action.subject:
            key = (environment, actor, action.name)
            if action.outcome == "started" and key in started:
                yield _unfinished(started.pop(key))
            if action.outcome == "started":
                started[key] = located
            else:
                started.pop(key, None)
        step = str(action.subject.get("step", ""))
        if action.outcome == "failed" or action.name in _EXCEPTIONS:
            reason = action.subject.get("reason", action.subject.get("what", ""))
            item, detail = _describe(action), str(reason) or action.outcome
        elif step.startswith("!"):
            item, detail = "manual change", step.removeprefix("!").strip()
        else:
            continue
        yield Row(Section.EXCEPTIONS, environment, actor, item, detail, action.at, located.where)
    yield from map(_unfinished, started.values())


def _unfinished(located: LocatedEntry) -> Row:
    action = located.entry.action
    item = f"{_describe(action)}: started, but no end is recorded"
    detail = "the program was killed, or is still running"
    return Row(Section.EXCEPTIONS, action.environment or "", _actor(action), item, detail, action.at, located.where)


def _outcome(action: Action) -> str:
    return _DRY_RUN[action.outcome] if action.subject.get("dry_run") else action.outcome


def _actor(action: Action) -> str:
    actor = action.actor
    return f"{actor.kind} {actor.user or f'uid {actor.uid}'}@{actor.host}"


def _describe(action: Action) -> str:
    """The action's name, the app, target, or secret that an operator wrote, and the step."""
    names = ("app", "target", *(_SECRET_KEYS if action.actor.kind == "operator" else ()))
    target = next((str(action.subject[key]) for key in names if key in action.subject), "")
    if action.actor.kind == "operator" and "key" in action.subject:
        target = f"{target}: {action.subject['key']}"
    step = action.subject.get("step")
    return " ".join(filter(None, (action.name, target, f"({step})" if step else "")))


def _timestamp(text: str, default: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return default
