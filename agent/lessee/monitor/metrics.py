"""The monitor's status as Prometheus reads it; imported when the first scrape comes."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_SOURCE_COUNTS = {"lines": "Lines that were read.", "rubbish": "Lines that are none of an audit log.",
                  "gaps": "Places where lines are lost."}  # fmt: skip


def exposition(status: Mapping[str, Any]) -> bytes:
    """The text format of the metrics of one status."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(status))
    return generate_latest(registry)


class _Collector:
    def __init__(self, status: Mapping[str, Any]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status
        yield GaugeMetricFamily("lessee_monitor_ready", "All audit logs can be read.", value=status["ready"])
        yield GaugeMetricFamily("lessee_monitor_problems", "Problems in the status.", value=len(status["problems"]))
        for key, text in _SOURCE_COUNTS.items():
            count = CounterMetricFamily(f"lessee_monitor_{key}", text, labels=["source"])
            for source in status["sources"]:
                count.add_metric([source["name"]], source[key])
            yield count
        rest = GaugeMetricFamily("lessee_monitor_behind_bytes", "Bytes that are still to be read.", labels=["source"])
        for source in status["sources"]:
            rest.add_metric([source["name"]], source["behind_bytes"])
        yield rest
        count = CounterMetricFamily("lessee_monitor_accesses", "Answered requests.", labels=["operation", "outcome"])
        for operation, by_outcome in status["accesses"]["by_operation"].items():
            for outcome, number in by_outcome.items():
                count.add_metric([operation, outcome], number)
        yield count
