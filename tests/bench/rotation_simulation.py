"""Simulates a month of fifty rotation targets: counts late rotations, and measures the CPU time."""

import time
from collections.abc import Iterator
from itertools import pairwise

from figures import Figure
from rig import report

from lessee.ops.rotate.policy.schedule import next_window
from support.models.rotation_service import MONTH, SimulatedService, fifty

SEED = 1
REACH = 2.0
QUEUE_TIME = 30.0
"""Seconds that targets which are due at the same moment may wait for each other."""


def measure() -> Iterator[Figure]:
    targets = fifty()
    began = time.process_time()
    month = SimulatedService(seed=SEED, **targets)
    month.run(month.now + MONTH)
    took = time.process_time() - began
    late = sum(_late(settings.schedule, month.rotated_at[name], month.duration) for name, settings in targets.items())
    report(f"seed {SEED}; {month.steps:,} steps, {sum(map(len, month.rotated_at.values())):,} rotations")
    name = "a month of 50 rotation targets, every 1 h to 30 d, 15 of them with windows"
    yield Figure(f"{name}: later than jitter and window", "", str(late), "0", not late)
    yield Figure(f"{name}: CPU time", "", f"{took:.1f} s", f"≤ {REACH:.0f} s", took <= REACH)


def _late(schedule, rotated_at, duration) -> int:
    return sum(
        moment > next_window(schedule, last + duration + schedule.period) + schedule.jitter + QUEUE_TIME
        for last, moment in pairwise(rotated_at)
    )
