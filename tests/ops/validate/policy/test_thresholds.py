"""Results by thresholds: expiry, clock skew, token TTLs, usage and encryption."""

import pytest

from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Reporter
from lessee.ops.validate.policy.thresholds import DAY

REPORTER = Reporter("c")


def outcome(result):
    """The level of a failure, which must have a todo; None after a success."""
    assert (result.component, result.check) == ("c", "n")
    assert bool(result.todo) is (result.passed is False)
    return result.level if result.passed is False else None


@pytest.mark.parametrize(
    ("left", "level"),
    [(15 * DAY, None), (13 * DAY, "warning"), (1.9 * DAY, "critical"), (0, "critical"), (-DAY, "critical")],
)
def test_expiry_within_14_days_is_a_warning_and_within_2_critical(left, level):
    result = thresholds.expiry(REPORTER, "n", "it", left, "renew it")
    assert outcome(result) == level
    assert ("expired" in result.text) is (left <= 0)


def test_the_text_has_the_time_since_or_until_expiry():
    assert thresholds.expiry(REPORTER, "n", "it", -2 * DAY, "renew it").text == "it expired 2 days ago"
    assert thresholds.expiry(REPORTER, "n", "it", 2 * DAY, "renew it").text == "it is valid for 2 days more"


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(0, None), (-4.9, None), (6, "warning"), (-6, "warning"), (61, "critical"), (-61, "critical")],
)
def test_clock_skew_fails_in_both_directions(seconds, level):
    assert outcome(thresholds.skew(REPORTER, "n", "it", seconds)) == level


@pytest.mark.parametrize(
    ("left", "whole", "level"),
    [
        (0, 0, None),
        (3600, 3600, None),
        (300, 3600, "warning"),
        (60, 3600, "critical"),
        (19, 19, "critical"),
        (25, 25, None),
    ],
)
def test_a_token_needs_time_for_its_renewal(left, whole, level):
    assert outcome(thresholds.token_ttl(REPORTER, "n", left, whole)) == level


@pytest.mark.parametrize(("used", "level"), [(80, None), (81, "warning"), (97, "warning"), (98, "critical")])
def test_usage_near_the_maximum_fails(used, level):
    result = thresholds.usage(REPORTER, "n", "seats", used, 100, "buy more")
    assert outcome(result) == level
    assert result.text == f"{used} of 100 seats are in use"


@pytest.mark.parametrize(
    ("loopback", "tls", "verified", "level"),
    [
        (True, False, False, None),
        (True, True, False, None),
        (False, True, True, None),
        (False, True, False, "warning"),
        (False, False, False, "critical"),
    ],
)
def test_connections_to_other_machines_need_verified_tls(loopback, tls, verified, level):
    assert outcome(thresholds.encryption(REPORTER, "n", "it", loopback=loopback, tls=tls, verified=verified)) == level


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (3 * 3600, "3 hours"), (20 * DAY, "20 days")],
)
def test_durations_have_their_largest_unit(seconds, text):
    assert thresholds.spell(seconds) == text
