"""Opens connections to Vault: TLS, proxies and Unix sockets."""

import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import SplitResult, urlsplit

from lessee.core.immutable import ImmutableStruct
from lessee.host.proxies import proxy_headers
from lessee.vault.wire import Response, request_head

if TYPE_CHECKING:
    import ssl

    from _typeshed import WriteableBuffer

MAX_RESPONSE_SIZE = 32 * 2**20
"""Bytes. Vault accepts no larger request, so a larger answer is not Vault's."""
MAX_SMALL_RESPONSE_SIZE = 1 << 20
"""Bytes of an answer with an error, or without secrets."""
LOWEST_RATE = 1 << 14
"""Bytes per second at which a body is streamed at least: a byte now and then would never end."""
_OK = 200
_SUCCESSES = frozenset({_OK, 204})
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
        """Raises OSError or InvalidResponseError. `tunnel`: send CONNECT to the proxy, for a protocol besides HTTP."""
        parts, stamp = urlsplit(url), self.stamp()
        named = self._address.proxies.get(url, self._address.proxy)
        proxy = urlsplit(named) if named else None
        base, extra = parts.path.rstrip("/"), {"Host": _authority(parts)}
        if parts.scheme == "unix":
            return Connection(_connect_unix(parts.path, timeout), url, stamp, "", {"Host": "localhost"})
        connected = _connect(proxy or parts, timeout)
        try:
            if proxy is not None and (tunnel or parts.scheme == "https"):
                _open_tunnel(connected, parts, proxy, timeout)
            elif proxy is not None:
                base, extra = f"{parts.scheme}://{parts.netloc}{base}", extra | proxy_headers(proxy)
            if parts.scheme == "https":
                name = self._address.server_name or parts.hostname or ""
                connected = self._ssl_context(stamp).wrap_socket(connected, server_hostname=name)
        except BaseException:
            connected.close()
            raise
        return Connection(connected, url, stamp, base, extra)

    def stamp(self) -> FileStamps:
        """The stamps of the TLS files now."""
        return tuple(_stamp(file) for file in self._files)

    def _ssl_context(self, stamp: FileStamps) -> "ssl.SSLContext":
        """One context for each state of the files: reading the CAs takes tens of milliseconds."""
        from lessee.vault.tls import context_of  # noqa: PLC0415  # A connection on the same host may have no TLS.

        with self._lock:
            if self._context is None or self._context[0] != stamp:
                self._context = (stamp, context_of(self._address))
            return self._context[1]


class Connection:
    """An open connection to `url`, with the TLS files of `stamp`."""

    def __init__(
        self, connected: socket.socket, url: str, stamp: FileStamps, base: str, headers: Mapping[str, str]
    ) -> None:
        """`base`: what precedes each target. `headers`: those of each request."""
        self.url = url
        self.stamp = stamp
        self.is_open = True
        """Whether the server accepts another request on it."""
        self._used_at = time.monotonic()
        self._socket = connected
        self._reader = _Reader(connected)
        self._stream: io.BufferedReader | None = None
        self._base = base
        self._headers = headers

    @property
    def idle(self) -> float:
        """Seconds since the last answer."""
        return time.monotonic() - self._used_at

    def exchange(
        self,
        method: str,
        target: str,
        content: bytes | None,
        headers: Mapping[str, str],
        timeout: float,
        *,
        deadline: float | None = None,
        limit: int = MAX_SMALL_RESPONSE_SIZE,
        announce_large: Callable[[], None] | None = None,
    ) -> tuple[Response, bytes]:
        """Send a request and read its answer, whose body has up to `limit` bytes. `target` starts with /v1.

        `timeout` applies to each read, and `deadline` on the monotonic clock to the whole: by default, it ends with the
        first timeout. `announce_large`: as Response.read_whole. Raises OSError or InvalidResponseError, and ValueError
        for what cannot be sent; closes the connection then.
        """
        try:
            self._reader.limit_time(timeout, time.monotonic() + timeout if deadline is None else deadline)
            has_body = content is not None or method != "GET"
            sized = {**headers, "Content-Length": str(len(content or b""))} if has_body else headers
            self._reader.prepare()
            self._socket.sendall(self._head(method, target, sized) + (content or b""))
            response = self._receive()
            if response.status in _SUCCESSES:
                answer = response.read_whole(limit, announce_large)
            else:
                answer = response.read_whole(min(limit, MAX_SMALL_RESPONSE_SIZE))
        except BaseException:
            self.close()
            raise
        if response.closes:
            self.close()
        self._used_at = time.monotonic()
        return response, answer

    def begin(
        self, method: str, target: str, content: Iterable[bytes] | None, headers: Mapping[str, str], timeout: float
    ) -> Response:
        """As `exchange`, but the caller reads the answer, before any other request.

        Each body may take `timeout` seconds, and a second for each LOWEST_RATE bytes.
        """
        response = self._begin(method, target, content, headers, timeout)
        self._reader.limit_time(timeout, time.monotonic() + timeout, rate=LOWEST_RATE)
        return response

    def _begin(
        self, method: str, target: str, content: Iterable[bytes] | None, headers: Mapping[str, str], timeout: float
    ) -> Response:
        self._reader.limit_time(timeout, time.monotonic() + timeout, rate=LOWEST_RATE)
        try:
            self._reader.prepare()
            self._socket.sendall(self._head(method, target, headers))
            for piece in content or ():
                self._reader.prepare()
                self._socket.sendall(piece)
                self._reader.extend(len(piece))
        except (BrokenPipeError, ConnectionResetError):
            # A server that rejects a request may answer and close before it has read the whole body.
            response = self._receive()
            if response.status < _FIRST_ERROR_STATUS:
                raise
            return response
        self._reader.limit_time(timeout, time.monotonic() + timeout)
        return self._receive()

    def certificate(self) -> bytes | None:
        """The server's certificate in DER, verified or not; None without TLS."""
        if not self.url.startswith("https:"):
            return None
        return cast("ssl.SSLSocket", self._socket).getpeercert(binary_form=True)

    def raw_socket(self) -> socket.socket:
        """The socket, for another protocol. The caller has to close it."""
        return self._socket

    def websocket(self, target: str) -> str:
        """The WebSocket URL of `target`; its host becomes the request's Host header."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return f"ws://localhost{target}"
        return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}{target}"

    def close(self) -> None:
        self.is_open = False
        if self._stream is not None:
            self._stream.close()
        self._socket.close()

    def _head(self, method: str, target: str, headers: Mapping[str, str]) -> bytes:
        return request_head(method, self._base + target, {**self._headers, "Accept-Encoding": "identity", **headers})

    def _receive(self) -> Response:
        if self._stream is None:
            self._stream = io.BufferedReader(self._reader)
        return Response(self._stream)


class _Reader(io.RawIOBase):
    """Reads from a socket until a deadline. A socket's own timeout never ends a byte now and then."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._timeout = 0.0
        self._deadline = 0.0
        self._rate = float("inf")

    def limit_time(self, timeout: float, deadline: float, *, rate: float = float("inf")) -> None:
        """From now on each read takes up to `timeout` seconds, and ends at the deadline on the monotonic clock.

        Each `rate` bytes move the deadline by a second.
        """
        self._timeout, self._deadline, self._rate = timeout, deadline, rate

    def extend(self, size: int) -> None:
        """Move the deadline by the time that so many bytes may take."""
        self._deadline += size / self._rate

    def prepare(self) -> None:
        """Set the socket's timeout for its next call. Raises TimeoutError after the deadline."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(min(self._timeout, left))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        self.prepare()
        count = self._socket.recv_into(buffer)
        self.extend(count)
        return count


def _connect(url: SplitResult, timeout: float) -> socket.socket:
    host = url.hostname or ""
    # Before Python 3.13, a host as text imports the tables of international names.
    address = (host.encode() if host.isascii() else host, url.port or _port(url))
    connected = socket.create_connection(address, timeout)  # type: ignore[arg-type]  # typeshed knows only text.
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _connect_unix(path: str, timeout: float) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(timeout)
        connected.connect(path)
    except OSError:
        connected.close()
        raise
    return connected


def _open_tunnel(connected: socket.socket, url: SplitResult, proxy: SplitResult, timeout: float) -> None:
    """Have the proxy connect to the server. Raises OSError if it does not."""
    target = _authority(url, with_port=True)
    connected.sendall(request_head("CONNECT", target, {"Host": target, **proxy_headers(proxy)}))
    # Unbuffered: what follows the response is the server's.
    with _Reader(connected) as reader:
        reader.limit_time(timeout, time.monotonic() + timeout)
        if Response(cast("BinaryIO", reader)).status != _OK:
            raise OSError


def _authority(url: SplitResult, *, with_port: bool = False) -> str:
    """The host and port of a URL, as a request names them."""
    host = (url.hostname or "").partition("%")[0]
    if not host.isascii():
        host = host.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{url.port or _port(url)}" if with_port or url.port not in {None, _port(url)} else host


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116  # Runs at each request, and a Path costs more than the call.
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _port(url: SplitResult) -> int:
    return 443 if url.scheme == "https" else 80
