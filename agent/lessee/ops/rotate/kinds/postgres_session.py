"""A PostgreSQL as a rotation needs it: sessions that end in time, and its errors in our words."""

import os
import socket
from contextlib import contextmanager, suppress
from threading import Timer
from typing import TYPE_CHECKING, Any

from lessee.core.credentials import PostgresLogin
from lessee.ops.rotate.kinds import library
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    Session = psycopg.Connection[Any]

PATIENCE = 15.0
"""Seconds that two addresses of a host, and a session, may take."""
_CONNECT = 3
_PING = 2
_SESSION = 8.0
_TIMEOUTS = {
    "lock_timeout": "3s",
    "statement_timeout": "4s",
    # A session whose rotator is gone with its machine holds its lock no longer.
    "idle_session_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
}
# Of a server that has no such setting, as those before 14, nothing is wanted.
_SET = "SELECT set_config(name, %s::json ->> name, false) FROM pg_settings WHERE name = ANY(%s)"
_FULL = ("too many clients", "too many connections", "remaining connection slots", "connection limit exceeded")


class LoginRefusedError(Exception):
    """The server is there, and refuses the login."""


@contextmanager
def session(login: PostgresLogin, where: str) -> "Iterator[Session]":
    """A session that commits each statement by itself. Raises LoginRefusedError, SystemUnavailableError and SystemRefusedError.

    It is cut off after some seconds, as a server that stands still says nothing of a timeout. `where`: the secret.
    """
    driver = library("psycopg")
    try:
        connection = driver.connect(**_arguments(login), password=login.password, autocommit=True)
    except driver.Error as exc:
        _judge(driver, login, where, str(exc))
        raise LoginRefusedError from None
    wire = socket.socket(fileno=os.dup(connection.fileno()))
    guard = Timer(_SESSION, _cut, (wire,))
    guard.daemon = True
    guard.start()
    try:
        yield connection
    except driver.Error as exc:
        raise _in_our_words(driver, exc, login, where) from None
    finally:
        connection.close()
        guard.cancel()
        guard.join()
        wire.close()


def limit(connection: "Session") -> None:
    """Let the server end by itself what takes too long."""
    names = list(_TIMEOUTS)
    said = ", ".join(f'"{name}": "{value}"' for name, value in _TIMEOUTS.items())
    connection.execute(_SET, (f"{{{said}}}", names))


def _arguments(login: PostgresLogin) -> dict[str, str | int]:
    secured = {"sslmode": login.sslmode} if login.sslmode else {}
    if login.ca_file:
        secured["sslrootcert"] = login.ca_file
    return {
        "host": login.host,
        "port": login.port,
        "dbname": login.database,
        "user": login.username,
        "connect_timeout": _CONNECT,
        "application_name": "lessee rotate",
        **secured,
    }


def _judge(driver: Any, login: PostgresLogin, where: str, said: str) -> None:
    """Return where the login was refused. Raises SystemUnavailableError where it was not even looked at.

    libpq tells no SQLSTATE of a login, and the server's text may be of any language; but a refusal names the user
    or the database. The text is only looked into: it may quote what it was sent.
    """
    asked = driver.conninfo.make_conninfo(**{**_arguments(login), "connect_timeout": _PING})
    if driver.pq.PGconn.ping(asked.encode()) != driver.pq.Ping.OK:
        todo = "start it, or mend host, port, sslmode and ca_file in the secret, or the network on the way"
        raise SystemUnavailableError(f"PostgreSQL does not answer at {login.address}", where=where, todo=todo)
    if any(words in said for words in _FULL):
        todo = "end idle sessions, put a pooler in between, or raise max_connections"
        raise SystemUnavailableError("PostgreSQL has no connection left", where=where, todo=todo)
    answer = said.replace(login.host, "")
    if login.username not in answer and login.database not in answer:
        raise SystemUnavailableError(
            f"PostgreSQL lets nobody in at {login.address}", where=where, todo="see its own log"
        )


def _in_our_words(
    driver: Any, exc: Exception, login: PostgresLogin, where: str
) -> SystemUnavailableError | SystemRefusedError:
    errors = driver.errors
    if isinstance(exc, errors.LockNotAvailable):
        return SystemUnavailableError(
            "another rotator holds it", where=where, todo="wait for it; see pg_locks, locktype advisory"
        )
    if isinstance(exc, errors.ReadOnlySqlTransaction):
        return SystemUnavailableError(
            f"PostgreSQL at {login.address} is read-only", where=where, todo="name the primary as host"
        )
    if isinstance(exc, driver.OperationalError | driver.InterfaceError | driver.InternalError):
        todo = "see PostgreSQL's own log; it is tried again"
        return SystemUnavailableError(
            f"PostgreSQL at {login.address} did not finish ({_name(exc)})", where=where, todo=todo
        )
    return SystemRefusedError(
        f"PostgreSQL refuses a statement ({_name(exc)})", where=where, todo="see PostgreSQL's own log"
    )


def _name(exc: Exception) -> str:
    return " ".join(filter(None, (type(exc).__name__, getattr(exc, "sqlstate", None))))


def _cut(wire: socket.socket) -> None:
    with suppress(OSError):  # The server was faster.
        wire.shutdown(socket.SHUT_RDWR)
