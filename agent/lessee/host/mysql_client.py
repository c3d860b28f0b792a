"""Sessions with MariaDB or MySQL: the library's own, with limits, and without a password in clear text."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Any

from lessee.core.credentials import MysqlLogin
from lessee.core.errors import LesseeError
from lessee.host.answer_limits import AnswerLimits, LimitedSocket, broken_limit
from lessee.host.optional_dependencies import library
from lessee.host.tls import client_context

_ANSWERS = 1 << 20
"""Bytes of all answers of a session."""
# https://mariadb.com/kb/en/mariadb-error-code-reference/
_REJECTED = frozenset({1045, 1698, 1820, 1862, 3118, 4151})
"""Access denied, password expired, and account locked."""
_NO_DATABASE = frozenset({1044, 1049})
_DENIED = frozenset({1044, 1045, 1095, 1141, 1142, 1143, 1227, 1370, 1410, 1698})
_READ_ONLY = frozenset({1290, 1836, 1792})
_BUSY = frozenset({1040, 1053, 1077, 1129, 1203, 1205, 1226, 1317, 1927, 1969, 3024, 4031})
"""Too many connections, shutdown, a blocked host, and timeouts. The codes of clients are 2000 to 2999."""
_CLIENT_CODES = range(2000, 3000)
_CLEAR_METHODS = ("mysql_clear_password", "dialog", "mysql_old_password")
_NO_KEY = b"none"
_TEXTS = {2026: "the server has no TLS", 2013: "the connection was closed"}


class ErrorKind(Enum):
    """Why a login or a statement failed."""

    REJECTED = auto()
    """The server answers, and rejects the login."""
    NO_DATABASE = auto()
    """The login is right, but its user may not use the database, or it does not exist."""
    CLEAR_TEXT = auto()
    """The server asks for the password in clear text, or encrypted for a key that nothing verifies."""
    UNAVAILABLE = auto()
    READ_ONLY = auto()
    DENIED = auto()
    """The user lacks a privilege for the statement."""
    FAILED = auto()


class MysqlError(Exception):
    """The text holds nothing that was sent or received. `code`: the server's, or 0."""

    def __init__(self, kind: ErrorKind, reason: str, code: int = 0) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.code = code


class _ClearTextError(Exception):
    """A server asks for a password in clear text."""


class Session:
    """A session that commits each statement. Its methods raise MysqlError."""

    def __init__(self, connection: Any, driver: Any) -> None:
        self._connection = connection
        self._driver = driver

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in str(self._connection.server_version).lower()

    def literal(self, text: str) -> str:
        """A text in a statement."""
        return str(self._connection.literal(text))

    def rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """The rows of one statement, in which each `%s` is one of the values. Without values, `%` is itself."""
        with _translated(self._driver, connecting=False), self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())


@contextmanager
def session(login: MysqlLogin, *, extra: str, program: str, timeout: float, total: float) -> Iterator[Session]:
    """A session. `extra`: lessee's extra with the library. `timeout`: seconds for a connection and for each read.

    `total`: seconds for all that the session does. Raises LesseeError if the library is missing or `ca_file` is not
    usable, and MysqlError.
    """
    driver = library("pymysql", extra)
    limits = AnswerLimits(total, _ANSWERS)
    with _translated(driver, connecting=True):
        plain = socket.create_connection((login.host, login.port), timeout)
    connection = None
    try:
        with _translated(driver, connecting=True):
            connection = _connection(driver, login, program, timeout)
            if login.tls:
                connection.ctx = _LimitedContext(client_context(login.ca_file or None), plain, limits)
                connection.ssl = connection._ssl_required = True  # noqa: SLF001  # No argument takes our context.
            connection.connect(LimitedSocket(plain, limits))
        yield Session(connection, driver)
    finally:
        if connection is not None and connection.open:
            with suppress(Exception):
                connection.close()
        plain.close()


def identifier(name: str) -> str:
    """A name in a statement, whatever characters it has."""
    return f"`{name.replace('`', '``')}`"


def account(user: str, host: str) -> str:
    """The name of an account in a statement."""
    return f"{identifier(user)}@{identifier(host)}"


def _connection(driver: Any, login: MysqlLogin, program: str, timeout: float) -> Any:
    """A connection that is not open yet, and has no TLS yet."""
    return driver.connections.Connection(
        host=login.host,
        port=login.port,
        user=login.username,
        password=login.password.encode(),
        database=login.database or None,
        charset="utf8mb4",
        autocommit=True,
        defer_connect=True,
        read_timeout=timeout,
        write_timeout=timeout,
        ssl_disabled=True,  # Otherwise it uses TLS if the server has it, verifies nothing, and trusts it.
        auth_plugin_map={} if login.tls else dict.fromkeys(_CLEAR_METHODS, _refuse),
        # For this key nothing is encrypted: a server without TLS could give one of its own, and decrypt the password.
        server_public_key=_NO_KEY,
        program_name=program,
    )


def _refuse(connection: Any) -> Any:
    del connection
    raise _ClearTextError


class _LimitedContext:
    """A context of TLS for one connection, which then keeps to the limits too."""

    def __init__(self, context: Any, plain: socket.socket, limits: AnswerLimits) -> None:
        self._context, self._plain, self._limits = context, plain, limits

    def wrap_socket(self, limited: LimitedSocket, server_hostname: str) -> LimitedSocket:
        with limited.timed():
            connected = self._context.wrap_socket(self._plain, server_hostname=server_hostname)
        return LimitedSocket(connected, self._limits)


@contextmanager
def _translated(driver: Any, *, connecting: bool) -> Iterator[None]:
    try:
        yield
    except _ClearTextError:
        raise _clear_text() from None
    except driver.err.MySQLError as exc:
        raise _of_server(exc, connecting=connecting) from None
    except OSError as exc:
        raise MysqlError(ErrorKind.UNAVAILABLE, _reason(exc)) from None
    except (ValueError, RuntimeError) as exc:
        if connecting and not isinstance(exc, UnicodeError):
            # It had no key to encrypt the password for, or lacks the library that would.
            raise _clear_text() from None
        raise _not_mysql() from None
    except (LesseeError, MysqlError):
        raise
    except Exception:  # noqa: BLE001  # The library raises anything where a server breaks its protocol.
        raise _not_mysql() from None


def _of_server(exc: Any, *, connecting: bool) -> MysqlError:
    first = exc.args[0] if exc.args else 0
    code = first if isinstance(first, int) else 0
    if code in _READ_ONLY:
        kind = ErrorKind.READ_ONLY
    elif code in _BUSY or code in _CLIENT_CODES or not code:
        kind = ErrorKind.UNAVAILABLE
    elif connecting:
        rejected = ErrorKind.REJECTED if code in _REJECTED else ErrorKind.FAILED
        kind = ErrorKind.NO_DATABASE if code in _NO_DATABASE else rejected
    else:
        kind = ErrorKind.DENIED if code in _DENIED else ErrorKind.FAILED
    original = getattr(exc, "original_exception", None)
    reason = broken_limit(exc) or _TEXTS.get(code) or (f"error {code}" if code else type(exc).__name__)
    return MysqlError(kind, _reason(original) if isinstance(original, OSError) else reason, code)


def _clear_text() -> MysqlError:
    return MysqlError(ErrorKind.CLEAR_TEXT, "the server asks for the password in clear text")


def _not_mysql() -> MysqlError:
    return MysqlError(ErrorKind.UNAVAILABLE, "not the protocol of MySQL")


def _reason(exc: OSError) -> str:
    # An error of TLS has a reason, such as CERTIFICATE_VERIFY_FAILED.
    return broken_limit(exc) or str(getattr(exc, "reason", "") or exc.strerror or type(exc).__name__)
