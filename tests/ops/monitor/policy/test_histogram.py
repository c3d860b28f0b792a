"""A histogram counts each duration once, up to its bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.policy.histogram import BOUNDS, Histogram


def made(*seconds):
    histogram = Histogram()
    for one in seconds:
        histogram.observe(one)
    return histogram


def test_each_bucket_has_the_durations_up_to_its_bound():
    view = made(0.0, 0.0001, 0.0002, 10.0, 11.0).view()
    assert view["buckets"][:2] == [[0.0001, 2], [0.00025, 3]]
    assert view["buckets"][-1] == [10.0, 4]
    assert (view["count"], view["sum"]) == (5, pytest.approx(21.0003))


@given(st.lists(st.floats(0, 100)))
def test_its_state_is_the_same_histogram(durations):
    before, after = made(*durations), Histogram()
    after.restore(before.state())
    assert after.view() == before.view()
    assert [bound for bound, _ in after.view()["buckets"]] == list(BOUNDS)
    assert after.view()["buckets"][-1][1] <= after.view()["count"] == len(durations)


@pytest.mark.parametrize("state", [[[1], 0.0], [["1"] * 17, 0.0], [[-1] * 17, 0.0]])
def test_another_state_is_refused(state):
    with pytest.raises(ValueError, match=r"^$"):
        Histogram().restore(state)
