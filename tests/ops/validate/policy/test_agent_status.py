"""The status of an agent becomes results: not ready, outdated, degraded, and expired or late leases."""

from datetime import UTC, datetime

import pytest

from lessee.core.sensitive.names import SecretField
from lessee.ops.validate.policy.agent_status import APP_NAMES, NAMES, check_app, check_status
from lessee.ops.validate.policy.attribution import app_subject
from lessee.ops.validate.policy.results import Reporter

NOW = 1_800_000_000.0
APP = {"generation": 1, "degraded": None, "fresh": True, "error": None, "state": "notified", "secrets": []}
HEALTHY = {"ready": True, "fresh": True, "apps": {"web": APP}, "leases": []}


def secret(path, error=None):
    return {"path": path, "error": error}


def of_app(**keys):
    """The level, the text and the subjects of an app's result."""
    [result] = check_app(Reporter("web"), "web", HEALTHY | {"apps": {"web": APP | keys}})
    assert result.check == APP_NAMES[0]
    assert result.passed or app_subject("web") in result.explains
    return str(result.level), result.text, {subject.path for one in result.findings for subject in one.subjects}


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
    apps = {"web": HEALTHY["apps"]["web"], "new": APP | {"generation": None}}
    level, text = failed(ready=False, apps=apps)["agent-ready"]
    assert (level, text.endswith("for new")) == ("critical", True)


def test_an_agent_that_serves_no_refused_app_is_not_ready():
    assert failed(ready=False)["agent-ready"][1].endswith("for an app that it refused")


def test_outdated_or_degraded_files_are_a_warning():
    results = failed(fresh=False, apps={"web": APP | {"fresh": False, "degraded": "since then"}, "api": APP})
    assert results["agent-fresh"] == ("warning", "the agent's files may be outdated: web")
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


def test_a_configuration_that_is_not_in_effect_is_a_warning_of_no_app():
    assert failed(fresh=False)["agent-fresh"][1].endswith("its configuration is not in effect")


def test_findings_name_the_secrets_that_may_be_the_cause():
    app = APP | {"fresh": False, "secrets": [secret("secret/a", "denied"), secret("secret/b")]}
    [_, fresh, _, _] = check_status(Reporter("vault"), HEALTHY | {"fresh": False, "apps": {"web": app}}, NOW)
    assert fresh.findings[0].subjects == {SecretField("secret/a", ""), app_subject("web")}


def test_an_app_with_its_newest_files_passes():
    assert of_app()[0] == "info"


def test_an_app_that_the_agent_does_not_serve_is_critical():
    [result] = check_app(Reporter("api"), "api", HEALTHY)
    assert (str(result.level), result.text) == ("critical", "the agent does not serve the app")


@pytest.mark.parametrize(
    ("keys", "level", "text"),
    [
        ({"error": "no room", "fresh": False}, "critical", "are not published: no room"),
        ({"generation": None, "fresh": False}, "critical", "no files yet"),
        (
            {"state": "rolled_back", "readiness": {"error": "500"}, "fresh": False},
            "critical",
            "not ready with the newest: 500",
        ),
        ({"state": "rolled_back", "readiness": {"error": None}}, "critical", "not ready with the newest"),
        ({"state": "rolled_back", "readiness": None}, "critical", "not ready with the newest"),
        ({"degraded": "its lease has expired", "fresh": False}, "warning", "degraded: its lease has expired"),
        ({"fresh": False}, "warning", "may be outdated"),
    ],
)
def test_an_app_without_its_newest_files_fails(keys, level, text):
    found = of_app(**keys)
    assert (found[0], found[1].endswith(text)) == (level, True), found


def test_rejected_files_may_be_due_to_every_secret_that_the_app_reads():
    secrets = [secret("secret/a"), secret("secret/b", "missing")]
    assert of_app(error="no key", state="rejected", secrets=secrets)[2] == {"secret/a", "secret/b"}
    assert of_app(error="no room", state="notified", secrets=secrets)[2] == {"secret/b"}
