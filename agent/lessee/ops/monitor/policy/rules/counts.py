"""Rules that count: too many reads, denials in a row, and first reads."""

from collections.abc import Iterator
from heapq import nlargest
from typing import Any, Literal

from lessee.config.durations import spell
from lessee.core.printable import counted
from lessee.ops.monitor.policy.alerts import Detection
from lessee.ops.monitor.policy.classification import UNAUTHENTICATED, RequestKind, printable
from lessee.ops.monitor.policy.rates import OTHER, PARTS, Busiest, Window
from lessee.ops.monitor.policy.rules.rule import (
    ALL_KINDS,
    DetectionBuffer,
    Filter,
    Request,
    Rule,
    from_origin,
    origin,
)
from lessee.ops.monitor.policy.service_status import Snapshot

MAX_SUBJECTS = 1000
"""Subjects that a rule counts one by one. Further subjects share one count."""
MAX_PAIRS = 5000
"""Pairs of component and path that a rule counts. Of more, those with the fewest reads are forgotten."""
MAX_KNOWN_READS = 5000
"""Pairs of component and path, or component and address, that the rule about first reads remembers."""
_PARTS_OF_PAIRS = 12
"""Of the window of a pair, which is up to a twelfth shorter: there are many."""
_IDLE = 3600.0
_MAX_NAMED = 3
_MAX_SAVED = 50
"""Subjects of which a restart preserves the busiest names."""
_DETAILS = {"component": ("paths", "path"), "address": ("paths", "path"), "path": ("components", "component")}
"""What a subject's alert names the busiest of, and the request's field that has it."""


class Reads(Rule):
    """More than `limit` reads in the last `window` seconds."""

    kinds = frozenset({RequestKind.READ})

    def __init__(
        self,
        name: str,
        scope: Filter,
        limit: int,
        window: float,
        group_by: Literal["component", "path", "address", "component-and-path"],
    ) -> None:
        super().__init__(name)
        self._scope, self._limit, self._window, self._group_by = scope, limit, window, group_by
        self._counts: dict[str, Window] = {}
        self._busiest: dict[str, Busiest] = {}
        """The busiest paths or components of each subject."""
        self._buffer = DetectionBuffer(name, self._describe)

    def take(self, request: Request) -> None:
        if request.denied or not self._scope.covers(request):
            return
        subject = self._subject(request)
        count = self._counts.get(subject)
        if count is None:
            count = self._add_count(subject)
        subject = OTHER if count is self._counts.get(OTHER) else subject
        count.add(request.at)
        if self._group_by in _DETAILS:
            busiest = self._busiest.get(subject)
            if busiest is None:
                busiest = self._busiest[subject] = Busiest(self._window)
            busiest.add(getattr(request, _DETAILS[self._group_by][1]), request.at)
        if count.total > self._limit:
            self._buffer.add(subject, request, count.total)

    def _subject(self, request: Request) -> str:
        if self._group_by == "component-and-path":
            return f"{request.component}: {request.path}"
        subject: str = getattr(request, self._group_by)
        return subject

    def _describe(self, subject: str, request: Request, count: int) -> str:
        named = ""
        if subject in self._busiest:
            top = ", ".join(f"{name} ({reads})" for name, reads in self._busiest[subject].top(_MAX_NAMED))
            named = f"busiest {_DETAILS[self._group_by][0]}: {top}; "
        return (
            f"{subject or 'the server itself'}: {counted(count, 'read')} within {spell(self._window)}, the limit is "
            f"{self._limit}; {named}last read: {request.path} by {request.component} from {origin(request)}"
        )

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        found = list(self._buffer.drain())
        if len(self._counts) >= self._max_subjects():
            self._counts = {name: count for name, count in self._counts.items() if count.at(snapshot.now)}
            self._busiest = {name: busiest for name, busiest in self._busiest.items() if name in self._counts}
        yield from found

    def _max_subjects(self) -> int:
        return MAX_PAIRS if self._group_by == "component-and-path" else MAX_SUBJECTS

    def on_clock_set_back(self, now: float) -> None:
        for count in self._counts.values():
            count.on_clock_set_back(now)
        self._busiest.clear()

    def state(self) -> Any:
        counts = {name: count.state() for name, count in self._counts.items() if count.total}
        saved = nlargest(_MAX_SAVED, self._busiest, key=lambda name: self._counts[name].total)
        busiest = {name: self._busiest[name].state() for name in saved}
        return {"window": self._window, "group_by": self._group_by, "counts": counts, "busiest": busiest}

    def restore(self, state: Any) -> None:
        if (state["window"], state["group_by"]) == (self._window, self._group_by):
            for name, count in state["counts"].items():
                self._add_count(name).restore(count)
            for name, busiest in state.get("busiest", {}).items():
                self._busiest[name] = Busiest(self._window)
                self._busiest[name].restore(busiest)

    def _add_count(self, subject: str) -> Window:
        if len(self._counts) >= self._max_subjects() and subject != OTHER:
            if self._group_by != "component-and-path":
                return self._counts.get(OTHER) or self._add_count(OTHER)
            # A common count of thousands of pairs would exceed the limit of one.
            most = nlargest(MAX_PAIRS - MAX_PAIRS // 10, self._counts, key=lambda name: self._counts[name].total)
            self._counts = {name: self._counts[name] for name in most}
        parts = _PARTS_OF_PAIRS if self._group_by == "component-and-path" else PARTS
        count = self._counts[subject] = Window(self._window, parts)
        return count


class Denials(Rule):
    """`limit` denials in a row of one component or of one of its tokens, or of one address without a valid token.

    A client with a copied login is the component of an app that works: only the copy's token has its denials in a row.
    """

    kinds = ALL_KINDS

    def __init__(self, name: str, scope: Filter, limit: int) -> None:
        super().__init__(name)
        self._scope, self._limit = scope, limit
        self._rows: dict[str, tuple[int, float]] = {}
        """Denials in a row and the time of the last one, by subject."""
        self._tokens: dict[str, tuple[int, float]] = {}
        """The same by component and accessor of a token."""
        self._buffer = DetectionBuffer(name, _describe_denials)

    def take(self, request: Request) -> None:
        if not request.denied:
            if (self._rows or self._tokens) and request.kind is not RequestKind.OWN:
                self._rows.pop(request.component, None)
                self._tokens.pop(_token(request), None)
                if request.kind is RequestKind.LOGIN:
                    self._rows.pop(_unauthenticated(request), None)
            return
        if not self._scope.covers(request):
            return
        subject = _unauthenticated(request) if request.component == UNAUTHENTICATED else request.component
        if subject not in self._rows and len(self._rows) >= MAX_SUBJECTS:
            subject = OTHER
        count = self._rows.get(subject, (0, 0.0))[0] + 1
        self._rows[subject] = (count, request.at)
        token = _token(request)
        has_token = bool(request.accessor) and request.component != UNAUTHENTICATED
        if token in self._tokens or (has_token and len(self._tokens) < MAX_SUBJECTS):
            of_token = self._tokens.get(token, (0, 0.0))[0] + 1
            self._tokens[token] = (of_token, request.at)
            count = max(count, of_token)
        if count >= self._limit:
            self._buffer.add(subject, request, count)

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        if len(self._rows) >= MAX_SUBJECTS:
            self._rows = {name: row for name, row in self._rows.items() if snapshot.now - row[1] < _IDLE}
        if len(self._tokens) >= MAX_SUBJECTS:
            self._tokens = {name: row for name, row in self._tokens.items() if snapshot.now - row[1] < _IDLE}
        return self._buffer.drain()

    def on_clock_set_back(self, now: float) -> None:
        self._rows, self._tokens = (
            {name: (count, min(at, now)) for name, (count, at) in rows.items()} for rows in (self._rows, self._tokens)
        )

    def state(self) -> Any:
        return {"rows": self._rows, "tokens": self._tokens}

    def restore(self, state: Any) -> None:
        self._rows, self._tokens = (
            {name: (count, at) for name, (count, at) in state[part].items()} for part in ("rows", "tokens")
        )


class FirstRead(Rule):
    """A component reads a path, or reads from an address, for the first time."""

    kinds = frozenset({RequestKind.READ})

    def __init__(self, name: str, scope: Filter, group_by: Literal["path", "address"], learning_period: float) -> None:
        super().__init__(name)
        self._scope, self._group_by, self._learning_period = scope, group_by, learning_period
        self._learning_since: float | None = None
        self._known: dict[tuple[str, str], float] = {}
        """The time of the last read, by component and path or address."""
        self._buffer = DetectionBuffer(name, self._describe)

    def take(self, request: Request) -> None:
        if request.denied or not self._scope.covers(request):
            return
        if self._learning_since is None:
            self._learning_since = request.at
        value: str = getattr(request, self._group_by)
        key = (request.component, value)
        if key not in self._known and request.at - self._learning_since >= self._learning_period:
            self._buffer.add(f"{request.component}: {value or 'the server itself'}", request)
        self._known[key] = max(request.at, self._known.get(key, 0.0))

    def _describe(self, _subject: str, request: Request, _figure: int) -> str:
        novelty = "this path" if self._group_by == "path" else "this address"
        verb = "of" if self._group_by == "path" else "from"
        return f"{request.component} read {request.path}{from_origin(request)}: its first read {verb} {novelty}"

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        del snapshot
        if len(self._known) > MAX_KNOWN_READS:
            # Forgetting the oldest reads costs at most one more alert.
            newest = sorted(self._known.items(), key=lambda item: -item[1])[: MAX_KNOWN_READS - MAX_KNOWN_READS // 10]
            self._known = dict(newest)
        return self._buffer.drain()

    def on_clock_set_back(self, now: float) -> None:
        self._learning_since = min(now, self._learning_since or now)
        self._known = {key: min(at, now) for key, at in self._known.items()}

    def state(self) -> Any:
        known = [[*key, at] for key, at in self._known.items()]
        return {"group_by": self._group_by, "learning_since": self._learning_since, "known": known}

    def restore(self, state: Any) -> None:
        if state["group_by"] == self._group_by:
            self._learning_since = state["learning_since"]
            self._known = {(component, value): at for component, value, at in state["known"]}


def _describe_denials(subject: str, request: Request, count: int) -> str:
    last = f"{printable(request.operation)} {request.path}"
    return f"{subject}: {counted(count, 'denial')} in a row; last request: {last}{from_origin(request)}"


def _token(request: Request) -> str:
    return f"{request.component} {request.accessor}"


def _unauthenticated(request: Request) -> str:
    return f"{UNAUTHENTICATED} at {origin(request)}"
