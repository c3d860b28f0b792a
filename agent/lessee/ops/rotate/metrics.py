"""The service's status as Prometheus reads it; imported when the first scrape comes."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from lessee.ops.rotate.policy.journal import Step
from lessee.telemetry import exposition as ex

_FIGURES = {
    "last_success_timestamp_seconds": ("last", "When it was last rotated."),
    "next_due_timestamp_seconds": ("next", "When the next rotation may begin."),
    "interval_seconds": ("every", "How often it is to be rotated; absent: when somebody says so."),
    "failures_in_a_row": ("failures", "Failures since the last rotation that succeeded."),
    "failing": ("failing", "It has failed so often that a person must hear of it."),
    "confirmed_seconds": ("confirmed_in", "The last time from a rotation's start until all consumers had confirmed."),
    "open_step_age_seconds": ("open_for", "How long the rotation that is open has been so; 0: none is."),
    "consumers_missing": ("missing", "Consumers that have not confirmed the newest credential."),
}


def exposition(status: Mapping[str, Any]) -> bytes:
    """The text format of the metrics of one status."""
    return ex.exposition(_all(status))


def _all(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield ex.info("rotator", status)
    text = "Vault answers, and how each target stands is known."
    yield from ex.gauge("lessee_rotation_ready", text, status["ready"])
    yield from ex.gauge("lessee_rotation_vault_reachable", "Vault answers.", status["vault"]["reachable"])
    yield from ex.gauge("lessee_rotation_problems", "Problems told in the status.", len(status["problems"]))
    yield from _targets(status["targets"])
    yield from ex.trail(status)


def _targets(targets: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    counts = [([name], target["count"]) for name, target in targets.items()]
    yield ex.counters("lessee_rotation_rotations", "Rotations that were published.", ["target"], counts)
    for metric, (key, text) in _FIGURES.items():
        values = {
            name: _number(target[key], none=0.0 if key == "open_for" else None) for name, target in targets.items()
        }
        yield ex.gauges(f"lessee_rotation_{metric}", text, "target", values)
    steps = {name: target["step"] for name, target in targets.items()}
    text = "1 at the step at which it is."
    yield ex.standings("lessee_rotation_step", text, ["target", "step"], (one.value for one in Step), steps)


def _number(value: Any, *, none: float | None) -> float | None:
    match value:
        case None:
            return none
        case list():
            return len(value)
        case str():
            return ex.moment(value)
        case _:
            return float(value)
