"""A threading server that bounds what its clients take: time, bytes and connections."""

import io
import socket
import socketserver
import sys
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any

from lessee.telemetry.logs import log

TIMEOUT = 10.0
"""Seconds in which a client must send its request, and the same again to receive the response."""
MAX_REQUEST = 96 * 1024
"""Bytes of a request: its headers and its body."""
MAX_CONNECTIONS = 64
"""Open connections. For another one, the oldest is closed, so that slow clients do not block probes."""


class BoundedReader(io.RawIOBase):
    """Reads from a client, until it takes too long or sends too much."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = monotonic() + TIMEOUT
        self._left = MAX_REQUEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError, or ConnectionAbortedError for a too long request; the server logs neither."""
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise ConnectionAbortedError
        return count


class BoundedServer(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """A threading server with a limited number of connections, which does not log clients that disconnect early."""

    failure = "status request failed"
    """The event of the log for an error in a handler."""
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64  # socketserver's default of 5 is too short for a burst of probes

    def __init__(self, *arguments: Any) -> None:
        self._open: dict[socket.socket, None] = {}
        self._lock = Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a request in its own thread."""
        with self._lock:
            while len(self._open) >= MAX_CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread then reads the end of the stream and closes it
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log an error; socketserver would print a traceback to stderr."""
        del request, client_address
        if not isinstance(sys.exception(), OSError):
            log("error", self.failure, error=type(sys.exception()).__name__)
