"""The agent's metrics are derived from its status."""

import platform
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lessee.status.metrics import exposition


@pytest.fixture
def status():
    totals = ("requests", "request_failures", "logins", "leases_issued", "lease_renewals", "leases_revoked")
    return {
        "version": "1.2.3",
        "environment": "production",
        "ready": True,
        "fresh": False,
        "problems": ["one", "two"],
        "identities": [identity("1970-01-01T00:02:00.000+00:00"), identity("1970-01-01T00:01:00.000+00:00")],
        "apps": {"web": app(), "worker": app(degraded="fallback")},
        "leases": [],
        "rounds": {"buckets": [[0.5, 3], [1.0, 5]], "count": 6, "sum": 12.5},
        "totals": {name: number for number, name in enumerate(totals, 10)}
        | {"renders": 1, "publications": 2, "notifications": 3, "readiness_passed": 4, "rollbacks": 5},
    }


def identity(expires_at, *, reachable=True):
    return {"vault": {"reachable": reachable}, "token": {"accessor": "a", "expires_at": expires_at}}


def app(degraded=None, state="notified"):
    return {
        "state": state,
        "generation": 7,
        "published_at": "1970-01-01T00:00:30.000+00:00",
        "fresh": degraded is None,
        "last_checked_at": "1970-01-01T00:00:40.000+00:00",
        "degraded": degraded,
        "secrets": [{"error": None}, {"error": "missing"}],
        "notify": {"pending": True, "last": None},
        "drift": {"total": 3},
    }


def lease(state, expires_in, error=None):
    path = "database/creds/simba"
    return {"path": path, "lease_id": "x", "state": state, "expires_in": expires_in, "error": error}


def samples(status):
    """The value of each sample, by its name and labels."""
    families = text_string_to_metric_families(exposition(status).decode())
    found = [sample for family in families for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in found}


def test_leases_are_counted_by_state(status):
    assert {samples(status)[f"lessee_leases {state}"] for state in ("held", "expired", "retiring")} == {0}
    status["leases"] = [lease("held", 5.0), lease("held", 9.0), lease("retiring", 1.0), lease("expired", -3.0)]
    found = samples(status)
    assert [found[f"lessee_leases {state}"] for state in ("held", "expired", "retiring")] == [2, 1, 1]


def test_each_app_has_a_degraded_metric(status):
    found = samples(status)
    assert [found[f"lessee_app_degraded {app}"] for app in ("web", "worker")] == [0, 1]


def test_leases_that_cannot_be_renewed_are_counted(status):
    status["leases"] = [lease("held", 5.0), lease("held", 9.0, "permission denied")]
    assert samples(status)["lessee_leases_failing"] == 1


def test_the_shortest_remaining_time_is_of_held_leases_and_absent_if_none_expires(status):
    status["leases"] = [lease("held", 9.5), lease("held", 5.25), lease("held", None), lease("retiring", 1.0)]
    assert samples(status)["lessee_lease_min_remaining_seconds"] == 5.25
    status["leases"] = [lease("held", None), lease("expired", -3.0)]
    assert "lessee_lease_min_remaining_seconds" not in samples(status)


def test_totals_are_counters(status):
    found = samples(status)
    names = ("requests", "request_failures", "logins", "leases_issued", "lease_renewals", "leases_revoked")
    assert [found[f"lessee_{name}_total"] for name in names] == [10, 11, 12, 13, 14, 15]
    assert [found[f"lessee_{name}_total"] for name in ("renders", "publications", "notifications")] == [1, 2, 3]


def test_the_worst_of_several_identities_counts(status):
    found = samples(status)
    assert [found[f"lessee_{name}"] for name in ("vault_reachable", "logged_in")] == [1, 1]
    assert found["lessee_token_expiry_timestamp_seconds"] == 60
    status["identities"] += [identity(None, reachable=False), identity(None) | {"token": None}]
    found = samples(status)
    assert [found[f"lessee_{name}"] for name in ("vault_reachable", "logged_in")] == [0, 0]
    assert found["lessee_token_expiry_timestamp_seconds"] == 60


def test_the_info_metric_has_the_version_and_environment(status):
    text = exposition(status).decode()
    (line,) = [one for one in text.splitlines() if one.startswith("lessee_info{")]
    python = platform.python_version()
    labels = f'{{environment="production",program="agent",python="{python}",version="1.2.3"}}'
    assert line == f"lessee_info{labels} 1.0"


def test_the_process_has_its_start_time_and_memory(status):
    found = samples(status)
    assert found["process_start_time_seconds"] < time.time()
    assert found["process_resident_memory_bytes"] > 1024 * 1024


def test_only_an_agent_with_an_event_source_has_event_metrics(status):
    assert not any(name.startswith("lessee_events") for name in samples(status))
    status["events"] = {"source": "redis", "live": True, "last_at": None}
    assert samples(status)["lessee_events_connected"] == 1
    assert "lessee_events_last_change_timestamp_seconds" not in samples(status)
    status["events"] |= {"live": False, "last_at": "1970-01-01T00:00:50.000+00:00"}
    found = samples(status)
    assert (found["lessee_events_connected"], found["lessee_events_last_change_timestamp_seconds"]) == (0, 50)


def test_the_only_label_of_an_app_is_its_name(status):
    found = samples(status)
    assert found["lessee_app_generation web"] == 7
    assert found["lessee_app_last_publication_timestamp_seconds web"] == 30
    assert found["lessee_app_last_check_timestamp_seconds web"] == 40
    assert [found[f"lessee_app_fresh {app}"] for app in ("web", "worker")] == [1, 0]
    assert found["lessee_app_notification_pending web"] == 1
    assert "lessee_app_last_notification_timestamp_seconds web" not in found
    assert found["lessee_app_secrets_failing web"] == 1


def test_missing_values_are_absent_or_0(status):
    status["identities"] = [identity(None) | {"token": None}]
    status["apps"]["web"] |= {"generation": None, "published_at": None, "last_checked_at": None}
    found = samples(status)
    assert "lessee_token_expiry_timestamp_seconds" not in found
    assert "lessee_app_last_publication_timestamp_seconds web" not in found
    assert found["lessee_app_generation web"] == 0


def test_the_number_of_series_does_not_grow_with_leases_or_secrets(status):
    before = len(samples(status))
    status["leases"] = [lease("held", float(number)) for number in range(100)]
    status["apps"]["web"]["secrets"] *= 100
    assert len(samples(status)) == before + 1


def test_an_app_has_exactly_one_state(status):
    status["apps"]["web"] = app(state="rolled_back")
    found = samples(status)
    states = {name: value for name, value in found.items() if name.startswith("lessee_app_state web ")}
    assert (len(states), states["lessee_app_state web rolled_back"], sum(states.values())) == (6, 1, 1)
    assert found["lessee_app_state worker notified"] == 1
    assert found["lessee_rollbacks_total"] == 5


def test_the_durations_of_rounds_are_a_histogram(status):
    found = samples(status)
    name = "lessee_round_duration_seconds"
    assert [found[f"{name}_bucket {bound}"] for bound in ("0.5", "1.0", "+Inf")] == [3, 5, 6]
    assert (found[f"{name}_count"], found[f"{name}_sum"]) == (6, 12.5)
