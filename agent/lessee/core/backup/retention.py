"""Which archives are kept."""

from collections.abc import Callable, Iterable

from lessee.core.backup.names import Name, parsed


def surplus(texts: Iterable[str], cluster: str, *, daily: int, weekly: int) -> tuple[str, ...]:
    """The names of the cluster's archives that may go, the oldest first.

    Kept are the newest of each of the last `daily` UTC days and of the last `weekly` ISO weeks that have archives: days
    without any do not count, so that a clock that jumps takes nothing away. The newest stays whatever is asked for, and
    so does what has another name, or is another cluster's.
    """
    names = sorted((name for text in set(texts) if (name := parsed(text)) and name.cluster == cluster), reverse=True)
    kept = {
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
