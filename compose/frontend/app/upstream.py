"""A stand-in for another provider's API: it answers with the key's fingerprint, the cookie and the path."""

# ruff: noqa: INP001  # A standalone program.

import hashlib
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers GET and POST in the same way."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        fingerprint = hashlib.sha256(key.encode()).hexdigest()[:12]
        answer = {"key": fingerprint, "cookie": self.headers.get("Cookie"), "path": self.path}
        text = json.dumps(answer).encode()
        self.send_response(200 if key else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Log nothing, because requests are frequent."""


ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
