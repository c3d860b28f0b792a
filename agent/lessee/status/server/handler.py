"""One request for the status: whether it is served, and its answer."""

import io
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

from lessee.status.access_control import Asked, Transport, refusal
from lessee.status.server.limits import PATIENCE, Patient
from lessee.status.server.source import Answers

_BODY_MAX = 65536
_PATHS = b"there are / /healthz /readyz /status.json /metrics\n"


class Handler(BaseHTTPRequestHandler):
    """Serves whoever `door` lets in; `knows` as of `refusal`."""

    answers: Answers
    door = Transport(is_port=False)
    knows: Callable[[bytes], bool] | None = None
    protocol_version = "HTTP/1.0"
    server_version = "lessee"
    sys_version = ""

    def setup(self) -> None:
        """A request has bounds in time and length."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(Patient(self.connection))

    def do_GET(self) -> None:
        if self._is_refused():
            return
        path, _, query = self.path.partition("?")
        match path:
            case "/":
                self._page()
            case "/healthz":
                alive = self.answers.alive()
                self._reply(200 if alive else 503, b"ok\n" if alive else b"the loop stands still\n")
            case "/readyz":
                self._readyz("fresh" in parse_qs(query, keep_blank_values=True))
            case "/status.json":
                self._reply_json(200, self.answers.status())
            case "/metrics":
                self._reply(200, self.answers.metrics(), "text/plain; version=0.0.4; charset=utf-8")
            case _:
                self._reply(404, _PATHS)

    do_HEAD = do_GET  # noqa: N815  # http.server looks for such names.

    def do_POST(self) -> None:
        if self._is_refused():
            return
        length = self.headers.get("Content-Length", "0")
        if self.path != "/refresh":
            self._reply(404, b"there is POST /refresh, on the Unix socket\n")
            return
        if not length.isdecimal() or int(length) > _BODY_MAX:
            self._reply(413, b"too long\n")
            return
        try:
            paths = json.loads(self.rfile.read(int(length)) or b"[]")
            asked = tuple(str(path) for path in paths)
        except (ValueError, TypeError, RecursionError):
            self._reply(400, b"the body is a JSON list of paths\n")
            return
        strangers = self.answers.refresh(asked)
        self._reply_json(404 if strangers else 202, {"looking": not strangers, "unknown": strangers})

    def do_PUT(self) -> None:
        """And all that is neither a look nor a wish."""
        if not self._is_refused():
            self._reply(405, b"there is GET, HEAD and POST\n", headers=(("Allow", "GET, HEAD, POST"),))

    do_PATCH = do_DELETE = do_OPTIONS = do_PUT  # noqa: N815  # As above.

    def log_message(self, *_: object) -> None:
        """Who asks is no event."""

    def _asked(self) -> Asked:
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        return Asked(self.command, self.path.partition("?")[0], headers)

    def _is_refused(self) -> bool:
        refused = refusal(self._asked(), self.door, self.knows)
        if refused is not None:
            self._reply(refused.code, f"{refused.text}\n".encode(), headers=refused.headers)
        return refused is not None

    def _page(self) -> None:
        # Imported when somebody looks: most agents are asked by programs alone.
        from lessee.status.server.page import page  # noqa: PLC0415

        body, headers = page(self.answers.status())
        self._reply(200, body, "text/html; charset=utf-8", headers)

    def _readyz(self, wants_fresh: bool) -> None:  # noqa: FBT001  # A private shorthand.
        status = self.answers.status()
        good = status["ready"] and (status.get("fresh", True) or not wants_fresh)
        # Problems name paths: over TCP a probe without a token gets no more than the code.
        problems = status["problems"] if self._may_know() else []
        body = "ok\n" if good else "\n".join(["not ready", *problems, ""])
        self._reply(200 if good else 503, body.encode())

    def _may_know(self) -> bool:
        asked = Asked(self.command, "/status.json", self._asked().headers)
        return refusal(asked, self.door, self.knows) is None

    def _reply_json(self, code: int, body: object) -> None:
        self._reply(code, json.dumps(body, indent=1).encode() + b"\n", "application/json")

    def _reply(
        self,
        code: int,
        body: bytes,
        kind: str = "text/plain; charset=utf-8",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.connection.settimeout(PATIENCE)
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
