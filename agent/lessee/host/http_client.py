"""An HTTP client for every server but Vault: one request, bounded in time and size, and no redirect is followed."""

import os
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from enum import Enum, auto
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPMessage,
    HTTPResponse,
    HTTPSConnection,
    IncompleteRead,
    InvalidURL,
)
from ipaddress import ip_address
from typing import assert_never
from urllib.parse import SplitResult, urlsplit

from lessee import __version__
from lessee.core.immutable import ImmutableStruct
from lessee.host.proxies import basic_authentication, proxy_for, proxy_headers
from lessee.host.tls import CaFileError, client_context

_LONGEST_TIMEOUT = 86400.0  # A socket counts milliseconds in an int.
_CHUNK = 65536


class ErrorKind(Enum):
    """Why there is no response."""

    INVALID_URL = auto()
    INVALID_HEADER = auto()
    CA_FILE = auto()
    REFUSED = auto()
    """The server's machine answers, but no program listens on the port."""
    UNREACHABLE = auto()
    TIMEOUT = auto()
    CERTIFICATE = auto()
    TLS = auto()
    CLOSED = auto()
    NOT_HTTP = auto()
    TOO_LARGE = auto()


class HttpError(Exception):
    """There is no response. The text names neither the URL nor anything that was sent or received."""

    def __init__(self, kind: ErrorKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Response(ImmutableStruct, frozen=True):
    """A response with any status. `body` is empty unless `body_limit` was given."""

    hidden = ("headers", "body")

    status: int
    headers: HTTPMessage
    body: bytes = b""


def request(
    method: str,
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str | bytes] | None = None,
    body: bytes | None = None,
    body_limit: int = 0,
    ca_file: str | None = None,
    use_proxy: bool = False,
) -> Response:
    """Send one request, and return the response within `timeout` seconds in all. Raises HttpError.

    With `body_limit` 0 only the status and the headers count; else the body is read, up to so many bytes. A user and
    password in the URL are sent as Basic authentication. `use_proxy` obeys $http_proxy, $https_proxy and $no_proxy,
    except for an address of this machine. Certificates are verified by `ca_file`, or by the machine's CAs.
    """
    timeout = min(timeout, _LONGEST_TIMEOUT)
    try:
        parts = urlsplit(url)
        target = _Target(parts, parts.hostname or "", parts.port or _default_port(parts))
    except ValueError:
        raise _invalid_url() from None
    if not target.host:
        raise _invalid_url()
    sent = {"User-Agent": f"lessee/{__version__}", "Connection": "close", **(headers or {})}
    if parts.username is not None:
        sent["Authorization"] = basic_authentication(parts)
    exchange = _Exchange(target, timeout, ca_file=ca_file, use_proxy=use_proxy)
    # A resolver, or a server that sends a byte now and then, ignores a socket's timeout.
    worker = threading.Thread(
        target=exchange.run, args=(method, sent, body, body_limit), name="lessee-http", daemon=True
    )
    worker.start()
    worker.join(timeout)
    return exchange.finish()


def host_of(url: str) -> str:
    """Scheme, host and port of a URL: what may be logged, as the user, path and query may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_loopback(host: str) -> bool:
    """Whether all addresses of the host are this machine's own loopback; False where it has none."""
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ip_address(address).is_loopback for address in found)


class _Target(ImmutableStruct, frozen=True):
    url: SplitResult
    host: str
    port: int

    @property
    def path(self) -> str:
        return f"{self.url.path or '/'}{self.url.query and '?'}{self.url.query}"


class _Exchange:
    """One request and its response, in a thread that `finish` abandons when time is up."""

    def __init__(self, target: _Target, timeout: float, *, ca_file: str | None, use_proxy: bool) -> None:
        self._target = target
        self._timeout = timeout
        self._ca_file = ca_file
        self._use_proxy = use_proxy
        self._lock = threading.Lock()
        self._connection: HTTPConnection | None = None
        self._abandoned = False
        self._result: Response | HttpError | None = None

    def run(self, method: str, headers: Mapping[str, str | bytes], body: bytes | None, body_limit: int) -> None:
        """Store a result; the thread's whole work."""
        try:
            connection, path, extra = self._prepare()
            with closing(connection):
                self._connection = connection
                _begin(connection, method, path, {**headers, **extra}, body)
                connection.connect()
                with self._lock:
                    if self._abandoned:
                        return  # The caller has its error: a request that arrives later would surprise it.
                connection.endheaders(body)
                self._receive(connection.getresponse(), body_limit)
        except HttpError as exc:
            self._store(exc)
        except CaFileError as exc:
            self._store(HttpError(ErrorKind.CA_FILE, str(exc)))
        except (OSError, HTTPException, ValueError) as exc:
            self._store(_translated(exc, self._timeout))

    def finish(self) -> Response:
        """The result, once time is up or the thread has ended. Raises HttpError."""
        with self._lock:
            self._abandoned = True
        if self._connection is not None and (still_open := self._connection.sock) is not None:
            with suppress(OSError):
                still_open.shutdown(socket.SHUT_RDWR)
        match self._result:
            case None:
                raise _timed_out(self._timeout)
            case HttpError() as error:
                raise error
            case Response() as response:
                return response
            case _:
                assert_never(self._result)

    def _store(self, result: Response | HttpError) -> None:
        with self._lock:
            if self._result is None and not self._abandoned:
                self._result = result

    def _prepare(self) -> tuple[HTTPConnection, str, Mapping[str, str]]:
        """A connection that is not open yet, the request's target, and headers for a proxy on the way."""
        target, url = self._target, self._target.url
        named = proxy_for(url.geturl(), os.environ) if self._use_proxy else None
        if named is None or is_loopback(target.host):
            return self._connect_to(target.host, target.port), target.path, {}
        proxy = urlsplit(named)
        connection = self._connect_to(proxy.hostname or "", proxy.port or _default_port(proxy))
        if url.scheme == "https":
            connection.set_tunnel(target.host, target.port, proxy_headers(proxy))
            return connection, target.path, {}
        return connection, f"{host_of(url.geturl())}{target.path}", proxy_headers(proxy)

    def _connect_to(self, host: str, port: int) -> HTTPConnection:
        if self._target.url.scheme == "https":
            return HTTPSConnection(host, port, timeout=self._timeout, context=client_context(self._ca_file))
        return HTTPConnection(host, port, timeout=self._timeout)

    def _receive(self, response: HTTPResponse, body_limit: int) -> None:
        with response:
            if not body_limit:
                self._store(Response(response.status, response.headers))
                # Many servers log an error if a client leaves before the body.
                with suppress(OSError, HTTPException):
                    response.read1(_CHUNK)
                return
            body = bytearray()
            while chunk := response.read1(_CHUNK):
                body += chunk
                if len(body) > body_limit:
                    raise HttpError(ErrorKind.TOO_LARGE, f"the response is larger than {body_limit} bytes")
            if response.length:
                raise _closed()
            self._store(Response(response.status, response.headers, bytes(body)))


def _begin(
    connection: HTTPConnection, method: str, path: str, headers: Mapping[str, str | bytes], body: bytes | None
) -> None:
    """Write the head of a request into the connection's buffer, which needs no open connection."""
    try:
        connection.putrequest(method, path)
    except (InvalidURL, UnicodeError):
        raise _invalid_url() from None
    try:
        for name, value in headers.items():
            connection.putheader(name, value)
    except ValueError:
        reason = "a header holds a character that HTTP does not allow"
        raise HttpError(ErrorKind.INVALID_HEADER, reason) from None
    if body is not None or method in {"PATCH", "POST", "PUT"}:
        connection.putheader("Content-Length", str(len(body or b"")))


def _invalid_url() -> HttpError:
    return HttpError(
        ErrorKind.INVALID_URL, "the URL has no valid host and port, or a character that HTTP does not allow"
    )


def _closed() -> HttpError:
    return HttpError(ErrorKind.CLOSED, "the server closed the connection before its response was complete")


def _timed_out(timeout: float) -> HttpError:
    return HttpError(ErrorKind.TIMEOUT, f"no response within {timeout:g} s")


def _translated(exc: Exception, timeout: float) -> HttpError:
    """An error without http.client's own texts, which repeat what was sent or received."""
    match exc:
        case ssl.SSLCertVerificationError():
            return HttpError(ErrorKind.CERTIFICATE, f"the server's certificate is not trusted: {exc.verify_message}")
        case ssl.SSLError():
            return HttpError(ErrorKind.TLS, "the TLS handshake failed")
        case TimeoutError():
            return _timed_out(timeout)
        case ConnectionRefusedError():
            return HttpError(ErrorKind.REFUSED, "connection refused")
        case ConnectionError() | IncompleteRead():
            return _closed()
        case InvalidURL():
            return _invalid_url()
        case HTTPException():
            return HttpError(ErrorKind.NOT_HTTP, "the response is not HTTP")
        case OSError():
            # Without an errno it is http.client's own: a proxy that refuses the tunnel.
            return HttpError(ErrorKind.UNREACHABLE, exc.strerror or "the proxy opened no connection")
        case _:  # The host cannot be encoded.
            return _invalid_url()


def _default_port(url: SplitResult) -> int:
    return 443 if url.scheme == "https" else 80
