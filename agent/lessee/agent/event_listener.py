"""Listens where changes are told, in a thread of its own, and says whether anybody is there who tells them."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lessee.agent.machine.protocol.events import EventSourceChanged
from lessee.config import Events
from lessee.core.change_events import MISSED_HEARTBEATS, Change, Heartbeat, Message
from lessee.events.source import MAX_WAIT, EventSource, NoEventSourceError, SourceUnavailableError
from lessee.host.clock import boot_time, wall_time
from lessee.telemetry.logs import log

FLOOD = 20_000
"""Changes within a second that are not followed any more: all is looked at instead, within its refresh."""
_START = 0.5
_FIRST, _LONGEST = 0.1, 5.0
"""Seconds between two tries to connect."""
HOLD, HOLD_LONGEST = 1.0, 60.0
"""Seconds for which nobody is believed to be there again who was gone, each time twice as long: all is looked at anew
once he is gone, so that whoever comes and goes all the time would have that done all the time. STEADY: who was there
for so long is none of these."""
STEADY = 60.0
_SERVED = 3.0
"""Seconds after which who was opened has served: he is asked again at once when he is gone."""
_SHORTEST = 0.01
"""Seconds for which is listened at least, though somebody has been silent for too long: this process may have slept."""
_AGAIN = 1.0
"""Seconds between two questions whether another try is worth it, where nobody is there."""


class Listener:
    """Serves until closed. It posts from its thread, and never waits for who is told."""

    def __init__(
        self,
        events: Events,
        hear: Callable[[Sequence[Change]], None],
        listening: Callable[[EventSourceChanged], None],
        vault: Callable[[], EventSource],
    ) -> None:
        """`hear` takes changes, each once however often it was told; `listening`: whether somebody tells them.

        `vault` makes the source for Vault's own event stream.
        """
        self._events = events
        self._hear = hear
        self._listening = listening
        self._vault = vault
        self._closed = threading.Event()
        self._live = False
        self._last: float | None = None
        self._heard_at = 0.0
        self._patience = MISSED_HEARTBEATS * Heartbeat().interval
        """Seconds of silence that mean that nobody is there."""
        self._live_at, self._gone_at = 0.0, float("-inf")
        self._hold, self._is_held = 0.0, False
        self._error: str | None = None
        self._absence: str | None = None
        self._second, self._count = 0.0, 0
        self._name = ""
        threading.Thread(target=self._run, name="lessee-listener", daemon=True).start()

    def status(self) -> Mapping[str, Any]:
        """For status.json; `last_at` is when a change was last told. Any thread may ask."""
        last = self._last
        return {
            "source": self._name or None,
            "live": self._live,
            "last_at": datetime.fromtimestamp(last, UTC).isoformat(timespec="milliseconds") if last else None,
        }

    def problem(self) -> str | None:
        """What is wrong, in a line."""
        if self._live or self._error is None:
            return None
        error = f"it was unavailable, and is used again {self._hold:g} s later" if self._is_held else self._error
        what = f"event source not connected: {self._name or 'events'}: {error}"
        todo = "" if self._events.vault else "; is `lessee monitor` running?"
        return f"{what}; secrets are polled every refresh_interval{todo}"

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()

    def _run(self) -> None:
        source = self._source()
        wait = _FIRST
        # What it imports may wait until an app has its first files.
        self._closed.wait(_START)
        while not self._closed.is_set():
            opened_at = float("inf")
            try:
                self._name = source.name
                source.open()
                self._name = source.name
                self._heard_at = opened_at = boot_time()
                self._patience = MISSED_HEARTBEATS * Heartbeat().interval
                while not self._closed.is_set():
                    left = self._heard_at + self._patience - boot_time()
                    self._take(source.listen(min(MAX_WAIT, max(_SHORTEST, left))))
            except NoEventSourceError as exc:
                self._is_absent(str(exc))
                while not exc.may_retry() and not self._closed.wait(_AGAIN):
                    pass
            except SourceUnavailableError as exc:
                self._is_gone(str(exc))
            except Exception as exc:  # noqa: BLE001  # Without this thread nobody would notice that nothing is heard.
                self._is_gone(f"internal error: {type(exc).__name__}; please report it")
            if boot_time() - opened_at > _SERVED:
                wait = _FIRST  # One that opens and does not serve is not asked at once again.
            # All agents lose it in the same moment, and shall not come back in the same.
            self._closed.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311  # Nothing secret hangs on it.
            wait = min(_LONGEST, wait * 2)
        source.close()

    def _source(self) -> EventSource:
        # Each imports what the other has no use for.
        if self._events.redis is not None:
            from lessee.events.redis_streams import RedisEventSource  # noqa: PLC0415

            return RedisEventSource(self._events.redis)
        if self._events.socket is not None:
            from lessee.events.unix_socket import UnixSocketEventSource  # noqa: PLC0415

            return UnixSocketEventSource(self._events.socket)
        return self._vault()

    def _take(self, messages: Sequence[Message]) -> None:
        now = boot_time()
        changes: dict[tuple[str, str, bool, bool], Change] = {}
        beat = None
        for message in messages:
            if isinstance(message, Heartbeat):
                beat = message  # Of those that come together the last one counts.
            else:
                is_of_names, is_rotation = message.operation == "remove", message.operation == "rotate"
                changes[message.mount, message.full_path, is_of_names, is_rotation] = message
        if beat is not None:
            self._heard_at, self._patience = now, MISSED_HEARTBEATS * beat.interval
            if beat.heartbeat == "stopping":
                self._is_held = False
                self._is_gone("the monitor has stopped")
            elif self._live or now - self._gone_at >= self._hold:
                self._is_there()
            else:
                self._is_held = True
        if changes:
            self._refuse_flood(now, len(messages))
            self._last = wall_time()
            self._hear(list(changes.values()))
        if now - self._heard_at >= self._patience:
            # Nor may it be the place that it was: it is opened anew.
            raise SourceUnavailableError("no heartbeat received")

    def _refuse_flood(self, now: float, count: int) -> None:
        if now - self._second > 1.0:
            self._second, self._count = now, 0
        self._count += count
        if self._count > FLOOD:
            self._count = 0
            why = "more changes are told than can be followed"
            self._is_gone(why)
            self._closed.wait(_LONGEST)
            raise SourceUnavailableError(why)

    def _is_there(self) -> None:
        if not self._live:
            self._live, self._error, self._absence, self._live_at = True, None, None, boot_time()
            log("info", "event source available", source=self._name)
            self._listening(EventSourceChanged(live=True))

    def _is_absent(self, reason: str) -> None:
        # Not a problem: the server is as it is.
        if self._live or reason != self._absence:
            log("info", "event source unavailable", source=self._name, reason=reason)
        self._error, self._absence = None, reason
        if self._live:
            self._live = False
            self._listening(EventSourceChanged(live=False, silent_for=boot_time() - self._heard_at))

    def _is_gone(self, reason: str) -> None:
        if self._live or reason != self._error:
            log("warning", "event source unavailable", source=self._name, reason=reason)
        self._error = reason
        if self._live:
            self._live, self._is_held, self._gone_at = False, False, boot_time()
            is_steady = self._gone_at - self._live_at >= STEADY
            self._hold = HOLD if is_steady else min(HOLD_LONGEST, max(HOLD, self._hold * 2))
            self._listening(EventSourceChanged(live=False, silent_for=self._gone_at - self._heard_at))
