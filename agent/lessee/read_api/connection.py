"""Serves one connection to a read socket: several requests, one after the other, each within bounds."""

import os
import select
import socket
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock
from time import monotonic

from lessee.read_api.outbox import Outbox
from lessee.read_api.policy.answers import answer, patience, waits
from lessee.read_api.policy.replies import Reply, text_reply
from lessee.read_api.policy.requests import MAX_HEAD, BadRequestError, Request, parse_head
from lessee.read_api.server import Source

IDLE_TIMEOUT = 60.0
"""Seconds for which a connection stays open between two requests."""
REQUEST_TIMEOUT = 10.0
"""Seconds in which a request must arrive once it has begun, and the same again to take the reply."""
LONGEST_WAIT = 300.0
"""Seconds for which a client may wait for the next generation."""
_CHUNK = 65536
_BUILDING = Lock()
"""One reply is built at a time: in JSON, a large one takes several times its size."""
_END = b"\r\n\r\n"


class _GoneError(Exception):
    """The client has left, or takes too long."""


def serve(
    connection: socket.socket,
    app: str,
    source: Source,
    refusal: str,
    is_token: Callable[[bytes], bool] | None,
    outbox: Outbox,
) -> None:
    """Answer requests until the client leaves. `refusal`: why it gets nothing; `is_token`: it must send a token."""
    stream = _Stream(connection, outbox)
    try:
        while _serve_next(stream, connection, app, source, refusal, is_token):
            pass
    except (_GoneError, OSError):
        return


def _serve_next(
    stream: "_Stream",
    connection: socket.socket,
    app: str,
    source: Source,
    refusal: str,
    is_token: Callable[[bytes], bool] | None,
) -> bool:
    """Answer one request. A function of its own: no reply stays in memory until the next request."""
    try:
        request = stream.request()
        reply = _reply(request, app, source, refusal, is_token, connection)
    except BadRequestError as exc:
        stream.send(text_reply(exc.code, exc.text), keeps_alive=False)
        return False
    keeps_alive = request.keeps_alive and not refusal
    stream.send(reply, keeps_alive=keeps_alive, has_body=request.method != "HEAD")
    return keeps_alive


def _reply(
    request: Request,
    app: str,
    source: Source,
    refusal: str,
    is_token: Callable[[bytes], bool] | None,
    connection: socket.socket,
) -> Reply:
    if refusal:
        return text_reply(403, refusal)
    if "origin" in request.headers or "sec-fetch-site" in request.headers:
        return text_reply(403, "a browser's page may not read here")
    if is_token is not None and not is_token(_token(request)):
        return text_reply(401, "send the token as X-Vault-Token, or as Bearer", ("WWW-Authenticate", "Bearer"))
    scope, values = source.scope(app), source.values(app)
    if scope is None or values is None:
        return text_reply(503, f"{app} is not configured now")
    if waits(request, values):
        end = monotonic() + patience(request, LONGEST_WAIT)
        with source.changes() as change:
            # A generation may have been published before the changes were watched.
            while (values := source.values(app)) is not None and waits(request, values):
                if (left := end - monotonic()) <= 0:
                    break
                _await(change, connection, left)
        if values is None:
            return text_reply(503, f"{app} is not configured now")
    with _BUILDING:
        if _has_ended(connection):
            raise _GoneError
        return answer(request, scope, values)


def _await(change: int, connection: socket.socket, timeout: float) -> None:
    """Wait for a change, at most `timeout` seconds. Raises _GoneError if the client leaves, so that its thread ends."""
    poll = select.poll()
    poll.register(change, select.POLLIN)
    poll.register(connection, select.POLLRDHUP)
    ready = {descriptor for descriptor, _ in poll.poll(timeout * 1000)}
    if connection.fileno() in ready:
        raise _GoneError
    if change in ready:
        os.eventfd_read(change)


def _has_ended(connection: socket.socket) -> bool:
    """Whether no reply can reach the client; True also for a connection that had to make room for another one."""
    poll = select.poll()
    poll.register(connection, 0)  # POLLHUP and POLLERR need not be named.
    return bool(poll.poll(0))


def _token(request: Request) -> bytes:
    if token := request.headers.get("x-vault-token"):
        return token.encode()
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    return rest.strip().encode() if scheme.lower() == "bearer" else b""


class _Stream:
    """The bytes of a connection. A client may send its next request before it has the reply to the last one."""

    def __init__(self, connection: socket.socket, outbox: Outbox) -> None:
        self._connection = connection
        self._outbox = outbox
        self._buffer = bytearray()

    def request(self) -> Request:
        """The next request; its body is read and dropped. Raises BadRequestError."""
        end: float | None = monotonic() + REQUEST_TIMEOUT if self._buffer else None
        while (at := self._buffer.find(_END)) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequestError(431, "the headers are too long")
            self._receive(end)
            end = end or monotonic() + REQUEST_TIMEOUT
        if at > MAX_HEAD:
            raise BadRequestError(431, "the headers are too long")
        request = parse_head(bytes(self._buffer[:at]))
        length = at + len(_END) + request.content_length
        while len(self._buffer) < length:
            self._receive(end or monotonic() + REQUEST_TIMEOUT)
        del self._buffer[:length]
        return request

    def _receive(self, end: float | None) -> None:
        left = IDLE_TIMEOUT if end is None else end - monotonic()
        if left <= 0:
            raise _GoneError
        self._connection.settimeout(left)
        chunk = self._connection.recv(_CHUNK)
        if not chunk:
            raise _GoneError
        self._buffer += chunk

    def send(self, reply: Reply, *, keeps_alive: bool, has_body: bool = True) -> None:
        """Send a reply."""
        head = [
            f"HTTP/1.1 {reply.code} {HTTPStatus(reply.code).phrase}",
            f"Content-Type: {reply.kind}",
            f"Content-Length: {len(reply.body)}",
            f"Connection: {'keep-alive' if keeps_alive else 'close'}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            *(f"{name}: {value}" for name, value in reply.headers),
        ]
        self._connection.settimeout(REQUEST_TIMEOUT)
        head_bytes = "\r\n".join(head).encode() + _END
        body = reply.body if has_body else b""
        with self._outbox.sending(self._connection, len(body)):
            if len(body) < _CHUNK:
                self._connection.sendall(head_bytes + body)
            else:
                self._connection.sendall(head_bytes)
                self._connection.sendall(body)  # not a copy of it
