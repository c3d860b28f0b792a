"""Measures how long each server takes for reads of secrets."""

from collections.abc import Mapping, Sequence
from typing import Any

from lessee.ops.monitor.policy.access import LogEntry
from lessee.ops.monitor.policy.classification import RequestKind, classify
from lessee.ops.monitor.policy.histogram import Histogram


class ReadLatency:
    """The durations since the monitor's first start, by audit log: that of each server of a cluster is its own."""

    name = "latency"

    def __init__(self) -> None:
        self._by_source: dict[str, Histogram] = {}

    def take(self, entries: Sequence[LogEntry]) -> None:
        """See Sink."""
        for entry in entries:
            access = entry.access
            if access.duration is None or access.error is not None:
                continue
            if classify(access.operation, access.path, access.mount, access.mount_type) is RequestKind.READ:
                self._by_source.setdefault(entry.source, Histogram()).observe(access.duration)

    def tick(self, now: float) -> None:
        """See Sink."""

    def state(self) -> Any:
        """See Sink."""
        return {source: histogram.state() for source, histogram in self._by_source.items()}

    def restore(self, state: Any) -> None:
        """See Sink."""
        try:
            for source, saved in state.items():
                histogram = Histogram()
                histogram.restore(saved)
                self._by_source[source] = histogram
        except (AttributeError, TypeError, ValueError):
            self._by_source.clear()
            raise ValueError from None

    def status(self) -> Mapping[str, Any]:
        """See Sink."""
        return {"read_latency": {source: histogram.view() for source, histogram in self._by_source.items()}}

    def close(self) -> None:
        """See Sink."""
