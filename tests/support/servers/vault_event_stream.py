"""A substitute for Vault Enterprise's event stream, in front of a real OpenBao, which has none.

Vault Enterprise does not run without a license. The server of `websockets`, a real peer of the protocol, answers
sys/events/subscribe with frames as in https://developer.hashicorp.com/vault/docs/concepts/events. It forwards every
other connection to OpenBao. No test here verifies that Vault itself sends such frames.
"""

import json
import socket
import threading
import time
from contextlib import ExitStack, suppress
from http import HTTPStatus

from websockets.sync.server import serve

from lessee.host.openbao import free_port

PATH = "/v1/sys/events/subscribe/kv*?json=true"


def frame(path, operation="data-write", mount="secret", version="2", kind="kv-v2"):
    """An event as in the documentation."""
    metadata = {"current_version": version, "oldest_version": "0", "operation": operation, "modified": "true"}
    metadata |= {"path": f"{mount}/{path}", "data_path": f"{mount}/{path}"}
    id_ = "901f2388-aabb-a385-7bc0-0b09d5fa060b"
    plugin = {"mount_class": "secret", "mount_accessor": "kv_a6081d01", "mount_path": f"{mount}/", "plugin": "kv"}
    return json.dumps(
        {
            "id": id_,
            "source": "https://vaultproject.io/",
            "specversion": "1.0",
            "type": "*",
            "data": {
                "event": {"id": id_, "metadata": metadata},
                "event_type": f"{kind}/{operation}",
                "plugin_info": plugin,
            },
            "datacontentype": "application/cloudevents",
            "time": "2026-11-28T13:11:39.227341-08:00",
        }
    )


class Enterprise:
    """OpenBao at `target` with an event stream; TLS, if any, ends here."""

    def __init__(self, target, tls=None):
        self._target = target
        self._tls = tls
        self.requests, self.streams, self.away = [], [], None
        self.port = free_port()
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        # Without pings of its own, it ends no stream: the agent has to find out.
        self._events = serve(self._serve, "127.0.0.1", 0, process_request=self._look, ping_interval=None)
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._events.serve_forever, self._accept)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listening.shutdown(socket.SHUT_RDWR)
        self.cut()
        self._events.shutdown()
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def send(self, *frames):
        """To all that listen."""
        for stream in list(self.streams):
            with suppress(Exception):  # It is gone.
                for one in frames:
                    stream.send(one)

    def drip(self, pieces):
        """Send these bytes to all that listen now, without a frame around them; a number is a pause in seconds."""
        for stream in list(self.streams):
            threading.Thread(target=_drip, args=(stream.socket, pieces), daemon=True).start()

    def cut(self):
        """End all streams."""
        for stream in list(self.streams):
            stream.close()

    @property
    def tokens(self):
        """Of the streams that are open, in order."""
        return [stream.request.headers["X-Vault-Token"] for stream in list(self.streams)]

    def _look(self, connection, request):
        self.requests.append(request)
        if self.away is not None:
            return connection.respond(self.away, "{}\n")
        if request.path != PATH or not request.headers.get("X-Vault-Token"):
            return connection.respond(HTTPStatus.BAD_REQUEST, "{}\n")
        return None

    def _serve(self, stream):
        self.streams.append(stream)
        with suppress(Exception):
            for _ in stream:
                pass
        self.streams.remove(stream)

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._pass, args=(near,), daemon=True).start()

    def _pass(self, near):
        with ExitStack() as open_, suppress(OSError):
            open_.enter_context(near)
            if self._tls:
                near = open_.enter_context(self._tls.wrap_socket(near, server_side=True))
            first = near.recv(65536)
            port = self._events.socket.getsockname()[1] if b" /v1/sys/events/" in first[:100] else self._target
            far = open_.enter_context(socket.create_connection(("127.0.0.1", port)))
            far.sendall(first)
            back = threading.Thread(target=_on, args=(far, near), daemon=True)
            back.start()
            _on(near, far)
            back.join()


def _drip(target, pieces):
    with suppress(OSError):
        for piece in pieces:
            if isinstance(piece, bytes):
                target.sendall(piece)
            else:
                time.sleep(piece)


def _on(source, target):
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
