"""Subscribes to Vault Enterprise's event stream: a WebSocket over a connection of connections.py.

https://developer.hashicorp.com/vault/docs/concepts/events: `sys/events/subscribe/{type}?json=true`, with the token in
its usual header. The server sends a ping every 30 s. The websockets library interprets the bytes and does no I/O, so
TLS, proxies and sockets are those of every other request, and no further thread is needed.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from lessee.core.errors import VaultUnreachableError
from lessee.vault import responses
from lessee.vault.connections import Connection
from lessee.vault.responses import RequestFailedError
from lessee.vault.transport import Transport

PING_INTERVAL = 10.0
"""Seconds of silence after which the agent sends a ping."""
SILENCE_TIMEOUT = 25.0
"""Seconds without a complete frame after which the agent treats the stream as lost: a frame that never ends would hold
back all that follow it."""
MESSAGE_TIMEOUT = 25.0
"""Seconds that the fragments of one message may take, although other frames arrive between them."""
HANDSHAKE_TIMEOUT = 10.0
"""Seconds for the answer to the request."""
MAX_MESSAGE_SIZE = 1 << 20
"""Bytes; an event has a few hundred."""
MAX_FRAGMENTS = 1024
"""Of one message: empty ones have no bytes to count. Vault sends each event whole."""
_CHUNK_SIZE = 1 << 16
_NO_EVENT_STREAM = frozenset({400, 401, 403, 404, 405, 501})
"""The statuses of OpenBao and open-source Vault, and of Enterprise for a token that may not subscribe."""


class NoEventStreamError(Exception):
    """The server has no event stream for this token. The text is its status, and nothing that it sent."""


def subscribe(transport: Transport, token: str, types: str) -> "Subscription":
    """Subscribe to these event types in the transport's namespace.

    Raises NoEventStreamError, or VaultUnreachableError if the server may serve it later.
    """
    try:
        connection, headers = transport.dial(token)
    except RequestFailedError as exc:
        raise VaultUnreachableError(exc.failure.text, where=transport.address) from None
    try:
        return Subscription(connection, f"/v1/sys/events/subscribe/{types}?json=true", headers)
    except VaultUnreachableError:
        transport.mark_unavailable(connection.url)
        raise


class Subscription:
    """One stream, for one thread. After VaultUnreachableError, which all methods but `close` raise, it is unusable."""

    def __init__(self, connection: Connection, target: str, headers: Mapping[str, str]) -> None:
        """Send the request for `target`. Raises NoEventStreamError too."""
        self._socket = connection.raw_socket()
        # At level DEBUG the library logs the token.
        logger = logging.Logger("lessee.websockets", logging.CRITICAL)  # noqa: LOG001  # None can set its level.
        uri = parse_uri(connection.websocket(target))
        self._protocol = ClientProtocol(uri, max_size=MAX_MESSAGE_SIZE, logger=logger)
        self._parts: list[bytes] = []
        self._received_at = self._pinged_at = self._message_began_at = time.monotonic()
        try:
            self._handshake(headers)
        except BaseException:
            self.close()
            raise

    def listen(self, wait: float) -> Sequence[bytes]:
        """The messages that have arrived since the last call; waits for up to `wait` seconds."""
        now = time.monotonic()
        if now - self._received_at > SILENCE_TIMEOUT:
            raise VaultUnreachableError(f"the event stream has sent no complete frame for {SILENCE_TIMEOUT:g} s")
        if self._parts and now - self._message_began_at > MESSAGE_TIMEOUT:
            raise VaultUnreachableError(f"a message of the event stream takes longer than {MESSAGE_TIMEOUT:g} s")
        if now - max(self._received_at, self._pinged_at) > PING_INTERVAL:
            self._pinged_at = now
            self._protocol.send_ping(b"")
            self._send()
        self._receive(wait)
        messages = list(self._messages())
        if self._protocol.state is not State.OPEN:
            if messages:
                return messages  # The next call reports the end.
            raise VaultUnreachableError("the event stream has ended")
        return messages

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _handshake(self, headers: Mapping[str, str]) -> None:
        protocol = self._protocol
        request = protocol.connect()
        for name, value in headers.items():
            if "\r" in value or "\n" in value or not value.isascii():
                raise VaultUnreachableError("the token or the namespace has characters that cannot be sent")
            if name in request.headers:
                del request.headers[name]
            request.headers[name] = value
        protocol.send_request(request)
        self._send()
        until = time.monotonic() + HANDSHAKE_TIMEOUT
        while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
            if time.monotonic() > until:
                raise VaultUnreachableError("no answer in time")
            self._receive(1.0)
        match protocol.handshake_exc:
            case None:
                return
            case InvalidStatus(response=response) if response.status_code in _NO_EVENT_STREAM:
                raise NoEventStreamError(f"HTTP {response.status_code}")
            case InvalidStatus(response=response):
                raise VaultUnreachableError(responses.describe_status(response.status_code))
            case _:
                raise VaultUnreachableError("the answer is not that of an event stream")

    def _receive(self, wait: float) -> None:
        self._socket.settimeout(wait)
        try:
            chunk = self._socket.recv(_CHUNK_SIZE)
        except TimeoutError:
            return
        except OSError as exc:
            raise VaultUnreachableError(responses.describe_connection_error(exc)) from None
        if chunk:
            self._protocol.receive_data(chunk)
        else:
            self._protocol.receive_eof()
        self._send()

    def _send(self) -> None:
        self._socket.settimeout(HANDSHAKE_TIMEOUT)
        try:
            for data in self._protocol.data_to_send():
                if data:
                    self._socket.sendall(data)
        except OSError as exc:
            if self._protocol.state is State.OPEN or self._protocol.state is State.CONNECTING:
                raise VaultUnreachableError(responses.describe_connection_error(exc)) from None

    def _messages(self) -> Iterator[bytes]:
        now = time.monotonic()
        for event in self._protocol.events_received():
            self._received_at = now
            if isinstance(event, Frame) and event.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
                if not self._parts:
                    self._message_began_at = now
                self._parts.append(bytes(event.data))
                if len(self._parts) > MAX_FRAGMENTS:
                    raise VaultUnreachableError(
                        f"a message of the event stream has more than {MAX_FRAGMENTS} fragments"
                    )
                if event.fin:
                    yield b"".join(self._parts)
                    self._parts = []
