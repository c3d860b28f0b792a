"""A real app behind gunicorn or uvicorn with two workers, and clients that never leave it in peace."""

import hashlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

from lessee.host.openbao import free_port
from lessee.host.procfs import stat

HOST = "127.0.0.1"
CLIENTS = 4
PACE = 0.005
"""Seconds that a client waits after an answer."""
RENEWED = 20
"""Answers after which a client opens another connection, so that in the end it has met all workers."""
TIMEOUT = 10.0

# It reads at its import alone: a worker serves what stood there when it started.
_APP = """
import hashlib, os, pathlib
said = hashlib.sha256(pathlib.Path(os.environ["APP_FILE"]).read_bytes()).hexdigest() + f" {os.getpid()}"
def wsgi(environ, start_response):
    start_response("200 OK", [("content-length", str(len(said)))])
    return [said.encode()]
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    length = (b"content-length", str(len(said)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": said.encode()})
"""


def gunicorn(port):
    """With threads: its default worker keeps no connection alive."""
    return ["gunicorn", "app:wsgi", "--workers=2", f"--threads={CLIENTS}", f"--bind={HOST}:{port}"]


def uvicorn(port):
    options = ["--workers=2", "--timeout-worker-healthcheck=60", "--no-access-log", f"--host={HOST}", f"--port={port}"]
    return ["uvicorn", "app:asgi", *options]


class Served:
    """The app that reads `file`, under one of the servers above, whose pid is in `pid_file`."""

    def __init__(self, server, folder, file):
        (folder / "app.py").write_text(_APP)
        self.port = free_port()
        self.log, self.pid_file = folder / "server.log", folder / "server.pid"
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "APP_FILE": str(file)}
        command = [sys.executable, "-m", *server(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        self.pid_file.write_text(f"{self.process.pid}\n")

    def answers(self):
        """Whether it has begun to serve."""
        with closing(_Client(self.port)) as client:
            try:
                return client.ask()
            except ConnectionError:
                return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Clients:
    """They ask as long as they are open."""

    def __init__(self, port):
        self._clients = [_Client(port) for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._work, args=(client,)) for client in self._clients]
        self._done = threading.Event()
        self._said = {}
        self.failures = []

    @property
    def answered(self):
        return sum(client.answered for client in self._clients)

    @property
    def retried(self):
        return sum(client.retried for client in self._clients)

    def all_serve(self, content):
        """Whether at least two workers have answered and live, and all that do serve this content of the file."""
        wanted = hashlib.sha256(content).hexdigest()
        alive = [said for (pid, start), said in dict(self._said).items() if start and _start(pid) == start]
        return len(alive) > 1 and set(alive) == {wanted}

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _work(self, client):
        with closing(client):
            while not self._done.wait(PACE):
                try:
                    said, pid = client.ask()
                except (OSError, HTTPException) as exc:
                    self.failures.append(f"{type(exc).__name__}: {exc}")
                    client.close()
                else:
                    self._said[pid, _start(pid)] = said


def _start(pid):
    """When the process with this pid has started, None if it has ended; another one may have the pid soon."""
    with suppress(OSError):
        return stat(int(pid)).start_ticks
    return None


class _Client:
    """One connection, reused for some requests."""

    def __init__(self, port):
        self._connection = HTTPConnection(HOST, port, timeout=TIMEOUT)
        self._reused = 0
        self.answered, self.retried = 0, 0

    def close(self):
        self._connection.close()
        self._reused = 0

    def ask(self):
        """What a worker serves, and its pid.

        A server may close a connection that idles just as the next request is on its way. So where one that has
        served before is closed without a word, the request is sent again, once (RFC 9112, 9.3.1).
        """
        # A connection that was closed while idle is no failure: every connection pool checks before it sends.
        if self._reused == RENEWED or (self._reused and select.select([self._connection.sock], [], [], 0)[0]):
            self.close()
        try:
            answer = self._ask()
        except ConnectionError:
            if not self._reused:
                raise
            self.close()
            self.retried += 1
            answer = self._ask()
        self.answered += 1
        return answer

    def _ask(self):
        self._connection.request("GET", "/")
        # The body is sent when the head was acknowledged, which the kernel would put off for 40 ms.
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        answer = self._connection.getresponse()
        try:
            content = answer.read().decode()
        except ConnectionError:
            raise HTTPException("cut in the middle of an answer") from None
        if answer.status != 200:
            raise HTTPException(f"status {answer.status}")
        if answer.will_close:
            self.close()
        else:
            self._reused += 1
        return content.split()
