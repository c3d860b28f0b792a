"""Forwards a port of a non-loopback address to loopback, or accepts connections and never answers."""

import socket
import threading
import time
from contextlib import suppress

from support.needs import need


def outside():
    """A non-loopback address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # Nothing is sent.
        return probe.getsockname()[0]
    need(None, "needs a non-loopback address")
    return None


class Detour:
    """Forwards connections at `host:port` to a loopback port. Without a target it accepts them and never answers."""

    def __init__(self, target=None, *, host=None, port=0):
        self._target = target
        self.host = host or (outside() if target else "127.0.0.1")
        self._server = socket.create_server((self.host, port))
        self.port = self._server.getsockname()[1]
        self._open = []
        self.first = None
        """The time of the first connection, on the monotonic clock."""
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for one in self._open:
            one.close()

    def _listen(self):
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self.first = self.first or time.monotonic()
                self._open.append(near)
                if self._target:
                    far = socket.create_connection(("127.0.0.1", self._target))
                    self._open.append(far)
                    for pair in ((near, far), (far, near)):
                        threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source, target):
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
