"""Remembers when units have read their credentials, so that no unit is restarted that has just read the new ones."""

from collections.abc import Collection
from threading import Condition
from time import monotonic

_FIRST_READ = 0.5
"""Seconds that units which wait for the first generation have to read it, before they count as not started."""

_changed = Condition()
_reads: dict[str, dict[tuple[str, str], float]] = {}
"""By app, for a unit and a credential: since when it has what was published then, on the boot clock."""


def note(app: str, unit: str, credential: str, read_at: float) -> None:
    """The unit has read what was published at this time."""
    with _changed:
        _reads.setdefault(app, {})[unit, credential] = read_at
        _changed.notify_all()


def have_read(app: str, units: Collection[str], published_at: float) -> bool:
    """Whether all units have read all of their credentials since then, and need no restart."""
    deadline = monotonic() + _FIRST_READ
    with _changed:
        while not (done := _have_read(app, units, published_at)) and not _are_known(app, units):
            if (left := deadline - monotonic()) <= 0:
                break
            _changed.wait(left)
    return done


def _have_read(app: str, units: Collection[str], published_at: float) -> bool:
    reads = _reads.get(app, {})
    return _are_known(app, units) and all(at > published_at for (unit, _), at in reads.items() if unit in units)


def _are_known(app: str, units: Collection[str]) -> bool:
    return {unit for unit, _ in _reads.get(app, {})} >= set(units)
