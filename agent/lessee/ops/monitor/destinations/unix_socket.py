"""Publishes changes on a Unix socket that agents connect to: one line of JSON for each change."""

import socket
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lessee.core.change_events import Heartbeat, encode_message
from lessee.ops.monitor.delivery_queue import ChangeMessage, PublishError

MAX_CLIENTS = 200
_SEND_TIMEOUT = 0.2
"""Seconds that a client may block the others. Then it is disconnected, and checks every path after it reconnects."""
_MODE = 0o660


class UnixSocket:
    """The socket at a path. It queues nothing for clients: one that connects later checks every path itself."""

    max_batch = 500
    takes_heartbeats = True

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._listener: socket.socket | None = None
        self._inode = 0
        self._lock = threading.Lock()
        self._clients: list[socket.socket] = []

    def deliver(self, messages: Sequence[ChangeMessage]) -> None:
        self._open()
        self._send("".join(f"{message.content}\n" for message in messages).encode())

    def send_heartbeat(self, heartbeat: Heartbeat) -> None:
        self._open()
        self._send(encode_message(heartbeat) + b"\n")

    def close(self) -> None:
        if self._listener is not None:
            with suppress(OSError):  # Only shutdown wakes the thread in accept().
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
            if self._is_ours():
                self._path.unlink(missing_ok=True)
        with self._lock:
            while self._clients:
                self._clients.pop().close()

    def _open(self) -> None:
        """Listen, unless the socket is there already. Another process may have removed it."""
        if self._listener is not None and self._is_ours():
            return
        self.close()
        try:
            self._listener = _listen(self._path)
            self._inode = self._path.lstat().st_ino
        except OSError as exc:
            raise PublishError(f"cannot listen on {self._path}: {exc.strerror or exc.args[0]}") from None
        threading.Thread(target=self._accept, args=(self._listener,), name="lessee-events", daemon=True).start()

    def _is_ours(self) -> bool:
        try:
            return self._path.lstat().st_ino == self._inode
        except OSError:
            return False

    def _send(self, text: bytes) -> None:
        with self._lock:
            for client in list(self._clients):
                try:
                    client.sendall(text)
                except OSError:
                    self._clients.remove(client)
                    client.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # It is closed.
            with self._lock:
                try:
                    client.settimeout(_SEND_TIMEOUT)
                    client.sendall(encode_message(Heartbeat()) + b"\n")
                except OSError:
                    client.close()
                    continue
                if len(self._clients) >= MAX_CLIENTS:
                    self._clients.pop(0).close()
                self._clients.append(client)


def _listen(path: Path) -> socket.socket:
    """Raises OSError."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            if _is_served(path):
                raise OSError("another process listens on this socket")
            path.unlink()  # The socket of a monitor that was killed.
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(_MODE)
        listener.listen(MAX_CLIENTS)
    except OSError:
        listener.close()
        raise
    return listener


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SEND_TIMEOUT)
        return probe.connect_ex(str(path)) == 0
