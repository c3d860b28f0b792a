"""The service's status as Prometheus reads it; imported when the first scrape comes."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from lessee.core.rotation.journal import Step

_FIGURES = {
    "last_success_timestamp_seconds": ("last", "When it was last rotated."),
    "next_due_timestamp_seconds": ("next", "When the next rotation may begin."),
    "failures_in_a_row": ("failures", "Failures since the last rotation that succeeded."),
    "confirmed_seconds": ("confirmed_in", "The last time from a rotation's start until all consumers had confirmed."),
    "open_step_age_seconds": ("open_for", "How long the rotation that is open has been so; 0: none is."),
    "consumers_missing": ("missing", "Consumers that have not confirmed the newest credential."),
}


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
        info = GaugeMetricFamily("lessee_rotation_info", "The version.", labels=["version"])
        info.add_metric([status["version"]], 1)
        yield info
        yield GaugeMetricFamily(
            "lessee_rotation_ready", "Vault answers, and how each target stands is known.", value=status["ready"]
        )
        reachable = status["vault"]["reachable"]
        yield GaugeMetricFamily("lessee_rotation_vault_reachable", "Vault answers.", value=reachable)
        yield GaugeMetricFamily("lessee_rotation_problems", "Problems in the status.", value=len(status["problems"]))
        yield from _targets(status["targets"])


def _targets(targets: Mapping[str, Any]) -> Iterable[Metric]:
    count = CounterMetricFamily("lessee_rotation_rotations", "Rotations that were published.", labels=["target"])
    for name, target in targets.items():
        count.add_metric([name], target["count"])
    yield count
    for metric, (key, text) in _FIGURES.items():
        family = GaugeMetricFamily(f"lessee_rotation_{metric}", text, labels=["target"])
        for name, target in targets.items():
            value = _number(target[key], none=0.0 if key == "open_for" else None)
            if value is not None:
                family.add_metric([name], value)
        yield family
    where = GaugeMetricFamily("lessee_rotation_step", "1 at the step at which it is.", labels=["target", "step"])
    for name, target in targets.items():
        for one in Step:
            where.add_metric([name, one.value], one.value == target["step"])
    yield where


def _number(value: Any, *, none: float | None) -> float | None:
    match value:
        case None:
            return none
        case list():
            return len(value)
        case str():
            return datetime.fromisoformat(value).timestamp()
        case _:
            return float(value)
