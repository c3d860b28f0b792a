"""Retries become rarer as an outage lasts, stay below the maximum, and are spread over time."""

from hypothesis import given
from hypothesis import strategies as st

from lessee.core.backoff import MAX_DELAY, SHORT_OUTAGE, SHORT_OUTAGE_MAX_DELAY, delay, refused_login_delay

draws = st.floats(0, 1, exclude_max=True)
attempts = st.integers(0, 10**9)


@given(attempts, draws, st.floats(0, 1e6), st.floats(0.01, 1000), st.floats(0.1, 1000))
def test_no_wait_exceeds_the_cap_or_the_doubled_base(count, draw, duration, base, cap):
    bound = min(cap, base * 2.0 ** min(count, 30))
    assert 0 <= delay(count, draw, duration=duration, base=base, cap=cap) <= bound


@given(attempts, draws, st.floats(0, SHORT_OUTAGE, exclude_max=True))
def test_during_a_short_outage_the_next_attempt_is_within_five_seconds(count, draw, duration):
    assert delay(count, draw, duration=duration) <= SHORT_OUTAGE_MAX_DELAY < 5


@given(attempts, draws, st.floats(0, 1e6))
def test_in_any_outage_the_next_attempt_is_within_a_minute(count, draw, duration):
    assert delay(count, draw, duration=duration) <= MAX_DELAY < 60


@given(draws)
def test_the_first_waits_double(draw):
    waits = [delay(count, draw) for count in range(3)]
    assert waits == [waits[0], 2 * waits[0], 4 * waits[0]]


@given(attempts, draws)
def test_a_long_base_interval_is_not_shortened_by_more_than_half(count, draw):
    assert delay(count, draw, base=20.0) >= 10.0


def test_half_of_the_wait_is_random():
    assert (delay(0, 0.0), delay(0, 0.5), delay(100, 0.0, duration=600.0)) == (0.5, 0.75, MAX_DELAY / 2)


def test_refused_credentials_are_sent_less_than_five_times_in_fifteen_minutes():
    at, sent = 0.0, []
    for refusals in range(100):
        sent.append(at)
        at += refused_login_delay(refusals)
    assert sent[1] == 15.0
    assert all(later - earlier > 900.0 for earlier, later in zip(sent, sent[4:], strict=False))
