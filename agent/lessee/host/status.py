"""Answers who asks how the agent is: HTTP on a Unix socket, and on TCP where that is wanted."""

import json
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lessee.core.errors import AgentAway, CannotWrite
from lessee.core.record import Record
from lessee.host.logs import log

_BODY_MAX = 65536


class Answers(Record, frozen=True):
    """What the server asks the agent. Each may be called from any thread."""

    status: Callable[[], Mapping[str, Any]]
    alive: Callable[[], bool]
    metrics: Callable[[], bytes]
    refresh: Callable[[tuple[str, ...]], list[str]]


class StatusServer:
    """Serves until closed. The socket is 0600: its owner and root may ask."""

    def __init__(self, path: Path, listen: str | None, answers: Answers) -> None:
        """Raises CannotWrite where the socket cannot be made."""
        self._path = path
        handler = type("Handler", (_Handler,), {"answers": answers})
        self._servers: list[socketserver.BaseServer] = [_open_unix(path, handler)]
        if listen is not None:
            read_only = type("Handler", (_Handler,), {"answers": answers, "may_refresh": False})
            self._servers.append(_open_tcp(listen, read_only))
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(5.0,), name="lessee-status", daemon=True).start()

    def close(self) -> None:
        """Stop, and remove the socket."""
        for server in self._servers:
            server.server_close()
        with suppress(OSError):
            self._path.unlink()


def ask(path: Path, method: str, target: str, body: object = None, *, timeout: float = 5.0) -> Any:
    """Ask a running agent. Raises AgentAway where none answers."""
    connection = UnixConnection(path, timeout)
    try:
        connection.request(method, target, body=json.dumps(body) if body is not None else None)
        return json.loads(connection.getresponse().read())
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "no sensible answer"
        raise AgentAway(
            f"no agent answers: {reason}",
            where=str(path),
            todo="start one with `lessee run`, or name its configuration with --config",
        ) from None
    finally:
        connection.close()


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Quiet:
    """A client that hangs up early is no event; socketserver would print a traceback past the log."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64  # of socketserver's 5, a burst of probes would fill the queue

    def handle_error(self, request: object, client_address: object) -> None:
        del request, client_address
        if not isinstance(sys.exception(), OSError):
            log("error", "status request failed", error=type(sys.exception()).__name__)


class _UnixServer(_Quiet, socketserver.ThreadingUnixStreamServer):
    pass


class _TcpServer(_Quiet, socketserver.ThreadingTCPServer):
    allow_reuse_address = True


def _open_unix(path: Path, handler: type) -> _UnixServer:
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
        raise CannotWrite(
            f"the status socket cannot be made: {exc.strerror or exc.args[0]}",
            where=str(path),
            todo="name another with `status: {socket: …}`",
        ) from None


def _open_tcp(listen: str, handler: type) -> _TcpServer:
    host, _, port = listen.rpartition(":")
    try:
        return _TcpServer((host.strip("[]"), int(port)), handler)
    except OSError as exc:
        todo = "name a free port of this machine with `status: {listen: …}`"
        raise CannotWrite(f"cannot listen there: {exc.strerror}", where=listen, todo=todo) from None


class _Handler(BaseHTTPRequestHandler):
    answers: Answers
    may_refresh = True
    timeout = 10  # of a slow client
    protocol_version = "HTTP/1.0"
    server_version = "lessee"
    sys_version = ""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        match url.path:
            case "/healthz":
                alive = self.answers.alive()
                self._reply(200 if alive else 503, b"ok\n" if alive else b"the loop stands still\n")
            case "/readyz":
                self._readyz("fresh" in parse_qs(url.query, keep_blank_values=True))
            case "/status.json":
                self._reply_json(200, self.answers.status())
            case "/metrics":
                self._reply(200, self.answers.metrics(), "text/plain; version=0.0.4; charset=utf-8")
            case _:
                self._reply(404, b"there are /healthz /readyz /status.json /metrics\n")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if self.path != "/refresh" or not self.may_refresh:
            self._reply(404, b"there is POST /refresh, on the Unix socket\n")
            return
        if not length.isdecimal() or int(length) > _BODY_MAX:
            self._reply(413, b"too long\n")
            return
        try:
            paths = json.loads(self.rfile.read(int(length)) or b"[]")
            asked = tuple(str(path) for path in paths)
        except (ValueError, TypeError):
            self._reply(400, b"the body is a JSON list of paths\n")
            return
        strangers = self.answers.refresh(asked)
        self._reply_json(404 if strangers else 202, {"looking": not strangers, "unknown": strangers})

    def log_message(self, *_: object) -> None:
        """Who asks is no event."""

    def _readyz(self, wants_fresh: bool) -> None:  # noqa: FBT001  # A private shorthand.
        status = self.answers.status()
        good = status["ready"] and (status["fresh"] or not wants_fresh)
        body = "ok\n" if good else "\n".join(["not ready", *status["problems"], ""])
        self._reply(200 if good else 503, body.encode())

    def _reply_json(self, code: int, body: object) -> None:
        self._reply(code, json.dumps(body, indent=1).encode() + b"\n", "application/json")

    def _reply(self, code: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)
