"""The monitor's status as Prometheus reads it; imported when the first scrape comes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from lessee.telemetry import exposition as ex

_COUNTS = {
    "lines": "Lines that were read.",
    "invalid_lines": "Lines that are no audit entries.",
    "gaps": "Places where lines are lost.",
}
_PUBLISHED = {"published": "Changes that were published.", "dropped": "Changes that were dropped."}


def exposition(status: Mapping[str, Any]) -> bytes:
    """The text format of the metrics of one status. No path and no address is a label: there is no end of them."""
    return ex.exposition(_all(status))


def _all(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield ex.info("monitor", status)
    yield from ex.gauge("lessee_monitor_ready", "All audit logs can be read.", status["ready"])
    yield from ex.gauge("lessee_monitor_problems", "Problems told in the status.", len(status["problems"]))
    yield from _sources(status["sources"])
    operations = status["accesses"]["by_operation"]
    counts = [([operation, outcome], n) for operation, by in operations.items() for outcome, n in by.items()]
    yield ex.counters("lessee_monitor_accesses", "Answered requests.", ["operation", "outcome"], counts)
    if "alerts" in status:
        yield _alerts(status["alerts"])
    if "destinations" in status:
        yield from _publishing(status["destinations"])


def _sources(sources: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    def each(name: str, text: str, values: Mapping[str, float | None]) -> Metric:
        return ex.gauges(f"lessee_monitor_{name}", text, "source", values)

    for key, text in _COUNTS.items():
        counts = [([one["name"]], one[key]) for one in sources]
        yield ex.counters(f"lessee_monitor_{key}", text, ["source"], counts)
    yield each("behind_bytes", "What is still to be read.", {one["name"]: one["lag_bytes"] for one in sources})
    text = "When the last line was written that was read."
    yield each("last_line_timestamp_seconds", text, {one["name"]: ex.moment(one["last_at"]) for one in sources})
    failing = {one["name"]: one["error"] is not None for one in sources}
    yield each("source_failing", "The audit log cannot be read.", failing)


def _alerts(alerts: Sequence[Mapping[str, Any]]) -> Metric:
    """By rule and severity; of what, the alert itself says."""
    firing = Counter((one["rule"], one["severity"]) for one in alerts if one["firing"])
    # One that has come to an end is still in the status for a while, and is then 0 instead of gone.
    standing = {(one["rule"], one["severity"]): firing[one["rule"], one["severity"]] for one in alerts}
    return ex.labelled("lessee_monitor_alerts", "Alerts that fire.", ["rule", "severity"], standing.items())


def _publishing(publishers: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    for key, text in _PUBLISHED.items():
        counts = [([name], one[key]) for name, one in publishers.items()]
        yield ex.counters(f"lessee_monitor_{key}", text, ["publisher"], counts)
    waiting = {name: one["pending"] for name, one in publishers.items()}
    yield ex.gauges("lessee_monitor_waiting", "Changes that are still to be told.", "publisher", waiting)
    reachable = {name: one["reachable"] for name, one in publishers.items()}
    yield ex.gauges("lessee_monitor_publisher_reachable", "Changes can be told there.", "publisher", reachable)
