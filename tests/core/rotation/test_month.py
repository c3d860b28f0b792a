"""A month of fifty targets under a fake clock."""

import time

import pytest

from lessee.core.rotation.schedule import DAY, HOUR, opening
from watched import Machine, plan

EVERY = (HOUR, 6 * HOUR, 12 * HOUR, DAY, DAY, 2 * DAY, 7 * DAY, 7 * DAY, 30 * DAY, 30 * DAY)
WINDOWS = ((), (), (), ("02:00-04:00",), ("sat,sun 00:00-06:00", "mon-fri 22:00-02:00"))
MONTH = 30 * DAY
TAKEN = 30.0
"""Seconds that fifty at once wait for each other at most, two at a time."""


def fifty():
    plans = {}
    for number in range(50):
        every = EVERY[number % 10]
        windows = WINDOWS[number // 10] if every >= DAY else ()
        plans[f"t{number}"] = plan(every, jitter=min(HOUR, every / 10), windows=windows)
    return plans


@pytest.mark.parametrize("seed", [1, 2])
def test_in_a_month_none_of_fifty_is_late_by_more_than_its_jitter(seed):
    """Or than its jitter after its window opens; and the decisions take less than two seconds of this test."""
    plans = fifty()
    began = time.process_time()
    world = Machine(seed=seed, **plans)
    world.run(world.now + MONTH)
    took = time.process_time() - began
    for name, one in plans.items():
        said, moments = one.schedule, world.at[name]
        first = opening(said, 1_000_000.0)
        assert first <= moments[0] <= first + 60.0 + TAKEN
        for last, moment in zip(moments, moments[1:], strict=False):
            rotated = last + world.takes
            assert moment >= rotated + said.every - (said.jitter if said.windows else 0.0)
            assert moment <= opening(said, rotated + said.every) + said.jitter + TAKEN
            assert opening(said, moment) == moment
        assert moments[-1] + 2 * said.every + 7 * DAY > world.now
    assert world.most <= 2
    assert took <= 2.0
