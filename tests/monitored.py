"""A real OpenBao that writes an audit log, and a real `lessee monitor` that follows it."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import yaml

from lessee.host.openbao import OpenBao
from lessee.host.status import UnixConnection, ask
from sidecar import PATIENCE, eventually

AUDIT_FILE = 'audit "file" "tests" { options { file_path = "%s" } }'
AUDIT_SOCKET = 'audit "socket" "listener" { options { address = "%s" socket_type = "%s" } }'


class Audited(OpenBao):
    """A server of the test's own. It counts what was asked of it, but for what it asks itself at its start."""

    def __init__(self, folder, *, config=None):
        self.audit = folder / "audit.log"
        self.asked = 0
        super().__init__(folder, config=config or AUDIT_FILE % self.audit)

    def ask(self, method, path, body=None, **settings):
        try:
            return super().ask(method, path, body, **settings)
        finally:
            self.asked += path != "secret/config"

    def reopen(self):
        """As logrotate has it told, once it has renamed the file."""
        self.process.send_signal(signal.SIGHUP)


class Monitor:
    """One process over a configuration of the test's own. Nothing lets it in to Vault: it has no token, and no role."""

    def __init__(self, disk, memory, audit, **said):
        self.disk, self.state, self.memory = disk, disk / "monitor", memory
        disk.mkdir(exist_ok=True)
        self.file, self.log = disk / "lessee.yaml", disk / "monitor.log"
        self.socket = memory / "monitor.sock"
        self.process = None
        self.config = {"state": str(memory), "monitor": {"audit": audit, "state": str(self.state), **said}}

    def write_config(self):
        self.file.with_suffix(".new").write_text(yaml.safe_dump(self.config))
        self.file.with_suffix(".new").rename(self.file)

    def command(self, *arguments, before=(), **settings):
        """`before`: a program that becomes it."""
        self.write_config()
        return {
            "args": [*before, sys.executable, "-m", "lessee", "monitor", *arguments],
            "cwd": self.disk,
            "env": {"PATH": os.environ["PATH"], "HOME": str(self.disk)},
            **settings,
        }

    def start(self, *arguments, **settings):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(**self.command(*arguments, stdout=log, stderr=log, **settings))
        return self

    def once(self):
        """Read to the end; what went wrong, if anything did."""
        return subprocess.run(**self.command("--once", capture_output=True, text=True, timeout=PATIENCE), check=False)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def status(self):
        return ask(self.socket, "GET", "/status.json")

    def source(self, name="vault"):
        return next(one for one in self.status()["sources"] if one["name"] == name)

    def get(self, path):
        connection = UnixConnection(self.socket, 5.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def until(self, check, patience=PATIENCE):
        """Wait until the status is as wanted; the log goes into the failure."""

        def look():
            assert self.process.poll() is None, f"it ended:\n{self.log.read_text()}"
            with suppress(Exception):  # It is not up yet.
                status = self.status()
                return status if check(status) else None

        try:
            return eventually(look, "the wanted status", patience)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.log.read_text()}") from None

    def kept(self):
        return json.loads((self.state / "state.json").read_text())

    def events(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def accesses(*files):
    """The answered requests that some files of a log have, by their ids."""
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line["request"].get("id", "") for line in lines if line["type"] == "response"]
