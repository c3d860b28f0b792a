"""Changes as `lessee monitor` publishes them in Redis: read from its streams, in one request for both."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lessee.core.change_events import CHANNEL, HEARTBEAT, Beat, Message, unpacked
from lessee.core.errors import LesseeError
from lessee.events.source import WAIT, AwayError
from lessee.host.optional_dependencies import library

FIELD = b"change"
"""Of a stream's entry: what is said, as JSON."""
_ANSWER = 3.0
"""Seconds in which Redis connects and answers."""
_URL = r"(?P<scheme>[a-z]+)://(?:[^/?#]*@)?(?P<place>(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]+)?(?:/[0-9]*)?)(?:\?.*)?"
_MOST = 1000
"""Entries in one answer."""


class Streams:
    """Redis at a URL."""

    def __init__(self, url: str) -> None:
        self.name = shown(url)
        self._url = url
        self._client: Any = None
        self._last: dict[str, bytes] = {}

    def open(self) -> None:
        self.close()
        self._client = connected(self._url, extra="events", timeout=WAIT + _ANSWER)
        for stream in (CHANNEL, HEARTBEAT):
            newest = self._ask("xrevrange", stream, count=1)
            self._last[stream] = newest[0][0] if newest else b"0-0"

    def listen(self, wait: float) -> Sequence[Message]:
        messages: list[Message] = []
        block = max(1, int(wait * 1000))  # 0 would be for ever.
        for stream, entries in self._ask("xread", self._last, count=_MOST, block=block) or ():
            said = [unpacked(fields.get(FIELD, b"")) for _, fields in entries]
            # A change among the heartbeats is none of the monitor's.
            beats = stream.decode() == HEARTBEAT
            messages += [message for message in said if message is not None and isinstance(message, Beat) is beats]
            self._last[stream.decode()] = entries[-1][0]
        return messages

    def close(self) -> None:
        if self._client is not None:
            with suppress(Exception):  # It is gone anyhow.
                self._client.close()
            self._client = None

    def _ask(self, command: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._client, command)(*arguments, **options)
        except Exception as exc:  # noqa: BLE001  # What speaks no Redis can make its client stumble over anything.
            raise AwayError(why(exc)) from None


def connected(url: str, *, extra: str, timeout: float) -> Any:
    """A client that tries nothing twice; it connects when it is first used. Raises AwayError."""
    try:
        driver = library("redis", extra)
        retry = library("redis.retry", extra).Retry(library("redis.backoff", extra).NoBackoff(), 0)
        return driver.Redis.from_url(
            url, protocol=2, retry=retry, socket_timeout=timeout, socket_connect_timeout=_ANSWER
        )
    except LesseeError as exc:
        raise AwayError(str(exc)) from None
    except Exception:  # noqa: BLE001  # Its text may hold a part of the URL.
        raise AwayError("its URL makes no sense to the library") from None


def shown(url: str) -> str:
    """The URL without user, password and settings. Of one whose parts cannot be told apart nothing is shown."""
    parts = re.fullmatch(_URL, url)
    return f"{parts['scheme']}://{parts['place']}" if parts is not None else f"{url.partition(':')[0]}://…"


def why(exc: Exception) -> str:
    """What went wrong, in few words that repeat nothing that was sent."""
    name = type(exc).__name__
    known = {
        "AuthenticationError": "it refuses the password, or wants one",
        "AuthenticationWrongNumberOfArgsError": "it refuses the password, or wants one",
        "NoPermissionError": "its user lacks rights; grant what the manual names",
        "BusyLoadingError": "it is loading its data",
        "ReadOnlyError": "it is a replica and takes no writes",
        "TimeoutError": "no answer in time",
        "ConnectionError": "no connection",
    }
    return known.get(name, name)
