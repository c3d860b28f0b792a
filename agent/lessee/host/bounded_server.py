"""A threading server that bounds what its clients take: time, bytes and connections."""

import io
import socket
import socketserver
import sys
from collections.abc import Sequence
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
"""Open connections of known clients, and the same again of strangers. For another one, the oldest of the same kind is
closed, so that slow clients do not block probes, and strangers do not close the connections of known clients."""


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
        self._open: dict[socket.socket, bool] = {}
        """The connections, the oldest first; True: of a known client."""
        self._lock = Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a request in its own thread."""
        with self._lock:
            self._admit(request, is_known=self.is_known(request))
        super().process_request(request, client_address)

    def is_known(self, request: Any) -> bool:
        """Whether a client is one that is served; False: it is not, or it must still prove that it is."""
        del request
        return True

    def first_to_close(self, connections: Sequence[socket.socket]) -> socket.socket:
        """Which one makes room for another one. `connections`: the oldest first."""
        return connections[0]

    def recognize(self, request: Any) -> None:
        """A stranger has sent what makes it a known client."""
        with self._lock:
            if self._open.get(request) is False:
                del self._open[request]
                self._admit(request, is_known=True)

    def close_connections(self) -> None:
        """End the connections of all clients."""
        with self._lock:
            for request in list(self._open):
                self._end(request)

    def _admit(self, request: Any, *, is_known: bool) -> None:
        same = [each for each, known in self._open.items() if known is is_known]
        if len(same) >= MAX_CONNECTIONS:
            self._end(self.first_to_close(same))
        self._open[request] = is_known

    def _end(self, request: socket.socket) -> None:
        del self._open[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)  # its thread then reads the end of the stream and closes it

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
