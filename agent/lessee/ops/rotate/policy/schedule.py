"""When a target is due: by its configuration, its last rotation, and a random draw for jitter."""

from collections.abc import Iterable

from lessee.config.durations import spell
from lessee.config.grammar.rotation import Rotation
from lessee.config.time_windows import DAY, HOUR, WEEK, Span, spans
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.policy.journal import Journal

FIRST_ROTATION_SPREAD = 60.0
"""Seconds over which the first rotations of targets that were never rotated are spread."""
MIN_RETRY_DELAY = 60.0
"""Seconds until the first retry after a failure; the delay doubles with each failure."""
MAX_RETRY_DELAY = HOUR
SLOW_ROTATIONS = 3
"""Consecutive rotations with slow consumers after which a period counts as too short."""
_DIVISOR = 10
"""The default jitter, and the longest retry delay, are this part of the period: a tenth."""
_FIRST_MONDAY = 4 * DAY
"""The first Monday since 1970."""


class Schedule(ImmutableStruct, frozen=True):
    """When a target is rotated, in seconds. `period` None: only on request."""

    period: float | None
    jitter: float = 0.0
    windows: tuple[Span, ...] = ()


def schedule_of(config: Rotation) -> Schedule:
    """The schedule in a target's block of the configuration."""
    jitter = config.jitter
    if jitter is None:
        jitter = 0.0 if config.rotation_period is None else min(HOUR, config.rotation_period / _DIVISOR)
    return Schedule(config.rotation_period, jitter, spans(config.rotation_windows))


def due_at(schedule: Schedule, last: float, draw: float) -> float:
    """When the next rotation may start, in seconds since 1970. `last`: the last rotation; `draw` is in [0, 1).

    With windows, a rotation may also be early by the jitter. Otherwise each would be later than the one before, until
    it misses its window and skips a whole night. A target that is overdue by many periods is rotated once.
    """
    if schedule.period is None:
        return float("inf")
    if not schedule.windows:
        return last + schedule.period + schedule.jitter * draw
    earliest = last + schedule.period - min(schedule.jitter, schedule.period / 2)
    opens, closes = _window(schedule.windows, earliest)
    return opens + draw * min(schedule.jitter, closes - opens)


def first_due_at(schedule: Schedule, seen: float, draw: float) -> float:
    """When the first rotation of a target may start that was never rotated, and first seen at this time."""
    if schedule.period is None:
        return float("inf")
    return next_window(schedule, seen + draw * min(schedule.jitter, FIRST_ROTATION_SPREAD))


def next_window(schedule: Schedule, earliest: float) -> float:
    """The first time in a window that is not before `earliest`."""
    return _window(schedule.windows, earliest)[0] if schedule.windows and earliest < float("inf") else earliest


def retry_delay(schedule: Schedule, failures: int, draw: float) -> float:
    """Seconds until the next attempt after consecutive failures: half of it is fixed, and half is random."""
    longest = MAX_RETRY_DELAY if schedule.period is None else min(MAX_RETRY_DELAY, schedule.period / _DIVISOR)
    bound = min(longest, MIN_RETRY_DELAY * 2.0 ** min(max(0, failures - 1), 30))
    return bound / 2 + bound / 2 * draw


def period_error(schedule: Schedule, journal: Journal) -> str:
    """Why a target is not rotated on schedule; empty where its period is longer than its propagation times.

    With a shorter period, the old credential would be revoked while apps still use the one before it. A consumer that
    was away once is no slow consumer: each of the last `SLOW_ROTATIONS` must have taken longer than the period.
    """
    newest = journal.propagation_times[-SLOW_ROTATIONS:]
    if schedule.period is None or len(newest) < SLOW_ROTATIONS or min(newest) <= schedule.period:
        return ""
    return (
        f"not rotated: in its last {SLOW_ROTATIONS} rotations its apps took at least {min(newest):.1f} s to use a new "
        f"credential, longer than `rotation_period` ({spell(schedule.period)}); increase `rotation_period`"
    )


def period_warning(config: Rotation) -> str:
    """Why a target's times do not fit each other; empty where they do."""
    period, timeout = config.rotation_period, config.confirmation_timeout
    if period is None or period >= timeout:
        return ""
    return (
        f"`rotation_period` ({spell(period)}) is shorter than `confirmation_timeout` ({spell(timeout)}): "
        "while a consumer is away, the next rotation is late"
    )


def _window(windows: Iterable[Span], time: float) -> tuple[float, float]:
    """The window that is open at this time, from this time on, or the next one."""
    monday = _FIRST_MONDAY + (time - _FIRST_MONDAY) // WEEK * WEEK  # Exact, unlike a remainder of fractions.
    found = (
        (max(time, start + opens), start + closes)
        for opens, closes in windows
        for start in (monday - WEEK, monday, monday + WEEK)
        if start + closes > time
    )
    return min(found, key=lambda window: (window[0], -window[1]))
