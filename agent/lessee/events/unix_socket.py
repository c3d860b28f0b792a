"""The event source at a Unix socket, to which `lessee monitor` writes one line of JSON for each message."""

import socket
from collections.abc import Sequence

from lessee.core.change_events import MAX_MESSAGE_BYTES, Message, decode_message
from lessee.events.source import SourceUnavailableError

_CHUNK = 65536
_CONNECT_TIMEOUT = 3.0
"""Seconds in which the monitor must accept the connection."""


class UnixSocketEventSource:
    """The event source at the socket with this path."""

    def __init__(self, path: str) -> None:
        self.name = f"unix://{path}"
        self._path = path
        self._socket: socket.socket | None = None
        self._incomplete_line = b""

    def open(self) -> None:
        self.close()
        self._incomplete_line = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_CONNECT_TIMEOUT)
        try:
            self._socket.connect(self._path)
        except OSError as exc:
            raise SourceUnavailableError(exc.strerror or str(exc)) from None

    def listen(self, wait: float) -> Sequence[Message]:
        assert self._socket is not None
        self._socket.settimeout(wait)
        try:
            chunk = self._socket.recv(_CHUNK)
        except TimeoutError:
            return ()
        except OSError as exc:
            raise SourceUnavailableError(exc.strerror or "the connection is broken") from None
        if not chunk:
            raise SourceUnavailableError("the monitor closed the connection")
        *lines, self._incomplete_line = (self._incomplete_line + chunk).split(b"\n")
        if len(self._incomplete_line) > MAX_MESSAGE_BYTES:
            raise SourceUnavailableError("the messages are not lines of JSON")
        return [message for line in lines if (message := decode_message(line)) is not None]

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
