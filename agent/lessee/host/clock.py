"""The two clocks: one for durations, one for dates; and what a time on the second was on the first."""

import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

_STEP = 0.1
"""Seconds by which a program must set the wall clock for it to be noticed. NTP's slewing changes both clocks alike."""
_PRECISION = 0.001
"""Seconds between two reads of the boot clock with one of the wall clock between them; longer ones are repeated."""
_ATTEMPTS = 5
_COARSEST = 2.0
"""Seconds to which a file system rounds a time stamp down: FAT's."""
_MAX_PERIODS = 64


class ClockPeriod(NamedTuple):
    """A period in which the wall clock was not set. All times are seconds on the boot clock."""

    first_seen: float
    last_seen: float
    ahead: float
    """How far the wall clock is ahead of the boot clock."""


_lock = threading.Lock()
_periods: tuple[ClockPeriod, ...] = ()


def boot_time() -> float:
    """Seconds on CLOCK_BOOTTIME, which counts suspension as the lease on the server does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_time() -> float:
    """Seconds since 1970, for people and for ages that span a reboot. Nothing else may depend on it, as it can jump."""
    return time.time()


def watch_wall_clock() -> tuple[ClockPeriod, ...]:
    """Note whether the wall clock was set since the last call, and return its periods, the oldest first."""
    global _periods  # noqa: PLW0603  # There is one such clock for all of the process.
    with _lock:
        found = _read_clocks(exactly=bool(_periods))
        if found is None:
            return _periods
        last = _periods[-1] if _periods else None
        if last is not None and abs(found.ahead - last.ahead) < _STEP:
            _periods = (*_periods[:-1], last._replace(last_seen=found.last_seen, ahead=found.ahead))
        else:
            _periods = (*_periods, found)[-_MAX_PERIODS:]
        return _periods


def recall_wall_clock(periods: Iterable[ClockPeriod]) -> None:
    """Continue with what a previous run saw of this boot."""
    global _periods  # noqa: PLW0603
    with _lock:
        _periods = tuple(periods)


def boot_times(wall: float) -> list[float]:
    """When the wall clock may have had this time: seconds on the boot clock, the earliest first, and at least one.

    They are several where the clock was set back, and had it twice. Before the first period that this process
    knows of, the clock is assumed to have been as in it.
    """
    periods = watch_wall_clock()
    starts = [float("-inf"), *(period.last_seen for period in periods[:-1])]
    ends = [*(period.first_seen for period in periods[1:]), periods[-1].last_seen + _STEP]
    moments = [wall - period.ahead for period in periods]
    found = sorted(
        at for at, start, end in zip(moments, starts, ends, strict=True) if start - _COARSEST <= at <= end + _PRECISION
    )
    return found or moments[-1:]


def _read_clocks(*, exactly: bool) -> ClockPeriod | None:
    """None where the process was interrupted between the two clocks each time, and `exactly`."""
    for _ in range(_ATTEMPTS):
        before = boot_time()
        wall = wall_time()
        now = boot_time()
        if now - before < _PRECISION:
            break
    else:
        if exactly:
            return None
    return ClockPeriod(now, now, wall - (before + now) / 2)
