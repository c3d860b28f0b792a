"""The base of all rules: a rule takes requests, and `evaluate` returns what it detected."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from lessee.config.durations import spell
from lessee.core.immutable import ImmutableStruct
from lessee.ops.monitor.policy.alerts import Detection
from lessee.ops.monitor.policy.classification import RequestKind
from lessee.ops.monitor.policy.service_status import Snapshot

_MAX_CACHED = 4096


class Request(ImmutableStruct, frozen=True):
    """A classified request. `at` is never later than now."""

    at: float
    kind: RequestKind
    operation: str
    path: str
    """Without the `data/` of KV version 2."""
    component: str
    address: str
    root: bool
    error: str | None
    denied: bool
    accessor: str = ""
    """The token's accessor or its HMAC, or empty."""


class Rule(ABC):
    """A rule with its counters, which are changed in place as in `rates`."""

    kinds: ClassVar[frozenset[RequestKind]] = frozenset()
    """The kinds of requests that the rule takes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def matches(self, kind: RequestKind, *, root: bool) -> bool:
        """Whether the rule takes requests of this kind, made with or without a root token."""
        del root
        return kind in self.kinds

    def take(self, request: Request) -> None:  # noqa: B027  # Many rules take no requests.
        """Count a request that matches."""

    def on_clock_set_back(self, now: float) -> None:  # noqa: B027  # Many rules store no moment.
        """Forget what was recorded in the future."""

    @abstractmethod
    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        """What the requests since the last evaluation and the snapshot show."""

    def state(self) -> Any:
        """What a restart must preserve, as JSON."""
        return None

    def restore(self, state: Any) -> None:  # noqa: B027  # Many rules have no state.
        """Take over the `state` of a rule with the same name and type."""


ALL_KINDS = frozenset(RequestKind)


def origin(request: Request) -> str:
    """The client's address."""
    return request.address or "the server itself"


def from_origin(request: Request) -> str:
    """The client's address as the end of a clause, or nothing for a request of the server itself."""
    return f" from {request.address}" if request.address else ""


class Filter:
    """The requests that a rule covers, by fnmatch patterns of path and component. Without patterns: all requests."""

    def __init__(self, paths: Sequence[str] = (), components: Sequence[str] = ()) -> None:
        self._paths, self._components = paths, components
        self._cache: dict[tuple[str, str], bool] = {}

    def covers(self, request: Request) -> bool:
        """Whether the patterns match the request."""
        if not self._paths and not self._components:
            return True
        key = (request.path, request.component)
        covered = self._cache.get(key)
        if covered is None:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            covered = _matches(request.path, self._paths) and _matches(request.component, self._components)
            self._cache[key] = covered
        return covered


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)


class DetectionBuffer:
    """Collects one detection for each subject until the next evaluation."""

    def __init__(self, rule: str, describe: Callable[[str, Request, int], str]) -> None:
        """`describe` makes the text from a subject, its latest request and a figure, once for each evaluation."""
        self._rule, self._describe = rule, describe
        self._latest: dict[str, tuple[Request, int, float, float, int]] = {}

    def add(self, subject: str, request: Request, figure: int = 0) -> None:
        """Add a request."""
        at = request.at
        known = self._latest.get(subject)
        first, last, count = (at, at, 0) if known is None else known[2:]
        self._latest[subject] = (request, figure, min(first, at), max(last, at), count + 1)

    def drain(self) -> Iterator[Detection]:
        """Return all detections, and remove them."""
        latest, self._latest = self._latest, {}
        for subject, (request, figure, first, last, count) in latest.items():
            yield Detection(self._rule, subject, self._describe(subject, request, figure), first, last, count)


def approximate(seconds: float) -> str:
    """A duration in the largest unit of which it has at least two."""
    for unit in (86400.0, 3600.0, 60.0):
        if seconds >= 2 * unit:
            return spell(seconds // unit * unit)
    return spell(float(max(1, round(seconds))))
