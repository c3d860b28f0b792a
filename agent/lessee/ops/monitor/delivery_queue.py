"""Takes changes to one place in a thread of its own, in order, and keeps them while nobody takes them there."""

import random
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from lessee.core.change_events import Beat
from lessee.core.immutable import Record
from lessee.host.clock import boot_time
from lessee.telemetry.logs import log

ROOM = 5000
"""Changes that are kept; of more the oldest are lost, and told of. Agents look at all when it is there again."""
_BATCH = 500
_FIRST, _LONGEST = 0.1, 5.0
"""Seconds between two tries."""
_HOLDS = 2.0
"""Seconds for which it holds that the monitor sees all, once it has said so: it does each second."""
_GOODBYE = 2.0
"""Seconds in which, at the end, what is on its way arrives and the leave is taken."""


class Parcel(Record, frozen=True):
    """A change, as JSON, and the line of the log that it comes from."""

    source: str
    number: int
    content: str


class Waiting(Record, frozen=True):
    """What outlives a courier: what has not arrived, and how much has, or never will."""

    parcels: tuple[Parcel, ...]
    published: int
    lost: int


class UndeliveredError(Exception):
    """It could not be taken there. The text says why, and holds no password. `lost`: it never will be."""

    def __init__(self, why: str, *, lost: bool = False) -> None:
        super().__init__(why)
        self.lost = lost


class Place(Protocol):
    """Where changes go; for one thread. Each raises UndeliveredError."""

    most: int
    """Parcels in one go."""
    beats: bool
    """Whether it is told that the monitor is there."""

    def deliver(self, parcels: Sequence[Parcel]) -> None:
        """All of them, or none that could not be taken there again."""
        ...

    def beat(self, beat: Beat) -> None:
        """Say that the monitor is there."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class DeliveryQueue:
    """Goes to one place until closed. All but its own thread only takes the lock for a moment."""

    def __init__(self, name: str, place: Place, every: float) -> None:
        """`every`: seconds between two heartbeats."""
        self.name = name
        self._place = place
        self._every = every
        self._waiting: deque[Parcel] = deque()
        self._wake = threading.Condition()
        self._seen_until = self._beat_at = float("-inf")
        self._closed = False
        self._reachable: bool | None = None
        self._published = self._lost = self._under_way = 0
        self._lost_and_told = 0
        self._error: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"lessee-{name}", daemon=True)

    def start(self) -> None:
        """Go, from now on."""
        self._thread.start()

    def put(self, parcels: Sequence[Parcel]) -> None:
        """Take these there."""
        with self._wake:
            self._waiting.extend(parcels)
            self._lose(len(self._waiting) - ROOM)
            self._wake.notify()

    def sees(self, *, all_of_it: bool) -> None:
        """While the monitor sees all that happens, and says so each second, that it is there is said in the place."""
        with self._wake:
            self._seen_until = boot_time() + _HOLDS if all_of_it else float("-inf")
            self._wake.notify()

    def state(self) -> Waiting:
        """What has not arrived."""
        with self._wake:
            return Waiting(tuple(self._waiting), self._published, self._lost)

    def restore(self, kept: Waiting) -> None:
        """Before the start."""
        self._waiting.extend(kept.parcels)
        self._published, self._lost = kept.published, kept.lost
        self._lost_and_told = kept.lost

    def status(self) -> Mapping[str, Any]:
        """For status.json."""
        with self._wake:
            return {
                "reachable": bool(self._reachable),
                "published": self._published,
                "waiting": len(self._waiting),
                "lost": self._lost,
                "error": self._error,
            }

    def finish(self) -> None:
        """Take what waits there if that can be done at once, and the leave."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def close(self) -> None:
        """After `finish`: wait for that, a moment."""
        self._thread.join(_GOODBYE)

    def _lose(self, count: int) -> None:
        # What is under way at this moment stays, until it is known what becomes of it.
        count = min(count, len(self._waiting) - self._under_way)
        if count > 0:
            under_way = [self._waiting.popleft() for _ in range(self._under_way)]
            for _ in range(count):
                self._waiting.popleft()
            self._waiting.extendleft(reversed(under_way))
            if not self._lost:
                log("warning", "changes are lost", place=self.name, reason=f"{ROOM} wait already")
            self._lost += count

    def _run(self) -> None:
        wait = _FIRST
        while True:
            with self._wake:
                self._wait()
                batch = list(islice(self._waiting, min(_BATCH, self._place.most)))
                self._under_way = len(batch)
                closed, lost = self._closed, self._lost
            try:
                if batch:
                    self._place.deliver(batch)
                elif self._place.beats:
                    # After all that waited. Who hears that nobody is there looks at all himself, as he must where
                    # something was lost.
                    self._beat_at = boot_time() + self._every
                    leaving = closed or lost != self._lost_and_told
                    self._place.beat(Beat("leaving" if leaving else "here", self._every))
                    self._lost_and_told = lost
            except UndeliveredError as exc:
                self._failed(str(exc), len(batch) if exc.lost else 0)
                if not exc.lost:
                    with self._wake:
                        self._wake.wait_for(lambda: self._closed, wait * random.uniform(0.5, 1.0))  # noqa: S311
                    wait = min(_LONGEST, wait * 2)
            except Exception as exc:  # noqa: BLE001  # A thread that ends silently would tell nobody ever again.
                self._failed(f"internal error: {type(exc).__name__}; please report it", 0)
                with self._wake:
                    self._wake.wait_for(lambda: self._closed, _LONGEST)
            else:
                wait = _FIRST
                self._arrived(len(batch))
            if closed and (not batch or self._error is not None):
                self._place.close()
                return

    def _wait(self) -> None:
        """For something to deliver, for the next heartbeat, or for the end."""
        while not (self._closed or self._waiting):
            now = boot_time()
            if not self._place.beats or now >= self._seen_until:
                self._wake.wait()
            elif now < self._beat_at:
                self._wake.wait(self._beat_at - now)
            else:
                return

    def _arrived(self, count: int) -> None:
        with self._wake:
            self._under_way = 0
            for _ in range(count):
                self._waiting.popleft()
            self._published += count
            if self._reachable is False:
                log("info", "changes are published again", place=self.name, waiting=len(self._waiting))
            self._reachable, self._error = True, None

    def _failed(self, why: str, lost: int) -> None:
        with self._wake:
            self._under_way = 0
            for _ in range(lost):
                self._waiting.popleft()
            self._lost += lost
            if why != self._error:
                log("warning", "changes are not published", place=self.name, reason=why, waiting=len(self._waiting))
            self._reachable, self._error = lost > 0, why
