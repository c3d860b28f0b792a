"""Windows such as `sat,sun 00:00-06:00`: where in the week they lie, and what lies between them."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

HOUR, DAY = 3600.0, 86400.0
WEEK = 7 * DAY
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Span = tuple[float, float]
"""From when to when, in seconds from Monday 00:00 UTC; it may end in the next week."""


def spans(windows: Iterable[str]) -> tuple[Span, ...]:
    """Those of each window, by day. One that ends before it begins, ends on the next day."""
    return tuple(span for window in windows for span in _spans(window))


def hours(times: str) -> Span:
    """From when to when of `22:00-02:00`, in seconds of the day."""
    begins, _, ends = times.partition("-")
    return _seconds(begins), _seconds(ends)


def longest_pause(windows: Iterable[str]) -> float:
    """The longest time between two windows, in seconds; 0 where there is always one."""
    ordered = sorted(spans(windows))
    reached, longest = max(ends for _, ends in ordered) - WEEK, 0.0
    for begins, ends in ordered:
        longest, reached = max(longest, begins - reached), max(reached, ends)
    return longest


def _spans(window: str) -> Iterator[Span]:
    days, _, times = window.rpartition(" ")
    begins, ends = hours(times)
    length = (ends - begins) % DAY or DAY
    for day in sorted(set(_days(days.strip()))):
        yield day * DAY + begins, day * DAY + begins + length


def _days(text: str) -> Iterator[int]:
    if not text:
        yield from range(len(_DAYS))
    for part in filter(None, text.split(",")):
        named = [_DAYS.index(name) for name in part.split("-")]
        yield named[0]
        for first, last in pairwise(named):
            yield from ((first + step) % len(_DAYS) for step in range((last - first) % len(_DAYS) + 1))


def _seconds(text: str) -> float:
    hour, _, minute = text.partition(":")
    return int(hour) * HOUR + int(minute) * 60.0
