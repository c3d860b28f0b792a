"""Clients that load Simba continuously, as a program for another container; each second it prints the results."""

# ruff: noqa: S311, T201  # A program of its own, which prints its results. Its choice of requests is not a secret.

import json
import random
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException

CLIENTS = 4
PACE = 0.02
"""Seconds that a client waits after an answer."""
TIMEOUT = 60.0
"""Seconds. While the API's workers are replaced, clients wait for the imports of the new ones: the benchmarks
measure how long, and a busy machine needs longer."""


def main(host, port):
    answered, failed = Counter(), Counter()
    longest = [0.0]
    clients = [Client(host, port, answered, failed, longest) for _ in range(CLIENTS)]
    for client in clients:
        threading.Thread(target=client.work, daemon=True).start()
    while True:
        time.sleep(1)
        said = {"answered": answered.total(), "uploads": answered["POST"], "failed": failed.total()}
        print("load:", json.dumps(said | {"how": dict(failed), "longest": round(longest[0], 2)}), flush=True)


class Client:
    """A request is one connection: nothing is sent twice, and nothing that fails is forgiven."""

    def __init__(self, host, port, answered, failed, longest):
        self._host, self._port = host, port
        self._answered, self._failed, self._longest = answered, failed, longest
        self._mine = []

    def work(self):
        while True:
            # It reads its own documents, so that documents stored under an old key are read with a new one.
            method, path, content = self._next()
            began = time.monotonic()
            try:
                said = self._ask(method, path, content)
            except (OSError, HTTPException, ValueError) as exc:
                what = f"{method} {path.rpartition('/')[2] if not content else 'documents'}"[:20]
                self._failed[f"{what}: {type(exc).__name__} {exc if isinstance(exc, ValueError) else ''}"] += 1
                print(f"failed: {what}: {type(exc).__name__}: {exc}", flush=True)
            else:
                self._answered[method] += 1
                if method == "POST":
                    self._mine = [*self._mine[-20:], (said["id"], content)]
            self._longest[0] = max(self._longest[0], time.monotonic() - began)
            time.sleep(PACE)

    def _next(self):
        kind = random.random()
        if not self._mine or kind < 0.15:
            return "POST", "/api/v1/documents", f"words {random.random()}"
        if kind < 0.45:
            return "GET", "/api/v1/documents?limit=5", None
        key, _ = random.choice(self._mine)
        return "GET", f"/api/v1/documents/{key}{'/content' if kind < 0.75 else ''}", None

    def _ask(self, method, path, content):
        connection = HTTPConnection(self._host, self._port, timeout=TIMEOUT)
        try:
            body = None if content is None else json.dumps({"content": content})
            connection.request(method, path, body, {"content-type": "application/json", "connection": "close"})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status not in {200, 201}:
            raise ValueError(f"status {answer.status}")
        said = json.loads(text)
        if path.endswith("/content") and said["content"] != dict(self._mine)[path.split("/")[-2]]:
            raise ValueError("another content")
        return said


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
