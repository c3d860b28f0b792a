"""Records which tokens did by themselves what a rule is about: only these can be struck.

An alert names its subject, and a client may have chosen that name: the client that creates a token chooses its display
name and its metadata, and so the role that the log has. The server makes an accessor, and it belongs to one token.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import tzinfo

from lessee.config.grammar import alerts as grammar
from lessee.config.time_windows import spans
from lessee.core.immutable import ImmutableStruct
from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.classification import (
    RequestKind,
    classify,
    component,
    is_denied,
    printable,
    secret_path,
)
from lessee.ops.monitor.policy.rates import Window
from lessee.ops.monitor.policy.rules.hours import OutsideHours
from lessee.ops.monitor.policy.rules.rule import Filter, Request
from lessee.ops.monitor.policy.service_status import Snapshot

MAX_AGE = 600.0
"""Seconds after which a request is history: a monitor that reads an old log strikes nothing because of it."""
MAX_TOKENS = 1000
"""Tokens that are recorded for one rule. More forget those that were quiet for the longest time."""
_MAX_PATHS = 20
_MAX_LABELS = 20
_CHANGES = {
    grammar.PolicyChanged: RequestKind.POLICY,
    grammar.AuthChanged: RequestKind.AUTH,
    grammar.AuditChanged: RequestKind.AUDIT,
}


class Suspect(ImmutableStruct, frozen=True):
    """A token that did it itself. `labels`: the names under which alerts may know it."""

    accessor: str
    """As the log has it: an HMAC, or the accessor itself."""
    labels: tuple[str, ...]
    last_at: float


class _Track:
    """What one token has done, as far as one rule is concerned."""

    __slots__ = ("denials", "labels", "offended_at", "reads")

    def __init__(self) -> None:
        self.denials = 0
        self.reads: dict[str, Window] = {}
        self.labels: dict[str, None] = {}
        self.offended_at: float | None = None


_Judge = Callable[[_Track, Request], bool | None]
"""Whether a request completes what the rule is about; None: the request does not concern the rule."""


class Evidence:
    """The tokens by rule, changed in place as the rules are. Moments are in seconds since 1970."""

    def __init__(self, rules: Mapping[str, grammar.Rule], timezone: Callable[[str], tzinfo]) -> None:
        """`rules`: those that responses are bound to. Only rules about requests count."""
        self._judges: dict[str, tuple[Filter, _Judge]] = {}
        self._exact: set[str] = set()
        for name, rule in rules.items():
            judge = _judge(rule, timezone)
            if judge is not None and isinstance(rule, grammar.AccessRule):
                self._judges[name] = Filter(rule.paths, rule.components), judge
            if isinstance(rule, grammar.FirstRead):
                self._exact.add(name)
        self._tracks: dict[str, dict[str, _Track]] = {name: {} for name in self._judges}

    def take(self, accesses: Iterable[Access], now: float) -> None:
        """Record requests. Those of root tokens, and without a token, are left out, and so is what is history."""
        for access in accesses:
            if access.accessor and not access.root and now - MAX_AGE < access.at:
                request = _request(access, min(access.at, now))
                for name in self._judges:
                    self._record(name, access.accessor, request)

    def suspects(self, rule: str, subjects: Container[str], now: float) -> Iterator[Suspect]:
        """The tokens that did it within MAX_AGE, the newest last.

        `subjects`: of the rule's alerts, which count where only they say what is new.
        """
        for accessor, track in self._tracks.get(rule, {}).items():
            at = track.offended_at
            if at is None or at <= now - MAX_AGE:
                continue
            if rule not in self._exact or any(label in subjects for label in track.labels):
                yield Suspect(accessor, tuple(track.labels), at)

    def _record(self, rule: str, accessor: str, request: Request) -> None:
        (scope, judge), tracks = self._judges[rule], self._tracks[rule]
        track = tracks.get(accessor) or _Track()
        if _ends_denials(request):
            track.denials = 0  # A success at any path ends a row of denials.
        if not scope.covers(request):
            return
        verdict = judge(track, request)
        if verdict is None:
            return
        for label in _labels(request):
            track.labels.pop(label, None)
            track.labels[label] = None
        while len(track.labels) > _MAX_LABELS:
            del track.labels[next(iter(track.labels))]
        if verdict:
            track.offended_at = request.at
        tracks.pop(accessor, None)
        tracks[accessor] = track
        if len(tracks) > MAX_TOKENS:
            del tracks[next(iter(tracks))]


def _judge(rule: grammar.Rule, timezone: Callable[[str], tzinfo]) -> _Judge | None:
    match rule:
        case grammar.Denials():
            return _denials(rule.limit)
        case grammar.Reads():
            return _reads(rule.limit, rule.window, by_path="path" in rule.group_by)
        case grammar.FirstRead():
            return lambda _track, request: _is_read(request) or None
        case grammar.OutsideHours():
            return _outside_hours(rule, timezone)
        case grammar.PolicyChanged() | grammar.AuthChanged() | grammar.AuditChanged():
            kind = _CHANGES[type(rule)]
            return lambda _track, request: request.kind is kind or None
        case _:
            return None


def _denials(limit: int) -> _Judge:
    def judge(track: _Track, request: Request) -> bool | None:
        if not request.denied:
            return None
        track.denials += 1
        return track.denials >= limit

    return judge


def _reads(limit: int, window: float, *, by_path: bool) -> _Judge:
    def judge(track: _Track, request: Request) -> bool | None:
        if not _is_read(request):
            return None
        key = request.path if by_path else ""
        count = track.reads.get(key)
        if count is None:
            if len(track.reads) >= _MAX_PATHS:
                del track.reads[next(iter(track.reads))]
            count = track.reads[key] = Window(window)
        count.add(request.at)
        return count.total > limit

    return judge


def _outside_hours(rule: grammar.OutsideHours, timezone: Callable[[str], tzinfo]) -> _Judge:
    clock = OutsideHours("", Filter(), spans(rule.hours), timezone(rule.timezone))

    def judge(_track: _Track, request: Request) -> bool | None:
        if not _is_read(request):
            return None
        clock.take(request)
        return any(clock.evaluate(Snapshot(request.at)))

    return judge


def _ends_denials(request: Request) -> bool:
    """Whether it succeeded, and by a right that the token was given: `bao kv get` asks for the mount first."""
    return not request.denied and request.kind is not RequestKind.OWN


def _is_read(request: Request) -> bool:
    return request.kind is RequestKind.READ and not request.denied


def _labels(request: Request) -> tuple[str, ...]:
    who = request.component
    pairs = (f"{who}: {request.path}", f"{who}: {request.address or 'the server itself'}")
    return who, request.path, request.address, *pairs


def _request(access: Access, at: float) -> Request:
    kind = classify(access.operation, access.path, access.mount, access.mount_type)
    return Request(
        at,
        kind,
        access.operation,
        secret_path(access.path, access.mount, access.mount_type, access.namespace),
        component(access),
        printable(access.address),
        access.root,
        access.error,
        is_denied(access, kind),
    )
