"""What the trail says of a time: acts, what was read, and what went wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from lessee.audit_trail.policy.entries import ALTERED, REPAIRED, Action
from lessee.audit_trail.policy.verification import Finding
from lessee.ops.audit.policy.rows import Placed, Row, Section

_ODD = frozenset({"actions dropped", REPAIRED, ALTERED, "consumer not confirmed in time"})
_SECRETS = ("secret", "path")


@dataclass(slots=True)
class _Group:
    """Entries that are one line: however many, little of them is kept."""

    first: str = ""
    last: str = ""
    count: int = 0
    at: str = ""
    versions: set[int] = field(default_factory=set)

    def take(self, one: Placed) -> None:
        self.first = self.first or one.where
        self.last, self.at = one.where, one.entry.action.at
        self.count += 1

    @property
    def places(self) -> str:
        return self.first if self.count == 1 else f"{self.first} … {self.last}"


def within(placed: Iterable[Placed], begins: float, ends: float) -> Iterator[Placed]:
    """Those of a time, in seconds since 1970; `ends` is outside. A moment that is none is within."""
    return (one for one in placed if begins <= _moment(one.entry.action.at, begins) < ends)


def acts(placed: Iterable[Placed]) -> Iterator[Row]:
    """The same act of the same actor is one line, with how often it was done and where it stands first and last."""
    groups: dict[tuple[str, ...], _Group] = {}
    for one in placed:
        action = one.entry.action
        groups.setdefault((action.environment or "", _who(action), _what(action), action.outcome), _Group()).take(one)
    for (environment, who, what, outcome), some in groups.items():
        times = f"{some.count} times {outcome}" if some.count > 1 else outcome
        yield Row(Section.ACTS, environment, who, what, times, some.at, some.places)


def reads(placed: Iterable[Placed]) -> Iterator[Row]:
    """Which secrets agents had, by the versions that they read."""
    groups: dict[tuple[str, str, str], _Group] = {}
    for one in placed:
        action = one.entry.action
        path = next((str(action.subject[key]) for key in _SECRETS if key in action.subject), None)
        if action.name in {"read", "issued", "read a static role"} and path is not None:
            group = groups.setdefault((action.environment or "", _who(action), path), _Group())
            group.take(one)
            version = action.subject.get("version")
            if isinstance(version, int):
                group.versions.add(version)
    for (environment, who, path), some in groups.items():
        versions = ", ".join(map(str, sorted(some.versions)))
        detail = f"versions {versions}" if versions else f"{some.count} times"
        yield Row(Section.READS, environment, who, path, detail, some.at, some.places)


def oddities(placed: Iterable[Placed], findings: Iterable[Finding], folder: str) -> Iterator[Row]:
    """What failed, what was begun and has no end, what somebody changed by hand, and where the trail was altered."""
    for finding in findings:
        where = f"{folder}/{finding.file}:{finding.line}"
        yield Row(Section.EXCEPTIONS, "", "", "the audit trail was altered", f"entry {finding.n}: {finding.what}", "", where)
    started: dict[tuple[str, ...], Placed] = {}
    for one in placed:
        action = one.entry.action
        key = (action.environment or "", _who(action), action.name)
        if action.actor.kind == "operator" and "step" not in action.subject:
            if action.outcome == "started" and key in started:
                yield _endless(started.pop(key))
            if action.outcome == "started":
                started[key] = one
            else:
                started.pop(key, None)
        if action.outcome == "failed" or action.name in _ODD:
            said = action.subject.get("reason", action.subject.get("what", ""))
            yield Row(Section.EXCEPTIONS, key[0], key[1], _what(action), str(said) or action.outcome, action.at, one.where)
        elif str(action.subject.get("step", "")).startswith("!"):
            what = str(action.subject["step"]).removeprefix("!").strip()
            yield Row(Section.EXCEPTIONS, key[0], key[1], "changed by hand", what, action.at, one.where)
    yield from map(_endless, started.values())


def _endless(one: Placed) -> Row:
    action = one.entry.action
    what = f"{_what(action)}: started, but no end is recorded"
    return Row(
        Section.EXCEPTIONS, action.environment or "", _who(action), what, "it was killed, or goes on", action.at, one.where
    )


def _who(action: Action) -> str:
    actor = action.actor
    return f"{actor.kind} {actor.user or f'uid {actor.uid}'}@{actor.host}"


def _what(action: Action) -> str:
    about = next((str(action.subject[key]) for key in ("app", "target") if key in action.subject), "")
    step = action.subject.get("step")
    return " ".join(filter(None, (action.name, about, f"({step})" if step else "")))


def _moment(text: str, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return otherwise
