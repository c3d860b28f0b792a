"""A month of fifty targets under a fake clock."""

from itertools import pairwise

import pytest

from lessee.config.time_windows import DAY
from lessee.ops.rotate.policy.schedule import opening
from support.models.rotation_service import MONTH, Machine, fifty

TAKEN = 30.0
"""Seconds that fifty at once wait for each other at most, two at a time."""


@pytest.mark.long
def test_in_a_month_none_of_fifty_is_late_by_more_than_its_jitter():
    """Or than its jitter after its window opens. tests/bench/months.py has the time that it takes."""
    world = Machine(**(plans := fifty()))
    world.run(world.now + MONTH)
    for name, one in plans.items():
        said, moments = one.schedule, world.at[name]
        first = opening(said, 1_000_000.0)
        assert first <= moments[0] <= first + 60.0 + TAKEN
        for last, moment in pairwise(moments):
            rotated = last + world.takes
            assert moment >= rotated + said.every - (said.jitter if said.windows else 0.0)
            assert moment <= opening(said, rotated + said.every) + said.jitter + TAKEN
            assert opening(said, moment) == moment
        assert moments[-1] + 2 * said.every + 7 * DAY > world.now
    assert world.most <= 2
