"""A month of fifty targets under a fake clock."""

from itertools import pairwise

import pytest

from lessee.config.time_windows import DAY
from lessee.ops.rotate.policy.schedule import next_window
from support.models.rotation_service import MONTH, SimulatedService, fifty

TAKEN = 30.0
"""Seconds that fifty targets due at one time wait for each other at most, with two rotations at a time."""


@pytest.mark.long
def test_in_a_month_none_of_fifty_targets_is_late_by_more_than_its_jitter():
    """Or than its jitter after its window opens. tests/bench/rotation_simulation.py measures the time."""
    simulation = SimulatedService(**(targets := fifty()))
    simulation.run(simulation.now + MONTH)
    for name, settings in targets.items():
        schedule, moments = settings.schedule, simulation.rotated_at[name]
        first = next_window(schedule, 1_000_000.0)
        assert first <= moments[0] <= first + 60.0 + TAKEN
        for last, moment in pairwise(moments):
            rotated = last + simulation.duration
            assert moment >= rotated + schedule.period - (schedule.jitter if schedule.windows else 0.0)
            assert moment <= next_window(schedule, rotated + schedule.period) + schedule.jitter + TAKEN
            assert next_window(schedule, moment) == moment
        assert moments[-1] + 2 * schedule.period + 7 * DAY > simulation.now
    assert simulation.max_running <= 2
