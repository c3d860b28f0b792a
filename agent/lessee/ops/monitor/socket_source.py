"""The source that servers' socket audit devices connect to."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from lessee.core.errors import WriteError
from lessee.ops.monitor.sources import MAX_CONNECTIONS, LineMemory, Outlet, Post, SourceIdle, forward_lines
from lessee.telemetry.logs import log

RETRY_INTERVAL = 1.0
"""Seconds until the next attempt to listen."""
WARNING_INTERVAL = 60.0
"""Seconds between two warnings of refused connections, of which a client can cause any number."""
_PIECE = 1 << 16
"""Bytes of each read, of which each connection has one."""


class SocketSource:
    """Listens for socket audit devices. Entries that a device sends while the monitor does not run are lost."""

    kind = "socket"

    def __init__(self, name: str, address: str, post: Post) -> None:
        """`address`: `host:port`, or the path of a Unix socket."""
        self.name = name
        self._address = address
        self._outlet = Outlet(post)
        self._closed = threading.Event()
        self._listener: socket.socket | None = None
        self._inode: int | None = None
        """The inode of our Unix socket."""
        self._connections: dict[socket.socket, bool] = {}
        """The oldest first, and whether each has sent an entry, as a server has."""
        self._memory = LineMemory()
        self._warned_at = float("-inf")

    def start(self) -> None:
        """Start accepting connections."""
        threading.Thread(target=self._run, name=f"lessee-audit-{self.name}", daemon=True).start()

    def acknowledge(self) -> None:
        """See Source."""
        self._outlet.acknowledge()

    def close(self) -> None:
        """See Source."""
        self._outlet.close()
        self._closed.set()
        for connection in (self._listener, *list(self._connections)):
            if connection is not None:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        if self._listener is not None:
            self._listener.close()
            if self._inode and self._current_inode() == self._inode:
                Path(self._address).unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._outlet.closed:
            try:
                self._listener = _listen(self._address)
            except WriteError as exc:
                self._outlet.post(SourceIdle(self.name, str(exc)))
                self._closed.wait(RETRY_INTERVAL)
            else:
                self._inode = self._current_inode()
                self._outlet.post(SourceIdle(self.name))
                self._accept(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        listener.settimeout(RETRY_INTERVAL)
        while not self._outlet.closed:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if self._inode != 0 and self._current_inode() == self._inode:
                    continue
                # Another process removed the socket. No server could connect, and some then deny every request.
                listener.close()
                return
            except OSError:
                self._closed.wait(RETRY_INTERVAL)  # The process may be out of file descriptors.
                continue
            if len(self._connections) >= MAX_CONNECTIONS and not self._make_room():
                connection.close()
                continue
            # Keepalive detects a server that disappears without closing its connection.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._connections[connection] = False
            name = f"lessee-audit-{self.name}-connection"
            threading.Thread(target=self._serve, args=(connection,), name=name, daemon=True).start()

    def _make_room(self) -> bool:
        """Close the oldest connection that has sent no entry; False if each has sent one."""
        idle = next((connection for connection, sent in list(self._connections.items()) if not sent), None)
        if (now := time.monotonic()) - self._warned_at >= WARNING_INTERVAL:
            self._warned_at = now
            note = f"the limit is {MAX_CONNECTIONS} connections"
            closed = "the new one" if idle is None else "the oldest without an entry"
            log("warning", "audit connection refused", source=self.name, closed=closed, note=note)
        if idle is None:
            return False
        self._connections.pop(idle, None)
        with suppress(OSError):
            idle.shutdown(socket.SHUT_RDWR)
        return True

    def _current_inode(self) -> int | None:
        """The inode of the socket file, 0 without a file, or None for a port. It tells whether the socket is ours."""
        if not self._address.startswith("/"):
            return None
        try:
            return Path(self._address).lstat().st_ino
        except OSError:
            return 0

    def _serve(self, connection: socket.socket) -> None:
        log("info", "audit connection opened", source=self.name)
        with connection:
            forward_lines(
                self.name,
                lambda: connection.recv(_PIECE),
                self._outlet,
                memory=self._memory,
                note_entries=lambda: self._note_entries(connection),
            )
        self._connections.pop(connection, None)
        if not self._outlet.closed:
            log("info", "audit connection closed", source=self.name)

    def _note_entries(self, connection: socket.socket) -> None:
        if connection in self._connections:
            self._connections[connection] = True


def _listen(address: str) -> socket.socket:
    try:
        if address.startswith("/"):
            return _listen_unix(Path(address))
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=MAX_CONNECTIONS)
    except OSError as exc:
        todo = "set another address with `monitor: {audit: {socket: …}}`"
        reason = exc.strerror or exc.args[0]
        raise WriteError(f"cannot listen for the audit log: {reason}", where=address, todo=todo) from None


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(OSError):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
        listener.close()
        what, todo = "another process listens on this socket", "stop it, or set another path"
        raise WriteError(what, where=str(path), todo=todo)
    if path.is_socket():
        path.unlink()
    try:
        listener.bind(str(path))
        path.chmod(0o660)  # The server runs with another uid.
        listener.listen(MAX_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener
