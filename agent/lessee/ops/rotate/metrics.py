"""The rotation service's metrics, derived from its status; imported at the first scrape."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from lessee.ops.rotate.policy.journal import Step
from lessee.telemetry import exposition as ex

_FIGURES = {
    "last_success_timestamp_seconds": ("last_rotated_at", "Time of the last rotation."),
    "next_rotation_timestamp_seconds": ("next_rotation_at", "Earliest time of the next rotation."),
    "entry_due": ("entry_due", "Whether an operator must enter a new credential: `lessee rotate TARGET --enter`."),
    "period_seconds": ("rotation_period", "The target's rotation_period; absent: it is rotated only on request."),
    "consecutive_failures": ("consecutive_failures", "Failures since the last successful rotation."),
    "failing": ("failing", "Whether it has failed so often that an operator must act."),
    "propagation_seconds": (
        "propagation_seconds",
        "Time from the last rotation's start until all consumers confirmed.",
    ),
    "open_seconds": ("open_seconds", "Age of the open rotation; 0: none is open."),
    "unconfirmed_consumers": ("unconfirmed_consumers", "Consumers that have not confirmed the newest credential."),
}


def exposition(status: Mapping[str, Any]) -> bytes:
    """The text format of the metrics of one status."""
    return ex.exposition(_all(status))


def _all(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield ex.info("rotator", status)
    text = "Whether Vault is available, and the journals of all targets have been read."
    yield from ex.gauge("lessee_rotation_ready", text, status["ready"])
    yield from ex.gauge("lessee_rotation_vault_reachable", "Whether Vault is available.", status["vault"]["reachable"])
    yield from ex.gauge("lessee_rotation_problems", "Problems listed in the status.", len(status["problems"]))
    yield from _targets(status["targets"])
    yield from ex.audit_trail(status)


def _targets(targets: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    counts = [([name], target["rotation_count"]) for name, target in targets.items()]
    yield ex.counters(
        "lessee_rotation_published", "Rotations that have published a new credential.", ["target"], counts
    )
    for metric, (key, text) in _FIGURES.items():
        values = {
            name: _number(target[key], none=0.0 if key == "open_seconds" else None) for name, target in targets.items()
        }
        yield ex.gauges(f"lessee_rotation_{metric}", text, "target", values)
    steps = {name: target["step"] for name, target in targets.items()}
    text = "1 for the current step of the target's rotation."
    yield ex.state_set("lessee_rotation_step", text, ["target", "step"], (one.value for one in Step), steps)


def _number(value: Any, *, none: float | None) -> float | None:
    match value:
        case None:
            return none
        case list():
            return len(value)
        case str():
            return ex.timestamp(value)
        case _:
            return float(value)
