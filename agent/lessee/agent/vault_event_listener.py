"""Changes as Vault Enterprise itself tells them, to the token of the identity that reads."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from lessee.core.change_events import Heartbeat, Message
from lessee.core.errors import LesseeError, VaultUnreachableError
from lessee.events.source import NoEventSourceError, SourceUnavailableError
from lessee.events.vault_messages import EVENT_TYPES, parse_event
from lessee.host.optional_dependencies import library

if TYPE_CHECKING:
    from lessee.agent.identity import Identity
    from lessee.vault.subscription import Subscription

ASKED_AGAIN = 6 * 3600.0
"""Seconds after which a server that had no event stream, and may have been replaced by one that has, is asked anew."""


class Subscribed:
    """The event stream of the server that an identity reads from; it is opened anew with each new token."""

    def __init__(self, subscriber: Callable[[], "Identity | None"]) -> None:
        """`subscriber`: the identity of now, for a new configuration may have another."""
        self.name = "vault"
        self._subscriber = subscriber
        self._stream: Subscription | None = None
        self._token = ""

    def open(self) -> None:
        former, self._stream = self._stream, None
        if former is not None:
            former.close()
        self._stream = self._opened()

    def listen(self, wait: float) -> Sequence[Message]:
        assert self._stream is not None
        frames: list[bytes] = []
        try:
            if self._current() not in {"", self._token}:
                # The old one ends with its token. What it has told until the new one was there is heard first.
                former = self._stream
                self._stream = self._opened()
                with closing(former), suppress(VaultUnreachableError):
                    frames += former.listen(0.001)
            frames += self._stream.listen(wait)
        except VaultUnreachableError as exc:
            raise SourceUnavailableError(exc.what) from None
        # The server answers pings; it is there.
        return [Heartbeat(), *(change for frame in frames if (change := parse_event(frame)) is not None)]

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _current(self) -> str:
        identity = self._subscriber()
        return identity.token if identity is not None else ""

    def _opened(self) -> "Subscription":
        try:
            library("websockets", "events")
        except LesseeError as exc:
            raise SourceUnavailableError(str(exc)) from None
        from lessee.vault.subscription import NoEventStreamError  # noqa: PLC0415  # Wanted by few.

        identity, token = self._subscriber(), self._current()
        if identity is None or not token:
            raise NoEventSourceError("there is no token yet", lambda: self._current() != "")
        self.name, self._token = f"{identity.vault.address} (sys/events)", token
        try:
            return identity.subscribe(EVENT_TYPES)
        except NoEventStreamError as exc:
            until = time.monotonic() + ASKED_AGAIN
            why = f"the server has no event stream for this token ({exc})"
            raise NoEventSourceError(
                why, lambda: time.monotonic() > until or self._current() not in {"", token}
            ) from None
        except VaultUnreachableError as exc:
            raise SourceUnavailableError(exc.what) from None
