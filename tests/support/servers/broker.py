"""A real nginx as a broker, with the configuration of templates/broker."""

import http.client
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

from support.models.template_library import TEMPLATES
from support.needs import need
from support.programs.sidecar import eventually

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
HOSTS = ("api.openai.com", "api.anthropic.com", "openrouter.ai", "api.search.brave.com", "api.github.com")
_DIRECTORY = "/run/secrets/broker"
_TO_HOST = "proxy_pass https://$broker_host;"


class Broker:
    """It listens at Unix sockets, and sends the calls of all APIs to one port of this machine."""

    def __init__(self, folder, files, *, rate="1000r/s", open_calls=100):
        """`files`: the directory that an agent renders with `template`, or that a test writes with it."""
        need(NGINX, "needs nginx: apt install nginx")
        self.home = folder / "broker"
        self.home.mkdir()
        self.socket, self.log, self.errors = self.home / "socket", self.home / "access.log", self.home / "errors"
        text = (TEMPLATES / "broker/nginx.conf").read_text()
        for old, new in {
            "/tmp/": "/@tmp/",
            _DIRECTORY: str(files),
            "/@tmp/": f"{self.home}/",
            "/dev/stdout": str(self.log),
            "/etc/ssl/certs/ca-certificates.crt": str(folder / "ca.crt"),
            "listen 8080;": f"listen 127.0.0.1:8080; listen unix:{self.socket};",
            "rate=20r/s": f"rate={rate}",
            "open_calls 100": f"open_calls {open_calls}",
        }.items():
            assert old in text
            text = text.replace(old, new)
        # A port of loopback would be another test's too.
        self.tokens = self.home / "tokens"
        text = text.replace("listen 127.0.0.1:8080;", f"listen unix:{self.tokens};")
        text = text.replace('"~^unix:" socket;', f'"unix:{self.socket}" socket;')
        (self.home / "nginx.conf").write_text(text)

    def __enter__(self):
        command = [NGINX, "-g", "user root;", "-e", "stderr", "-c", self.home / "nginx.conf"]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(command, stdout=errors, stderr=errors)
        eventually(lambda: self.process.poll() is not None or (self.home / "nginx.pid").exists(), "nginx")
        assert self.process.poll() is None, self.errors.read_text()
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def workers(self):
        """The pids of its workers, also of those that end because of a reload."""
        return set(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())

    def call(self, path, token=None, *, method="GET", body=None, headers=(), header="Authorization", prefix="Bearer "):
        """Status, headers and text of an answer. Without a token, the call is sent to the socket that needs none."""
        connection = _Connection(self.tokens if token is not None else self.socket)
        given = {header: f"{prefix}{token}"} if token else {}
        try:
            connection.request(method, path, body, {**given, **dict(headers)})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode("latin-1")
        finally:
            connection.close()

    @contextmanager
    def open_call(self, path, token):
        """A call whose answer has begun; it is open until the block ends."""
        connection = _Connection(self.tokens)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()  # Without it, the connection would be closed.
            yield answer
        finally:
            connection.close()

    def send(self, raw):
        """What nginx answers to these bytes."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket))
            connection.sendall(raw)
            return b"".join(iter(lambda: connection.recv(65536), b""))


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("broker", timeout=30)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def template(name, port):
    """The text of an API's template whose calls go to this port, with the name of the API's own server."""
    text = (TEMPLATES / f"broker/{name}.nginx.conf.j2").read_text()
    return text.replace(_TO_HOST, f"proxy_pass https://127.0.0.1:{port};")
