"""One request to Vault: what it is sent with, how long it may take, and which address is asked.

Over the standard library's http.client, because of what a sidecar costs beside every app: hvac with requests takes
50 ms of each start and 7 MiB more (tests/bench/imports.py measures it), and more of a processor for each request.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from lessee import __version__
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.vault import responses
from lessee.vault.cluster import Cluster
from lessee.vault.connection_pool import Kept
from lessee.vault.connections import Address, Connection, Connections
from lessee.vault.responses import Answer, RequestFailedError

__all__ = ["Address", "Answer", "RequestFailedError", "Transport"]

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 10.0
STREAM_TIMEOUT = 60.0
"""For each piece: a server may have to gather what it sends, or to take up what it was sent."""
HEALTH_TIMEOUTS = (1.0, 2.0)
"""To connect, and to read: several addresses are looked at one after the other."""
IDLE = 5.0
"""Seconds without a request after which a server or a proxy may have let go of a connection: then it is asked anew."""
PAUSES = (0.1, 0.3, 0.6)
"""Before a node that has not yet heard of our own last change is asked again."""

Reply = tuple[HTTPResponse, bytes]


class Transport:
    """The way to one Vault, for all threads; those that ask at the same time have a connection each.

    It follows no redirect: that would carry the token away.
    """

    def __init__(self, address: Address, *, pauses: Sequence[float] = PAUSES, idle: float = IDLE) -> None:
        self._namespace = address.namespace
        self._pauses = pauses
        self._idle = idle
        self._connections = Connections(address)
        self._cluster = Cluster(address.urls or (address.url,), self._health)
        self._kept = Kept(idle)
        self._index: str | None = None
        """The server's state after our last change, in its own words."""

    @property
    def address(self) -> str:
        """The URL in use."""
        return self._cluster.url

    def ask(
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
    ) -> Answer:
        """Raises RequestFailedError, whose text is made here: a server's own error text may repeat what it was sent.

        `timeout` of each read. `changes`: it must not be sent twice; default: all but GET. `wrap_ttl`: the
        answer is response-wrapped for so many seconds.
        """
        request = _Request(
            method=method,
            target=f"/v1/{quote(path)}" + (f"?{urlencode(params)}" if params else ""),
            content=msgspec.json.encode(body) if body is not None else None,
            headers=self._headers(token, wrap_ttl),
            timeout=timeout or READ_TIMEOUT,
            changes=method != "GET" if changes is None else changes,
        )
        return self._ask(request, again=not request.changes)

    @contextmanager
    def stream(
        self, method: str, path: str, *, token: str | None, body: Iterable[bytes] | None = None, size: int = 0
    ) -> Iterator[HTTPResponse]:
        """An answer to be read piece by piece, to a request of `size` bytes that is sent so.

        Raises RequestFailedError, for what breaks while it is read too.
        """
        url = self._cluster.find()
        headers = self._headers(token, None) | ({"Content-Length": str(size)} if body is not None else {})
        try:
            connection = self._connections.open(url, timeout=CONNECT_TIMEOUT)
            try:
                response = _begun(connection, method, f"/v1/{quote(path)}", body, headers)
                if response.status not in {200, 204}:
                    raise responses.refusal(response.status, response.headers, response.read(_LONGEST_REFUSAL))
                yield response
            finally:
                connection.close()
        except (OSError, HTTPException) as exc:
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, responses.describe_connection_error(exc))) from None

    def dial(self, token: str) -> tuple[Connection, Mapping[str, str]]:
        """A connection for another protocol, and the headers of the request for it. Raises RequestFailedError.

        Who finds that it does not serve says `lose`.
        """
        url = self._cluster.find()
        try:
            return self._connections.open(url, timeout=CONNECT_TIMEOUT, through=True), self._headers(token, None)
        except (OSError, HTTPException) as exc:
            self._cluster.lose(url)
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, responses.describe_connection_error(exc))) from None

    def lose(self, url: str) -> None:
        """Where there are several addresses, look for one that serves before the next request."""
        self._cluster.lose(url)

    def close(self) -> None:
        """Close the connections that wait; what is under way ends as it may."""
        self._kept.close()

    def _headers(self, token: str | None, wrap_ttl: float | None) -> dict[str, str]:
        headers = dict(_HEADERS)
        if wrap_ttl is not None:
            headers["X-Vault-Wrap-TTL"] = f"{wrap_ttl:.0f}"
        if token:
            headers["X-Vault-Token"] = token
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        return headers

    def _ask(self, request: "_Request", *, again: bool) -> Answer:
        url = self._cluster.find()
        try:
            return self._ask_at(url, request)
        except RequestFailedError as exc:
            if exc.failure.kind is not Kind.UNAVAILABLE:
                raise
            if not self._cluster.lose(url) or not again:
                raise
        return self._ask(request, again=False)

    def _ask_at(self, url: str, request: "_Request") -> Answer:
        response, content = self._send(url, request)
        for pause in self._pauses:
            if not self._is_behind(response, content):
                break
            time.sleep(pause)
            response, content = self._send(url, request)
        if self._is_behind(response, content):
            raise responses.behind(response.headers)
        if response.status not in {200, 204}:
            raise responses.refusal(response.status, response.headers, content)
        if request.changes:
            self._index = response.headers.get(_INDEX) or self._index
        return responses.answer(response.headers, content)

    def _is_behind(self, response: HTTPResponse, content: bytes) -> bool:
        return responses.is_behind(response.status, content, told=self._index is not None)

    def _send(self, url: str, request: "_Request") -> Reply:
        try:
            return self._exchange(url, request)
        except (OSError, HTTPException) as exc:
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, responses.describe_connection_error(exc))) from None
        except ValueError:
            raise RequestFailedError(_UNFIT) from None

    def _exchange(self, url: str, request: "_Request") -> Reply:
        kept = self._kept.take(url, self._connections.stamp())
        if kept is not None and not request.changes:
            idle = kept.idle
            try:
                return self._over(kept, request)
            except IncompleteRead:
                raise  # an answer had begun
            except (ConnectionError, HTTPException):
                if idle < self._idle:
                    raise
        elif kept is not None:
            # What changes something goes over a new connection: over an old one nobody could tell whether it arrived.
            kept.close()
        return self._over(self._connections.open(url, timeout=CONNECT_TIMEOUT), request)

    def _over(self, connection: Connection, request: "_Request") -> Reply:
        headers = request.headers if self._index is None else {**request.headers, _INDEX: self._index}
        reply = connection.exchange(request.method, request.target, request.content, headers, request.timeout)
        if connection.is_open:
            self._kept.put(connection)
        return reply

    def _health(self, url: str) -> int | str:
        connecting, reading = HEALTH_TIMEOUTS
        try:
            connection = self._connections.open(url, timeout=connecting)
            response, _ = connection.exchange("GET", "/v1/sys/health", None, _HEADERS, reading)
        except (OSError, HTTPException) as exc:
            return responses.describe_connection_error(exc)
        connection.close()
        return response.status


def _begun(
    connection: Connection, method: str, target: str, body: Iterable[bytes] | None, headers: Mapping[str, str]
) -> HTTPResponse:
    try:
        return connection.begin(method, target, body, headers, STREAM_TIMEOUT)
    except ValueError:
        raise RequestFailedError(_UNFIT) from None


class _Request(ImmutableStruct, frozen=True):
    hidden = ("content", "headers")

    method: str
    target: str
    content: bytes | None
    headers: Mapping[str, str]
    timeout: float
    changes: bool


_HEADERS = {"X-Vault-Request": "true", "User-Agent": f"lessee/{__version__}"}
_INDEX = "X-Vault-Index"
_UNFIT = Failure(Kind.INVALID, "the token or the namespace holds characters that cannot be sent")
_LONGEST_REFUSAL = 1 << 16
