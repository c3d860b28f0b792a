"""Bounds the memory of replies that clients have not read yet."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

MAX_UNREAD = 16 * 1024 * 1024
"""Bytes of all replies that the clients of one socket have not read yet."""


class Outbox:
    """The replies that a server sends at this moment. They stay in memory until their clients have read them."""

    def __init__(self, size: int = MAX_UNREAD) -> None:
        self._size = size
        self._lock = Lock()
        self._sizes: dict[socket.socket, int] = {}

    @contextmanager
    def sending(self, connection: socket.socket, size: int) -> Iterator[None]:
        """In the body, so many bytes are sent. The connections that take longest are closed if all are too many."""
        with self._lock:
            while self._sizes and sum(self._sizes.values()) + size > self._size:
                slowest = next(iter(self._sizes))
                del self._sizes[slowest]
                with suppress(OSError):
                    slowest.shutdown(socket.SHUT_RDWR)
            self._sizes[connection] = size
        try:
            yield
        finally:
            with self._lock:
                self._sizes.pop(connection, None)
