"""What the trail says of a time: acts, what was read, and what went wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from lessee.audit_trail.policy.entries import ALTERED, MENDED, Act
from lessee.audit_trail.policy.verification import Finding
from lessee.ops.audit.policy.rows import Placed, Row, Section

_ODD = frozenset({"acts lost", MENDED, ALTERED, "not waited for any longer"})
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
        self.last, self.at = one.where, one.entry.act.at
        self.count += 1

    @property
    def places(self) -> str:
        return self.first if self.count == 1 else f"{self.first} … {self.last}"


def within(placed: Iterable[Placed], begins: float, ends: float) -> Iterator[Placed]:
    """Those of a time, in seconds since 1970; `ends` is outside. A moment that is none is within."""
    return (one for one in placed if begins <= _moment(one.entry.act.at, begins) < ends)


def acts(placed: Iterable[Placed]) -> Iterator[Row]:
    """The same act of the same actor is one line, with how often it was done and where it stands first and last."""
    groups: dict[tuple[str, ...], _Group] = {}
    for one in placed:
        act = one.entry.act
        groups.setdefault((act.environment or "", _who(act), _what(act), act.outcome), _Group()).take(one)
    for (environment, who, what, outcome), some in groups.items():
        times = f"{some.count} times {outcome}" if some.count > 1 else outcome
        yield Row(Section.ACTS, environment, who, what, times, some.at, some.places)


def reads(placed: Iterable[Placed]) -> Iterator[Row]:
    """Which secrets agents had, by the versions that they read."""
    groups: dict[tuple[str, str, str], _Group] = {}
    for one in placed:
        act = one.entry.act
        path = next((str(act.subject[key]) for key in _SECRETS if key in act.subject), None)
        if act.act in {"read", "issued", "read a static role"} and path is not None:
            group = groups.setdefault((act.environment or "", _who(act), path), _Group())
            group.take(one)
            version = act.subject.get("version")
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
        yield Row(Section.EXCEPTIONS, "", "", "the trail was altered", f"entry {finding.n}: {finding.what}", "", where)
    begun: dict[tuple[str, ...], Placed] = {}
    for one in placed:
        act = one.entry.act
        key = (act.environment or "", _who(act), act.act)
        if act.actor.kind == "operator" and "step" not in act.subject:
            if act.outcome == "begun" and key in begun:
                yield _endless(begun.pop(key))
            if act.outcome == "begun":
                begun[key] = one
            else:
                begun.pop(key, None)
        if act.outcome == "failed" or act.act in _ODD:
            said = act.subject.get("reason", act.subject.get("what", ""))
            yield Row(Section.EXCEPTIONS, key[0], key[1], _what(act), str(said) or act.outcome, act.at, one.where)
        elif str(act.subject.get("step", "")).startswith("!"):
            what = str(act.subject["step"]).removeprefix("!").strip()
            yield Row(Section.EXCEPTIONS, key[0], key[1], "changed by hand", what, act.at, one.where)
    yield from map(_endless, begun.values())


def _endless(one: Placed) -> Row:
    act = one.entry.act
    what = f"{_what(act)}: begun, and no end of it is recorded"
    return Row(
        Section.EXCEPTIONS, act.environment or "", _who(act), what, "it was killed, or goes on", act.at, one.where
    )


def _who(act: Act) -> str:
    actor = act.actor
    return f"{actor.kind} {actor.user or f'uid {actor.uid}'}@{actor.host}"


def _what(act: Act) -> str:
    about = next((str(act.subject[key]) for key in ("app", "target") if key in act.subject), "")
    step = act.subject.get("step")
    return " ".join(filter(None, (act.act, about, f"({step})" if step else "")))


def _moment(text: str, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return otherwise
