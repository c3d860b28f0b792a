"""The event source at a Unix socket, to which `lessee monitor` writes one line of JSON for each message."""

import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from lessee.core.change_events import MAX_MESSAGE_BYTES, Message, decode_message
from lessee.events.source import SourceUnavailableError
from lessee.host.peers import peer_credentials

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
            self._check_listener(self._socket)
        except OSError as exc:
            raise SourceUnavailableError(exc.strerror or str(exc)) from None

    def _check_listener(self, connection: socket.socket) -> None:
        """Believe only root, the agent's own uid, and the owner of the socket's directory: see unix(7), SO_PEERCRED.

        The heartbeats of another process would keep the agent from polling. Raises SourceUnavailableError, and OSError.
        """
        _, uid, _ = peer_credentials(connection)
        trusted = {0, os.geteuid()}
        if uid in trusted:
            return
        if _is_protected(Path(self._path).resolve().parent, uid, trusted):
            return
        what = f"a process of uid {uid} listens there, where other users may create sockets"
        raise SourceUnavailableError(f"{what}; run the monitor as root, or in a directory of its own")

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


def _is_protected(folder: Path, owner: int, trusted: set[int]) -> bool:
    """Whether only this owner and trusted users decide which socket is in the directory. Raises OSError."""
    below = folder.stat()
    if below.st_uid not in trusted | {owner} or below.st_mode & stat.S_IWOTH:
        return False
    for above in (parent.stat() for parent in folder.parents):
        # In a directory such as /tmp, every user makes entries, and only their owners replace them.
        is_sticky = above.st_mode & stat.S_ISVTX and below.st_uid in trusted
        if above.st_uid not in trusted or (above.st_mode & stat.S_IWOTH and not is_sticky):
            return False
        below = above
    return True
