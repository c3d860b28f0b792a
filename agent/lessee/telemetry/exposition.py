"""What the metrics of all programs are made of; imported when the first scrape comes.

The names follow Prometheus' rules: base units, `_total` for what only grows, `_timestamp_seconds` for moments. What has
no value now is left out instead of being 0. Labels are of what the configuration names, never of what a request does.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def exposition(families: Iterable[Metric]) -> bytes:
    """The text format of these, and of the process itself: its memory, CPU time, open files and start."""
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
    """What runs here: the same name for all programs, so that one query tells which versions there are."""
    said = {
        "program": program,
        "version": status["version"],
        "environment": status.get("environment") or "",
        "python": platform.python_version(),
    }
    family = GaugeMetricFamily("lessee_info", "What runs here; always 1.", labels=list(said))
    family.add_metric(list(said.values()), 1)
    return family


def trail(status: Mapping[str, Any]) -> Iterator[Metric]:
    """Of a program that records its acts."""
    if "trail" in status:
        text = "The acts are written to the trail; 0: they wait, and the oldest are dropped in the end."
        yield from gauge("lessee_trail_written", text, status["trail"]["written"])


def gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
    """One value, or none."""
    if value is not None:
        yield GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """What only grows; `name` is without `_total`."""
    return CounterMetricFamily(name, text, value=value)


def gauges(name: str, text: str, label: str, values: Mapping[str, float | None]) -> Metric:
    """A value each, by one label; those that have none are left out."""
    known = [([key], value) for key, value in values.items() if value is not None]
    return labelled(name, text, [label], known)


def labelled(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """A value each, by several labels."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def counters(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """What only grows, by labels; `name` is without `_total`."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def standings(name: str, text: str, labels: Sequence[str], steps: Iterable[str], now: Mapping[str, str]) -> Metric:
    """For each key of `now` all steps, 1 at the one at which it is: an alert can name one, and none ever vanishes."""
    every = tuple(steps)
    return labelled(name, text, labels, [([key, step], step == at) for key, at in now.items() for step in every])


def moment(spelled: str | None) -> float | None:
    """Seconds since 1970."""
    return datetime.fromisoformat(spelled).timestamp() if spelled else None
