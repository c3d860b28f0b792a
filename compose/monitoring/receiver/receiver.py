"""Stands for the people whom Alertmanager tells: it prints what it hears."""

# ruff: noqa: INP001, T201  # A program on its own, whose result goes to stdout.

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body["alerts"]:
            labels, said = alert["labels"], alert["annotations"]
            print(f"{alert['status']}: {labels['alertname']}: {said.get('summary', '')}", flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("", 8080), Handler).serve_forever()
