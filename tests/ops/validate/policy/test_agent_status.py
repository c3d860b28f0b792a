"""The status of an agent becomes results: not ready, outdated, degraded, and expired or late leases."""

from datetime import UTC, datetime

import pytest

from lessee.ops.validate.policy.agent_status import NAMES, check_status
from lessee.ops.validate.policy.results import Reporter

NOW = 1_800_000_000.0
HEALTHY = {"ready": True, "fresh": True, "apps": {"web": {"generation": 1, "degraded": None}}, "leases": []}


def lease(*, state="held", ends=600, renews=300):
    def at(seconds):
        return None if seconds is None else datetime.fromtimestamp(NOW + seconds, UTC).isoformat()

    return {"path": "database/creds/x", "state": state, "expires_at": at(ends), "renew_at": at(renews)}


def failed(**status):
    results = list(check_status(Reporter("vault"), HEALTHY | status, NOW))
    assert tuple(result.check for result in results) == NAMES
    return {result.check: (str(result.level), result.text) for result in results if not result.passed}


@pytest.mark.parametrize("leases", [[], [lease()], [lease(ends=None, renews=None)], [lease(renews=-59)]])
def test_a_healthy_agent_passes(leases):
    assert failed(leases=leases) == {}


def test_an_app_without_files_is_named():
    apps = {"web": HEALTHY["apps"]["web"], "new": {"generation": None, "degraded": None}}
    level, text = failed(ready=False, apps=apps)["agent-ready"]
    assert (level, text.endswith("for new")) == ("critical", True)


def test_an_agent_that_serves_no_refused_app_is_not_ready():
    assert failed(ready=False)["agent-ready"][1].endswith("for an app that it refused")


def test_outdated_or_degraded_files_are_a_warning():
    results = failed(fresh=False, apps={"web": {"generation": 1, "degraded": "since then"}})
    assert results["agent-fresh"][0] == "warning"
    assert results["agent-not-degraded"] == ("warning", "degraded apps: web")


@pytest.mark.parametrize(
    ("one", "level"),
    [
        (lease(state="expired"), "critical"),
        (lease(ends=0), "critical"),
        (lease(renews=-61), "warning"),
        (lease(state="retiring", ends=-5), None),
    ],
)
def test_expired_and_late_leases_fail(one, level):
    assert failed(leases=[one]).get("leases-renewed", (None,))[0] == level
