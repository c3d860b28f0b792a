"""The audit log as the socket devices of servers send it."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.ops.monitor.sources import CONNECTIONS, Pace, Post, Stood, pass_on
from lessee.ops.monitor.tailer import CHUNK
from lessee.telemetry.logs import log

AGAIN = 1.0
"""Seconds until one tries to listen again."""


class FromSocket:
    """Where the socket devices of servers connect to. What they say while nobody listens is lost to us."""

    kind = "socket"

    def __init__(self, name: str, address: str, post: Post) -> None:
        """`host:port`, or the path of a Unix socket."""
        self.name = name
        self._address = address
        self._pace = Pace(post)
        self._closed = threading.Event()
        self._listener: socket.socket | None = None
        self._inode: int | None = None
        """Of a Unix socket that is ours."""
        self._connections: set[socket.socket] = set()

    def start(self) -> None:
        """Take connections, from now on."""
        threading.Thread(target=self._run, name=f"lessee-audit-{self.name}", daemon=True).start()

    def taken(self) -> None:
        """See Source."""
        self._pace.taken()

    def close(self) -> None:
        """See Source."""
        self._pace.close()
        self._closed.set()
        for one in (self._listener, *self._connections):
            if one is not None:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        if self._listener is not None:
            self._listener.close()
            if self._inode and self._inode_there() == self._inode:
                Path(self._address).unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._pace.closed:
            try:
                self._listener = _listen(self._address)
            except WriteError as exc:
                self._pace.say(Stood(self.name, str(exc)))
                self._closed.wait(AGAIN)
            else:
                self._inode = self._inode_there()
                self._pace.say(Stood(self.name))
                self._accept(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        listener.settimeout(AGAIN)
        while not self._pace.closed:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if self._inode != 0 and self._inode_there() == self._inode:
                    continue
                # Somebody has tidied up: no server would find us any more, and some then answer nobody.
                listener.close()
                return
            except OSError:
                self._closed.wait(AGAIN)  # There may be no descriptor left.
                continue
            if len(self._connections) >= CONNECTIONS:
                log("warning", "audit connection refused", source=self.name, note=f"there are {CONNECTIONS}")
                connection.close()
                continue
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # A server may be gone without a word.
            self._connections.add(connection)
            name = f"lessee-audit-{self.name}-connection"
            threading.Thread(target=self._hear, args=(connection,), name=name, daemon=True).start()

    def _inode_there(self) -> int | None:
        """Of what is at the address, by which one knows whether who connects there comes to us; of a port None."""
        if not self._address.startswith("/"):
            return None
        try:
            return Path(self._address).lstat().st_ino
        except OSError:
            return 0

    def _hear(self, connection: socket.socket) -> None:
        log("info", "audit connection opened", source=self.name)
        with connection:
            pass_on(self.name, lambda: connection.recv(CHUNK), self._pace)
        self._connections.discard(connection)
        if not self._pace.closed:
            log("info", "audit connection closed", source=self.name)


def _listen(address: str) -> socket.socket:
    try:
        if address.startswith("/"):
            return _listen_unix(Path(address))
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=CONNECTIONS)
    except OSError as exc:
        todo = "name another with `monitor: {audit: {socket: …}}`"
        reason = exc.strerror or exc.args[0]
        raise WriteError(f"cannot listen for the audit log: {reason}", where=address, todo=todo) from None


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(OSError):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
        listener.close()
        raise WriteError("another one listens there", where=str(path), todo="end it, or name another")
    if path.is_socket():
        path.unlink()
    try:
        listener.bind(str(path))
        path.chmod(0o660)  # The server has a uid of its own.
        listener.listen(CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener
