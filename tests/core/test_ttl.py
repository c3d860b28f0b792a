"""The numbers of seconds that a server may name."""

import pytest

from lessee.core.ttl import MAX_TTL, MIN_TTL, clamp, is_ttl


@pytest.mark.parametrize("value", [0, -1, 3600, 0.5, 10**400])
def test_a_number_can_be_a_ttl(value):
    assert is_ttl(value)


@pytest.mark.parametrize("value", [None, True, "3600", [], {}])
def test_another_value_is_no_ttl(value):
    assert not is_ttl(value)


def test_a_ttl_is_clamped_to_what_a_calendar_can_hold():
    assert [clamp(seconds) for seconds in (-1, 0, 1.5, 10**12, 10**400)] == [0, 0, 1.5, MAX_TTL, MAX_TTL]
    assert [clamp(seconds, MIN_TTL) for seconds in (-1, 0, 0.001, 1, 2)] == [1, 1, 1, 1, 2]
