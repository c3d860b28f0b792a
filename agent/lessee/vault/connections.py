"""Connections to Vault, with TLS and a proxy on the way where there is one."""

import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit

from lessee.core.immutable import ImmutableStruct
from lessee.vault.responses import UnfitFilesError

LARGEST_ANSWER = 32 * 2**20
"""Bytes. Vault takes no request of more; a longer answer is not Vault's."""
_REFUSALS = 300


class Address(ImmutableStruct, frozen=True):
    """Where Vault is and how it is to prove itself. Files are PEM. `proxy`: the URL of an HTTP proxy on the way.

    `unix:///run/api.sock` is a socket on this machine.
    """

    hidden = ("proxy", "proxies")

    url: str
    namespace: str | None = None
    ca_file: str | None = None
    server_name: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    insecure: bool = False
    proxy: str | None = None
    urls: tuple[str, ...] = ()
    """All addresses of a cluster, in order; empty: `url` alone."""
    proxies: Mapping[str, str | None] = {}
    """By URL, where they differ from `proxy`."""


Stamp = tuple[tuple[int, int, int] | None, ...]
"""Of files: it changes when one of them does."""


class Connections:
    """Makes connections to the addresses of one Vault, for all threads."""

    def __init__(self, address: Address) -> None:
        self._address = address
        files = (address.ca_file, address.client_cert_file, address.client_key_file)
        self._files = tuple(file for file in files if file)
        self._lock = threading.Lock()
        self._context: tuple[Stamp, ssl.SSLContext] | None = None

    def open(self, url: str, *, timeout: float, through: bool = False) -> "Connection":
        """Raises OSError or HTTPException. `through`: for another protocol, so that a proxy is to read none of it."""
        parts, stamp = urlsplit(url), self.stamp()
        named = self._address.proxies.get(url, self._address.proxy)
        proxy = urlsplit(named) if named else None
        first = proxy or parts
        host, port = first.hostname or "", first.port or _port(first)
        http: HTTPConnection
        base, extra = parts.path.rstrip("/"), dict[str, str]()
        if parts.scheme == "unix":
            http, base = _Local(parts.path, timeout), ""
        elif parts.scheme == "https":
            name = self._address.server_name or parts.hostname or ""
            http = _Secure(host, port, timeout, name, self._secured(stamp))
            if proxy is not None:
                http.set_tunnel(parts.hostname or "", parts.port or 443, _proxy_headers(proxy))
        else:
            http = HTTPConnection(host, port, timeout=timeout)
            if proxy is not None and through:
                http.set_tunnel(parts.hostname or "", parts.port or 80, _proxy_headers(proxy))
            elif proxy is not None:
                base, extra = f"{parts.scheme}://{parts.netloc}{base}", _proxy_headers(proxy)
        http.connect()
        return Connection(http, url, stamp, base, extra)

    def stamp(self) -> Stamp:
        """Of the files for TLS, as they are now."""
        return tuple(_stamp(file) for file in self._files)

    def _secured(self, stamp: Stamp) -> ssl.SSLContext:
        """The context is made once for each state of its files: reading the CAs takes tens of milliseconds."""
        with self._lock:
            if self._context is None or self._context[0] != stamp:
                self._context = (stamp, _context(self._address))
            return self._context[1]


class Connection:
    """An open connection to `url`, made with the files for TLS of `stamp`."""

    def __init__(self, http: HTTPConnection, url: str, stamp: Stamp, base: str, headers: Mapping[str, str]) -> None:
        self.url = url
        self.stamp = stamp
        self._used_at = time.monotonic()
        self._http = http
        self._base = base
        self._headers = headers

    @property
    def is_open(self) -> bool:
        """Whether the server lets it be used again."""
        return self._http.sock is not None

    @property
    def idle(self) -> float:
        """Seconds since its last answer."""
        return time.monotonic() - self._used_at

    def exchange(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request, read its answer. `target` starts with /v1; `timeout` is that of each read.

        Raises OSError or HTTPException, and is closed then.
        """
        try:
            self._http.sock.settimeout(timeout)
            self._http.request(method, self._base + target, body=content, headers={**headers, **self._headers})
            response = self._http.getresponse()
            answer = _read(response)
        except BaseException:
            self.close()
            raise
        self._used_at = time.monotonic()
        return response, answer

    def begin(
        self, method: str, target: str, content: Iterable[bytes] | None, headers: Mapping[str, str], timeout: float
    ) -> HTTPResponse:
        """As `exchange`, but the answer is still to be read: until then nothing else can be asked."""
        self._http.sock.settimeout(timeout)
        try:
            self._http.request(method, self._base + target, body=content, headers={**headers, **self._headers})
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses answers before it has all, and closes: what it said is still to be read.
            response = self._http.getresponse()
            if response.status < _REFUSALS:
                raise
            return response
        return self._http.getresponse()

    def certificate(self) -> bytes | None:
        """What the server has shown, in DER, whether or not it was verified; None without TLS."""
        return self._http.sock.getpeercert(binary_form=True) if isinstance(self._http, HTTPSConnection) else None

    def take(self) -> socket.socket:
        """What it goes over, for another protocol; it is then the caller's to close."""
        return self._http.sock

    def websocket(self, target: str) -> str:
        """The URL of `target` as a WebSocket has it, whose scheme and host say what the request's Host is."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return f"ws://localhost{target}"
        return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}{target}"

    def close(self) -> None:
        self._http.close()


def _read(response: HTTPResponse) -> bytes:
    if response.length is not None and response.length > LARGEST_ANSWER:
        raise HTTPException
    return response.read()


class _Local(HTTPConnection):
    """To a socket in the file system."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except OSError:
            self.close()
            raise


class _Secure(HTTPSConnection):
    """Expects the certificate of `name`, whatever the address is."""

    def __init__(self, host: str, port: int, timeout: float, name: str, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._name = name
        self._secure = context

    def connect(self) -> None:
        HTTPConnection.connect(self)
        self.sock = self._secure.wrap_socket(self.sock, server_hostname=self._name)


def _context(address: Address) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.ca_file)
        if address.client_cert_file:
            context.load_cert_chain(address.client_cert_file, address.client_key_file)
    except ssl.SSLError:
        raise UnfitFilesError from None
    if address.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116  # At each request: a Path costs more than the look.
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _port(url: SplitResult) -> int:
    return 443 if url.scheme == "https" else 80


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(credentials.encode()).decode()}"}
