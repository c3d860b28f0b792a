"""A stand-in for a receiver of Alertmanager's notifications: prints each alert."""

# ruff: noqa: INP001, T201  # A standalone program, whose result is its output.

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body["alerts"]:
            labels, annotations = alert["labels"], alert["annotations"]
            print(f"{alert['status']}: {labels['alertname']}: {annotations.get('summary', '')}", flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("", 8080), Handler).serve_forever()
