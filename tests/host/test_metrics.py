"""What Prometheus reads of a status."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lessee.host.metrics import exposition


@pytest.fixture
def status():
    totals = ("requests", "failures", "logins", "issued", "lease_renewals", "revoked")
    return {
        "version": "1.2.3",
        "ready": True,
        "fresh": False,
        "problems": ["one", "two"],
        "vault": {"reachable": True},
        "token": {"accessor": "a", "expires_at": "1970-01-01T00:01:00.000+00:00"},
        "apps": {"web": app(), "worker": app(degraded="fallback")},
        "leases": [],
        "totals": {name: number for number, name in enumerate(totals, 10)}
        | {"renders": 1, "publishes": 2, "notifications": 3, "confirmations": 4, "rollbacks": 5},
    }


def app(degraded=None, state="notified"):
    return {
        "state": state,
        "generation": 7,
        "published_at": "1970-01-01T00:00:30.000+00:00",
        "degraded": degraded,
        "secrets": [{"error": None}, {"error": "missing"}],
        "notify": {"owed": True},
    }


def lease(state, expires_in):
    return {"path": "database/creds/simba", "lease_id": "x", "state": state, "expires_in": expires_in}


def samples(status):
    """Name and labels of each sample, and its value."""
    families = text_string_to_metric_families(exposition(status).decode())
    found = [sample for family in families for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in found}


def test_leases_are_counted_by_how_they_stand(status):
    assert {samples(status)[f"lessee_leases {state}"] for state in ("held", "expired", "retiring")} == {0}
    status["leases"] = [lease("held", 5.0), lease("held", 9.0), lease("retiring", 1.0), lease("expired", -3.0)]
    found = samples(status)
    assert [found[f"lessee_leases {state}"] for state in ("held", "expired", "retiring")] == [2, 1, 1]


def test_each_app_says_whether_it_is_degraded(status):
    found = samples(status)
    assert [found[f"lessee_app_degraded {app}"] for app in ("web", "worker")] == [0, 1]
    assert found["lessee_apps_degraded"] == 1


def test_the_soonest_end_is_that_of_what_is_held_and_absent_where_nothing_ends(status):
    status["leases"] = [lease("held", 9.5), lease("held", 5.25), lease("held", None), lease("retiring", 1.0)]
    assert samples(status)["lessee_lease_soonest_end_seconds"] == 5.25
    status["leases"] = [lease("held", None), lease("expired", -3.0)]
    assert "lessee_lease_soonest_end_seconds" not in samples(status)


def test_totals_are_counters(status):
    found = samples(status)
    names = ("requests", "failures", "logins", "issued", "lease_renewals", "leases_revoked")
    assert [found[f"lessee_{name}_total"] for name in names] == [10, 11, 12, 13, 14, 15]
    assert [found[f"lessee_{name}_total"] for name in ("renders", "publishes", "notifications")] == [1, 2, 3]


def test_apps_that_run_on_less_are_counted(status):
    assert samples(status)["lessee_apps_degraded"] == 1


def test_an_app_is_told_by_its_name_alone(status):
    found = samples(status)
    assert found["lessee_app_generation web"] == 7
    assert found["lessee_app_published_timestamp_seconds web"] == 30
    assert found["lessee_app_notification_owed web"] == 1
    assert found["lessee_app_sources_failing web"] == 1


def test_an_agent_that_has_nothing_yet_can_be_read_too(status):
    status["token"] = None
    status["apps"]["web"] |= {"generation": None, "published_at": None}
    found = samples(status)
    assert "lessee_token_expiry_timestamp_seconds" not in found
    assert "lessee_app_published_timestamp_seconds web" not in found
    assert found["lessee_app_generation web"] == 0


def test_the_number_of_series_does_not_grow_with_leases_or_secrets(status):
    before = len(samples(status))
    status["leases"] = [lease("held", float(number)) for number in range(100)]
    status["apps"]["web"]["secrets"] *= 100
    assert len(samples(status)) == before + 1


def test_an_app_that_was_rolled_back_stands_out(status):
    status["apps"]["web"] = app(state="rolled_back")
    found = samples(status)
    assert (found["lessee_app_rolled_back web"], found["lessee_app_rolled_back worker"]) == (1, 0)
    assert found["lessee_rollbacks_total"] == 5
