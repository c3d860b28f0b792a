"""Asks `lessee issue` on this machine for a response-wrapped secret_id."""

import os
import socket

from lessee.core.failures import Failure, Kind
from lessee.core.issue_messages import (
    LONGEST_ISSUE,
    MAX_PACKET,
    PATIENCE,
    Hello,
    Message,
    Reply,
    Request,
    decode,
    encode,
)
from lessee.vault.responses import RequestFailedError


class IssueSocket:
    """The socket of the service. `role`: which of several roles; empty: the only one."""

    def __init__(self, path: str, role: str) -> None:
        self._path, self._role = path, role

    def wrapping_token(self) -> str:
        """A wrapping token with a secret_id. Raises RequestFailedError; DENIED: the service refuses it."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(self._path)
                hello = _receive(connection, Hello, PATIENCE)
                connection.sendall(encode(Request(hello.nonce, self._role)))
                reply = _receive(connection, Reply, LONGEST_ISSUE)
        except OSError as exc:
            reason = "it did not answer in time" if isinstance(exc, TimeoutError) else exc.strerror or "it is no socket"
            raise self._failed(Kind.UNAVAILABLE, f"no secret_id from {self._path}: {reason}; {_TODO}") from None
        if reply.wrapping_token:
            return reply.wrapping_token
        if reply.refused:
            raise self._failed(Kind.DENIED, f"`lessee issue` refuses a secret_id: {reply.refused}")
        reason = reply.unavailable or "its answer is not one of `lessee issue`"
        raise self._failed(Kind.UNAVAILABLE, f"no secret_id from {self._path}: {reason}")

    def state(self) -> str:
        """A text that changes when the service is started again, maybe with another configuration."""
        try:
            found = os.stat(self._path)  # noqa: PTH116  # Asked every five seconds after a refusal.
        except OSError:
            return ""
        return f"{found.st_dev} {found.st_ino} {found.st_ctime_ns}"

    @staticmethod
    def _failed(kind: Kind, text: str) -> RequestFailedError:
        return RequestFailedError(Failure(kind, text))


_TODO = "start `lessee issue` on the host, and mount the directory of its socket"


def _receive(connection: socket.socket, kind: type[Message], patience: float) -> Message:
    connection.settimeout(patience)
    message = decode(connection.recv(MAX_PACKET), kind)
    if message is None:
        raise ConnectionError(0, "the service has closed the connection, or is no `lessee issue`")
    return message
