"""Publishes changes to Redis: a channel for agents that listen, and a stream for those that reconnect.

Redis also stores the number of the last published entry, so that no change is published twice.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from lessee.core.change_events import CHANNEL, HEARTBEAT_STREAM, Heartbeat, encode_message
from lessee.events.redis_streams import FIELD, connect, describe
from lessee.events.source import SourceUnavailableError
from lessee.ops.monitor.delivery_queue import ChangeMessage, PublishError

STREAM_LENGTH = 10_000
"""The approximate number of changes in the stream."""
_TIMEOUT = 3.0
_NUMBERS_EXPIRE_AFTER = 30 * 86400
"""Seconds for which Redis stores the numbers of the last published entries."""


class RedisStreams:
    """Redis at a URL."""

    max_batch = 500
    takes_heartbeats = True

    def __init__(self, url: str, epoch: Callable[[], str]) -> None:
        """`epoch` identifies the numbering of the log's entries."""
        self._url = url
        self._epoch = epoch
        self._client: Any = None
        self._published: dict[str, int] | None = None
        """The number of the last published entry of each source, or None if Redis has to be asked."""

    def deliver(self, messages: Sequence[ChangeMessage]) -> None:
        key = f"lessee:published:{self._epoch()}"
        try:
            client = self._connect()
            if self._published is None:
                stored = client.hgetall(key)
                self._published = {source.decode(): int(number) for source, number in stored.items()}
            published = self._published
            new = [message for message in messages if message.number > published.get(message.source, 0)]
            if not new:
                return
            last = {message.source: message.number for message in new}
            # If the answer is lost, the next attempt asks Redis whether the transaction succeeded.
            self._published = None
            with client.pipeline(transaction=True) as transaction:
                for message in new:
                    transaction.publish(CHANNEL, message.content)
                    transaction.xadd(CHANNEL, {FIELD: message.content}, maxlen=STREAM_LENGTH, approximate=True)
                transaction.hset(key, mapping=last)
                transaction.expire(key, _NUMBERS_EXPIRE_AFTER)
                transaction.execute()
        except PublishError:
            raise
        except Exception as exc:  # noqa: BLE001  # If the server is not Redis, the client may raise anything.
            self._disconnect()
            raise PublishError(describe(exc)) from None
        self._published = {**published, **last}

    def send_heartbeat(self, heartbeat: Heartbeat) -> None:
        try:
            fields = {FIELD: encode_message(heartbeat)}
            self._connect().xadd(HEARTBEAT_STREAM, fields, maxlen=1, approximate=False)
        except PublishError:
            raise
        except Exception as exc:  # noqa: BLE001  # See deliver().
            self._disconnect()
            raise PublishError(describe(exc)) from None

    def close(self) -> None:
        self._disconnect()

    def _connect(self) -> Any:
        if self._client is None:
            try:
                self._client = connect(self._url, extra="events", timeout=_TIMEOUT)
            except SourceUnavailableError as exc:
                raise PublishError(str(exc)) from None
        return self._client

    def _disconnect(self) -> None:
        self._published = None
        if self._client is not None:
            with suppress(Exception):  # The connection may be broken.
                self._client.close()
            self._client = None
