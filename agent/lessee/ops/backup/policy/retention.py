"""The backup schedule: when the next archive is due, what it is named, and which old archives are removed."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from lessee.core.immutable import ImmutableStruct

_NAME = re.compile(r"lessee-([A-Za-z0-9_.-]+)-([0-9]{8}T[0-9]{6}Z)\.age")
_MOMENT = "%Y%m%dT%H%M%SZ"
_OF_ID = 8


class Name(ImmutableStruct, frozen=True, order=True):
    """The name of an archive; names of the same cluster sort by time."""

    moment: datetime
    """UTC, in whole seconds."""
    cluster: str

    def __str__(self) -> str:
        return f"lessee-{self.cluster}-{self.moment:{_MOMENT}}.age"


def name_of(cluster_name: str, cluster_id: str, namespace: str, created: datetime) -> Name:
    """The name contains a part of the cluster id: two clusters may have the same name, and retention compares names."""
    words = [cluster_name or "cluster", cluster_id[:_OF_ID], *namespace.split("/")]
    cluster = re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join(filter(None, words)))
    return Name(created.astimezone(UTC).replace(microsecond=0), cluster)


def parse_name(text: str) -> Name | None:
    """Parse an archive's name; None for any other name."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    try:
        return Name(datetime.strptime(found[2], _MOMENT).replace(tzinfo=UTC), found[1])
    except ValueError:  # such as a thirteenth month
        return None


def latest_name(texts: Iterable[str]) -> str | None:
    """The newest archive among these names, of any cluster."""
    names = [name for text in texts if (name := parse_name(text))]
    return str(max(names)) if names else None


def archives_to_remove(texts: Iterable[str], new: Name, *, daily: int, weekly: int) -> tuple[str, ...]:
    """The archives of the new one's cluster to remove, the oldest first.

    The newest archive of each of the last `daily` UTC days and `weekly` ISO weeks that have archives stays. Days
    without archives do not count, so a jump of the clock removes nothing. The new archive, the newest by name, files
    with other names, and archives of other clusters stay too.
    """
    found = map(parse_name, set(texts))
    names = sorted((name for name in found if name and name.cluster == new.cluster), reverse=True)
    stored = {
        new,
        *names[:1],
        *_newest_of_each(names, daily, lambda name: name.moment.date()),
        *_newest_of_each(names, weekly, lambda name: name.moment.isocalendar()[:2]),
    }
    return tuple(str(name) for name in reversed(names) if name not in stored)


def _newest_of_each(names: list[Name], count: int, period: Callable[[Name], object]) -> list[Name]:
    newest: dict[object, Name] = {}
    for name in names:
        newest.setdefault(period(name), name)
    return list(newest.values())[:count]


RETRY_DELAY = 300.0
"""Seconds until a failed backup is tried again, unless the next one is due sooner."""


def next_delay(began: float, ended: float, every: float, *, failed: bool) -> float:
    """Seconds between the end of a backup and the start of the next. Missed backups are not made up for."""
    if failed:
        return min(every, RETRY_DELAY)
    return max(0.0, every - (ended - began))
