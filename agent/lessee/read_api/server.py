"""Serves the read sockets of the apps: it accepts connections, checks who is there, and sends the replies."""

import os
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lessee.config import CredentialSocket, ReadSocket
from lessee.core.errors import LesseeError, WriteError
from lessee.host.bounded_server import BoundedServer
from lessee.host.peers import peer_credentials
from lessee.host.token_file import TokenFile
from lessee.host.unix_listener import opening_socket
from lessee.read_api.outbox import Outbox
from lessee.read_api.policy.answers import ReadScope
from lessee.read_api.policy.peers import Peer, Readers
from lessee.read_api.policy.values import Values
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.config.grammar.app import LabeledContainer
    from lessee.read_api.containers import Questions, RunningContainer

_MODE = 0o666
"""Of the socket: the kernel says who connects, and the agent may lack the right to give the socket to the app."""
_SO_PEERGROUPS = 59
_MAX_GROUPS = 256
"""As many as Python's getsockopt can take."""
_RETRY = 5.0
"""Seconds until the agent tries again to open a socket."""
_QUIET = 60.0
"""Seconds until the refusal of the same user is logged again."""
_MAX_REMEMBERED = 100
"""Users whose refusals are logged in that time: root of a container can be any number of users."""


class Source(Protocol):
    """Where the values come from: the agent."""

    def scope(self, app: str) -> ReadScope | None:
        """None: the app is not configured any more."""

    def values(self, app: str) -> Values | None:
        """What the app may read at this moment; None: it is not configured any more."""

    def container(self, container_id: str) -> "RunningContainer | None":
        """A container, as the engine describes it; None if it has no such one. Raises LesseeError."""

    def changes(self) -> AbstractContextManager[int]:
        """An eventfd that can be read whenever a generation may have been published since the last time."""


class Server(Protocol):
    """Serves a socket in a thread of its own."""

    def serve_forever(self, poll_interval: float) -> None:
        """Return after `stop`."""

    def stop(self) -> None:
        """Stop, end all connections, and remove what was made."""


AppSocket = tuple[str, Literal["read", "credential"]]
"""The app, and which of its sockets."""
Sockets = Mapping[AppSocket, ReadSocket | CredentialSocket]


class ReadServers:
    """The sockets of all apps. `configure` opens and closes them as the configuration says."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._open: dict[AppSocket, tuple[ReadSocket | CredentialSocket, Sequence[Server]]] = {}
        self._sockets: Sockets = {}
        self._reasons: dict[AppSocket, str] = {}
        """Why sockets could not be opened."""
        self._retry_at = 0.0

    def retry(self) -> None:
        """Now and then, try to open what could not be opened: the reason may have ended, such as a full tmpfs."""
        if self._reasons and monotonic() >= self._retry_at:
            self.configure(self._sockets)

    def configure(self, sockets: Sockets) -> None:
        """Serve these sockets. One that cannot be opened is logged: it is that app's trouble alone."""
        self._sockets, self._retry_at = sockets, monotonic() + _RETRY
        reasons: dict[AppSocket, str] = {}
        for socket_ in [socket_ for socket_, (settings, _) in self._open.items() if sockets.get(socket_) != settings]:
            self._close(socket_)
        for socket_ in sorted(sockets.keys() - self._open.keys()):
            app, kind = socket_
            settings = sockets[socket_]
            try:
                servers = self._servers(app, settings)
            except LesseeError as exc:
                reasons[socket_] = str(exc)
                if self._reasons.get(socket_) != str(exc):
                    _log_not_opened(app, kind, str(exc))
                continue
            self._open[socket_] = settings, servers
            for server in servers:
                threading.Thread(target=server.serve_forever, args=(5.0,), name="lessee-read", daemon=True).start()
            _log_opened(app, kind, settings.path)
        self._reasons = reasons

    def problems(self) -> list[str]:
        """Why sockets are not open, for the status; any thread may ask."""
        return [f"{app} has no {kind} socket: {reason}" for (app, kind), reason in self._reasons.items()]

    def close(self) -> None:
        """Stop, and remove the sockets."""
        self._reasons = {}
        for socket_ in list(self._open):
            self._close(socket_)

    def _close(self, socket_: AppSocket) -> None:
        _, servers = self._open.pop(socket_)
        for server in servers:
            server.stop()

    def _servers(self, app: str, settings: ReadSocket | CredentialSocket) -> "Sequence[Server]":
        if isinstance(settings, CredentialSocket):
            # Imported on use: few apps have one.
            from lessee.read_api.credentials import CredentialServer  # noqa: PLC0415

            return [CredentialServer(app, settings, self._source)]
        uids = settings.uids | ({os.geteuid()} if settings.allows_own_user else frozenset())
        servers: list[_UnixServer | _TcpServer] = []
        if settings.listen is not None and settings.token_file is not None:
            key = f"apps.{app}.socket.token_file"
            servers.append(_open_tcp(settings.listen, app, self._source, TokenFile(Path(settings.token_file), key)))
        try:
            servers.append(_open_unix(settings, app, self._source, Readers(uids, settings.gids)))
        except LesseeError:
            for server in servers:
                server.server_close()
            raise
        return servers


def _log_not_opened(app: str, kind: str, reason: str) -> None:
    if kind == "read":
        log("error", "read socket not opened", app=app, reason=reason)
    else:
        log("error", "credential socket not opened", app=app, reason=reason)


def _log_opened(app: str, kind: str, path: str) -> None:
    if kind == "read":
        log("info", "read socket opened", app=app, socket=path)
    else:
        log("info", "credential socket opened", app=app, socket=path)


class _Server(BoundedServer):
    failure = "read request failed"
    request_queue_size = 1024  # With a full queue, a connect without blocking fails with EAGAIN; Go has no other.
    app: str
    source: Source

    def __init__(self, *arguments: Any) -> None:
        self.outbox = Outbox()
        super().__init__(*arguments)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer a client's requests until it leaves."""
        del client_address
        # Imported at the first request: many agents never get one.
        from lessee.read_api.connection import serve  # noqa: PLC0415

        serve(request, self.app, self.source, self.refusal(request), self.token_check(request), self.outbox)

    def refusal(self, request: socket.socket) -> str:
        """Why this client gets nothing, whatever it asks; empty if it may read."""
        raise NotImplementedError

    def token_check(self, request: socket.socket) -> Callable[[bytes], bool] | None:
        """What checks the token of each request; None: they need none."""
        del request
        return None


class _UnixServer(_Server, socketserver.UnixStreamServer):
    path: Path
    readers: Readers
    containers: "tuple[LabeledContainer, ...]" = ()
    questions: "Questions"

    def __init__(self, *arguments: Any) -> None:
        self._places: dict[socket.socket, str] = {}
        """The cgroups of the connections, if containers are named."""
        super().__init__(*arguments)

    def stop(self) -> None:
        """Remove the socket too."""
        _stop(self)
        with suppress(OSError):
            self.path.unlink()

    def is_known(self, request: Any) -> bool:
        """Whether this process may read; if containers are named, the engine has yet to say which one it is in."""
        peer = peer_of(request)
        if not self.containers:
            return self.readers.allow(peer)
        # Imported on use: few sockets name containers.
        from lessee.read_api.containers import cgroup_of  # noqa: PLC0415

        self._places[request] = cgroup_of(peer)
        return False

    def first_to_close(self, connections: Sequence[socket.socket]) -> socket.socket:
        """The oldest one of the container that has most, so that no container closes the connections of others."""
        places = Counter(self._places.get(each, "") for each in connections)
        return max(connections, key=lambda each: places[self._places.get(each, "")])

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is closed."""
        self._places.pop(request, None)
        super().shutdown_request(request)

    def refusal(self, request: socket.socket) -> str:
        """Why this process may not read."""
        peer = peer_of(request)
        if self.readers.allow(peer):
            return self._refusal_of_container(request, peer)
        _log_refused(self.app, peer)
        return f"uid {peer.uid} may not read at the socket of {self.app}; see apps.{self.app}.socket.uids"

    def _refusal_of_container(self, request: socket.socket, peer: Peer) -> str:
        if not self.containers:
            return ""
        # Imported on use: few sockets name containers.
        from lessee.read_api import containers  # noqa: PLC0415

        reason = containers.refusal(request, peer, self.containers, self.source.container, self.questions)
        if reason:
            _log_refused(self.app, peer, reason)
        else:
            self.recognize(request)
        return reason and f"{reason}; see apps.{self.app}.socket.containers"


class _TcpServer(_Server, socketserver.TCPServer):
    allow_reuse_address = True
    token: TokenFile

    def stop(self) -> None:
        """Stop, and end all connections."""
        _stop(self)

    def is_known(self, request: Any) -> bool:
        """False: every user of the machine can connect, and has not sent the token yet."""
        del request
        return False

    def token_check(self, request: socket.socket) -> Callable[[bytes], bool]:
        """What checks the tokens of this client."""

        def is_token(token: bytes) -> bool:
            matches = self.token.matches(token)
            if matches:
                self.recognize(request)
            return matches

        return is_token

    def refusal(self, request: socket.socket) -> str:
        """The token decides, with each request."""
        del request
        return ""


class _Tcp6Server(_TcpServer):
    address_family = socket.AF_INET6


def _stop(server: _UnixServer | _TcpServer) -> None:
    """Stop, and end all connections: their right to read was checked by the old settings."""
    with suppress(OSError):
        server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
    server.shutdown()
    server.server_close()
    server.close_connections()


def peer_of(connection: socket.socket) -> Peer:
    """The process that connected, as the kernel noted it then (unix(7), SO_PEERCRED and SO_PEERGROUPS)."""
    pid, uid, gid = peer_credentials(connection)
    groups = b""
    with suppress(OSError):  # It is in more groups, and they give it no right.
        groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MAX_GROUPS)
    return Peer(pid, uid, frozenset({gid, *struct.unpack(f"{len(groups) // 4}I", groups)}))


_refused_at: dict[tuple[str, int, str], float] = {}


def _log_refused(app: str, peer: Peer, reason: str = "neither `uids` nor `gids` of the socket names the user") -> None:
    now, key = monotonic(), (app, peer.uid, reason)
    if now - _refused_at.get(key, -_QUIET) < _QUIET:
        return
    if len(_refused_at) >= _MAX_REMEMBERED:
        for old in [user for user, at in list(_refused_at.items()) if now - at >= _QUIET]:
            _refused_at.pop(old, None)
        if len(_refused_at) >= _MAX_REMEMBERED:
            return
    _refused_at[key] = now
    log("warning", "reader refused", app=app, uid=str(peer.uid), pid=str(peer.pid), reason=reason)


def _open_unix(settings: ReadSocket, app: str, source: Source, readers: Readers) -> _UnixServer:
    path = Path(settings.path)
    key = f"apps.{app}.socket"
    with opening_socket(path, _MODE, name="the read socket", key=key, directory_mode=0o711):
        server = _UnixServer(str(path), socketserver.BaseRequestHandler)
    server.app, server.source, server.path, server.readers = app, source, path, readers
    server.containers = settings.containers
    if settings.containers:
        from lessee.read_api.containers import Questions  # noqa: PLC0415  # As above.

        server.questions = Questions()
    return server


def _open_tcp(listen: str, app: str, source: Source, token: TokenFile) -> _TcpServer:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        kind = _Tcp6Server if ":" in host else _TcpServer
        server = kind((host, int(port)), socketserver.BaseRequestHandler)
    except OSError as exc:
        todo = f"set a free port of this machine with `apps.{app}.socket.listen`"
        raise WriteError(f"cannot listen on this address: {exc.strerror}", where=listen, todo=todo) from None
    server.app, server.source, server.token = app, source, token
    return server
