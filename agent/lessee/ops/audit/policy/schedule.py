"""The periods of regular audit reports, and the names of their files."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from lessee.core.immutable import ImmutableStruct

_MONDAY = 4 * 86400
"""A Monday at midnight: reports of whole days begin at midnight UTC, of whole weeks on a Monday."""
_NAME = re.compile(r"report-(\d{8}T\d{6}Z)-(\d{8}T\d{6}Z)\.(?:txt|json|csv)")
_TIME = "%Y%m%dT%H%M%SZ"
_SUFFIXES = {"text": "txt", "json": "json", "csv": "csv"}
MOST = 60
"""The periods that one run makes up for; older ones are omitted."""
UNFINISHED = ".unfinished"
"""The end of the name of the empty file next to a report that is not complete, or still to be sent by mail."""
RETRY_DELAY = 3600.0
"""Seconds until an incomplete report is written again."""


class Period(ImmutableStruct, frozen=True, order=True):
    """A period in seconds since 1970, without its end."""

    begins: float
    ends: float

    def file_name(self, form: str) -> str:
        """The name of the file with its report in this format."""
        return f"report-{_text(self.begins)}-{_text(self.ends)}.{_SUFFIXES[form]}"


def due(names: Iterable[str], now: float, every: float) -> tuple[Period, ...]:
    """The whole periods that have ended since the newest report among these files; without one, the last period.

    At most `MOST`, the oldest first. A report of the future, which a wrong clock has made, does not count.
    """
    last_end = (now - _MONDAY) // every * every + _MONDAY
    ends = [period.ends for period in _periods(names) if period.ends <= now]
    begin = max(*ends, last_end - MOST * every) if ends else last_end - every
    found = []
    while begin < last_end:
        # After a change of the interval, the first period is shorter, so that no moment is in no report.
        end = min(last_end, (begin - _MONDAY) // every * every + _MONDAY + every)
        found.append(Period(begin, end))
        begin = end
    return tuple(found)


def unfinished(names: Iterable[str], form: str) -> tuple[Period, ...]:
    """The periods whose report in this format is not complete, or was not sent."""
    found = set(names)
    periods = _periods(name.removesuffix(UNFINISHED) for name in found if name.endswith(UNFINISHED))
    return tuple(sorted(period for period in periods if f"{period.file_name(form)}{UNFINISHED}" in found))


def next_due(now: float, every: float) -> float:
    """When the next period ends."""
    return ((now - _MONDAY) // every + 1) * every + _MONDAY


def _periods(names: Iterable[str]) -> Iterator[Period]:
    for name in names:
        if match := _NAME.fullmatch(name):
            try:
                yield Period(_seconds(match[1]), _seconds(match[2]))
            except ValueError:  # It has no such day.
                continue


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(_TIME)


def _seconds(text: str) -> float:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp()
