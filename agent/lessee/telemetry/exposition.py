"""The building blocks of all programs' metrics; imported at the first scrape.

Names follow Prometheus' rules: base units, `_total` for counters, `_timestamp_seconds` for points in time. A metric
without a value is absent instead of 0. The values of labels are names from the configuration or short lists.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from lessee.core.timestamps import parse_timestamp

Histogram = Mapping[str, Any]
"""`buckets` with the number of values up to each bound, `count` and `sum`."""


def exposition(families: Iterable[Metric]) -> bytes:
    """Prometheus' text format of these metrics, and of the process: its memory, CPU time, open files and start."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(families))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Collector:
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def info(program: str, status: Mapping[str, Any]) -> Metric:
    """The program and its version: one name for all programs, so that one query lists all versions."""
    labels = {
        "program": program,
        "version": status["version"],
        "environment": status.get("environment") or "",
        "python": platform.python_version(),
    }
    family = GaugeMetricFamily("lessee_info", "Program, version and environment; always 1.", labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def audit_trail(status: Mapping[str, Any]) -> Iterator[Metric]:
    """The metric of a program with an audit trail."""
    if "audit_trail" in status:
        text = "Whether the audit trail can be written; 0: actions are queued, and the oldest are dropped in the end."
        yield from gauge("lessee_audit_trail_writable", text, status["audit_trail"]["writable"])


def gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
    """A gauge without labels; absent if there is no value."""
    if value is not None:
        yield GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """A counter without labels; `name` is without `_total`."""
    return CounterMetricFamily(name, text, value=value)


def gauges(name: str, text: str, label: str, values: Mapping[str, float | None]) -> Metric:
    """A gauge with one label; absent for each key without a value."""
    known = [([key], value) for key, value in values.items() if value is not None]
    return labeled_gauge(name, text, [label], known)


def labeled_gauge(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """A gauge with several labels."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def counters(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """A counter with labels; `name` is without `_total`."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def histograms(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], Histogram]]
) -> Metric:
    """A histogram with labels; each value has its cumulative `buckets`, its `count` and its `sum`."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, value in values:
        buckets = [(str(bound), count) for bound, count in value["buckets"]]
        family.add_metric(key, [*buckets, ("+Inf", value["count"])], value["sum"])
    return family


def state_set(name: str, text: str, labels: Sequence[str], states: Iterable[str], now: Mapping[str, str]) -> Metric:
    """All states for each key of `now`, 1 for the current one: an alert can name any state, and no series vanishes."""
    known = tuple(states)
    values = [([key, state], state == current) for key, current in now.items() for state in known]
    return labeled_gauge(name, text, labels, values)


def timestamp(text: str | None) -> float | None:
    """Seconds since 1970 of a timestamp in RFC 3339; None for None."""
    return parse_timestamp(text) if text else None
