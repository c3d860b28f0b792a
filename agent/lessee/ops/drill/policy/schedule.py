"""When the next drill is due, by the reports in a directory."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

_NAME = re.compile(r"lessee-drill-.*-(\d{8}T\d{6}Z)\.json")
_TIME = "%Y%m%dT%H%M%SZ"
RETRY_DELAY = 3600.0
"""Seconds until a drill that failed is tried again."""


def report_name(environment: str, started: float) -> str:
    """The name of a report without its suffix. `started`: seconds since 1970."""
    return f"lessee-drill-{environment}-{datetime.fromtimestamp(started, UTC).strftime(_TIME)}"


def next_due(names: Iterable[str], now: float, every: float) -> float:
    """When the next drill is due; `now` without a report. A report of the future, by a wrong clock, does not count."""
    ended = [began for began in _times(names) if began <= now]
    return max(ended) + every if ended else now


def _times(names: Iterable[str]) -> Iterator[float]:
    for name in names:
        if match := _NAME.fullmatch(name):
            try:
                yield datetime.strptime(match[1], _TIME).replace(tzinfo=UTC).timestamp()
            except ValueError:  # There is no such day.
                continue
