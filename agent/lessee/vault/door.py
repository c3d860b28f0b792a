"""One request to Vault: what it is sent with, how long it may take, and what its answer means.

Over the standard library's http.client, because of what a sidecar costs beside every app: hvac with requests takes
50 ms of each start and 7 MiB more (tests/bench/imports.py measures it), and more of a processor for each request.
"""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

import msgspec

from lessee import __version__
from lessee.core.machine.failures import Failure, Kind
from lessee.core.record import Record

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 10.0
LARGEST_ANSWER = 32 * 2**20
"""Bytes. Vault takes no request of more; a longer answer is not Vault's."""


class Address(Record, frozen=True):
    """Where Vault is and how it is to prove itself. Files are PEM. `proxy`: the URL of an HTTP proxy on the way."""

    hidden = ("proxy",)

    url: str
    namespace: str | None = None
    ca_file: str | None = None
    server_name: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    insecure: bool = False
    proxy: str | None = None


class Answer(Record, frozen=True):
    """A good answer. `auth` and `data` as Vault names them."""

    hidden = ("data", "auth")

    data: Mapping[str, Any]
    auth: Mapping[str, Any]


class RequestFailed(Exception):  # noqa: N818  # It reads as what happened.
    """A request failed; `data` holds what a 404 still tells."""

    def __init__(self, failure: Failure, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.data = data or {}


class Door:
    """The way to one Vault, for all threads; each has a connection of its own.

    It follows no redirect: that would carry the token away.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._url = urlsplit(address.url)
        self._kept: dict[int, HTTPConnection] = {}
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Raises RequestFailed, whose text is made here: a server's own error text may repeat what it was sent."""
        target = f"{self._url.path.rstrip('/')}/v1/{quote(path)}" + (f"?{urlencode(params)}" if params else "")
        content = msgspec.json.encode(body) if body is not None else None
        try:
            response, answer = self._exchange(method, target, content, self._headers(token))
        except (OSError, HTTPException) as exc:
            raise RequestFailed(Failure(Kind.WEATHER, _transport(exc))) from None
        except ValueError:
            text = "the token or the namespace holds characters that cannot be sent"
            raise RequestFailed(Failure(Kind.INVALID, text)) from None
        if response.status not in {200, 204}:
            raise _refusal(response, answer)
        return _parse(answer)

    def close(self) -> None:
        """Close the connections; what is under way over them fails."""
        while self._kept:
            self._kept.popitem()[1].close()

    def _headers(self, token: str | None) -> dict[str, str]:
        headers = {"X-Vault-Request": "true", "User-Agent": f"lessee/{__version__}"}
        if token:
            headers["X-Vault-Token"] = token
        if self._address.namespace:
            headers["X-Vault-Namespace"] = self._address.namespace
        return headers

    def _exchange(
        self, method: str, target: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        kept = self._kept.pop(threading.get_ident(), None)
        if kept is not None and method == "GET":
            with suppress(ConnectionError, HTTPException):  # the server may have let go of it while it was idle
                answer = self._over(kept, method, target, content, headers)
                self._kept[threading.get_ident()] = kept
                return answer
        if kept is not None:
            # What changes something goes over a new connection: over an old one nobody could tell whether it arrived.
            kept.close()
        connection = self._connect()
        if self._address.proxy and self._url.scheme == "http":
            target = f"{self._url.scheme}://{self._url.netloc}{target}"
            headers |= _proxy_headers(urlsplit(self._address.proxy))
        answer = self._over(connection, method, target, content, headers)
        self._kept[threading.get_ident()] = connection
        return answer

    def _over(
        self, connection: HTTPConnection, method: str, target: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        try:
            connection.request(method, target, body=content, headers=headers)
            response = connection.getresponse()
            return response, _read(response)
        except BaseException:
            connection.close()
            raise

    def _connect(self) -> HTTPConnection:
        proxy = urlsplit(self._address.proxy) if self._address.proxy else None
        first = proxy or self._url
        host, port = first.hostname or "", first.port or _port(first)
        connection: HTTPConnection
        if self._url.scheme == "https":
            name = self._address.server_name or self._url.hostname or ""
            connection = _Secure(host, port, name, self._secured())
            if proxy is not None:
                connection.set_tunnel(self._url.hostname or "", self._url.port or 443, _proxy_headers(proxy))
        else:
            connection = HTTPConnection(host, port, timeout=CONNECT_TIMEOUT)
        connection.connect()
        connection.sock.settimeout(READ_TIMEOUT)
        return connection

    def _secured(self) -> ssl.SSLContext:
        """The context is made once: reading the CAs takes tens of milliseconds."""
        with self._lock:
            if self._context is None:
                self._context = _context(self._address)
            return self._context


def _read(response: HTTPResponse) -> bytes:
    if response.length is not None and response.length > LARGEST_ANSWER:
        raise HTTPException
    return response.read()


class _Secure(HTTPSConnection):
    """Expects the certificate of `name`, whatever the address is."""

    def __init__(self, host: str, port: int, name: str, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=CONNECT_TIMEOUT, context=context)
        self._name = name
        self._secure = context

    def connect(self) -> None:
        HTTPConnection.connect(self)
        self.sock = self._secure.wrap_socket(self.sock, server_hostname=self._name)


def _context(address: Address) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=address.ca_file)
    if address.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if address.client_cert_file:
        context.load_cert_chain(address.client_cert_file, address.client_key_file)
    return context


def _port(url: SplitResult) -> int:
    return 443 if url.scheme == "https" else 80


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(credentials.encode()).decode()}"}


def _transport(exc: Exception) -> str:
    match exc:
        case ssl.SSLCertVerificationError():
            return "the server's certificate was not accepted (see vault.ca_file and vault.server_name)"
        case ssl.SSLError():
            return "no TLS connection came about (is it https? does it want a client certificate?)"
        case socket.gaierror():
            return "its name cannot be resolved"
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return f"no answer within {READ_TIMEOUT:.0f} s"
        case FileNotFoundError() | PermissionError():
            return "a certificate file cannot be read (see vault.ca_file, client_cert_file and client_key_file)"
        case ConnectionError() | HTTPException():
            return "the connection broke"
        case _:
            return f"the request failed ({type(exc).__name__})"


_TEXTS = {
    400: "Vault refused the request (400)",
    403: "permission denied (403)",
    404: "it is not there (404)",
    405: "the server has no such endpoint (405)",
    412: "the server is behind (412)",
    429: "asked too often (429)",
    472: "the node is a disaster-recovery standby (472)",
    473: "the node is a performance standby (473)",
    501: "Vault is not initialised (501)",
    502: "a proxy has no Vault behind it (502)",
    503: "Vault is sealed or in maintenance (503)",
    504: "a proxy got no answer from Vault (504)",
}
_KINDS = {
    400: Kind.INVALID,
    403: Kind.DENIED,
    404: Kind.MISSING,
    405: Kind.UNSUPPORTED,
    412: Kind.WEATHER,
    429: Kind.LIMITED,
    472: Kind.WEATHER,
    473: Kind.WEATHER,
}


def _refusal(response: HTTPResponse, answer: bytes) -> RequestFailed:
    status = response.status
    if 300 <= status < 400:  # noqa: PLR2004  # The class of redirects.
        text = "it redirects elsewhere, where the token is not taken; name the active node in vault.address"
        return RequestFailed(Failure(Kind.WEATHER, text))
    kind = _KINDS.get(status, Kind.WEATHER if status >= 500 else Kind.INVALID)  # noqa: PLR2004  # Server errors.
    data: Mapping[str, Any] = {}
    if kind is Kind.MISSING:
        try:
            body = msgspec.json.decode(answer, type=_Body)
        except msgspec.MsgspecError:
            body = _Body()
        # An empty list of errors means: nothing there. Words mean: no such path on this server.
        kind = Kind.UNSUPPORTED if body.errors else kind
        data = body.data or {}
    return RequestFailed(Failure(kind, _TEXTS.get(status, f"Vault answered {status}"), _retry_after(response)), data)


def _retry_after(response: HTTPResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


class _Body(msgspec.Struct):
    data: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    errors: list[str] | None = None


def _parse(content: bytes) -> Answer:
    if not content:
        return Answer({}, {})
    try:
        body = msgspec.json.decode(content, type=_Body)
    except msgspec.MsgspecError:
        raise RequestFailed(Failure(Kind.WEATHER, "the answer is cut or is not Vault's")) from None
    return Answer(body.data or {}, body.auth or {})
