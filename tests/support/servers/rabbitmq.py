"""A real RabbitMQ on loopback, with its management API."""

import base64
import json
import os
import subprocess
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from lessee.host.openbao import free_port
from support.needs import need
from support.programs.sidecar import eventually

ADMIN, ADMIN_PASSWORD = "admin", "first-of-an-admin"
_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Not the one on PATH, which changes to the user of Debian's service."""
_TIMEOUT = 20.0


class Rabbitmq:
    """A broker with an administrator. Erlang's port mapper is its own too."""

    def __init__(self, folder, settings=()):
        """`settings`: more of its configuration."""
        need(_PROGRAM.is_file(), "needs RabbitMQ: apt install rabbitmq-server")
        self.port, self.api_port, mapper, distribution = (free_port() for _ in range(4))
        self.url = f"http://127.0.0.1:{self.api_port}"
        self.log = folder / "rabbitmq.log"
        config = {
            "listeners.tcp.default": f"127.0.0.1:{self.port}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": self.api_port,
            "default_user": ADMIN,
            "default_pass": ADMIN_PASSWORD,
            "log.console": "true",
            "log.console.level": "debug",
            "log.file": "false",
            **dict(settings),
        }
        file, plugins, home = folder / "rabbitmq.conf", folder / "plugins", folder / "home"
        file.write_text("".join(f"{name} = {value}\n" for name, value in config.items()))
        plugins.write_text("[rabbitmq_management].\n")
        home.mkdir()
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "RABBITMQ_NODENAME": f"lessee-{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(file),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        # Otherwise the broker starts one, which outlives it.
        self._mapper = subprocess.Popen(["epmd"], env=self._environ, stdout=subprocess.DEVNULL)
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [_PROGRAM], env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._answers, "RabbitMQ")

    def stop(self):
        """Kill it, as a power failure does."""
        os.killpg(self.process.pid, 9)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self._mapper.kill()
        self._mapper.wait()

    def ask(self, method, path, body=None):
        """Send a request to the management API as its administrator. Returns the document, or None."""
        pair = base64.b64encode(f"{ADMIN}:{ADMIN_PASSWORD}".encode()).decode()
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}
        request = Request(f"{self.url}/api/{path}", data, headers, method=method)
        with urlopen(request, timeout=_TIMEOUT) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def users(self):
        """All users by their names."""
        return {user["name"]: user for user in self.ask("GET", "users")}

    def add_user(self, name, password, tags="", **permissions):
        """Add a user. `permissions`: by virtual host, each with the patterns of configure, write and read."""
        self.ask("PUT", f"users/{quote(name, safe='')}", {"password": password, "tags": tags})
        for vhost, patterns in permissions.items():
            body = dict(zip(("configure", "write", "read"), patterns, strict=True))
            self.ask("PUT", f"permissions/{quote(vhost, safe='')}/{quote(name, safe='')}", body)

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "health/checks/port-listener/" + str(self.port))
        except (HTTPError, URLError, ConnectionError, TimeoutError):
            return False
