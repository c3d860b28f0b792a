"""What is still to be told, and over which way: nothing is lost over a failure or a restart, and nothing grows.

A way that takes each telling (webhook, mail) is a queue; a way that takes the whole state (Alertmanager) is told
anew every minute.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from lessee.core.backoff import delay
from lessee.core.immutable import Record, replace
from lessee.ops.monitor.policy.alerts import Telling

MOST = 1000
"""Tellings that wait for one way; then the oldest are let go, and counted."""
AT_ONCE = 20
"""Tellings in one message."""
UNFIT = 5
"""Tries of a message that is refused for what it is; then it is let go, and counted."""
EVERY = 60.0
"""Seconds after which a way that takes the whole state is told anew."""


class Way(Record, frozen=True):
    """How telling over one way goes. Moments in seconds since 1970."""

    whole: bool = False
    """It takes the whole state."""
    waiting: tuple[Telling, ...] = ()
    saved: int = 0
    """So many of those have been kept where a kill does not reach them: they may go out."""
    told: int = 0
    lost: int = 0
    tries: int = 0
    failing_since: float = 0.0
    next_at: float = 0.0
    error: str | None = None
    under_way: bool = False
    news: bool = False
    """Something has changed since the whole state was told."""


def put(way: Way, tellings: Iterable[Telling]) -> Way:
    """More to tell."""
    tellings = tuple(tellings)
    if not tellings:
        return way
    if way.whole:
        return replace(way, news=True)
    waiting = (*way.waiting, *tellings)
    lost = max(0, len(waiting) - MOST)
    # What is being told stays in front, or it would not be known what was.
    first = AT_ONCE if way.under_way else 0
    kept = (*waiting[:first], *waiting[first + lost :])
    return replace(way, waiting=kept, lost=way.lost + lost, saved=max(min(way.saved, first), way.saved - lost))


def was_saved(way: Way, waiting: int) -> Way:
    """So many of those that wait are safe."""
    return replace(way, saved=min(waiting, len(way.waiting)))


def begin(way: Way, now: float) -> tuple[Way, tuple[Telling, ...] | None]:
    """What is to be told now: None: nothing; for a way that takes the whole state, an empty tuple stands for that."""
    if way.under_way or (way.tries and now < way.next_at <= now + EVERY * 2):
        return way, None
    if way.whole:
        due = way.news or not now < way.next_at <= now + EVERY * 2
        return (replace(way, under_way=True, news=False), ()) if due else (way, None)
    batch = way.waiting[: min(way.saved, AT_ONCE)]
    return (replace(way, under_way=True), batch) if batch else (way, None)


def ended(
    way: Way, batch: Sequence[Telling], now: float, *, error: str | None, draw: float, unfit: bool = False
) -> Way:
    """What came of that. `draw` in [0, 1). `unfit`: it was refused for what it is, and may never be taken."""
    way = replace(way, under_way=False)
    if unfit and batch and way.tries + 1 >= UNFIT:
        # What nobody takes must not stand in the way of what comes after it.
        left = without(way, {telling.id for telling in batch})
        return replace(left, told=way.told, lost=way.lost + len(batch), tries=0, failing_since=0.0, error=error)
    if error is not None:
        since, tries = way.failing_since or now, way.tries + 1
        next_at = now + delay(tries, draw, lasted=now - since)
        return replace(way, tries=tries, failing_since=since, next_at=next_at, error=error, news=way.whole)
    way = replace(way, tries=0, failing_since=0.0, error=None, next_at=now + EVERY if way.whole else 0.0)
    return without(way, {telling.id for telling in batch}) if batch else replace(way, told=way.told + 1)


def without(way: Way, told: Collection[str]) -> Way:
    """These have been told."""
    left = tuple(telling for telling in way.waiting if telling.id not in told)
    gone = len(way.waiting) - len(left)
    return replace(way, waiting=left, told=way.told + gone, saved=max(0, way.saved - gone))


def kept(way: Way) -> Any:
    """As JSON."""
    return {"waiting": msgspec.to_builtins(way.waiting), "told": way.told, "lost": way.lost}


def restored(way: Way, said: Any) -> Way:
    """Of `kept`: all of it has been saved."""
    waiting = msgspec.convert(said["waiting"], tuple[Telling, ...])
    return replace(way, waiting=waiting, saved=len(waiting), told=said["told"], lost=said["lost"])
