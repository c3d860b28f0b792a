"""Figures become results: what ends soon, clocks apart, what is nearly used up, and ways in the clear."""

import pytest

from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Teller
from lessee.ops.validate.policy.thresholds import DAY

TELL = Teller("c")


def outcome(result):
    """Its level where it failed, or None; what failed says what to do."""
    assert (result.component, result.check) == ("c", "n")
    assert bool(result.todo) is (result.passed is False)
    return result.level if result.passed is False else None


@pytest.mark.parametrize(
    ("left", "level"),
    [(15 * DAY, None), (13 * DAY, "warning"), (1.9 * DAY, "critical"), (0, "critical"), (-DAY, "critical")],
)
def test_what_ends_within_a_fortnight_is_told_and_within_two_days_it_is_critical(left, level):
    result = thresholds.expiry(TELL, "n", "it", left, "renew it")
    assert outcome(result) == level
    assert ("ended" in result.text) is (left <= 0)


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(0, None), (-4.9, None), (6, "warning"), (-6, "warning"), (61, "critical"), (-61, "critical")],
)
def test_clocks_are_apart_in_both_directions(seconds, level):
    assert outcome(thresholds.skew(TELL, "n", "it", seconds)) == level


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
def test_a_token_needs_time_to_be_renewed(left, whole, level):
    assert outcome(thresholds.token_left(TELL, "n", left, whole)) == level


@pytest.mark.parametrize(("used", "level"), [(80, None), (81, "warning"), (97, "warning"), (98, "critical")])
def test_what_is_nearly_used_up_is_told(used, level):
    result = thresholds.room(TELL, "n", "seats", used, 100, "stand")
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
def test_what_leaves_this_machine_wants_tls_that_is_verified(loopback, tls, verified, level):
    assert outcome(thresholds.wire(TELL, "n", "it", loopback=loopback, tls=tls, verified=verified)) == level


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (3 * 3600, "3 hours"), (20 * DAY, "20 days")],
)
def test_times_are_said_in_their_largest_unit(seconds, text):
    assert thresholds.spell(seconds) == text


def test_what_could_not_be_looked_at_is_neither_passed_nor_failed():
    assert TELL.unlooked("n", "it is away").passed is None
