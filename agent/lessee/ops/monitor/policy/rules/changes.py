"""Rules about requests that each matter on their own: use of a root token, and changes of access control."""

from collections.abc import Iterator

from lessee.ops.monitor.policy.alerts import Detection
from lessee.ops.monitor.policy.classification import RequestKind, printable
from lessee.ops.monitor.policy.rules.rule import DetectionBuffer, Filter, Request, Rule, origin
from lessee.ops.monitor.policy.service_status import Snapshot


class RootUsed(Rule):
    """A root token was used."""

    def __init__(self, name: str, scope: Filter) -> None:
        super().__init__(name)
        self._scope, self._buffer = scope, DetectionBuffer(name, _describe_root)

    def matches(self, kind: RequestKind, *, root: bool) -> bool:
        del kind
        return root

    def take(self, request: Request) -> None:
        if self._scope.covers(request):
            self._buffer.add(origin(request), request)

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        del snapshot
        return self._buffer.drain()


class Changed(Rule):
    """A client changed a policy, an auth method or an audit device, or tried to."""

    def __init__(self, name: str, scope: Filter, kind: RequestKind) -> None:
        super().__init__(name)
        self._scope, self._kind, self._buffer = scope, kind, DetectionBuffer(name, _describe_change)

    def matches(self, kind: RequestKind, *, root: bool) -> bool:
        del root
        return kind is self._kind

    def take(self, request: Request) -> None:
        if self._scope.covers(request):
            self._buffer.add(request.path, request)

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        del snapshot
        return self._buffer.drain()


def _describe_root(_subject: str, request: Request, _figure: int) -> str:
    operation = f"{printable(request.operation)} {request.path}"
    return f"a root token was used from {origin(request)}: {operation}{_failure(request)}"


def _describe_change(_subject: str, request: Request, _figure: int) -> str:
    if request.error is not None:
        verb = f"tried to {printable(request.operation)}"
    else:
        verb = "deleted" if request.operation == "delete" else "wrote"
    return f"{request.component} {verb} {request.path} from {origin(request)}{_failure(request)}"


def _failure(request: Request) -> str:
    return f"; the request failed: {printable(request.error)}" if request.error is not None else ""
