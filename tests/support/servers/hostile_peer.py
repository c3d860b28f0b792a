"""A server that answers whatever it is asked with hostile bytes: in the place of Redis, of an object store, or of both.

It waits for the first bytes of a client, and writes an attack's pieces; numbers are pauses in seconds.
"""

import socket
import threading
from contextlib import suppress
from itertools import chain, pairwise, repeat
from multiprocessing.connection import wait

MIB = 1 << 20
_SLOWLY = 1.5
"""Seconds between two bytes: less than any timeout of a single read."""
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n"


def _slowly(byte):
    return chain.from_iterable(repeat((byte, _SLOWLY)))


def _bomb():
    """Entities of entities, a billion in all, whose text has 3 GB."""
    names = "abcdefghi"
    parts = [f'<!ENTITY {one} "{f"&{before};" * 10}">' for before, one in pairwise(names)]
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "lol">{"".join(parts)}]><x><Name>&i;</Name></x>'.encode()
    return [_OK + b"Content-Length: %d\r\n\r\n" % len(text), text]


REDIS = {
    "a line without an end": lambda: chain([b"+"], repeat(b"x" * MIB)),
    "a bulk of 10^12 bytes": lambda: chain([b"$1000000000000\r\n"], repeat(b"x" * MIB)),
    "a list of 10^12 errors": lambda: chain([b"*1000000000000\r\n"], repeat(b"-\r\n" * 100_000)),
    "a list of 10^12 lists": lambda: chain([b"*1000000000000\r\n"], repeat(b"*0\r\n" * 100_000)),
    "lists in lists": lambda: repeat(b"*1\r\n" * 100_000),
    "a byte now and then": lambda: chain([b"$1000000\r\n"], _slowly(b"x")),
    "an error a byte now and then": lambda: chain([b"-"], _slowly(b"x")),
    "no Redis": lambda: [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    "a bulk of 10^20 bytes": lambda: [b"$100000000000000000000\r\n"],
    "numbers that are none": lambda: [b"$12x\r\n*-7\r\n:\r\n" * 100],
}
STORE = {
    "an endless body": lambda: chain([_OK + b"Connection: close\r\n\r\n"], repeat(b" " * MIB)),
    "endless chunks": lambda: chain(
        [_OK + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"100000\r\n" + b"<" * MIB + b"\r\n")
    ),
    "an endless size of a chunk": lambda: chain([_OK + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"1" * MIB)),
    "endless headers": lambda: chain([_OK], repeat(b"X-More: and more\r\n" * 1000)),
    "endless answers of 1xx": lambda: repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "endless elements": lambda: chain([_OK + b"Connection: close\r\n\r\n<a>"], repeat(b"<b/>" * 100_000)),
    "an endless error": lambda: chain(
        [b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n<Error>"], repeat(b"<Code>" * 100_000)
    ),
    "a byte of the head now and then": lambda: chain([_OK + b"X-More: "], _slowly(b"x")),
    "a byte of the body now and then": lambda: chain([_OK + b"Connection: close\r\n\r\n"], _slowly(b" ")),
    "an XML bomb": _bomb,
}


_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n["
ENGINE = {
    "an endless body": lambda: chain([_JSON], repeat(b" " * MIB)),
    "endless values": lambda: chain([_JSON], repeat(b"{}," * 100_000)),
    "endless headers": STORE["endless headers"],
    "endless answers of 1xx": STORE["endless answers of 1xx"],
    "a byte of the head now and then": STORE["a byte of the head now and then"],
    "a byte of the body now and then": lambda: chain([_JSON], _slowly(b" ")),
}


class HostilePeer:
    """Listens on loopback, in plaintext or with a context for TLS, or at the path of a Unix socket.

    `received`: the first bytes of each client.
    """

    def __init__(self, pieces, tls=None, path=None):
        self._pieces, self._tls = pieces, tls
        self._open = set()
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
        self.received = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in list(self._open):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    @property
    def connections(self):
        """How many clients are connected."""
        return len(self._open)

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        self._open.add(client)
        try:
            with suppress(OSError), client:
                stream = self._tls.wrap_socket(client, server_side=True) if self._tls else client
                with stream:
                    self.received.append(stream.recv(65536))
                    for piece in self._pieces():
                        if isinstance(piece, bytes):
                            stream.sendall(piece)
                        elif wait([stream], piece) and not stream.recv(65536):
                            return
        finally:
            self._open.discard(client)
