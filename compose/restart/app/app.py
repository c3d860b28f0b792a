"""A stand-in for your app: it reads its secrets once, at its start, and exits without a password."""

# ruff: noqa: INP001, T201  # A standalone program, whose result is its output.

import hashlib
import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

FILE = Path("/run/secrets/app/app.json")


class Health(BaseHTTPRequestHandler):
    """The health endpoint."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing, because the agent's probes are frequent."""


# After a restart of the host the Engine starts all containers concurrently: the app may start before its file.
while not FILE.exists():
    time.sleep(0.1)
text = FILE.read_text()
if not json.loads(text)["password"]:
    raise SystemExit("no password")
# A fingerprint instead of the values, which must not be logged.
print(f"start: {FILE.name} {hashlib.sha256(text.encode()).hexdigest()[:12]}", flush=True)
HTTPServer(("", 8080), Health).serve_forever()
