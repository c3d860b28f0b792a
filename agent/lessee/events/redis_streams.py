"""The event source in Redis: reads the streams to which `lessee monitor` publishes."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lessee.core.change_events import CHANNEL, HEARTBEAT_STREAM, Heartbeat, Message, decode_message
from lessee.core.errors import LesseeError
from lessee.events.source import MAX_WAIT, SourceUnavailableError

FIELD = b"change"
"""The field of a stream entry that contains the message as JSON."""
_TIMEOUT = 3.0
"""Seconds in which Redis must accept a connection, and answer a request."""
_URL = r"(?P<scheme>[a-z]+)://(?:[^/?#]*@)?(?P<address>(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]+)?(?:/[0-9]*)?)(?:\?.*)?"
_MAX_ENTRIES = 1000
"""Entries of one response."""


class RedisEventSource:
    """The event source in the Redis at a URL."""

    def __init__(self, url: str) -> None:
        self.name = redacted_url(url)
        self._url = url
        self._client: Any = None
        self._last: dict[str, bytes] = {}

    def open(self) -> None:
        self.close()
        self._client = connect(self._url, extra="events", timeout=MAX_WAIT + _TIMEOUT)
        for stream in (CHANNEL, HEARTBEAT_STREAM):
            last = self._request("xrevrange", stream, count=1)
            self._last[stream] = last[0][0] if last else b"0-0"

    def listen(self, wait: float) -> Sequence[Message]:
        messages: list[Message] = []
        block = max(1, int(wait * 1000))  # 0 would wait without a limit.
        for stream, entries in self._request("xread", self._last, count=_MAX_ENTRIES, block=block) or ():
            decoded = [decode_message(fields.get(FIELD, b"")) for _, fields in entries]
            # A change in the heartbeat stream is not from the monitor.
            is_heartbeat = stream.decode() == HEARTBEAT_STREAM
            messages += [
                message for message in decoded if message is not None and isinstance(message, Heartbeat) is is_heartbeat
            ]
            self._last[stream.decode()] = entries[-1][0]
        return messages

    def close(self) -> None:
        if self._client is not None:
            with suppress(Exception):  # The connection is unusable anyway.
                self._client.close()
            self._client = None

    def _request(self, command: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._client, command)(*arguments, **options)
        except Exception as exc:  # noqa: BLE001  # A server that does not speak Redis' protocol can cause any exception.
            raise SourceUnavailableError(describe(exc)) from None


def connect(url: str, *, extra: str, timeout: float) -> Any:
    """A client that does not retry, and connects at its first request. Raises SourceUnavailableError.

    `timeout`: seconds for each request with its whole answer.
    """
    try:
        from lessee.host import redis_client  # noqa: PLC0415  # Most agents use no Redis.

        return redis_client.client_at(url, extra=extra, timeout=timeout, connect_timeout=_TIMEOUT)
    except LesseeError as exc:
        raise SourceUnavailableError(str(exc)) from None
    except Exception:  # noqa: BLE001  # Its text may contain a part of the URL.
        raise SourceUnavailableError("the redis library cannot parse its URL") from None


def redacted_url(url: str) -> str:
    """The URL without user, password and options; only the scheme if the URL cannot be parsed."""
    parts = re.fullmatch(_URL, url)
    return f"{parts['scheme']}://{parts['address']}" if parts is not None else f"{url.partition(':')[0]}://…"


def describe(exc: Exception) -> str:
    """A short description of an error that repeats nothing of the request."""
    from lessee.host.answer_limits import broken_limit  # noqa: PLC0415  # As above.

    if broken := broken_limit(exc):
        return broken
    name = type(exc).__name__
    known = {
        "AuthenticationError": "the password is missing or wrong",
        "AuthenticationWrongNumberOfArgsError": "the password is missing or wrong",
        "NoPermissionError": "its user lacks permissions; grant those that the manual lists",
        "BusyLoadingError": "it is loading its data",
        "ReadOnlyError": "it is a read-only replica",
        "TimeoutError": "no answer in time",
        "ConnectionError": "no connection",
    }
    return known.get(name, name)
