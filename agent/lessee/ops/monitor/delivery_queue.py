"""Delivers change messages to one destination, in order, in its own thread, and queues them while it is unavailable."""

import random
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from lessee.core.change_events import Heartbeat
from lessee.core.immutable import ImmutableStruct
from lessee.host.clock import boot_time
from lessee.telemetry.logs import log

MAX_PENDING = 5000
"""Messages in the queue. More drop the oldest. Agents check every path once the destination is available again."""
_MAX_BATCH = 500
_FIRST_RETRY, _LONGEST_RETRY = 0.1, 5.0
_UP_TO_DATE_FOR = 2.0
"""Seconds for which `set_up_to_date` holds. The monitor calls it each second."""
_CLOSE_TIMEOUT = 2.0
"""Seconds at the end for the delivery in flight and the last heartbeat."""


class ChangeMessage(ImmutableStruct, frozen=True):
    """A change as JSON, with the number of its log entry."""

    source: str
    number: int
    content: str


class QueueState(ImmutableStruct, frozen=True):
    """What a checkpoint holds of a queue."""

    messages: tuple[ChangeMessage, ...]
    published: int
    dropped: int


class PublishError(Exception):
    """A destination did not accept messages. The text gives the reason, and contains no password.

    `permanent`: it will never accept them, so they are dropped.
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


class Destination(Protocol):
    """Where changes are published. One thread uses it. Its methods raise PublishError."""

    max_batch: int
    """Messages in one delivery."""
    takes_heartbeats: bool

    def deliver(self, messages: Sequence[ChangeMessage]) -> None:
        """Deliver all messages. After an error they are delivered again."""
        ...

    def send_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Tell agents that the monitor is alive, or is about to stop."""
        ...

    def close(self) -> None:
        """Called after the last delivery."""
        ...


class DeliveryQueue:
    """The queue of one destination. Other threads only hold its lock for a moment."""

    def __init__(self, name: str, destination: Destination, heartbeat_interval: float) -> None:
        self.name = name
        self._destination = destination
        self._heartbeat_interval = heartbeat_interval
        self._pending: deque[ChangeMessage] = deque()
        self._wake = threading.Condition()
        self._up_to_date_until = self._next_heartbeat_at = float("-inf")
        self._closed = False
        self._reachable: bool | None = None
        self._published = self._dropped = self._in_flight = 0
        self._dropped_and_announced = 0
        """Dropped messages that agents know about from a heartbeat."""
        self._error: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"lessee-{name}", daemon=True)

    def start(self) -> None:
        """Start delivering."""
        self._thread.start()

    def enqueue(self, messages: Sequence[ChangeMessage]) -> None:
        """Queue messages."""
        with self._wake:
            self._pending.extend(messages)
            self._drop(len(self._pending) - MAX_PENDING)
            self._wake.notify()

    def set_up_to_date(self, *, is_up_to_date: bool) -> None:
        """Whether the monitor reads every log without delay. Only then are heartbeats sent."""
        with self._wake:
            self._up_to_date_until = boot_time() + _UP_TO_DATE_FOR if is_up_to_date else float("-inf")
            self._wake.notify()

    def state(self) -> QueueState:
        """The pending messages and the counts."""
        with self._wake:
            return QueueState(tuple(self._pending), self._published, self._dropped)

    def restore(self, state: QueueState) -> None:
        """Take over `state`, before the start."""
        self._pending.extend(state.messages)
        self._published, self._dropped = state.published, state.dropped
        self._dropped_and_announced = state.dropped

    def status(self) -> Mapping[str, Any]:
        """The destination's part of status.json."""
        with self._wake:
            return {
                "reachable": bool(self._reachable),
                "published": self._published,
                "pending": len(self._pending),
                "dropped": self._dropped,
                "error": self._error,
            }

    def finish(self) -> None:
        """Make one attempt for the pending messages, and send a last heartbeat."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def close(self) -> None:
        """Wait a moment for `finish`."""
        self._thread.join(_CLOSE_TIMEOUT)

    def _drop(self, count: int) -> None:
        # Messages in flight stay until the result of their delivery is known.
        count = min(count, len(self._pending) - self._in_flight)
        if count > 0:
            in_flight = [self._pending.popleft() for _ in range(self._in_flight)]
            for _ in range(count):
                self._pending.popleft()
            self._pending.extendleft(reversed(in_flight))
            if not self._dropped:
                log("warning", "changes dropped", destination=self.name, reason=f"{MAX_PENDING} are pending")
            self._dropped += count

    def _run(self) -> None:
        retry_delay = _FIRST_RETRY
        while True:
            with self._wake:
                self._wait()
                batch = list(islice(self._pending, min(_MAX_BATCH, self._destination.max_batch)))
                self._in_flight = len(batch)
                closed, dropped = self._closed, self._dropped
            try:
                if batch:
                    self._destination.deliver(batch)
                elif self._destination.takes_heartbeats:
                    # Sent after all pending messages. An agent that gets "stopping" checks every path, which it must
                    # also do if messages were dropped.
                    self._next_heartbeat_at = boot_time() + self._heartbeat_interval
                    stopping = closed or dropped != self._dropped_and_announced
                    heartbeat = Heartbeat("stopping" if stopping else "alive", self._heartbeat_interval)
                    self._destination.send_heartbeat(heartbeat)
                    self._dropped_and_announced = dropped
            except PublishError as exc:
                self._failed(str(exc), len(batch) if exc.permanent else 0)
                if not exc.permanent:
                    with self._wake:
                        self._wake.wait_for(lambda: self._closed, retry_delay * random.uniform(0.5, 1.0))  # noqa: S311
                    retry_delay = min(_LONGEST_RETRY, retry_delay * 2)
            except Exception as exc:  # noqa: BLE001  # Without this thread, no change would be published any more.
                self._failed(f"internal error: {type(exc).__name__}; please report it", 0)
                with self._wake:
                    self._wake.wait_for(lambda: self._closed, _LONGEST_RETRY)
            else:
                retry_delay = _FIRST_RETRY
                self._succeeded(len(batch))
            if closed and (not batch or self._error is not None):
                self._destination.close()
                return

    def _wait(self) -> None:
        """Wait for a message, the next heartbeat, or the end."""
        while not (self._closed or self._pending):
            now = boot_time()
            if not self._destination.takes_heartbeats or now >= self._up_to_date_until:
                self._wake.wait()
            elif now < self._next_heartbeat_at:
                self._wake.wait(self._next_heartbeat_at - now)
            else:
                return

    def _succeeded(self, count: int) -> None:
        with self._wake:
            self._in_flight = 0
            for _ in range(count):
                self._pending.popleft()
            self._published += count
            if self._reachable is False:
                log("info", "publishing recovered", destination=self.name, pending=len(self._pending))
            self._reachable, self._error = True, None

    def _failed(self, reason: str, dropped: int) -> None:
        with self._wake:
            self._in_flight = 0
            for _ in range(dropped):
                self._pending.popleft()
            self._dropped += dropped
            if reason != self._error:
                log("warning", "publishing failed", destination=self.name, reason=reason, pending=len(self._pending))
            self._reachable, self._error = dropped > 0, reason
