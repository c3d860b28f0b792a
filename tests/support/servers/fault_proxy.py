"""A proxy in front of a real server that injects faults."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from http import HTTPStatus
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import wait
from typing import NamedTuple

from lessee.host.openbao import free_port

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_RUBBISH = b"\x16\x03\x03\x00\x10 this is no TLS \x00\xff\r\n\r\n"


class Fault(Enum):
    """What happens to a request."""

    REFUSE = "the port is closed; for all paths or none"
    DROP = "the connection ends without an answer"
    HANG = "no answer arrives, even after the fault has ended"
    LOST = "the server executes the request, and its answer does not arrive"
    CLOSED = "the server executes the request, and the connection ends without its answer"
    CUT = "the answer ends in the middle of its body"
    RUBBISH = "the answer is neither TLS nor HTTP"


class Status(NamedTuple):
    """The proxy answers this, and does not ask the server."""

    code: int
    headers: dict = {}  # noqa: RUF012  # It is never written to.
    body: bytes = b'{"errors":["by the proxy"]}'


class Delay(NamedTuple):
    """The server gets the request later."""

    seconds: float


class Late(NamedTuple):
    """The server executes the request, and its answer arrives later."""

    seconds: float


class Attack(NamedTuple):
    """The proxy writes these bytes instead of an answer, and pauses for the numbers of seconds between them."""

    pieces: Callable[[], Iterable[bytes | float]]


class Edit(NamedTuple):
    """The server executes the request, and its answer arrives changed by this function."""

    change: Callable[[dict], None]


class Reply(NamedTuple):
    """The proxy answers what this function of a Request returns, a Status, or forwards the request for None."""

    answer: Callable


class Request(NamedTuple):
    """A request, whatever its answer was. `at`: on the monotonic clock."""

    at: float
    method: str
    path: str
    headers: dict
    body: bytes


class Proxy:
    """Forwards HTTP from a port of loopback to another.

    `proxy.fault = Fault.HANG` applies to all paths. `proxy.on_path("database/creds", Status(500))` applies to paths
    with this text, and has precedence. `proxy.clear()` ends all faults. A subclass may override `fault_of`.
    """

    def __init__(self, target_port):
        self.target_port = target_port
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.requests = []
        self.connections = 0
        self._born = time.monotonic()
        self._fault, self._faults_by_path = None, {}
        self._open = set()
        self._server = None
        self._listen()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._shut()

    @property
    def fault(self):
        """The fault of requests on all paths, or None."""
        return self._fault

    @fault.setter
    def fault(self, fault):
        self._fault = fault
        if fault is Fault.REFUSE:
            self._shut()
        elif self._server is None:
            self._listen()

    def on_path(self, words, fault):
        """Apply a fault to requests whose path and query contain this text."""
        assert fault is not Fault.REFUSE
        self._faults_by_path[words] = fault

    def clear(self):
        """End all faults."""
        self._faults_by_path.clear()
        self.fault = None

    def count(self, words="", since=0.0):
        """The number of requests whose path and query contain this text, since a time on the monotonic clock."""
        return sum(words in request.path and request.at >= since for request in list(self.requests))

    def by_minute(self, words=""):
        """The number of requests in each minute since the proxy's start."""
        return Counter(int((one.at - self._born) // 60) for one in list(self.requests) if words in one.path)

    def fault_of(self, path):
        """The fault of a request for this path, or None."""
        return next((fault for words, fault in self._faults_by_path.items() if words in path), self._fault)

    def _listen(self):
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _shut(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(2)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, *_):
        """A client that hangs up is expected."""


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # One answer is one packet: else each header would be.

    def handle(self):
        self.proxy.connections += 1
        self.proxy._open.add(self.connection)
        try:
            # A TLS client waits for an answer to its handshake, which is not a line of HTTP.
            if self.proxy.fault is Fault.RUBBISH:
                self.wfile.write(_RUBBISH)
            else:
                super().handle()
        finally:
            self.proxy._open.discard(self.connection)

    def __getattr__(self, name):
        """Serve every HTTP method, LIST included."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Request(time.monotonic(), self.command, self.path, dict(self.headers), body)
        self.proxy.requests.append(request)
        fault = self.proxy.fault_of(self.path)
        match fault.answer(request) if isinstance(fault, Reply) else fault:
            case Status(code, headers, content):
                self._answer(code, {"Content-Type": "application/json", **headers}, content)
            case Fault.HANG:
                self.connection.recv(1)  # Until the client hangs up.
                self.close_connection = True
            case Fault.DROP | Fault.REFUSE:
                self.close_connection = True
            case Fault.RUBBISH:
                self.wfile.write(_RUBBISH)
                self.close_connection = True
            case Fault.LOST:
                self._forward(body, lost=True)
                self.close_connection = True
            case Fault.CLOSED:
                self._forward(body, closed=True)
                self.close_connection = True
            case Fault.CUT:
                self._forward(body, cut=True)
                self.close_connection = True
            case Attack(pieces):
                self._write(pieces())
                self.close_connection = True
            case Late(seconds):
                self._forward(body, late=seconds)
            case Edit(change):
                self._forward(body, change=change)
            case fault:
                if fault is not None:
                    time.sleep(fault.seconds)
                self._forward(body)

    def log_message(self, *_):
        """`Proxy.requests` holds them."""

    def _write(self, pieces):
        """Until there are no more, or the client hangs up."""
        for piece in pieces:
            if isinstance(piece, bytes):
                self.connection.sendall(piece)
            elif wait([self.connection], piece) and not self.connection.recv(65536):
                return

    def _forward(self, body, *, cut=False, lost=False, closed=False, change=None, late=0.0):
        server = HTTPConnection("127.0.0.1", self.proxy.target_port)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
        try:
            server.request(self.command, self.path, body or None, headers)
            answer = server.getresponse()
            if lost:
                self.connection.recv(1)  # Until the client hangs up.
            if lost or closed:
                return
            content = answer.read()
            if change is not None and content:
                document = json.loads(content)
                change(document)
                content = json.dumps(document).encode()
            time.sleep(late)
            self._answer(answer.status, dict(answer.getheaders()), content, cut=cut)
        except OSError:
            self.close_connection = True  # As the server would.
        finally:
            server.close()

    def _answer(self, code, headers, body, *, cut=False):
        self.send_response_only(code)
        for name, value in headers.items():
            if name.lower() not in _OF_THE_CONNECTION:
                self.send_header(name, value)
        if code != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.wfile.flush()
