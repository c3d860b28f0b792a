"""The event stream of Vault Enterprise itself, read with the token of an identity."""

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

RETRY_INTERVAL = 6 * 3600.0
"""Seconds after which a server without an event stream is asked again, because it may have been upgraded."""


class VaultEventSource:
    """The event stream of the server that an identity reads from. Each new token opens a new stream."""

    def __init__(self, subscriber: Callable[[], "Identity | None"]) -> None:
        """`subscriber`: the current identity, which changes with the configuration."""
        self.name = "vault"
        self._subscriber = subscriber
        self._stream: Subscription | None = None
        self._token = ""

    def open(self) -> None:
        self.close()
        self._stream = self._opened()

    def listen(self, wait: float) -> Sequence[Message]:
        assert self._stream is not None
        frames: list[bytes] = []
        try:
            if self._current_token() not in {"", self._token}:
                # The previous stream ends with its token. Its last messages are received first.
                previous = self._stream
                self._stream = self._opened()
                with closing(previous), suppress(VaultUnreachableError):
                    frames += previous.listen(0.001)
            frames += self._stream.listen(wait)
        except VaultUnreachableError as exc:
            raise SourceUnavailableError(exc.what) from None
        # The server answers pings, so it is alive.
        return [Heartbeat(), *(change for frame in frames if (change := parse_event(frame)) is not None)]

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _current_token(self) -> str:
        identity = self._subscriber()
        return identity.token if identity is not None else ""

    def _opened(self) -> "Subscription":
        try:
            library("websockets", "events")
        except LesseeError as exc:
            raise SourceUnavailableError(str(exc)) from None
        from lessee.vault.subscription import NoEventStreamError  # noqa: PLC0415  # Few servers have event streams.

        identity, token = self._subscriber(), self._current_token()
        if identity is None or not token:
            raise NoEventSourceError("the agent has no token yet", lambda: self._current_token() != "")
        self.name, self._token = f"{identity.vault.address} (sys/events)", token
        try:
            return identity.subscribe(EVENT_TYPES)
        except NoEventStreamError as exc:
            until = time.monotonic() + RETRY_INTERVAL
            reason = f"the server has no event stream for this token ({exc})"
            raise NoEventSourceError(
                reason, lambda: time.monotonic() > until or self._current_token() not in {"", token}
            ) from None
        except VaultUnreachableError as exc:
            raise SourceUnavailableError(exc.what) from None
