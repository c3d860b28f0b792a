"""What an agent's status says of an app whose files are to be the newest."""

import pytest

from lessee.ops.drill.policy.agent_status import error_of, trouble

SINCE = 1_790_000_000.0
SETTLED = {
    "fresh": True,
    "generation": 3,
    "pending": False,
    "last_checked_at": "2026-09-21T14:13:21Z",
    "error": None,
    "notify": {"pending": False, "error": None},
    "readiness": None,
}


def test_an_app_that_was_checked_since_has_no_trouble():
    assert trouble("api", SETTLED, {}, SINCE) == ""


@pytest.mark.parametrize(
    ("changes", "status", "expected"),
    [
        ({"error": "the disk is full"}, {}, "the disk is full"),
        ({"last_checked_at": "2026-09-21T13:00:00Z"}, {}, "not checked yet"),
        ({"last_checked_at": None}, {}, ""),
        ({"fresh": False}, {}, "not fresh"),
        ({"generation": 0}, {"problems": ["api: no policy allows it"]}, "no policy allows it"),
        ({"pending": True}, {}, "new files are pending"),
        ({"pending": True}, {"problems": ["vault is unavailable"]}, "vault is unavailable"),
        ({"notify": {"pending": True, "error": "no process"}}, {}, "no process"),
        ({"readiness": {"pending": True, "error": "not healthy"}}, {}, "not healthy"),
        ({"readiness": {"pending": False, "error": None}}, {}, ""),
    ],
)
def test_an_app_that_has_not_settled_says_why(changes, status, expected):
    assert trouble("api", SETTLED | changes, status, SINCE) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [({}, "the agent does not answer"), ({"problems": ["a", "b", "c", "d"]}, "a; b; c")],
)
def test_an_app_that_the_status_does_not_have(status, expected):
    assert trouble("api", None, status, SINCE) == expected


def test_an_outage_and_another_apps_problem_are_no_error_of_an_app():
    problems = ["web: denied", "web, api: the secret is missing", "api: vault is unavailable", "the disk is slow"]
    assert error_of("api", SETTLED, {"problems": problems}) == "the secret is missing"
