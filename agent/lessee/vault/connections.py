"""Opens connections to Vault: TLS, proxies and Unix sockets."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from lessee.core.immutable import ImmutableStruct
from lessee.host.http_client import proxy_headers
from lessee.vault.responses import InvalidTlsFilesError

MAX_RESPONSE_SIZE = 32 * 2**20
"""Bytes. Vault accepts no larger request, so a larger answer is not Vault's."""
_FIRST_ERROR_STATUS = 300


class Address(ImmutableStruct, frozen=True):
    """The URL of Vault, and the PEM files for TLS. `proxy`: the URL of an HTTP proxy.

    `unix:///run/api.sock` is a socket on this machine.
    """

    hidden = ("proxy", "proxies")

    url: str
    namespace: str | None = None
    ca_file: str | None = None
    server_name: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    tls_skip_verify: bool = False
    proxy: str | None = None
    urls: tuple[str, ...] = ()
    """All addresses of a cluster, in order; if empty, `url` alone."""
    proxies: Mapping[str, str | None] = {}
    """By URL, if they differ from `proxy`."""


FileStamps = tuple[tuple[int, int, int] | None, ...]
"""Inode, time and size of each file: they change when a file does."""


class Connector:
    """Opens connections to the addresses of one Vault, for all threads."""

    def __init__(self, address: Address) -> None:
        self._address = address
        files = (address.ca_file, address.client_cert_file, address.client_key_file)
        self._files = tuple(file for file in files if file)
        self._lock = threading.Lock()
        self._context: tuple[FileStamps, ssl.SSLContext] | None = None

    def open(self, url: str, *, timeout: float, tunnel: bool = False) -> "Connection":
        """Raises OSError or HTTPException. `tunnel`: send CONNECT to the proxy, for a protocol other than HTTP."""
        parts, stamp = urlsplit(url), self.stamp()
        named = self._address.proxies.get(url, self._address.proxy)
        proxy = urlsplit(named) if named else None
        first = proxy or parts
        host, port = first.hostname or "", first.port or _port(first)
        http: HTTPConnection
        base, extra = parts.path.rstrip("/"), dict[str, str]()
        if parts.scheme == "unix":
            http, base = _UnixConnection(parts.path, timeout), ""
        elif parts.scheme == "https":
            name = self._address.server_name or parts.hostname or ""
            http = _TlsConnection(host, port, timeout, name, self._ssl_context(stamp))
            if proxy is not None:
                http.set_tunnel(parts.hostname or "", parts.port or 443, proxy_headers(proxy))
        else:
            http = HTTPConnection(host, port, timeout=timeout)
            if proxy is not None and tunnel:
                http.set_tunnel(parts.hostname or "", parts.port or 80, proxy_headers(proxy))
            elif proxy is not None:
                base, extra = f"{parts.scheme}://{parts.netloc}{base}", proxy_headers(proxy)
        http.connect()
        return Connection(http, url, stamp, base, extra)

    def stamp(self) -> FileStamps:
        """The stamps of the TLS files now."""
        return tuple(_stamp(file) for file in self._files)

    def _ssl_context(self, stamp: FileStamps) -> ssl.SSLContext:
        """One context for each state of the files: reading the CAs takes tens of milliseconds."""
        with self._lock:
            if self._context is None or self._context[0] != stamp:
                self._context = (stamp, _context(self._address))
            return self._context[1]


class Connection:
    """An open connection to `url`, with the TLS files of `stamp`."""

    def __init__(
        self, http: HTTPConnection, url: str, stamp: FileStamps, base: str, headers: Mapping[str, str]
    ) -> None:
        self.url = url
        self.stamp = stamp
        self._used_at = time.monotonic()
        self._http = http
        self._base = base
        self._headers = headers

    @property
    def is_open(self) -> bool:
        """Whether the server accepts another request on it."""
        return self._http.sock is not None

    @property
    def idle(self) -> float:
        """Seconds since the last answer."""
        return time.monotonic() - self._used_at

    def exchange(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request and read its answer. `target` starts with /v1; `timeout` applies to each read.

        Raises OSError or HTTPException, and closes the connection then.
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
        """As `exchange`, but the caller reads the answer, before any other request."""
        self._http.sock.settimeout(timeout)
        try:
            self._http.request(method, self._base + target, body=content, headers={**headers, **self._headers})
        except (BrokenPipeError, ConnectionResetError):
            # A server that rejects a request may answer and close before it has read the whole body.
            response = self._http.getresponse()
            if response.status < _FIRST_ERROR_STATUS:
                raise
            return response
        return self._http.getresponse()

    def certificate(self) -> bytes | None:
        """The server's certificate in DER, verified or not; None without TLS."""
        return self._http.sock.getpeercert(binary_form=True) if isinstance(self._http, HTTPSConnection) else None

    def raw_socket(self) -> socket.socket:
        """The socket, for another protocol. The caller has to close it."""
        return self._http.sock

    def websocket(self, target: str) -> str:
        """The WebSocket URL of `target`; its host becomes the request's Host header."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return f"ws://localhost{target}"
        return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}{target}"

    def close(self) -> None:
        self._http.close()


def _read(response: HTTPResponse) -> bytes:
    if response.length is not None and response.length > MAX_RESPONSE_SIZE:
        raise HTTPException
    return response.read()


class _UnixConnection(HTTPConnection):
    """A connection to a Unix socket."""

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


class _TlsConnection(HTTPSConnection):
    """A connection to a server whose certificate is valid for `name`, whatever the address is."""

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
        raise InvalidTlsFilesError from None
    if address.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116  # Runs at each request, and a Path costs more than the call.
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _port(url: SplitResult) -> int:
    return 443 if url.scheme == "https" else 80
