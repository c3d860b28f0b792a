"""The monitor's metrics, derived from its status; imported at the first scrape."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from lessee.ops.monitor.policy.fleet import STATES
from lessee.telemetry import exposition as ex

_COUNTS = {
    "lines": ("lines_read", "Lines read from the audit log."),
    "invalid_lines": ("invalid_lines", "Lines that are not audit entries."),
    "gaps": ("gaps", "Gaps in the audit log, where lines are lost."),
}
_OUTCOMES = ("succeeded", "denied", "failed")
_PUBLISHED = {"published": "Change events published.", "dropped": "Change events dropped."}


def exposition(status: Mapping[str, Any]) -> bytes:
    """The metrics of one status in Prometheus' text format. A path is a label only where series are bounded."""
    return ex.exposition(_all(status))


def _all(status: Mapping[str, Any]) -> Iterator[Metric]:
    yield ex.info("monitor", status)
    yield from ex.gauge("lessee_monitor_ready", "Whether all audit logs can be read.", status["ready"])
    yield from ex.gauge("lessee_monitor_problems", "Number of problems in the status.", len(status["problems"]))
    yield from _sources(status["sources"])
    operations = status["accesses"]["by_operation"]
    counts = [([operation, outcome], n) for operation, by in operations.items() for outcome, n in by.items()]
    yield ex.counters("lessee_monitor_accesses", "Requests in the audit log.", ["operation", "outcome"], counts)
    if "requests" in status:
        yield from _requests(status["requests"])
    if "cluster" in status:
        yield from _cluster(status["cluster"])
    text = "Time between a read of a secret and its answer, in the audit log of each server."
    by_source = [([source], histogram) for source, histogram in status.get("read_latency", {}).items()]
    yield ex.histograms("lessee_monitor_read_duration_seconds", text, ["source"], by_source)
    states = Counter(agent["state"] for agent in status.get("fleet", {}).values())
    text = "Agents that the monitor knows, by state."
    yield ex.gauges("lessee_monitor_agents", text, "state", {state: states[state] for state in STATES})
    if "alerts" in status:
        yield _alerts(status["alerts"])
    if "responses" in status:
        yield from _responses(status["responses"])
    if "destinations" in status:
        yield from _publishing(status["destinations"])


def _sources(sources: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    def each(name: str, text: str, values: Mapping[str, float | None]) -> Metric:
        return ex.gauges(f"lessee_monitor_{name}", text, "source", values)

    for key, (metric, text) in _COUNTS.items():
        counts = [([one["name"]], one[key]) for one in sources]
        yield ex.counters(f"lessee_monitor_{metric}", text, ["source"], counts)
    yield each("lag_bytes", "Bytes of the audit log not read yet.", {one["name"]: one["lag_bytes"] for one in sources})
    text = "Time at which the last line read was written."
    yield each("last_line_timestamp_seconds", text, {one["name"]: ex.timestamp(one["last_at"]) for one in sources})
    failing = {one["name"]: one["error"] is not None for one in sources}
    yield each("source_failing", "Whether the audit log cannot be read.", failing)


def _requests(rows: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """By the labels of `monitor.request_metrics`, which bounds the number of series."""
    if rows:
        counts = [([*row["labels"].values(), outcome], row[outcome]) for row in rows for outcome in _OUTCOMES]
        text = "Requests for secrets in the audit log; `other`: of all beyond monitor.request_metrics.max_series."
        yield ex.counters("lessee_monitor_requests", text, [*rows[0]["labels"], "outcome"], counts)


def _cluster(cluster: Mapping[str, Any]) -> Iterator[Metric]:
    peers = cluster["peers"]
    if peers is not None:
        voters = sum(peer["voter"] for peer in peers)
        counts = {"voter": voters, "nonvoter": len(peers) - voters}
        yield ex.gauges("lessee_monitor_raft_peers", "Members of the raft cluster.", "state", counts)
        has_leader = any(peer["leader"] for peer in peers)
        yield from ex.gauge("lessee_monitor_raft_has_leader", "Whether the raft cluster has a leader.", has_leader)
    text = "Whether the raft peers cannot be read."
    yield from ex.gauge("lessee_monitor_cluster_failing", text, cluster["error"] is not None)
    text = "Bytes that the server's storage takes on the disk."
    yield from ex.gauge("lessee_monitor_storage_bytes", text, cluster.get("storage_bytes"))
    text = "Bytes that are free on the disk of the server's storage."
    yield from ex.gauge("lessee_monitor_storage_free_bytes", text, cluster.get("storage_free_bytes"))


def _alerts(alerts: Sequence[Mapping[str, Any]]) -> Metric:
    """By rule and severity; the alert's subject is not a label."""
    firing = Counter((one["rule"], one["severity"]) for one in alerts if one["firing"])
    # A resolved alert is still in the status for a while, and its value is then 0 instead of absent.
    counts = {(one["rule"], one["severity"]): firing[one["rule"], one["severity"]] for one in alerts}
    return ex.labeled_gauge("lessee_monitor_alerts_firing", "Firing alerts.", ["rule", "severity"], counts.items())


def _responses(responses: Mapping[str, Any]) -> Iterator[Metric]:
    """What they were used for is in the status: an id is not a label."""
    budgets = responses["budgets"].items()
    for key, metric, text in (
        ("used", "last_hour", "Responses to alerts within the last hour."),
        ("max_per_hour", "max_per_hour", "The budget of responses within an hour."),
    ):
        values = {name: one[key] for name, one in budgets}
        yield ex.gauges(f"lessee_monitor_responses_{metric}", text, "response", values)
    text = "Whether the response cannot run."
    failing = {name: one["error"] is not None for name, one in budgets}
    yield ex.gauges("lessee_monitor_response_failing", text, "response", failing)
    text = "Responses that wait for an approval."
    yield from ex.gauge("lessee_monitor_responses_pending", text, len(responses["pending"]))


def _publishing(destinations: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    for key, text in _PUBLISHED.items():
        counts = [([name], one[key]) for name, one in destinations.items()]
        yield ex.counters(f"lessee_monitor_changes_{key}", text, ["destination"], counts)
    pending = {name: one["pending"] for name, one in destinations.items()}
    yield ex.gauges("lessee_monitor_changes_pending", "Change events not published yet.", "destination", pending)
    reachable = {name: one["reachable"] for name, one in destinations.items()}
    text = "Whether the destination is reachable."
    yield ex.gauges("lessee_monitor_destination_reachable", text, "destination", reachable)
