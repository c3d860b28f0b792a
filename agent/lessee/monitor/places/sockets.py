"""A Unix socket that agents connect to, where there is no Redis: a line of JSON for each change."""

import os
import socket
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lessee.core.changes import Beat, packed
from lessee.core.errors import CannotWrite
from lessee.monitor.courier import Parcel, Undelivered

MOST = 200
"""Who may listen at once."""
_ANSWER = 0.2
"""Seconds that one who takes nothing holds up the others, once: then he is hung up on, and looks at all himself."""
_MODE = 0o660


class Sockets:
    """The socket at a path. Nobody is waited for: who connects later looks at all himself. Raises CannotWrite."""

    most = 500
    beats = True

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._listening = _listen(self._path)
        self._lock = threading.Lock()
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, name="lessee-events", daemon=True).start()

    def deliver(self, parcels: Sequence[Parcel]) -> None:
        self._say("".join(f"{parcel.content}\n" for parcel in parcels).encode())

    def beat(self, beat: Beat) -> None:
        self._say(packed(beat) + b"\n")
        if not self._path.exists():
            raise Undelivered("somebody has removed the socket; start the monitor anew")

    def close(self) -> None:
        self._listening.close()
        with suppress(OSError):
            self._path.unlink()
        with self._lock:
            for client in self._clients:
                client.close()

    def _say(self, text: bytes) -> None:
        with self._lock:
            for client in list(self._clients):
                try:
                    client.sendall(text)
                except OSError:
                    self._clients.remove(client)
                    client.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return  # It is closed.
            with self._lock:
                try:
                    client.settimeout(_ANSWER)
                    client.sendall(packed(Beat()) + b"\n")
                    if len(self._clients) >= MOST:
                        self._clients.pop(0).close()
                    self._clients.append(client)
                except OSError:
                    client.close()


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()  # of a monitor that was killed
        before = os.umask(0o777 & ~_MODE)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen(MOST)
    except OSError as exc:
        listening.close()
        what = f"the socket for events cannot be made: {exc.strerror or exc.args[0]}"
        raise CannotWrite(what, where=str(path), todo="name another with `monitor: {publish: …}`") from None
    return listening
