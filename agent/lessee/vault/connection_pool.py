"""Open connections that wait for the next request of any thread."""

import threading

from lessee.vault.connections import Connection, Stamp


class Kept:
    """One is held; more, only as long as requests go side by side.

    A fleet's server has them all: each agent needs several when it starts, and a single one from then on.
    """

    def __init__(self, idle: float) -> None:
        """`idle`: seconds after which one that nobody needed is let go."""
        self._idle = idle
        self._lock = threading.Lock()
        self._connections: list[Connection] = []

    def take(self, url: str, stamp: Stamp) -> Connection | None:
        """The one that was used last, so that the others are not needed. Those that do not fit any more are closed."""
        while True:
            with self._lock:
                if not self._connections:
                    return None
                connection = self._connections.pop()
            if (connection.url, connection.stamp) == (url, stamp):
                return connection
            connection.close()

    def put(self, connection: Connection) -> None:
        """It has just been used."""
        with self._lock:
            spare = [other for other in self._connections if other.idle > self._idle]
            self._connections = [other for other in self._connections if other not in spare]
            self._connections.append(connection)
        for other in spare:
            other.close()

    def close(self) -> None:
        """Close those that wait."""
        with self._lock:
            spare, self._connections = self._connections, []
        for connection in spare:
            connection.close()
