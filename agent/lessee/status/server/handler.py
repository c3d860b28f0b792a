"""Handles one HTTP request to the status server."""

import io
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

from lessee.core.printable import spelled_out
from lessee.host.bounded_server import TIMEOUT, BoundedReader
from lessee.status.access_control import Endpoint, StatusRequest, refusal
from lessee.status.server.source import StatusSource
from lessee.telemetry.logs import redacted

_MAX_BODY = 65536
_MAX_DIGITS = 9
"""Of a length: Python refuses to parse a number of thousands of digits."""
_PATHS = b"not found; the paths are / /healthz /readyz /status.json /metrics\n"


class Handler(BaseHTTPRequestHandler):
    """Answers the requests that access control permits; `is_token` as in `refusal`."""

    source: StatusSource
    endpoint = Endpoint(is_tcp=False)
    is_token: Callable[[bytes], bool] | None = None
    protocol_version = "HTTP/1.0"
    server_version = "lessee"
    sys_version = ""

    def setup(self) -> None:
        """Bound the time and length of the request."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(BoundedReader(self.connection))

    def do_GET(self) -> None:
        if self._is_refused():
            return
        path, _, query = self.path.partition("?")
        match path:
            case "/":
                self._page(query)
            case "/healthz":
                alive = self.source.is_alive()
                self._reply(200 if alive else 503, b"ok\n" if alive else b"the main loop does not respond\n")
            case "/readyz":
                self._readyz("fresh" in parse_qs(query, keep_blank_values=True))
            case "/status.json":
                self._reply_json(200, self.source.status())
            case "/metrics":
                self._reply(200, self.source.metrics(), "text/plain; version=0.0.4; charset=utf-8")
            case "/output" if not self.endpoint.is_tcp:
                self._output(parse_qs(query).get("of", [""])[0])
            case _:
                self._reply(404, _PATHS)

    do_HEAD = do_GET  # noqa: N815  # http.server requires these names.

    def do_POST(self) -> None:
        if self._is_refused():
            return
        length = self.headers.get("Content-Length", "0")
        if self.path != "/refresh":
            self._reply(404, b"not found; POST /refresh over the Unix socket\n")
            return
        if not length.isdecimal() or len(length) > _MAX_DIGITS or int(length) > _MAX_BODY:
            self._reply(413, b"the body is too long\n")
            return
        try:
            paths = json.loads(self.rfile.read(int(length)) or b"[]")
            requested = tuple(str(path) for path in paths)
        except (ValueError, TypeError, RecursionError):
            self._reply(400, b"the body must be a JSON list of paths\n")
            return
        unknown = self.source.refresh(requested)
        self._reply_json(404 if unknown else 202, {"refreshing": not unknown, "unknown": unknown})

    def do_PUT(self) -> None:
        """Reject this and every other method."""
        if not self._is_refused():
            self._reply(405, b"the methods are GET, HEAD and POST\n", headers=(("Allow", "GET, HEAD, POST"),))

    do_PATCH = do_DELETE = do_OPTIONS = do_PUT  # noqa: N815  # As above.

    def log_message(self, *_: object) -> None:
        """Log no requests."""

    def _request(self) -> StatusRequest:
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        return StatusRequest(self.command, self.path.partition("?")[0], headers)

    def _is_refused(self) -> bool:
        refused = refusal(self._request(), self.endpoint, self.is_token)
        if refused is not None:
            self._reply(refused.code, f"{refused.text}\n".encode(), headers=refused.headers)
        return refused is not None

    def _page(self, query: str) -> None:
        # Imported at the first request: most agents serve only programs.
        from lessee.status.server.page import page_response  # noqa: PLC0415

        body, headers = page_response(self.source.status(), query)
        self._reply(200, body, "text/html; charset=utf-8", headers)

    def _output(self, owner: str) -> None:
        # It may hold a value that redaction does not know, so it never leaves through the port.
        from lessee.process.program_output import outputs_of  # noqa: PLC0415  # Rarely requested.

        outputs = [
            {
                "program": output.program,
                "ended_at": output.ended_at,
                "result": output.result,
                "line_count": output.line_count,
                # As a whole, because a value may extend over several lines.
                "lines": redacted("\n".join(output.lines)).splitlines(),
            }
            for output in outputs_of(owner)
        ]
        self._reply_json(200, {"outputs": outputs})

    def _readyz(self, must_be_fresh: bool) -> None:  # noqa: FBT001  # A private helper.
        status = self.source.status()
        is_fresh = status.get("fresh", True)
        is_ok = status["ready"] and (is_fresh or not must_be_fresh)
        # Problems name paths, so over TCP a probe without a token gets only the code.
        problems = map(spelled_out, status["problems"]) if self._may_read_status() else ()
        state = "ready, not fresh" if status["ready"] else "not ready"
        body = "ok\n" if status["ready"] and is_fresh else "\n".join([state, *problems, ""])
        self._reply(200 if is_ok else 503, body.encode())

    def _may_read_status(self) -> bool:
        request = StatusRequest(self.command, "/status.json", self._request().headers)
        return refusal(request, self.endpoint, self.is_token) is None

    def _reply_json(self, code: int, body: object) -> None:
        self._reply(code, json.dumps(body, indent=1).encode() + b"\n", "application/json")

    def _reply(
        self,
        code: int,
        body: bytes,
        kind: str = "text/plain; charset=utf-8",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.connection.settimeout(TIMEOUT)
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
