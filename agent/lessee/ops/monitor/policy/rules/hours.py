"""The rule about reads outside the expected hours of the week."""

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo

from lessee.config.time_windows import DAY, HOUR, WEEK, Span
from lessee.ops.monitor.policy.alerts import Detection
from lessee.ops.monitor.policy.classification import RequestKind
from lessee.ops.monitor.policy.rules.rule import DetectionBuffer, Filter, Request, Rule, from_origin
from lessee.ops.monitor.policy.service_status import Snapshot


class OutsideHours(Rule):
    """A read outside the given spans of the week, in a time zone."""

    kinds = frozenset({RequestKind.READ})

    def __init__(self, name: str, scope: Filter, hours: Sequence[Span], timezone: tzinfo) -> None:
        super().__init__(name)
        self._scope, self._hours, self._timezone = scope, hours, timezone
        self._minute, self._is_expected = -1.0, True
        self._buffer = DetectionBuffer(name, self._describe)

    def take(self, request: Request) -> None:
        if request.denied or not self._scope.covers(request):
            return
        minute = request.at // 60.0
        if minute != self._minute:
            # Spans begin and end at full minutes.
            local = datetime.fromtimestamp(request.at, self._timezone)
            self._minute, self._is_expected = minute, _is_within(local, self._hours)
        if not self._is_expected:
            self._buffer.add(request.component, request)

    def _describe(self, _subject: str, request: Request, _figure: int) -> str:
        local = datetime.fromtimestamp(request.at, self._timezone)
        when = f"on {local:%A at %H:%M} ({self._timezone})"
        return f"{request.component} read {request.path}{from_origin(request)} {when}, outside the expected hours"

    def evaluate(self, snapshot: Snapshot) -> Iterator[Detection]:
        del snapshot
        return self._buffer.drain()


def _is_within(local: datetime, hours: Sequence[Span]) -> bool:
    moment = local.weekday() * DAY + local.hour * HOUR + local.minute * 60.0 + local.second
    return any(begins <= at < ends for begins, ends in hours for at in (moment, moment + WEEK))
