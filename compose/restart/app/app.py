"""Stands for your app: it reads its secrets once, when it starts, and does not start without a password."""

# ruff: noqa: INP001, T201  # A program on its own, whose result goes to stdout.

import hashlib
import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

FILE = Path("/run/secrets/app/app.json")


class Health(BaseHTTPRequestHandler):
    """Answers: it works."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: the agent asks often."""


# After a restart of the host the Engine starts all containers at once: the app may be there before its file.
while not FILE.exists():
    time.sleep(0.1)
text = FILE.read_text()
if not json.loads(text)["password"]:
    raise SystemExit("no password")
# A fingerprint stands for the values, which belong in no log.
print(f"start: {FILE.name} {hashlib.sha256(text.encode()).hexdigest()[:12]}", flush=True)
HTTPServer(("", 8080), Health).serve_forever()
