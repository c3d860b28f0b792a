"""Serves the socket of `lessee issue`: each connection is one question of one process."""

import socket
import socketserver
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from lessee.core.errors import WriteError
from lessee.core.issue_messages import Reply, encode
from lessee.host.bounded_server import BoundedServer
from lessee.host.unix_listener import opening_socket
from lessee.ops.issue.issuer import Issuer
from lessee.ops.issue.peer import UnknownPeerError, asking, cgroup_of_connection, uid_of

_MODE = 0o666
"""Of the socket: the kernel says who connects, and each agent may have another user."""

_MAX_PER_PLACE = 8
"""Open connections of one user in one container or unit: a flood of them takes no others their places."""


class IssueServer:
    """Listens until it is closed."""

    def __init__(self, path: Path, issuer: Issuer) -> None:
        """Raises WriteError if the socket cannot be made."""
        self._path = path
        with opening_socket(path, _MODE, name="the issue socket", key="issue.socket", directory_mode=0o755):
            self._server = _Server(str(path), socketserver.BaseRequestHandler)
        self._server.issuer = issuer
        threading.Thread(target=self._server.serve_forever, args=(5.0,), name="lessee-issue", daemon=True).start()

    def close(self) -> None:
        """Stop, and remove the socket."""
        with suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
        self._server.shutdown()
        self._server.server_close()
        with suppress(OSError):
            self._path.unlink()


class _Server(BoundedServer, socketserver.UnixStreamServer):
    failure = "issue request failed"
    socket_type = socket.SOCK_SEQPACKET
    issuer: Issuer

    def __init__(self, *arguments: Any) -> None:
        self._places: dict[socket.socket, tuple[int, str]] = {}
        """The user and the cgroup of each open connection."""
        super().__init__(*arguments)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the connection is served: a user of one container or unit has a few, and none of others."""
        del client_address
        place = uid_of(request), cgroup_of_connection(request)
        if list(self._places.values()).count(place) >= _MAX_PER_PLACE:
            return False
        self._places[request] = place
        return True

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is closed."""
        self._places.pop(request, None)
        super().shutdown_request(request)

    def is_known(self, request: Any) -> bool:
        """Whether this process may have a role; others cannot close its connection by theirs."""
        return self.issuer.is_known(uid_of(request), cgroup_of_connection(request))

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer the only question of a connection."""
        del client_address

        def deliver(reply: Reply) -> bool:
            try:
                request.sendall(encode(reply))
            except OSError:
                return False
            return True

        try:
            with asking(request) as peer:
                self.issuer.issue(peer, deliver)
        except UnknownPeerError as exc:
            deliver(Reply(unavailable=str(exc)))
        except WriteError as exc:
            deliver(Reply(unavailable="the service cannot write its record; see its log"))
            self.issuer.report(exc)
