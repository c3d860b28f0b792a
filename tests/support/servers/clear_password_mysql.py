"""A server in MariaDB's place that has no TLS, and asks each client for its password by a method that reveals it.

https://mariadb.com/kb/en/connection/
"""

import socket
import struct
import threading
from contextlib import suppress

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_GREETING = b"".join(
    (
        b"\x0a8.4.0\0\x01\0\0\0saltsalt\0",
        b"\xff\xf7\xff\x02\0\xff\xdf\x15",
        bytes(10),
        b"saltsaltsalt\0caching_sha2_password\0",
    )
)
_FULL = b"\x01\x04"
"""The password is not in its cache: the client has to send it."""
_SALT = b"saltsaltsaltsaltsalt\0"


class ClearPasswordMysql:
    """`sent`: the packets of clients after their login. `method`: a plugin's name; "": caching_sha2_password."""

    def __init__(self, method=""):
        self.sent, self._method = [], method
        self._key = rsa.generate_private_key(65537, 2048)
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
            number = self._send(client, 0, _GREETING)
            self._receive(stream)
            switch = b"\xfe" + self._method.encode() + b"\0" + _SALT
            number = self._send(client, number + 1, switch if self._method else _FULL)
            while packet := self._receive(stream):
                self.sent.append(packet)
                encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                number = self._send(client, number + 1, b"\x01" + self._key.public_key().public_bytes(encoding, form))

    def _send(self, client, number, payload):
        client.sendall(struct.pack("<I", len(payload))[:3] + bytes([number % 256]) + payload)
        return number + 1

    def _receive(self, stream):
        head = stream.read(4)
        return stream.read(int.from_bytes(head[:3], "little")) if len(head) == 4 else b""
