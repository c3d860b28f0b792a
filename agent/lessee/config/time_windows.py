"""Converts time windows such as `sat,sun 00:00-06:00` into spans of the week, and measures the pauses between them."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

HOUR, DAY = 3600.0, 86400.0
WEEK = 7 * DAY
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Span = tuple[float, float]
"""Begin and end in seconds since Monday 00:00; the end may be in the next week."""


def spans(windows: Iterable[str]) -> tuple[Span, ...]:
    """The spans of each window, one per day. A window whose end precedes its begin ends on the next day."""
    return tuple(span for window in windows for span in _spans(window))


def hours(times: str) -> Span:
    """Begin and end of `22:00-02:00` in seconds of the day."""
    begin, _, end = times.partition("-")
    return _seconds(begin), _seconds(end)


def longest_pause(windows: Iterable[str]) -> float:
    """The longest time between two windows, in seconds; 0 if the windows cover the whole week."""
    ordered = sorted(spans(windows))
    reached, longest = max(end for _, end in ordered) - WEEK, 0.0
    for begin, end in ordered:
        longest, reached = max(longest, begin - reached), max(reached, end)
    return longest


def _spans(window: str) -> Iterator[Span]:
    days, _, times = window.rpartition(" ")
    begin, end = hours(times)
    length = (end - begin) % DAY or DAY
    for day in sorted(set(_days(days.strip()))):
        yield day * DAY + begin, day * DAY + begin + length


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
