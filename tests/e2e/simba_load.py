"""Sends requests to Simba continuously from several clients, and prints the results each second."""

# ruff: noqa: S311, T201  # A standalone program, which prints its results. Its choice of requests is not a secret.

import json
import random
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException

CLIENTS = 4
TIMEOUT = 60.0
"""Seconds. While the API's workers are replaced, requests wait until the new workers have imported their modules.
The benchmarks measure how long that takes; a busy machine needs longer."""


def main(host, port, pace):
    """`pace`: the seconds that a client waits after each response."""
    answered, failed = Counter(), Counter()
    longest = [0.0]
    clients = [Client(host, port, pace, answered, failed, longest) for _ in range(CLIENTS)]
    for client in clients:
        threading.Thread(target=client.work, daemon=True).start()
    while True:
        time.sleep(1)
        totals = {"answered": answered.total(), "uploads": answered["POST"], "failed": failed.total()}
        print("load:", json.dumps(totals | {"errors": dict(failed), "longest": round(longest[0], 2)}), flush=True)


class Client:
    """Sends each request once, on its own connection, and counts every failure."""

    def __init__(self, host, port, pace, answered, failed, longest):
        self._host, self._port, self._pace = host, port, pace
        self._answered, self._failed, self._longest = answered, failed, longest
        self._documents = []

    def work(self):
        while True:
            # Each client reads its own documents again, so that a new key reads documents stored with an old one.
            method, path, content = self._choose_request()
            began = time.monotonic()
            try:
                document = self._send(method, path, content)
            except (OSError, HTTPException, ValueError) as exc:
                request = f"{method} {path.rpartition('/')[2] if not content else 'documents'}"[:20]
                self._failed[f"{request}: {type(exc).__name__} {exc if isinstance(exc, ValueError) else ''}"] += 1
                print(f"failed: {request}: {type(exc).__name__}: {exc}", flush=True)
            else:
                self._answered[method] += 1
                if method == "POST":
                    self._documents = [*self._documents[-20:], (document["id"], content)]
            self._longest[0] = max(self._longest[0], time.monotonic() - began)
            time.sleep(self._pace)

    def _choose_request(self):
        kind = random.random()
        if not self._documents or kind < 0.15:
            return "POST", "/api/v1/documents", f"words {random.random()}"
        if kind < 0.45:
            return "GET", "/api/v1/documents?limit=5", None
        key, _ = random.choice(self._documents)
        return "GET", f"/api/v1/documents/{key}{'/content' if kind < 0.75 else ''}", None

    def _send(self, method, path, content):
        connection = HTTPConnection(self._host, self._port, timeout=TIMEOUT)
        try:
            body = None if content is None else json.dumps({"content": content})
            connection.request(method, path, body, {"content-type": "application/json", "connection": "close"})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status not in {200, 201}:
            raise ValueError(f"status {response.status}")
        document = json.loads(text)
        if path.endswith("/content") and document["content"] != dict(self._documents)[path.split("/")[-2]]:
            raise ValueError("the content of another document")
        return document


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
