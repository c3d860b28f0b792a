"""Sends requests to Vault: headers, timeouts, retries, and the selection of an address.

It speaks HTTP itself, because a sidecar runs next to every app and a library costs memory and start-up time: see
docs/explanation/decisions/0003-own-http-for-the-sidecar.md.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from lessee import __version__
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct, replace
from lessee.vault import responses, wire
from lessee.vault.cluster import Cluster
from lessee.vault.connection_pool import ConnectionPool
from lessee.vault.connections import Address, Connection, Connector
from lessee.vault.responses import Limits, RequestFailedError, Response
from lessee.vault.wire import InvalidResponseError, TooLargeResponseError

__all__ = ["Address", "RequestFailedError", "Response", "Transport"]

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 10.0
REQUEST_TIMEOUT = 30.0
"""For a whole request with all its retries, however the server spreads its answer. A longer read timeout extends it."""
STREAM_TIMEOUT = 60.0
"""For each read or write, as a server may need time to collect a snapshot, or to apply one; and for the whole of a body
beyond the time that its bytes may take."""
HEALTH_TIMEOUTS = (1.0, 2.0)
"""To connect, and to read: the transport checks several addresses one after the other."""
MAX_IDLE = 5.0
"""Seconds without a request after which a server or a proxy may have closed the connection: then a read is retried."""
STALE_RETRY_DELAYS = (0.1, 0.3, 0.6)
"""Seconds before each retry at a node that does not have our last change yet."""

Reply = tuple[wire.Response, bytes]
_T = TypeVar("_T")


class Transport:
    """Requests to one Vault, from any thread. Concurrent requests use a connection each.

    It follows no redirect, so that only the configured addresses receive the token.
    """

    def __init__(
        self, address: Address, *, retry_delays: Sequence[float] = STALE_RETRY_DELAYS, idle: float = MAX_IDLE
    ) -> None:
        self._namespace = address.namespace
        self._retry_delays = retry_delays
        self._max_idle = idle
        self._connections = Connector(address)
        self._cluster = Cluster(address.urls or (address.url,), self._health)
        self._pool = ConnectionPool(idle)
        self._health_texts: dict[str, tuple[float, str]] = {}
        """What the health of a URL meant, and when, on the monotonic clock."""
        self._index: str | None = None
        """The X-Vault-Index of our last change."""
        self._is_behind = False
        """The server did not catch up within the last retries, so the next request is sent once."""
        self._catching_up = threading.Lock()
        self._large_answers = threading.Lock()
        """Threads read and parse large answers one after the other, so that these take the memory of one."""

    @property
    def address(self) -> str:
        """The URL in use."""
        return self._cluster.url

    def request(  # noqa: PLR0913  # Each of them belongs to one request.
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        timeout: float | None = None,
        changes: bool | None = None,
        wrap_ttl: float | None = None,
        limits: Limits = responses.SECRET,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and parse the answer. Raises RequestFailedError with a text of our own.

        A server's error text may repeat what it was sent. `timeout`: for each read. `changes`: it must not be sent
        twice; default: all but GET. `wrap_ttl`: the answer is response-wrapped for this many seconds. `limits`: of the
        answer. `headers`: besides Vault's own.
        """
        request = _Request(
            method=method,
            target=f"/v1/{quote(path)}" + (f"?{urlencode(params)}" if params else ""),
            content=msgspec.json.encode(body) if body is not None else None,
            headers=self._headers(token, wrap_ttl) | dict(headers or {}),
            timeout=timeout or READ_TIMEOUT,
            deadline=time.monotonic() + max(REQUEST_TIMEOUT, timeout or 0.0),
            changes=method != "GET" if changes is None else changes,
            limits=limits,
            large=_LargeAnswer(self._large_answers),
        )
        with request.large:
            response, content = self._send_with_failover(request, retry=not request.changes)
            return responses.parse_response(response.headers, content, limits)

    def read_data(
        self, path: str, *, token: str | None, params: Mapping[str, str], digest: bytes, type_: type[_T]
    ) -> tuple[bytes, _T | None]:
        """The digest of the `data` of the answer to a GET, and the data as `type_`, or None if the digest is known.

        Raises as `request`.
        """
        request = _Request(
            "GET",
            f"/v1/{quote(path)}?{urlencode(params)}",
            content=None,
            headers=self._headers(token, None),
            timeout=READ_TIMEOUT,
            deadline=time.monotonic() + REQUEST_TIMEOUT,
            changes=False,
            limits=responses.LISTING,
            large=_LargeAnswer(self._large_answers),
        )
        with request.large:
            raw = responses.raw_data(self._send_with_failover(request, retry=True)[1])
            found = blake2b(raw, digest_size=16).digest()
            return found, None if found == digest else responses.parse_raw_data(raw, type_)

    @contextmanager
    def stream(
        self, method: str, path: str, *, token: str | None, body: Iterable[bytes] | None = None, size: int = 0
    ) -> Iterator[wire.Response]:
        """An answer that the caller reads piece by piece, to a body of `size` bytes that is sent piece by piece.

        Raises RequestFailedError, also if the connection breaks during a read.
        """
        url = self._cluster.find()
        headers = self._headers(token, None) | ({"Content-Length": str(size)} if body is not None else {})
        try:
            connection = self._connections.open(url, timeout=CONNECT_TIMEOUT)
            try:
                response = _begin(connection, method, f"/v1/{quote(path)}", body, headers)
                if response.status not in {200, 204}:
                    content = response.read(_MAX_ERROR_SIZE)
                    raise responses.parse_error(response.status, response.headers, content, self._namespace)
                yield response
            finally:
                connection.close()
        except (OSError, InvalidResponseError) as exc:
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, responses.describe_connection_error(exc))) from None

    def dial(self, token: str) -> tuple[Connection, Mapping[str, str]]:
        """A connection for another protocol, and the headers of its request. Raises RequestFailedError.

        If the address does not serve it, call `mark_unavailable`.
        """
        url = self._cluster.find()
        try:
            return self._connections.open(url, timeout=CONNECT_TIMEOUT, tunnel=True), self._headers(token, None)
        except (OSError, InvalidResponseError) as exc:
            self._cluster.mark_unavailable(url)
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, responses.describe_connection_error(exc))) from None

    def mark_unavailable(self, url: str) -> None:
        """If there are several addresses, select another one before the next request."""
        self._cluster.mark_unavailable(url)

    def close(self) -> None:
        """Close the idle connections. Requests in progress are not waited for."""
        self._pool.close()

    def _headers(self, token: str | None, wrap_ttl: float | None) -> dict[str, str]:
        headers = dict(_HEADERS)
        if wrap_ttl is not None:
            headers["X-Vault-Wrap-TTL"] = f"{wrap_ttl:.0f}"
        if token:
            headers["X-Vault-Token"] = token
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        return headers

    def _send_with_failover(self, request: "_Request", *, retry: bool) -> Reply:
        url = self._cluster.find()
        try:
            return self._send_until_current(url, request)
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.UNAVAILABLE:
                raise
            if not self._cluster.mark_unavailable(url) or not retry:
                raise
        return self._send_with_failover(request, retry=False)

    def _send_until_current(self, url: str, request: "_Request") -> Reply:
        response, content = self._send(url, request)
        if self._is_stale(response, content):
            response, content = self._retry_stale(url, request, (response, content))
        self._is_behind = False
        if response.status not in {200, 204}:
            error = responses.parse_error(response.status, response.headers, content, self._namespace)
            raise self._explained(url, error) if response.status == _CANNOT_SERVE else error
        if request.changes:
            self._index = response.headers.get(_INDEX.lower()) or self._index
        return response, content

    def _explained(self, url: str, error: RequestFailedError) -> RequestFailedError:
        """The error of a server that cannot serve now, with what its health says: few requests of an outage ask."""
        asked_at, text = self._health_texts.get(url, (-_HEALTH_AGE, ""))
        if time.monotonic() - asked_at >= _HEALTH_AGE:
            status = self._health(url)
            text = responses.HEALTH_TEXTS.get(status, "") if isinstance(status, int) else ""
            self._health_texts[url] = time.monotonic(), text
        return RequestFailedError(replace(error.failure, text=text)) if text else error

    def _retry_stale(self, url: str, request: "_Request", reply: Reply) -> Reply:
        """Retry until the node has caught up. One thread does; if in vain, the others do not try."""
        if self._catching_up.acquire(timeout=max(0.0, request.deadline - time.monotonic())):
            try:
                for pause in self._retry_delays if not self._is_behind else ():
                    time.sleep(pause)
                    reply = self._send(url, request)
                    if not self._is_stale(*reply):
                        return reply
                self._is_behind = True
            finally:
                self._catching_up.release()
        raise responses.stale_error(reply[0].headers)

    def _is_stale(self, response: wire.Response, content: bytes) -> bool:
        return responses.is_stale(response.status, content, expects_state=self._index is not None)

    def _send(self, url: str, request: "_Request") -> Reply:
        try:
            return self._exchange(url, request)
        except TooLargeResponseError as exc:
            raise responses.too_large_error(exc) from None
        except (OSError, InvalidResponseError) as exc:
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, responses.describe_connection_error(exc))) from None
        except ValueError:
            raise RequestFailedError(_UNSENDABLE) from None

    def _exchange(self, url: str, request: "_Request") -> Reply:
        pooled = self._pool.acquire(url, self._connections.stamp())
        if pooled is not None and not request.changes:
            idle = pooled.idle
            try:
                return self._exchange_on(pooled, request)
            except ConnectionError:  # Not InvalidResponseError: then the answer had begun.
                if idle < self._max_idle:
                    raise
        elif pooled is not None:
            # A change uses a new connection: on an old one it would be unknown whether it has arrived.
            pooled.close()
        return self._exchange_on(self._connections.open(url, timeout=CONNECT_TIMEOUT), request)

    def _exchange_on(self, connection: Connection, request: "_Request") -> Reply:
        headers = request.headers if self._index is None else {**request.headers, _INDEX: self._index}
        reply = connection.exchange(
            request.method,
            request.target,
            request.content,
            headers,
            request.timeout,
            deadline=request.deadline,
            limit=request.limits.size,
            announce_large=partial(request.large.begin, request.deadline),
        )
        if connection.is_open:
            self._pool.release(connection)
        return reply

    def _health(self, url: str) -> int | str:
        connecting, reading = HEALTH_TIMEOUTS
        try:
            connection = self._connections.open(url, timeout=connecting)
            response, _ = connection.exchange("GET", "/v1/sys/health", None, _HEADERS, reading)
        except (OSError, InvalidResponseError) as exc:
            return responses.describe_connection_error(exc)
        connection.close()
        return response.status


def _begin(
    connection: Connection, method: str, target: str, body: Iterable[bytes] | None, headers: Mapping[str, str]
) -> wire.Response:
    try:
        return connection.begin(method, target, body, headers, STREAM_TIMEOUT)
    except ValueError:
        raise RequestFailedError(_UNSENDABLE) from None


class _Request(ImmutableStruct, frozen=True):
    hidden = ("content", "headers")

    method: str
    target: str
    content: bytes | None
    headers: Mapping[str, str]
    timeout: float
    deadline: float
    """On the monotonic clock."""
    changes: bool
    limits: Limits
    large: "_LargeAnswer"


class _LargeAnswer:
    """Holds a lock from the moment that an answer is found to be large until it is parsed."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._is_held = False

    def begin(self, deadline: float) -> None:
        """Raises TimeoutError if other large answers take until the deadline, on the monotonic clock."""
        if not self._is_held and not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        self._is_held = True

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._is_held:
            self._lock.release()


_HEADERS = {"X-Vault-Request": "true", "User-Agent": f"lessee/{__version__}"}
_INDEX = "X-Vault-Index"
_CANNOT_SERVE = 503
_HEALTH_AGE = 10.0
"""Seconds until the health of a server that cannot serve is asked for again."""
_UNSENDABLE = Failure(Kind.INVALID, "the token or the namespace has characters that cannot be sent")
_MAX_ERROR_SIZE = 1 << 16
