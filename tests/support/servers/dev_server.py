"""A `lessee dev` of a test: its commands, its process, and requests as its user's clients send them."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from contextlib import suppress
from http.client import HTTPSConnection
from pathlib import Path

from lessee.host.openbao import free_port
from lessee.status.client import UnixConnection
from support.paths import TESTS
from support.programs.forks import run_lessee, run_main, start_main
from support.programs.sidecar import PATIENCE, eventually
from support.servers import killed_dev


class Dev:
    """A folder of `lessee dev` with a short path, and its commands. `with Dev() as dev:` ends its server.

    `by_socket`: requests go to the Unix socket, because the server's loopback is not this process's.
    `is_lasting`: what `under` enters is there until the end of all tests.
    """

    def __init__(self, cwd, *, folder=None, under=(), by_socket=False, is_lasting=False):
        self.home = Path(tempfile.mkdtemp(prefix="lessee-dev-"))
        self.folder = folder or self.home / "dev"
        self.cwd, self.under, self.port, self.by_socket = cwd, list(under), free_port(), by_socket
        self._is_lasting = is_lasting
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        self.said = ""
        """What all commands have printed."""
        self._running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._running:
            process.kill()
            process.wait()
        self("--stop")
        shutil.rmtree(self.home, ignore_errors=True)

    def words(self, *options):
        return ["dev", "--directory", str(self.folder), *map(str, options)]

    def __call__(self, *options, under=(), text="", **environ):
        """Run one command to its end."""
        command, environ = self.words(*options), self.environ | environ
        if under or (self.under and not self._is_lasting):
            words = [*self.under, *under, sys.executable, "-m", "lessee", *command]
            where = {"cwd": self.cwd, "env": environ, "input": text, "timeout": PATIENCE}
            done = subprocess.run(words, **where, capture_output=True, text=True, check=False)
        else:
            done = run_lessee(*command, cwd=self.cwd, env=environ, text=text, under=self.under)
        self.said += done.stdout + done.stderr
        return done

    def detach(self, *options, **settings):
        done = self("--detach", "--port", self.port, *options, **settings)
        assert done.returncode == 0, done.stderr
        return done

    def foreground(self, *command, options=()):
        """`lessee dev` as a process of the test's; its output is in `home/out`."""
        with (self.home / "out").open("ab") as out:
            process = subprocess.Popen(
                [
                    *self.under,
                    *(command or (sys.executable, "-m", "lessee")),
                    *self.words("--port", self.port, *options),
                ],
                cwd=self.cwd,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self._running.append(process)
        return process

    def killed(self, moment, *, suspend=False, options=()):
        """A first process that ends by SIGKILL at this moment, see `killed_dev.py`; or stops there."""
        environ = {"SUSPEND": "1"} if suspend else {}
        if self.under:
            given = [f"{name}={value}" for name, value in {**environ, "PYTHONPATH": TESTS}.items()]
            return self.foreground("env", *given, sys.executable, "-m", killed_dev.__name__, moment, options=options)
        words = ["lessee", moment, *self.words("--port", self.port, *options)]
        streams = [Path(os.devnull), self.home / "out", self.home / "out"]
        process = start_main(killed_dev.main, *words, cwd=self.cwd, env=self.environ | environ, streams=streams)
        self._running.append(process)
        return process

    def run_killed(self, moment, *options):
        """Run one command until it ends by SIGKILL at this moment."""
        done = run_main(killed_dev.main, "lessee", moment, *self.words(*options), cwd=self.cwd, env=self.environ)
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr

    def copy_of(self, started):
        """Begin with the folder of another one, which was stopped."""
        shutil.copytree(started.folder, self.folder)

    def until_ready(self):
        eventually(lambda: self("--status").returncode == 0, "the server")

    @property
    def token(self):
        return (self.folder / "token").read_text().strip()

    def ask(self, method, path, body=None, *, token=None):
        """A request as a client by the port sends it. Raises RuntimeError with the status of an error."""
        connection = self._connection()
        headers = {"X-Vault-Token": self.token if token is None else token}
        try:
            connection.request(method, f"/v1/{path}", json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise RuntimeError(f"{response.status}")
        return json.loads(content or b"{}")

    def _connection(self):
        if self.by_socket:
            return UnixConnection(self.folder / "api.sock", timeout=30)
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        return HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)

    def put(self, path, **fields):
        return self.ask("POST", f"secret/data/{path}", {"data": fields})["data"]["version"]

    def get(self, path):
        return self.ask("GET", f"secret/data/{path}")["data"]["data"]

    def servers(self):
        """The pids of all servers of this folder."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if f"-config={self.folder}/server.json".encode() in words:
                    yield int(process.name)

    def root_tokens(self):
        """The accessors of root tokens that there are."""
        accessors = self.ask("GET", "auth/token/accessors?list=true")["data"]["keys"]
        for accessor in accessors:
            found = self.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
            if "root" in found["policies"]:
                yield accessor
