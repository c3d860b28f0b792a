"""A proxy before a real server, and the weather on the way."""

import threading
import time
from collections import Counter
from contextlib import suppress
from enum import Enum
from http import HTTPStatus
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from lessee.host.openbao import free_port

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_RUBBISH = b"\x16\x03\x03\x00\x10 this is no TLS \x00\xff\r\n\r\n"


class Sky(Enum):
    """What befalls a request."""

    REFUSE = "nobody listens; for all paths or none"
    DROP = "the connection ends without an answer"
    HANG = "the answer never comes, even when the weather is fair again"
    LOST = "the request is served, and the answer never comes"
    CUT = "the answer ends in the middle of its body"
    RUBBISH = "the answer is neither TLS nor HTTP"


class Status(NamedTuple):
    """This is answered, and the server not asked."""

    code: int
    headers: dict = {}  # noqa: RUF012  # Nobody writes into it.
    body: bytes = b'{"errors":["by the proxy"]}'


class Delay(NamedTuple):
    """The request is served, later."""

    seconds: float


class Request(NamedTuple):
    """What was asked, whatever the answer. `at` on the monotonic clock."""

    at: float
    method: str
    path: str
    headers: dict
    body: bytes


class Proxy:
    """Forwards HTTP from a port of loopback to another.

    `proxy.weather = Sky.HANG` is for all paths, `proxy.over("database/creds", Status(500))` for those that hold these
    words and wins; `proxy.clear()` makes all fair again.
    """

    def __init__(self, target_port):
        self.target_port = target_port
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.requests = []
        self.connections = 0
        self._born = time.monotonic()
        self._weather, self._over = None, {}
        self._open = set()
        self._server = None
        self._listen()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._shut()

    @property
    def weather(self):
        """What befalls the requests on all paths; None is fair weather."""
        return self._weather

    @weather.setter
    def weather(self, weather):
        self._weather = weather
        if weather is Sky.REFUSE:
            self._shut()
        elif self._server is None:
            self._listen()

    def over(self, words, weather):
        """From now on this befalls requests whose path and query hold these words."""
        assert weather is not Sky.REFUSE
        self._over[words] = weather

    def clear(self):
        """Fair weather everywhere."""
        self._over.clear()
        self.weather = None

    def count(self, words="", since=0.0):
        """How many requests came whose path and query hold these words, since then on the monotonic clock."""
        return sum(words in request.path and request.at >= since for request in list(self.requests))

    def by_minute(self, words=""):
        """How many came in each minute of the proxy's life, by its number."""
        return Counter(int((one.at - self._born) // 60) for one in list(self.requests) if words in one.path)

    def _befalls(self, path):
        return next((weather for words, weather in self._over.items() if words in path), self._weather)

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
        """A client that hangs up is part of the weather."""


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # One answer is one packet: else each header would be.

    def handle(self):
        self.proxy.connections += 1
        self.proxy._open.add(self.connection)
        try:
            # A client that speaks TLS would wait for an answer to what is no line of HTTP.
            if self.proxy.weather is Sky.RUBBISH:
                self.wfile.write(_RUBBISH)
            else:
                super().handle()
        finally:
            self.proxy._open.discard(self.connection)

    def __getattr__(self, name):
        """LIST too is a method of HTTP: whichever it is, `do_METHOD` serves it."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.proxy.requests.append(Request(time.monotonic(), self.command, self.path, dict(self.headers), body))
        match self.proxy._befalls(self.path):
            case Status(code, headers, content):
                self._answer(code, {"Content-Type": "application/json", **headers}, content)
            case Sky.HANG:
                self.connection.recv(1)  # until the client goes
                self.close_connection = True
            case Sky.DROP | Sky.REFUSE:
                self.close_connection = True
            case Sky.RUBBISH:
                self.wfile.write(_RUBBISH)
                self.close_connection = True
            case Sky.LOST:
                self._forward(body, lost=True)
                self.close_connection = True
            case Sky.CUT:
                self._forward(body, cut=True)
                self.close_connection = True
            case weather:
                if weather is not None:
                    time.sleep(weather.seconds)
                self._forward(body)

    def log_message(self, *_):
        """`Proxy.requests` holds them."""

    def _forward(self, body, *, cut=False, lost=False):
        server = HTTPConnection("127.0.0.1", self.proxy.target_port)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
        try:
            server.request(self.command, self.path, body or None, headers)
            answer = server.getresponse()
            if lost:
                self.connection.recv(1)  # until the client goes
                return
            self._answer(answer.status, dict(answer.getheaders()), answer.read(), cut=cut)
        except OSError:
            self.close_connection = True  # as the server would
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
