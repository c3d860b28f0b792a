"""The only way from a drill's agents to their server, which the drill can cut."""

import os
import socket
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16
_CONNECT_TIMEOUT = 5.0
_ESTABLISHED = "01"
"""TCP_ESTABLISHED in proc(5)."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close(2) resets the connection, as when a server is gone."""

Upstream = str | tuple[str, int]
"""The path of a socket, or a host and a port."""


class Gateway:
    """Forwards this user's connections at an address of loopback to one server, without a look at what they carry.

    Other users of the machine could otherwise talk to a server that has real secrets. While the gateway is cut, it
    keeps its port, so that no other program gets what the agents send.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream: Upstream | None = upstream
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="lessee-gateway", daemon=True).start()

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        with self._lock:
            self._upstream = None
            connections = list(self._open)
        for connection in connections:
            _shut(connection)

    def connect(self, upstream: Upstream) -> None:
        """Forward to this server from now on."""
        with self._lock:
            self._upstream = upstream

    def close(self) -> None:
        """End it."""
        self.cut()
        _shut(self._listener)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), name="lessee-gateway", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            upstream = self._upstream
        allowed = upstream is not None and _uid_of(client) == os.geteuid()
        server = _connect(upstream) if upstream is not None and allowed else None
        with self._lock:
            if server is not None and self._upstream == upstream:
                self._open |= {client, server}
            elif server is not None:
                server.close()
                server = None
        if server is None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
            return
        back = threading.Thread(target=_pump, args=(server, client), name="lessee-gateway", daemon=True)
        back.start()
        _pump(client, server)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()


def _uid_of(client: socket.socket) -> int | None:
    """The uid of the process that opened a connection of IPv4 to here, by proc(5); None if it is not known.

    A socket that its process has closed belongs to root there, so only an established connection counts.
    """
    ends = (_hex_address(client.getpeername()), _hex_address(client.getsockname()))
    with suppress(OSError), Path("/proc/net/tcp").open(encoding="ascii") as lines:
        for line in lines:
            fields = line.split()
            if (fields[1], fields[2]) == ends:
                return int(fields[7]) if fields[3] == _ESTABLISHED else None
    return None


def _hex_address(address: tuple[str, int]) -> str:
    """As proc(5) writes it: the address in the machine's byte order."""
    return f"{int.from_bytes(socket.inet_aton(address[0]), sys.byteorder):08X}:{address[1]:04X}"


def _connect(upstream: Upstream) -> socket.socket | None:
    try:
        if isinstance(upstream, tuple):
            return socket.create_connection(upstream, _CONNECT_TIMEOUT)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.settimeout(_CONNECT_TIMEOUT)
            server.connect(upstream)
        except OSError:
            server.close()
            raise
    except OSError:
        return None
    return server


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Forward until one side ends, and then end both."""
    with suppress(OSError):
        source.settimeout(None)
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    _shut(source)
    _shut(target)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
