"""When a target is due: by what the configuration says, by when it was last rotated, and by chance."""

from collections.abc import Iterable

from lessee.config.durations import spell
from lessee.config.grammar.rotation import Rotation
from lessee.config.time_windows import DAY, HOUR, WEEK, Span, spans
from lessee.core.immutable import Record
from lessee.ops.rotate.policy.journal import Journal

SPREAD = 60.0
"""Seconds over which the first rotations of targets that never had one are spread."""
RETRY = 60.0
"""Seconds after which one that failed is tried again; they double with each failure."""
RETRY_MOST = HOUR
_PART = 10
"""Jitter, and the longest wait after a failure, are such a part of the period."""
_MONDAY = 4 * DAY
"""The first one since 1970."""


class Schedule(Record, frozen=True):
    """When a target is rotated. `every` None: when somebody says so. In seconds."""

    every: float | None
    jitter: float = 0.0
    windows: tuple[Span, ...] = ()


def schedule(said: Rotation) -> Schedule:
    """As a target's block says."""
    jitter = said.jitter
    if jitter is None:
        jitter = 0.0 if said.every is None else min(HOUR, said.every / _PART)
    return Schedule(said.every, jitter, spans(said.windows))


def due_at(said: Schedule, last: float, draw: float) -> float:
    """When the next one may begin, in seconds since 1970; `last`: when the last one was, `draw` is in [0, 1).

    Where there are windows it may also come by the jitter too soon: else each would be somewhat later than the one
    before it, until it misses its window, and a whole night is left out. What was missed is not made up for: a target
    that is overdue by many periods is due once.
    """
    if said.every is None:
        return float("inf")
    if not said.windows:
        return last + said.every + said.jitter * draw
    opens, closes = _window(said.windows, last + said.every - min(said.jitter, said.every / 2))
    return opens + draw * min(said.jitter, closes - opens)


def first_at(said: Schedule, seen: float, draw: float) -> float:
    """The same for a target that was never rotated, and was first seen at this moment."""
    return float("inf") if said.every is None else opening(said, seen + draw * min(said.jitter, SPREAD))


def opening(said: Schedule, moment: float) -> float:
    """From when on one may begin that may not begin before this moment."""
    return _window(said.windows, moment)[0] if said.windows and moment < float("inf") else moment


def pause(said: Schedule, failures: int, draw: float) -> float:
    """Seconds until the next try, after so many failures in a row: half of it is certain and half is chance."""
    most = RETRY_MOST if said.every is None else min(RETRY_MOST, said.every / _PART)
    bound = min(most, RETRY * 2.0 ** min(max(0, failures - 1), 30))
    return bound / 2 + bound / 2 * draw


def refusal(said: Schedule, journal: Journal) -> str:
    """Why a target is not rotated by the clock: empty, or that the apps cannot follow, with both figures.

    Else the old credential would be retired while the one before it is still in use.
    """
    longest = max(journal.propagations, default=0.0)
    if said.every is None or longest <= said.every:
        return ""
    return (
        f"not rotated: until all its apps had a new credential it took {longest:.1f} s, "
        f"which is longer than its period of {spell(said.every)}; lengthen `every`"
    )


def _window(windows: Iterable[Span], moment: float) -> tuple[float, float]:
    """The window that is open at this moment, from then on, or the next one."""
    monday = _MONDAY + (moment - _MONDAY) // WEEK * WEEK  # Exact, as a remainder of fractions is not.
    found = (
        (max(moment, start + opens), start + closes)
        for opens, closes in windows
        for start in (monday - WEEK, monday, monday + WEEK)
        if start + closes > moment
    )
    return min(found, key=lambda window: (window[0], -window[1]))
