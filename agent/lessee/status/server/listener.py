"""Listens for HTTP requests to the status server: on a Unix socket, and on TCP if configured."""

import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from lessee.config import Listen
from lessee.core.errors import WriteError
from lessee.host.bounded_server import BoundedServer
from lessee.host.unix_listener import opening_socket
from lessee.process.program_output import mark_served
from lessee.status.access_control import Endpoint
from lessee.status.server.source import StatusSource
from lessee.telemetry.logs import log


class StatusServer:
    """Serves until it is closed. The socket has mode 0600: only its owner and root can connect."""

    def __init__(self, path: Path, listen: Listen | None, source: StatusSource) -> None:
        """Raises WriteError if the socket or port cannot be opened, and ConfigError if the token file is invalid."""
        self._path = path
        # The port first, because a failure after the socket's creation would leave the socket behind.
        ports = [] if listen is None else [_open_tcp(listen, source)]
        self._servers: list[_UnixServer | _TcpServer] = [_open_unix(path, _HandlerFactory(source=source)), *ports]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(5.0,), name="lessee-status", daemon=True).start()
        mark_served()

    def close(self) -> None:
        """Stop, and remove the socket."""
        for server in self._servers:
            with suppress(OSError):
                server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
            server.shutdown()
            server.server_close()
        with suppress(OSError):
            self._path.unlink()


class _HandlerFactory:
    """Creates the handler of each request of one endpoint; `settings` become attributes of the handler class."""

    def __init__(self, **settings: object) -> None:
        self._settings = settings

    @cached_property
    def _handler_class(self) -> type:
        # Imported at the first request: it is not needed at start, and many agents never get a request.
        from lessee.status.server.handler import Handler  # noqa: PLC0415

        return type("EndpointHandler", (Handler,), self._settings)

    def __call__(self, *request: object) -> object:
        return self._handler_class(*request)


class _UnixServer(BoundedServer, socketserver.UnixStreamServer):
    pass


class _TcpServer(BoundedServer, socketserver.TCPServer):
    allow_reuse_address = True


class _Tcp6Server(_TcpServer):
    address_family = socket.AF_INET6


def _open_unix(path: Path, handler: Callable[..., Any]) -> _UnixServer:
    with opening_socket(path, 0o600, name="the status socket", key="status: {socket: …}"):
        return _UnixServer(str(path), handler)


def _open_tcp(listen: Listen, source: StatusSource) -> _TcpServer:
    host, _, port = listen.address.rpartition(":")
    host = host.strip("[]")
    is_token = None
    if listen.token_file is not None:
        # Imported only with a port: hashing takes 1 MB of memory.
        from lessee.host.token_file import TokenFile  # noqa: PLC0415

        is_token = TokenFile(Path(listen.token_file), "status.token_file").matches
    else:
        note = "every user of this machine can read the status"
        log("warning", "status port without token", listen=listen.address, note=note)
    endpoint = Endpoint(is_tcp=True, names=frozenset({host.lower(), *listen.allowed_hosts}))
    handler = _HandlerFactory(source=source, endpoint=endpoint, is_token=is_token)
    try:
        return (_Tcp6Server if ":" in host else _TcpServer)((host, int(port)), handler)
    except OSError as exc:
        todo = "set a free port of this machine with `status: {listen: …}`"
        raise WriteError(f"cannot listen on this address: {exc.strerror}", where=listen.address, todo=todo) from None
