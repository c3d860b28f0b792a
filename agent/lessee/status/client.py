"""A client for the status socket of a running agent, rotator or monitor."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from lessee.core.errors import AgentUnavailableError


def request_status(path: Path, method: str, target: str, body: object = None, *, timeout: float = 5.0) -> Any:
    """Send a request to the socket, and decode the response. Raises AgentUnavailableError."""
    connection = UnixConnection(path, timeout)
    try:
        connection.request(method, target, body=json.dumps(body) if body is not None else None)
        return json.loads(connection.getresponse().read())
    except (OSError, ValueError, HTTPException, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "invalid response"
        raise AgentUnavailableError(
            f"no agent answers: {reason}",
            where=str(path),
            todo="start one with `lessee run`, or name its configuration with --config",
        ) from None
    finally:
        connection.close()


@contextmanager
def known_format(socket: Path) -> Iterator[None]:
    """Translate errors of code that reads a status of another version. Raises AgentUnavailableError."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError):
        what = "the service's status has an unknown format"
        raise AgentUnavailableError(what, where=str(socket), todo="use the same version of lessee") from None


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
