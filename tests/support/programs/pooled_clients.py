"""Clients that keep their connections and query all the time, and count what fails."""

import threading
from contextlib import contextmanager

import psycopg

WHO = "SELECT session_user"
# A transaction that is open while the pool's login changes.
LONG = "SELECT session_user FROM pg_sleep(0.02)"


class PooledClients:
    """Their queries, and what failed; read it after the block of `querying`."""

    def __init__(self, connect, count):
        """`connect` opens a connection with autocommit."""
        self._connect, self._count = connect, count
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.queries, self.dropped, self.errors = 0, 0, []
        self.users = set()
        """The users of PostgreSQL that have answered."""

    @contextmanager
    def querying(self):
        """The clients query during the block, and each of them once more after it."""
        threads = [threading.Thread(target=self._query, args=(number,), daemon=True) for number in range(self._count)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _query(self, number):
        connection = self._connect()
        is_last = False
        while not is_last:
            # Every second client is mostly inside of a transaction, and the others mostly outside.
            is_last = self._over.wait(0.002 if number % 2 else 0.01)
            try:
                with connection.transaction():
                    connection.execute(WHO)
                    (user,) = connection.execute(LONG if number % 2 else WHO).fetchone()
            except psycopg.Error as exc:
                with self._lock:
                    self.errors.append(str(exc))
                    self.dropped += connection.broken or connection.closed
                connection.close()
                connection = self._connect()
            else:
                with self._lock:
                    self.queries += 1
                    self.users.add(user)
        connection.close()
