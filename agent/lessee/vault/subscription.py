"""Vault Enterprise's event stream: a WebSocket over a connection that is made as all others to this Vault are.

https://developer.hashicorp.com/vault/docs/concepts/events: `sys/events/subscribe/{type}?json=true`, with the token in
its usual header, and pings of the server's every 30 s. The library decides what the bytes mean and does no I/O, so that
TLS, proxies and sockets are those of connections.py, and no thread of its own is needed.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from lessee.core.failures import Failure, Kind
from lessee.vault import responses
from lessee.vault.connections import Connection
from lessee.vault.responses import RequestFailedError
from lessee.vault.transport import Transport

PING = 10.0
"""Seconds without a word after which the server is asked whether it is there."""
GONE = 25.0
"""Seconds without one after which it is not."""
ANSWER = 10.0
"""Seconds for the answer to the request."""
LONGEST = 1 << 20
"""Bytes of a message; an event's are few hundred."""
_CHUNK = 1 << 16
_NOT_THERE = frozenset({400, 401, 403, 404, 405, 501})
"""What OpenBao and open-source Vault say, and Enterprise to a token that may not subscribe."""


class NotThereError(Exception):
    """The server has no event stream for this token. The text is its status, and nothing that it sent."""


def subscribed(transport: Transport, token: str, types: str) -> "Subscription":
    """To these types, in the namespace of the door. Raises RequestFailedError or NotThereError."""
    connection, headers = transport.dial(token)
    try:
        return Subscription(connection, f"/v1/sys/events/subscribe/{types}?json=true", headers)
    except RequestFailedError:
        transport.lose(connection.url)
        raise


class Subscription:
    """One stream, for one thread. All but `close` raises RequestFailedError, and is of no more use then."""

    def __init__(self, connection: Connection, target: str, headers: Mapping[str, str]) -> None:
        """Ask for it at `target`. Raises NotThereError too."""
        self._socket = connection.take()
        # Its log would hold the token.
        logger = logging.Logger("lessee.websockets", logging.CRITICAL)  # noqa: LOG001  # None can set its level.
        uri = parse_uri(connection.websocket(target))
        self._protocol = ClientProtocol(uri, max_size=LONGEST, logger=logger)
        self._parts: list[bytes] = []
        self._heard_at = self._asked_at = time.monotonic()
        try:
            self._shake_hands(headers)
        except BaseException:
            self.close()
            raise

    def listen(self, wait: float) -> Sequence[bytes]:
        """The messages that have come since, after so many seconds at the most."""
        now = time.monotonic()
        if now - self._heard_at > GONE:
            raise _weather("it has fallen silent")
        if now - max(self._heard_at, self._asked_at) > PING:
            self._asked_at = now
            self._protocol.send_ping(b"")
            self._send()
        self._receive(wait)
        messages = list(self._messages())
        if self._protocol.state is not State.OPEN:
            if messages:
                return messages  # The end is told at the next call.
            raise _weather("the stream has ended")
        return messages

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def _shake_hands(self, headers: Mapping[str, str]) -> None:
        protocol = self._protocol
        request = protocol.connect()
        for name, value in headers.items():
            if "\r" in value or "\n" in value or not value.isascii():
                raise RequestFailedError(Failure(Kind.INVALID, "the token or the namespace cannot be sent"))
            if name in request.headers:
                del request.headers[name]
            request.headers[name] = value
        protocol.send_request(request)
        self._send()
        until = time.monotonic() + ANSWER
        while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
            if time.monotonic() > until:
                raise _weather("no answer in time")
            self._receive(1.0)
        match protocol.handshake_exc:
            case None:
                return
            case InvalidStatus(response=response) if response.status_code in _NOT_THERE:
                raise NotThereError(f"HTTP {response.status_code}")
            case InvalidStatus(response=response):
                raise _weather(responses.meaning(response.status_code))
            case _:
                raise _weather("its answer is not that of an event stream")

    def _receive(self, wait: float) -> None:
        self._socket.settimeout(wait)
        try:
            chunk = self._socket.recv(_CHUNK)
        except TimeoutError:
            return
        except OSError as exc:
            raise _weather(responses.describe_connection_error(exc)) from None
        if chunk:
            self._heard_at = time.monotonic()
            self._protocol.receive_data(chunk)
        else:
            self._protocol.receive_eof()
        self._send()

    def _send(self) -> None:
        self._socket.settimeout(ANSWER)
        try:
            for data in self._protocol.data_to_send():
                if data:
                    self._socket.sendall(data)
        except OSError as exc:
            if self._protocol.state is State.OPEN or self._protocol.state is State.CONNECTING:
                raise _weather(responses.describe_connection_error(exc)) from None

    def _messages(self) -> Iterator[bytes]:
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
                self._parts.append(bytes(event.data))
                if event.fin:
                    yield b"".join(self._parts)
                    self._parts = []


def _weather(reason: str) -> RequestFailedError:
    return RequestFailedError(Failure(Kind.UNAVAILABLE, reason))
