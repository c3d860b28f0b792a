"""When the next drill is due, by the reports in a directory."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

_TIME = "%Y%m%dT%H%M%SZ"
RETRY_DELAY = 3600.0
"""Seconds until a drill that failed is tried again."""


def report_name(environment: str, started: float) -> str:
    """The name of a report without its suffix. `started`: seconds since 1970."""
    return f"lessee-drill-{environment}-{datetime.fromtimestamp(started, UTC).strftime(_TIME)}"


def next_due(names: Iterable[str], environment: str, now: float, every: float) -> float:
    """When the environment's next drill is due; `now` without a report.

    A report of the future, by a wrong clock, does not count, nor does one of another environment.
    """
    ended = [began for began in _times(names, environment) if began <= now]
    return max(ended) + every if ended else now


def _times(names: Iterable[str], environment: str) -> Iterator[float]:
    form = re.compile(rf"lessee-drill-{re.escape(environment)}-(\d{{8}}T\d{{6}}Z)\.json")
    for name in names:
        if match := form.fullmatch(name):
            try:
                yield datetime.strptime(match[1], _TIME).replace(tzinfo=UTC).timestamp()
            except ValueError:  # There is no such day.
                continue
