"""A client for the status socket of a running agent, rotator or monitor."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from lessee.core.errors import AgentUnavailableError
from lessee.core.status_format import FORMAT
from lessee.host.ownership import foreign_writer

_MAX_BODY = 64 << 20
"""Bytes. A status of ten thousand apps has a tenth of it."""


def request_status(
    path: Path, method: str, target: str, body: object = None, *, timeout: float = 5.0, largest: int = _MAX_BODY
) -> Any:
    """Send a request to the socket, and decode the response, a JSON object of `largest` bytes at most.

    Raises AgentUnavailableError.
    """
    connection = UnixConnection(path, timeout)
    try:
        connection.request(method, target, body=json.dumps(body) if body is not None else None)
        answer = json.loads(connection.getresponse().read(largest))
    except (OSError, ValueError, HTTPException, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "invalid response"
        raise AgentUnavailableError(
            f"no agent answers: {reason}",
            where=str(path),
            todo="start one with `lessee run`, or name its configuration with --config",
        ) from None
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise _unknown_format(path)
    if isinstance(found := answer.get("format"), int) and found > FORMAT:
        what = f"a newer version of lessee answers, whose status has format {found}; this one reads {FORMAT}"
        raise AgentUnavailableError(what, where=str(path), todo="use the version of lessee that runs")
    return answer


@contextmanager
def known_format(socket: Path) -> Iterator[None]:
    """Translate errors of code that reads a status of another version. Raises AgentUnavailableError."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError):
        raise _unknown_format(socket) from None


def _unknown_format(path: Path) -> AgentUnavailableError:
    what = "the service's status has an unknown format"
    return AgentUnavailableError(what, where=str(path), todo="use the same version of lessee")


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket. Raises AgentUnavailableError if another user could have put the socket there."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        directory = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            entry = os.stat(self._path.name, dir_fd=directory, follow_symlinks=False)
            found = foreign_writer(directory, own=False, entry=entry)
            if found is not None:
                what = f"not trusted, because another user could have made this socket: {found.what}"
                raise AgentUnavailableError(what, where=str(self._path), todo=found.todo)
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            # By its descriptor: the directory that was checked, whatever its path leads to now.
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)
