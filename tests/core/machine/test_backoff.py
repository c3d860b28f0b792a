"""Retries slow down, stay under the cap and do not come back as one."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lessee.core.machine.backoff import CAP, delay

draws = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 10**9), draws, st.floats(0.01, 1000), st.floats(0.1, 1000))
def test_a_wait_is_within_half_and_the_whole_of_the_doubling_bound(tries, draw, base, cap):
    bound = min(cap, base * 2.0 ** min(tries, 30))
    assert bound / 2 <= delay(tries, draw, base=base, cap=cap) <= bound


@given(st.integers(0, 100), draws)
def test_no_wait_is_longer_than_the_cap(tries, draw):
    assert delay(tries, draw) <= CAP


@given(draws)
def test_the_wait_doubles_with_each_try_until_the_cap(draw):
    waits = [delay(tries, draw) for tries in range(12)]
    assert all(later == 2 * sooner for sooner, later in pairwise(waits[:6]))
    assert waits[6:] == waits[6:7] * 6


def test_half_of_the_wait_is_chance():
    assert (delay(0, 0.0), delay(0, 0.5), delay(100, 0.0)) == (0.5, 0.75, CAP / 2)
