"""Changes as `lessee monitor` tells them at a Unix socket: a line of JSON each."""

import socket
from collections.abc import Sequence

from lessee.core.change_events import LONGEST, Message, unpacked
from lessee.events.source import AwayError

_CHUNK = 65536
_ANSWER = 3.0
"""Seconds in which somebody takes the connection."""


class Sockets:
    """The socket at a path."""

    def __init__(self, path: str) -> None:
        self.name = f"unix://{path}"
        self._path = path
        self._socket: socket.socket | None = None
        self._rest = b""

    def open(self) -> None:
        self.close()
        self._rest = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_ANSWER)
        try:
            self._socket.connect(self._path)
        except OSError as exc:
            raise AwayError(exc.strerror or str(exc)) from None

    def listen(self, wait: float) -> Sequence[Message]:
        assert self._socket is not None
        self._socket.settimeout(wait)
        try:
            chunk = self._socket.recv(_CHUNK)
        except TimeoutError:
            return ()
        except OSError as exc:
            raise AwayError(exc.strerror or "the connection is broken") from None
        if not chunk:
            raise AwayError("the monitor has hung up")
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST:
            raise AwayError("what is said there has no lines")
        return [message for line in lines if (message := unpacked(line)) is not None]

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
