"""The sink that knows which agents report to the rotator."""

from collections.abc import Mapping, Sequence
from typing import Any

from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.fleet import Reporters


class ReporterSink:
    """Its state is small: an agent reports after a rotation, and each has one entry."""

    name = "fleet"

    def __init__(self) -> None:
        self._reporters = Reporters()

    def take(self, entries: Sequence[LogEntry]) -> None:
        """See Sink."""
        for entry in entries:
            self._reporters.take(entry.access)

    def tick(self, now: float) -> None:
        """See Sink."""

    def state(self) -> Any:
        """See Sink."""
        return self._reporters.state()

    def restore(self, state: Any) -> None:
        """See Sink."""
        reporters = Reporters()
        try:
            reporters.restore(state)
        except (TypeError, ValueError):
            raise ValueError from None
        self._reporters = reporters

    def status(self) -> Mapping[str, Any]:
        """See Sink."""
        return {"fleet": dict(self._reporters.rows())}

    def close(self) -> None:
        """See Sink."""
