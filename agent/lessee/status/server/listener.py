"""Answers who asks how the agent is: HTTP on a Unix socket, and on TCP where that is wanted."""

import os
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
from lessee.status.access_control import Transport
from lessee.status.server.limits import Bounded
from lessee.status.server.source import Answers
from lessee.telemetry.logs import log


class StatusServer:
    """Serves until closed. The socket is 0600: its owner and root may ask."""

    def __init__(self, path: Path, listen: Listen | None, answers: Answers) -> None:
        """Raises WriteError where the socket cannot be made, and ConfigError where the port's token is not there."""
        self._path = path
        # Before the socket, which a failure would leave behind.
        ports = [] if listen is None else [_open_tcp(listen, answers)]
        self._servers: list[_UnixServer | _TcpServer] = [_open_unix(path, _Handling(answers=answers)), *ports]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(5.0,), name="lessee-status", daemon=True).start()

    def close(self) -> None:
        """Stop, and remove the socket."""
        for server in self._servers:
            with suppress(OSError):
                server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for who asks
            server.shutdown()
            server.server_close()
        with suppress(OSError):
            self._path.unlink()


class _Handling:
    """Makes the handler of each request of one place, of which all else is told here."""

    def __init__(self, **of_the_place: object) -> None:
        self._of_the_place = of_the_place

    @cached_property
    def _kind(self) -> type:
        # Imported when somebody asks: a start does not wait for it, and many an agent is never asked.
        from lessee.status.server.handler import Handler  # noqa: PLC0415

        return type("OfPlace", (Handler,), self._of_the_place)

    def __call__(self, *request: object) -> object:
        return self._kind(*request)


class _UnixServer(Bounded, socketserver.UnixStreamServer):
    pass


class _TcpServer(Bounded, socketserver.TCPServer):
    allow_reuse_address = True


class _Tcp6Server(_TcpServer):
    address_family = socket.AF_INET6


def _open_unix(path: Path, handler: Callable[..., Any]) -> _UnixServer:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.unlink()  # the state's lock is ours, so nobody serves it
        before = os.umask(0o177)
        try:
            return _UnixServer(str(path), handler)
        finally:
            os.umask(before)
    except OSError as exc:
        raise WriteError(
            f"the status socket cannot be made: {exc.strerror or exc.args[0]}",
            where=str(path),
            todo="name another with `status: {socket: …}`",
        ) from None


def _open_tcp(listen: Listen, answers: Answers) -> _TcpServer:
    host, _, port = listen.address.rpartition(":")
    host = host.strip("[]")
    knows = None
    if listen.token_file is not None:
        # Imported where there is a port: hashing takes a megabyte.
        from lessee.status.server.token import Token  # noqa: PLC0415

        knows = Token(Path(listen.token_file)).knows
    else:
        log("warning", "status.insecure: all on this machine may see how it is", listen=listen.address)
    door = Transport(is_port=True, names=frozenset({host.lower(), *listen.hosts}))
    handler = _Handling(answers=answers, door=door, knows=knows)
    try:
        return (_Tcp6Server if ":" in host else _TcpServer)((host, int(port)), handler)
    except OSError as exc:
        todo = "name a free port of this machine with `status: {listen: …}`"
        raise WriteError(f"cannot listen there: {exc.strerror}", where=listen.address, todo=todo) from None
