"""The backup schedule: when the next archive is due, what it is named, and which old archives are removed."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from lessee.core.immutable import ImmutableStruct

_NAME = re.compile(r"lessee-([A-Za-z0-9_.-]+)-([0-9]{8}T[0-9]{6}Z)\.age")
_MOMENT = "%Y%m%dT%H%M%SZ"
_OF_ID = 8


class Name(ImmutableStruct, frozen=True, order=True):
    """The name of an archive; those of one cluster sort by time."""

    moment: datetime
    """UTC, in whole seconds."""
    cluster: str

    def __str__(self) -> str:
        return f"lessee-{self.cluster}-{self.moment:{_MOMENT}}.age"


def name_of(cluster_name: str, cluster_id: str, namespace: str, created: datetime) -> Name:
    """The name holds a part of the id: two clusters may be called the same, and retention goes by names."""
    words = [cluster_name or "cluster", cluster_id[:_OF_ID], *namespace.split("/")]
    cluster = re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join(filter(None, words)))
    return Name(created.astimezone(UTC).replace(microsecond=0), cluster)


def parse_name(text: str) -> Name | None:
    """None where it is nothing that we have named."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    try:
        return Name(datetime.strptime(found[2], _MOMENT).replace(tzinfo=UTC), found[1])
    except ValueError:  # such as a thirteenth month
        return None


def latest_name(texts: Iterable[str]) -> str | None:
    """The newest archive among names, of whatever cluster."""
    names = [name for text in texts if (name := parse_name(text))]
    return str(max(names)) if names else None


def archives_to_remove(texts: Iterable[str], new: Name, *, daily: int, weekly: int) -> tuple[str, ...]:
    """The names of archives that may go for the sake of a new one, of its cluster alone; the oldest first.

    Kept are the newest of each of the last `daily` UTC days and of the last `weekly` ISO weeks that have archives: days
    without any do not count, so that a clock that jumps takes nothing away. The new one stays, whatever the clock said
    of others before, and so do the newest by name, what has another name, and what is another cluster's.
    """
    found = map(parse_name, set(texts))
    names = sorted((name for name in found if name and name.cluster == new.cluster), reverse=True)
    kept = {
        new,
        *names[:1],
        *_newest_of_each(names, daily, lambda name: name.moment.date()),
        *_newest_of_each(names, weekly, lambda name: name.moment.isocalendar()[:2]),
    }
    return tuple(str(name) for name in reversed(names) if name not in kept)


def _newest_of_each(names: list[Name], count: int, period: Callable[[Name], object]) -> list[Name]:
    newest: dict[object, Name] = {}
    for name in names:
        newest.setdefault(period(name), name)
    return list(newest.values())[:count]


SOON = 300.0
"""Seconds after which one that failed is tried again, unless the next is due sooner."""


def next_delay(began: float, ended: float, every: float, *, failed: bool) -> float:
    """Seconds from the end of one to the beginning of the next. Those that are late are not made up for."""
    if failed:
        return min(every, SOON)
    return max(0.0, every - (ended - began))
