"""Clients of Redis: the library's own, with limits for each answer, and certificates matched by their SANs alone."""

from contextlib import suppress
from functools import cache
from typing import Any

from lessee.core.credentials import RedisLogin
from lessee.host.answer_limits import AnswerLimits, LimitedSocket
from lessee.host.optional_dependencies import library

MAX_ANSWER_SIZE = 4 << 20
"""Bytes of the answers to one command, or to one pipeline of commands."""
_MAX_LINES = 1 << 15
"""Of such answers: each value has a line of its own in Redis' protocol."""


def client_for(login: RedisLogin, *, extra: str, timeout: float, total: float, single_connection: bool = False) -> Any:
    """A client that logs in with its first command.

    `extra`: lessee's extra that contains the library. `timeout`: seconds for each read, `total`: for all that a
    connection does. `single_connection`: connect and log in immediately, and have one connection for all commands.
    Raises LesseeError if the library is not installed, and the library's errors.
    """
    driver = library("redis", extra)
    connections = _tls_connection if login.tls else _connection
    pool = driver.ConnectionPool(
        connection_class=connections(extra, total),
        host=login.host,
        port=login.port,
        db=login.db,
        username=login.username or None,
        password=login.password or None,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        protocol=2,  # With RESP 3 the client sends commands that a restricted user may not use.
        **({"ssl_ca_certs": login.ca_file or None, "ssl_check_hostname": True} if login.tls else {}),
    )
    found = _client_class(extra)(connection_pool=pool, single_connection_client=single_connection)
    found.auto_close_connection_pool = True
    return found


def client_at(url: str, *, extra: str, timeout: float, connect_timeout: float) -> Any:
    """A client that does not retry, and connects at its first command; `timeout`: seconds for each command.

    Raises as `client_for` does, or ValueError.
    """
    driver = library("redis", extra)
    retry = library("redis.retry", extra).Retry(library("redis.backoff", extra).NoBackoff(), 0)
    options = {"socket_timeout": timeout, "socket_connect_timeout": connect_timeout, "protocol": 2, "retry": retry}
    match url.partition(":")[0].lower():
        case "rediss":
            options["connection_class"] = _tls_connection(extra, timeout, each=True)
        case "unix":
            base = library("redis.connection", extra).UnixDomainSocketConnection
            options["connection_class"] = _limited(base, extra, timeout, each=True)
        case _:  # The library knows no further one.
            options["connection_class"] = _connection(extra, timeout, each=True)
    return driver.Redis.from_url(url, **options)


def _connection(extra: str, seconds: float, *, each: bool = False) -> Any:
    return _limited(library("redis.connection", extra).Connection, extra, seconds, each=each)


@cache
def _tls_connection(extra: str, seconds: float, *, each: bool = False) -> Any:
    base = _limited(library("redis.connection", extra).SSLConnection, extra, seconds, each=each)
    errors = library("redis.exceptions", extra)

    class TlsConnection(base):  # type: ignore[misc,valid-type]  # Of a library that is optional.
        """Matches a certificate by its SANs alone: RFC 9525 has clients ignore the common name."""

        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            connected = super()._wrap_socket_with_ssl(sock)
            # The library shows no one its context. It takes the common name only where there is no SAN.
            if self.check_hostname and not connected.getpeercert().get("subjectAltName"):
                with suppress(OSError):
                    connected.close()
                raise errors.ConnectionError("the certificate has no subject alternative name")
            return connected

    return TlsConnection


@cache
def _limited(base: Any, extra: str, seconds: float, *, each: bool) -> Any:
    """The class of connections with limits: `seconds` in all, or for `each` command."""
    errors = library("redis.exceptions", extra)

    class LimitedConnection(base):  # type: ignore[misc]  # As above.
        _limits: AnswerLimits | None = None

        def _connect(self) -> Any:
            self._limits = AnswerLimits(seconds, MAX_ANSWER_SIZE, mark=b"\n", parts=_MAX_LINES)
            return LimitedSocket(super()._connect(), self._limits)

        def send_packed_command(self, *arguments: Any, **options: Any) -> None:
            if self._limits is not None:
                self._limits.begin(restart=each)
            super().send_packed_command(*arguments, **options)

        def read_response(self, *arguments: Any, **options: Any) -> Any:
            try:
                return super().read_response(*arguments, **options)
            except (OverflowError, RecursionError, ValueError):
                raise errors.InvalidResponse("not Redis' protocol") from None

    return LimitedConnection


@cache
def _client_class(extra: str) -> Any:
    driver = library("redis", extra)

    class Client(driver.Redis):  # type: ignore[misc,name-defined]  # As above.
        """Raises the library's own errors alone, whatever a server answers."""

        def parse_response(self, *arguments: Any, **options: Any) -> Any:
            try:
                return super().parse_response(*arguments, **options)
            except (AttributeError, LookupError, TypeError, ValueError):
                raise driver.exceptions.InvalidResponse("not what Redis answers") from None

    return Client
