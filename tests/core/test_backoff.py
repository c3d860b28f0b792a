"""Retries slow down with the trouble's length, stay under the cap and do not come back as one."""

from hypothesis import given
from hypothesis import strategies as st

from lessee.core.backoff import CAP, SHORT, SOON, delay

draws = st.floats(0, 1, exclude_max=True)
tries = st.integers(0, 10**9)


@given(tries, draws, st.floats(0, 1e6), st.floats(0.01, 1000), st.floats(0.1, 1000))
def test_no_wait_is_longer_than_the_cap_or_than_the_doubled_base(count, draw, lasted, base, cap):
    bound = min(cap, base * 2.0 ** min(count, 30))
    assert 0 <= delay(count, draw, lasted=lasted, base=base, cap=cap) <= bound


@given(tries, draws, st.floats(0, SHORT, exclude_max=True))
def test_while_the_trouble_is_short_the_next_try_is_within_five_seconds(count, draw, lasted):
    assert delay(count, draw, lasted=lasted) <= SOON < 5


@given(tries, draws, st.floats(0, 1e6))
def test_however_long_it_lasted_the_next_try_is_within_a_minute(count, draw, lasted):
    assert delay(count, draw, lasted=lasted) <= CAP < 60


@given(draws)
def test_the_first_waits_double(draw):
    waits = [delay(count, draw) for count in range(3)]
    assert waits == [waits[0], 2 * waits[0], 4 * waits[0]]


@given(tries, draws)
def test_what_is_looked_at_seldom_is_tried_as_seldom(count, draw):
    assert delay(count, draw, base=20.0) >= 10.0


def test_half_of_the_wait_is_chance():
    assert (delay(0, 0.0), delay(0, 0.5), delay(100, 0.0, lasted=600.0)) == (0.5, 0.75, CAP / 2)
