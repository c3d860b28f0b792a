"""Clients that call an API through a broker all the time, and count what fails and what they see."""

import json
import threading
from contextlib import contextmanager

PATH = "/openai/v1/chat/completions"
_BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 4000}]}).encode()
_EVERY = 8
"""Every such call asks for an answer that repeats what the API got."""


class BrokerClients:
    """Their calls, and what failed; read it after the block of `calling`."""

    def __init__(self, broker, token, count):
        self._broker, self._token, self._count = broker, token, count
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.calls, self.failed = 0, []
        self.keys = []
        """The keys that no client may see: a test adds each before it is published."""
        self.seen = 0
        """Answers with a key."""

    @contextmanager
    def calling(self):
        """The clients call during the block."""
        threads = [threading.Thread(target=self._call, daemon=True) for _ in range(self._count)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _call(self):
        number = 0
        while not self._over.is_set():
            number += 1
            echoes = number % _EVERY == 0
            try:
                status, headers, text = self._broker.call(
                    f"{PATH}?answer=echo" if echoes else PATH, self._token, method="POST", body=_BODY
                )
            except OSError as exc:
                status, headers, text = repr(exc), "", ""
            with self._lock:
                self.calls += 1
                if status != (400 if echoes else 200):
                    self.failed.append(status)
                self.seen += any(key in f"{headers}{text}" for key in self.keys)
