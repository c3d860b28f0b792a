"""A server in PostgreSQL's place that has no TLS, and asks each client for its password in clear text.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import socket
import struct
import threading
from contextlib import suppress

_NEGOTIATIONS = {80877103, 80877104}
"""Requests for TLS and for GSSAPI encryption."""
_ASK = b"R" + struct.pack(">ii", 8, 3)
"""AuthenticationCleartextPassword."""


class ClearPasswordPostgres:
    """`passwords`: what clients have sent."""

    def __init__(self):
        self.passwords = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, suppress(OSError, struct.error), client.makefile("rb") as stream:
            while True:
                size, code = struct.unpack(">ii", stream.read(8))
                stream.read(size - 8)
                if code not in _NEGOTIATIONS:
                    break
                client.sendall(b"N")
            client.sendall(_ASK)
            kind, size = struct.unpack(">ci", stream.read(5))
            if kind == b"p":
                self.passwords.append(stream.read(size - 4).rstrip(b"\0").decode())
