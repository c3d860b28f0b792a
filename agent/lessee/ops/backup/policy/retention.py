"""Which archives are kept."""

from collections.abc import Callable, Iterable

from lessee.ops.backup.policy.names import Name, parsed


def surplus(texts: Iterable[str], new: Name, *, daily: int, weekly: int) -> tuple[str, ...]:
    """The names of archives that may go for the sake of a new one, of its cluster alone; the oldest first.

    Kept are the newest of each of the last `daily` UTC days and of the last `weekly` ISO weeks that have archives: days
    without any do not count, so that a clock that jumps takes nothing away. The new one stays, whatever the clock said
    of others before, and so do the newest by name, what has another name, and what is another cluster's.
    """
    found = map(parsed, set(texts))
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
