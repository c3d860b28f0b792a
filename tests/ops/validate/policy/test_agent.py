"""A status becomes results: what is not ready, not fresh, degraded, ended or late is told."""

from datetime import UTC, datetime

import pytest

from lessee.ops.validate.policy.agent import NAMES, judge
from lessee.ops.validate.policy.results import Teller

NOW = 1_800_000_000.0
WELL = {"ready": True, "fresh": True, "apps": {"web": {"generation": 1, "degraded": None}}, "leases": []}


def lease(*, state="held", ends=600, renews=300):
    def at(seconds):
        return None if seconds is None else datetime.fromtimestamp(NOW + seconds, UTC).isoformat()

    return {"path": "database/creds/x", "state": state, "expires_at": at(ends), "renew_at": at(renews)}


def failed(**status):
    results = list(judge(Teller("vault"), WELL | status, NOW))
    assert tuple(result.check for result in results) == NAMES
    return {result.check: (str(result.level), result.text) for result in results if not result.passed}


@pytest.mark.parametrize("leases", [[], [lease()], [lease(ends=None, renews=None)], [lease(renews=-59)]])
def test_an_agent_that_is_well_passes(leases):
    assert failed(leases=leases) == {}


def test_an_app_without_files_is_named():
    apps = {"web": WELL["apps"]["web"], "new": {"generation": None, "degraded": None}}
    level, text = failed(ready=False, apps=apps)["agent-ready"]
    assert (level, text.endswith("for new")) == ("critical", True)


def test_what_may_be_old_or_degraded_is_a_warning():
    told = failed(fresh=False, apps={"web": {"generation": 1, "degraded": "since then"}})
    assert told["agent-fresh"][0] == "warning"
    assert told["agent-not-degraded"] == ("warning", "degraded: web")


@pytest.mark.parametrize(
    ("one", "level"),
    [
        (lease(state="expired"), "critical"),
        (lease(ends=0), "critical"),
        (lease(renews=-61), "warning"),
        (lease(state="retiring", ends=-5), None),
    ],
)
def test_leases_that_have_ended_or_are_late_are_told(one, level):
    told = failed(leases=[one])
    assert told.get("lease-headroom", (None,))[0] == level
