"""A Unix socket that agents connect to, where there is no Redis: a line of JSON for each change."""

import socket
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lessee.core.change_events import Beat, packed
from lessee.ops.monitor.delivery_queue import Parcel, UndeliveredError

MOST = 200
"""Who may listen at once."""
_ANSWER = 0.2
"""Seconds that one who takes nothing holds up the others, once: then he is hung up on, and looks at all himself."""
_MODE = 0o660


class Sockets:
    """The socket at a path. Nobody is waited for: who connects later looks at all himself."""

    most = 500
    beats = True

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._listening: socket.socket | None = None
        self._inode = 0
        self._lock = threading.Lock()
        self._clients: list[socket.socket] = []

    def deliver(self, parcels: Sequence[Parcel]) -> None:
        self._open()
        self._say("".join(f"{parcel.content}\n" for parcel in parcels).encode())

    def beat(self, beat: Beat) -> None:
        self._open()
        self._say(packed(beat) + b"\n")

    def close(self) -> None:
        if self._listening is not None:
            with suppress(OSError):  # Only this wakes who waits for somebody to connect.
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
            if self._is_there():
                self._path.unlink(missing_ok=True)
        with self._lock:
            while self._clients:
                self._clients.pop().close()

    def _open(self) -> None:
        """Listen, if that is not so, or somebody has removed the socket."""
        if self._listening is not None and self._is_there():
            return
        self.close()
        try:
            self._listening = _listen(self._path)
            self._inode = self._path.lstat().st_ino
        except OSError as exc:
            raise UndeliveredError(f"the socket cannot be made: {self._path}: {exc.strerror or exc.args[0]}") from None
        threading.Thread(target=self._accept, args=(self._listening,), name="lessee-events", daemon=True).start()

    def _is_there(self) -> bool:
        try:
            return self._path.lstat().st_ino == self._inode
        except OSError:
            return False

    def _say(self, text: bytes) -> None:
        with self._lock:
            for client in list(self._clients):
                try:
                    client.sendall(text)
                except OSError:
                    self._clients.remove(client)
                    client.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return  # It is closed.
            with self._lock:
                try:
                    client.settimeout(_ANSWER)
                    client.sendall(packed(Beat()) + b"\n")
                except OSError:
                    client.close()
                    continue
                if len(self._clients) >= MOST:
                    self._clients.pop(0).close()
                self._clients.append(client)


def _listen(path: Path) -> socket.socket:
    """Raises OSError."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            if _is_served(path):
                raise OSError("another one listens there")
            path.unlink()  # of a monitor that was killed
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        path.chmod(_MODE)
        listening.listen(MOST)
    except OSError:
        listening.close()
        raise
    return listening


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER)
        return probe.connect_ex(str(path)) == 0
