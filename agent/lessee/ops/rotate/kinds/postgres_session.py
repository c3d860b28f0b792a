"""Sessions with PostgreSQL that end in time, and translated errors."""

import json
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

TIMEOUT = 25.0
"""Seconds that two connections to two addresses of a host, and a session, may take."""
_CONNECT_TIMEOUT = 3
_PING_TIMEOUT = 2
_SESSION_TIMEOUT = 8.0
_TIMEOUTS = {
    "lock_timeout": "3s",
    "statement_timeout": "4s",
    # They end the session, and its lock, of a rotator whose machine has failed.
    "idle_session_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
}
# Servers before version 14 lack some of these settings.
_SET = "SELECT set_config(name, %s::json ->> name, false) FROM pg_settings WHERE name = ANY(%s)"
_FULL = ("too many clients", "too many connections", "remaining connection slots", "connection limit exceeded")


class LoginRefusedError(Exception):
    """The server answers, and rejects the login."""


@contextmanager
def session(login: PostgresLogin, where: str) -> "Iterator[Session]":
    """A session that commits each statement. `where`: the login's secret.

    Its connection is closed after some seconds, since a server that hangs reports no timeout. Raises
    LoginRefusedError, SystemUnavailableError and SystemRefusedError.
    """
    driver = library("psycopg")
    connection = _connect(driver, login, where)
    wire = socket.socket(fileno=os.dup(connection.fileno()))
    guard = Timer(_SESSION_TIMEOUT, _shut_down, (wire,))
    guard.daemon = True
    guard.start()
    try:
        yield connection
    except driver.Error as exc:
        raise _translated(driver, exc, login, where) from None
    finally:
        connection.close()
        guard.cancel()
        guard.join()
        wire.close()


def limit(connection: "Session") -> None:
    """Let the server end sessions and statements that take too long."""
    connection.execute(_SET, (json.dumps(_TIMEOUTS), list(_TIMEOUTS)))


def _connect(driver: Any, login: PostgresLogin, where: str) -> "Session":
    """Raises LoginRefusedError, SystemUnavailableError and SystemRefusedError."""
    # Where it answers after a failure that is no rejection, it has begun to answer meanwhile, or it is busy.
    for _ in range(2):
        try:
            return driver.connect(**_arguments(login), password=login.password, autocommit=True)  # type: ignore[no-any-return]
        except driver.Error as exc:
            if _is_rejected(driver, login, where, str(exc)):
                raise LoginRefusedError from None
    what = f"PostgreSQL at {login.address} accepts no logins"
    raise SystemUnavailableError(what, where=where, todo="see its own log")


def _arguments(login: PostgresLogin) -> dict[str, str | int]:
    return {
        "host": login.host,
        "port": login.port,
        "dbname": login.database,
        "user": login.username,
        "connect_timeout": _CONNECT_TIMEOUT,
        "application_name": "lessee rotate",
        **login.security,
    }


def _is_rejected(driver: Any, login: PostgresLogin, where: str, text: str) -> bool:
    """Whether the server rejected the login. Raises SystemUnavailableError where it cannot be asked now.

    libpq reports no SQLSTATE for a login, and the server's text may be in any language; but a rejection names the user
    or the database. The text is not passed on: it may quote what was sent.
    """
    if "invalid connection option" in text:
        todo = "install psycopg[binary], or libpq 16 or later"
        raise SystemRefusedError("libpq cannot refuse to send a password in clear text", where=where, todo=todo)
    if "authentication method requirement" in text:
        todo = "set sslmode: verify-full in the secret, or have the server use scram-sha-256"
        what = f"PostgreSQL at {login.address} asks for the password in clear text"
        raise SystemRefusedError(what, where=where, todo=todo)
    target = driver.conninfo.make_conninfo(**{**_arguments(login), "connect_timeout": _PING_TIMEOUT})
    if driver.pq.PGconn.ping(target.encode()) != driver.pq.Ping.OK:
        todo = "start it, or correct host, port, sslmode and ca_file in the secret, or the network"
        raise SystemUnavailableError(f"PostgreSQL does not answer at {login.address}", where=where, todo=todo)
    if any(words in text for words in _FULL):
        todo = "end idle sessions, use a connection pooler, or increase max_connections"
        raise SystemUnavailableError("PostgreSQL has no free connection", where=where, todo=todo)
    answer = text.replace(login.host, "")
    return login.username in answer or login.database in answer


def _translated(
    driver: Any, exc: Exception, login: PostgresLogin, where: str
) -> SystemUnavailableError | SystemRefusedError:
    errors = driver.errors
    if isinstance(exc, errors.LockNotAvailable):
        return SystemUnavailableError(
            "another rotator has the lock", where=where, todo="run it again later; see pg_locks, locktype advisory"
        )
    if isinstance(exc, errors.ReadOnlySqlTransaction):
        return SystemUnavailableError(
            f"PostgreSQL at {login.address} is read-only", where=where, todo="set host in the secret to the primary"
        )
    if isinstance(exc, driver.OperationalError | driver.InterfaceError | driver.InternalError):
        todo = "see PostgreSQL's own log; lessee retries it"
        return SystemUnavailableError(f"PostgreSQL at {login.address} failed ({_name(exc)})", where=where, todo=todo)
    return SystemRefusedError(
        f"PostgreSQL rejects a statement ({_name(exc)})", where=where, todo="see PostgreSQL's own log"
    )


def _name(exc: Exception) -> str:
    return " ".join(filter(None, (type(exc).__name__, getattr(exc, "sqlstate", None))))


def _shut_down(wire: socket.socket) -> None:
    with suppress(OSError):  # The server has closed it.
        wire.shutdown(socket.SHUT_RDWR)
