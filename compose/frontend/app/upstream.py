"""Stands for somebody's API: it answers who shows a key, with a fingerprint of that key, and what it was asked."""

# ruff: noqa: INP001  # A program on its own.

import hashlib
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """GET and POST are alike to it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        fingerprint = hashlib.sha256(key.encode()).hexdigest()[:12]
        told = {"key": fingerprint, "cookie": self.headers.get("Cookie"), "path": self.path}
        text = json.dumps(told).encode()
        self.send_response(200 if key else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing: it is asked often."""


ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
