"""Holds open connections for the next request of any thread."""

import threading

from lessee.vault.connections import Connection, FileStamps


class ConnectionPool:
    """Holds one connection, and more only while requests run concurrently.

    The server of a fleet carries the connections of all agents, and an agent needs several only when it starts.
    """

    def __init__(self, idle: float) -> None:
        """`idle`: seconds without use after which a spare connection is closed."""
        self._idle = idle
        self._lock = threading.Lock()
        self._connections: list[Connection] = []

    def acquire(self, url: str, stamp: FileStamps) -> Connection | None:
        """The connection that was used last, so that the others become idle. Close those with outdated TLS files."""
        while True:
            with self._lock:
                if not self._connections:
                    return None
                connection = self._connections.pop()
            if (connection.url, connection.stamp) == (url, stamp):
                return connection
            connection.close()

    def release(self, connection: Connection) -> None:
        """Return a connection after its use."""
        with self._lock:
            spare = [other for other in self._connections if other.idle > self._idle]
            self._connections = [other for other in self._connections if other not in spare]
            self._connections.append(connection)
        for other in spare:
            other.close()

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            spare, self._connections = self._connections, []
        for connection in spare:
            connection.close()
