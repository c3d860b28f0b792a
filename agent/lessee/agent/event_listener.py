"""Receives change events in a thread of its own, and reports whether the event source is available."""

import random
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from lessee.config import Events
from lessee.core.change_events import MISSED_HEARTBEATS, Change, Heartbeat, Message
from lessee.events.source import MAX_WAIT, EventSource, NoEventSourceError, SourceUnavailableError
from lessee.host.clock import boot_time, wall_time
from lessee.protocol.events import EventSourceChanged
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.agent.machine.status.fields import EventsFields

MAX_CHANGES_PER_SECOND = 20_000
"""With more changes the source counts as unavailable, and secrets are polled every `refresh_interval`."""
_START_DELAY = 0.5
"""Seconds, so that its imports do not delay the first files."""
_MIN_RETRY_DELAY, _MAX_RETRY_DELAY = 0.1, 5.0
"""Seconds between two attempts to connect."""
MIN_HOLD, MAX_HOLD = 1.0, 60.0
"""Seconds for which a source that was unavailable is not used, doubled each time. Each loss of the source makes the
agent poll all secrets, so a source that is unavailable again and again would cause many requests."""
STABLE_AFTER = 60.0
"""Seconds of availability after which the hold starts at its minimum again."""
_SERVED_AFTER = 3.0
"""Seconds of a connection after which the next attempt to connect is immediate."""
_MIN_WAIT = 0.01
"""Seconds to listen at least, even if no heartbeat arrived in time: this process may have been suspended."""
_RETRY_POLL_INTERVAL = 1.0
"""Seconds between two checks whether a server without an event stream may have one now."""


class ChangeReceiver(Protocol):
    """The agent, as the listener's thread calls it."""

    def secrets_changed(self, changes: Sequence[Change]) -> None:
        """Takes changes, each once however often it was reported."""
        ...

    def event_source_changed(self, event: EventSourceChanged) -> None:
        """Takes whether the source is available."""
        ...

    def vault_event_source(self) -> EventSource:
        """Vault's own event stream."""
        ...


class EventListener:
    """Runs until closed. Its thread calls the receiver, and never waits for it."""

    def __init__(self, events: Events, receiver: ChangeReceiver) -> None:
        self._events = events
        self._receiver = receiver
        self._closed = threading.Event()
        self._live = False
        self._last_change_at: float | None = None
        self._last_heartbeat_at = 0.0
        self._max_silence = MISSED_HEARTBEATS * Heartbeat().interval
        """Seconds without a heartbeat after which the source counts as unavailable."""
        self._available_at, self._unavailable_at = 0.0, float("-inf")
        self._hold, self._is_held = 0.0, False
        self._error: str | None = None
        self._no_source_reason: str | None = None
        self._second, self._count = 0.0, 0
        self._name = ""
        threading.Thread(target=self._run, name="lessee-event-listener", daemon=True).start()

    def status(self) -> "EventsFields":
        """For the status document; `last_at` is the time of the last change. Any thread may call it."""
        last = self._last_change_at
        return {
            "source": self._name or None,
            "live": self._live,
            "last_at": datetime.fromtimestamp(last, UTC).isoformat(timespec="milliseconds") if last else None,
        }

    def problem(self) -> str | None:
        """Why the source is unavailable, in one line."""
        if self._live or self._error is None:
            return None
        error = f"it was unavailable, and is used again {self._hold:g} s later" if self._is_held else self._error
        what = f"event source not connected: {self._name or 'events'}: {error}"
        todo = "" if self._events.vault else "; is `lessee monitor` running?"
        return f"{what}; secrets are polled every refresh_interval{todo}"

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()

    def _run(self) -> None:
        source = self._source()
        delay = _MIN_RETRY_DELAY
        self._closed.wait(_START_DELAY)
        while not self._closed.is_set():
            opened_at = float("inf")
            try:
                self._name = source.name
                source.open()
                self._name = source.name
                self._last_heartbeat_at = opened_at = boot_time()
                self._max_silence = MISSED_HEARTBEATS * Heartbeat().interval
                while not self._closed.is_set():
                    left = self._last_heartbeat_at + self._max_silence - boot_time()
                    self._take(source.listen(min(MAX_WAIT, max(_MIN_WAIT, left))))
            except NoEventSourceError as exc:
                self._set_no_source(str(exc))
                while not exc.may_retry() and not self._closed.wait(_RETRY_POLL_INTERVAL):
                    pass
            except SourceUnavailableError as exc:
                self._set_unavailable(str(exc))
            except Exception as exc:  # noqa: BLE001  # A dead thread would look like a source without changes.
                self._set_unavailable(f"internal error: {type(exc).__name__}; please report it")
            if boot_time() - opened_at > _SERVED_AFTER:
                delay = _MIN_RETRY_DELAY
            # All agents lose the source at the same moment, and must not return at the same moment.
            self._closed.wait(delay * random.uniform(0.5, 1.0))  # noqa: S311  # It protects no secret.
            delay = min(_MAX_RETRY_DELAY, delay * 2)
        source.close()

    def _source(self) -> EventSource:
        # Each imports only its own library.
        if self._events.redis is not None:
            from lessee.events.redis_streams import RedisEventSource  # noqa: PLC0415

            return RedisEventSource(self._events.redis)
        if self._events.socket is not None:
            from lessee.events.unix_socket import UnixSocketEventSource  # noqa: PLC0415

            return UnixSocketEventSource(self._events.socket)
        return self._receiver.vault_event_source()

    def _take(self, messages: Sequence[Message]) -> None:
        now = boot_time()
        changes: dict[tuple[str, str, bool, bool], Change] = {}
        heartbeat = None
        for message in messages:
            if isinstance(message, Heartbeat):
                heartbeat = message  # The last one counts.
            else:
                is_removal, is_rotation = message.operation == "remove", message.operation == "rotate"
                changes[message.mount, message.full_path, is_removal, is_rotation] = message
        if heartbeat is not None:
            self._take_heartbeat(heartbeat, now)
        if changes:
            self._limit_rate(now, len(messages))
            self._last_change_at = wall_time()
            self._receiver.secrets_changed(list(changes.values()))
        if now - self._last_heartbeat_at >= self._max_silence:
            # The source may have moved, so it is opened again.
            raise SourceUnavailableError("no heartbeat received")

    def _take_heartbeat(self, heartbeat: Heartbeat, now: float) -> None:
        self._last_heartbeat_at, self._max_silence = now, MISSED_HEARTBEATS * heartbeat.interval
        if heartbeat.heartbeat == "stopping":
            self._is_held = False
            self._set_unavailable("the monitor has stopped")
        elif self._live or now - self._unavailable_at >= self._hold:
            self._set_available()
        else:
            self._is_held = True

    def _limit_rate(self, now: float, count: int) -> None:
        if now - self._second > 1.0:
            self._second, self._count = now, 0
        self._count += count
        if self._count > MAX_CHANGES_PER_SECOND:
            self._count = 0
            reason = f"more than {MAX_CHANGES_PER_SECOND} changes per second"
            self._set_unavailable(reason)
            self._closed.wait(_MAX_RETRY_DELAY)
            raise SourceUnavailableError(reason)

    def _set_available(self) -> None:
        if not self._live:
            self._live, self._error, self._no_source_reason = True, None, None
            self._available_at = boot_time()
            log("info", "event source available", source=self._name)
            self._receiver.event_source_changed(EventSourceChanged(live=True))

    def _set_no_source(self, reason: str) -> None:
        # Not a problem: the server has no event stream.
        if self._live or reason != self._no_source_reason:
            log("info", "event source unavailable", source=self._name, reason=reason)
        self._error, self._no_source_reason = None, reason
        if self._live:
            self._live = False
            silent_for = boot_time() - self._last_heartbeat_at
            self._receiver.event_source_changed(EventSourceChanged(live=False, silent_for=silent_for))

    def _set_unavailable(self, reason: str) -> None:
        if self._live or reason != self._error:
            log("warning", "event source unavailable", source=self._name, reason=reason)
        self._error = reason
        if self._live:
            self._live, self._is_held, self._unavailable_at = False, False, boot_time()
            was_stable = self._unavailable_at - self._available_at >= STABLE_AFTER
            self._hold = MIN_HOLD if was_stable else min(MAX_HOLD, max(MIN_HOLD, self._hold * 2))
            silent_for = self._unavailable_at - self._last_heartbeat_at
            self._receiver.event_source_changed(EventSourceChanged(live=False, silent_for=silent_for))
