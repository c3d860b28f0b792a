"""The monitor's metrics, as Prometheus parses them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lessee.ops.monitor.metrics import exposition


@pytest.fixture
def status():
    return {
        "version": "1.2.3",
        "environment": "production",
        "ready": True,
        "problems": ["one"],
        "sources": [source("v1"), source("v2", last_at=None, error="it is gone")],
        "accesses": {
            "by_operation": {"read": {"succeeded": 7, "denied": 2, "failed": 0}},
            "by_path": [{"path": "secret/data/canary-path", "component": "ci", "address": "192.0.2.1", "total": 9}],
        },
    }


def source(name, last_at="1970-01-01T00:00:30.000+00:00", error=None):
    counts = {"lines": 12, "invalid_lines": 1, "gaps": 0, "lag_bytes": 4096}
    return {"name": name, "last_at": last_at, "error": error} | counts


def alert(rule, *, firing=True, severity="warning"):
    return {"rule": rule, "subject": "canary-path", "severity": severity, "firing": firing, "text": "canary-text"}


def samples(status):
    """The value of each sample, by its name and label values."""
    families = text_string_to_metric_families(exposition(status).decode())
    found = [sample for family in families for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in found}


def test_each_source_has_its_counts_its_lag_and_whether_it_is_readable(status):
    found = samples(status)
    assert [found[f"lessee_monitor_{key}_total v1"] for key in ("lines_read", "invalid_lines", "gaps")] == [12, 1, 0]
    assert found["lessee_monitor_lag_bytes v1"] == 4096
    assert found["lessee_monitor_last_line_timestamp_seconds v1"] == 30
    assert "lessee_monitor_last_line_timestamp_seconds v2" not in found
    assert [found[f"lessee_monitor_source_failing {name}"] for name in ("v1", "v2")] == [0, 1]


def test_accesses_are_counted_by_operation_and_outcome_and_by_no_unbounded_label(status):
    found = samples(status)
    assert found["lessee_monitor_accesses_total read succeeded"] == 7
    assert found["lessee_monitor_accesses_total read denied"] == 2
    before = len(found)
    status["accesses"]["by_path"] *= 100
    assert len(samples(status)) == before
    status["alerts"] = [alert("reads")] * 100
    text = exposition(status).decode()
    assert "canary" not in text
    assert "192.0.2.1" not in text
    assert text.count("lessee_monitor_alerts_firing{") == 1


def test_firing_alerts_are_counted_by_rule_and_a_resolved_alert_counts_0(status):
    status["alerts"] = [alert("reads"), alert("reads"), alert("root-token", firing=False, severity="critical")]
    found = samples(status)
    assert found["lessee_monitor_alerts_firing reads warning"] == 2
    assert found["lessee_monitor_alerts_firing root-token critical"] == 0


def test_each_destination_has_its_counts_and_whether_it_is_reachable(status):
    assert not any("publisher" in name for name in samples(status))
    redis = {"reachable": False, "published": 5, "pending": 3, "dropped": 1, "error": "connection refused"}
    status["destinations"] = {"redis": redis}
    found = samples(status)
    assert found["lessee_monitor_changes_published_total redis"] == 5
    assert found["lessee_monitor_changes_pending redis"] == 3
    assert found["lessee_monitor_changes_dropped_total redis"] == 1
    assert found["lessee_monitor_destination_reachable redis"] == 0


def test_the_durations_of_reads_are_a_histogram_of_each_log(status):
    status["read_latency"] = {"v1": {"buckets": [[0.001, 2], [10.0, 3]], "count": 4, "sum": 30.5}}
    found, name = samples(status), "lessee_monitor_read_duration_seconds"
    assert [found[f"{name}_bucket {bound} v1"] for bound in ("0.001", "10.0", "+Inf")] == [2, 3, 4]
    assert (found[f"{name}_count v1"], found[f"{name}_sum v1"]) == (4, 30.5)


def test_agents_are_counted_by_state_and_not_by_name(status):
    status["fleet"] = {"canary-1": {"state": "fresh"}, "canary-2": {"state": "fresh"}, "c": {"state": "unreachable"}}
    found = samples(status)
    assert [found[f"lessee_monitor_agents {state}"] for state in ("fresh", "unreachable", "not_ready")] == [2, 1, 0]
    assert "canary" not in exposition(status).decode()


def test_responses_have_their_budget_and_what_is_used_of_it(status):
    assert "lessee_monitor_responses_pending" not in samples(status)
    budget = {"used": 2, "max_per_hour": 3, "rule": "denials", "action": "revoke-token", "dry_run": False}
    broken = budget | {"error": "canary-error"}
    budget |= {"error": None}
    waiting = {"id": "canary-id", "expires_at": "", "request": "canary-request"}
    status["responses"] = {"budgets": {"revoke": budget, "broken": broken}, "pending": [waiting], "recent": []}
    found = samples(status)
    assert found["lessee_monitor_responses_last_hour revoke"] == 2
    assert found["lessee_monitor_responses_max_per_hour revoke"] == 3
    assert found["lessee_monitor_responses_pending"] == 1
    assert [found[f"lessee_monitor_response_failing {name}"] for name in ("revoke", "broken")] == [0, 1]
    assert "canary" not in exposition(status).decode()
