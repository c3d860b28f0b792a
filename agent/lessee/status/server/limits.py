"""Bounds what clients of the status server may take: time, bytes and connections."""

import io
import socket
import socketserver
import sys
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any

from lessee.telemetry.logs import log

PATIENCE = 10.0
"""Seconds in which a request must be whole, and as many in which its answer must be taken."""
LONGEST = 96 * 1024
"""Bytes of a request: its head, and the paths that it may bring."""
CONNECTIONS = 64
"""At a time; one more, and the oldest is closed, so that who dawdles keeps no probe out."""


class Patient(io.RawIOBase):
    """What a client sends, until it takes too long or too much."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ends_at = monotonic() + PATIENCE
        self._left = LONGEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError, and ConnectionAbortedError where it is too much; to a server both are no event."""
        left = self._ends_at - monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise ConnectionAbortedError
        return count


class Bounded(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """A threading server that holds so many connections, and in which a client that hangs up early is no event."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64  # of socketserver's 5, a burst of probes would fill the queue

    def __init__(self, *arguments: Any) -> None:
        self._open: dict[socket.socket, None] = {}
        self._lock = Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own."""
        with self._lock:
            while len(self._open) >= CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread finds the end of what is sent, and closes it
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The end of each, however it came."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Socketserver would print a traceback past the log."""
        del request, client_address
        if not isinstance(sys.exception(), OSError):
            log("error", "status request failed", error=type(sys.exception()).__name__)
