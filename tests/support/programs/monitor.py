"""A real OpenBao that writes an audit log, and a real `lessee monitor` that follows it."""

import json
import os
import signal
import subprocess
import sys

import yaml

from lessee.host.openbao import OpenBao
from lessee.ops.monitor.policy import status_fields
from support.programs.sidecar import PATIENCE, Running
from support.reference.status import check_declared

AUDIT_FILE = 'audit "file" "tests" { options { file_path = "%s" } }'
AUDIT_SOCKET = 'audit "socket" "listener" { options { address = "%s" socket_type = "%s" } }'


class Audited(OpenBao):
    """The test's own server. `requests` counts those of the test."""

    def __init__(self, folder, *, config=None):
        self.audit = folder / "audit.log"
        self.requests = 0
        super().__init__(folder, config=config or AUDIT_FILE % self.audit)

    def ask(self, method, path, body=None, **settings):
        try:
            return super().ask(method, path, body, **settings)
        finally:
            self.requests += path != "secret/config"

    def reopen(self):
        """Reopen the log, as logrotate requests it after renaming the file."""
        self.process.send_signal(signal.SIGHUP)


class Monitor(Running):
    """A monitor process with the test's configuration. It has no login to Vault."""

    def __init__(self, disk, memory, audit, **block):
        self.disk, self.state, self.memory = disk, disk / "monitor", memory
        disk.mkdir(exist_ok=True)
        self.file, self.log = disk / "lessee.yaml", disk / "monitor.log"
        self.socket = memory / "monitor.sock"
        self.process = None
        block = {"audit": audit, "state_dir": str(self.state), "start_at": "beginning", **block}
        self.config = {"state_dir": str(memory), "monitor": block}

    def status(self):
        return check_declared(super().status(), status_fields, "MonitorStatus")

    def write_config(self):
        self.file.with_suffix(".new").write_text(yaml.safe_dump(self.config))
        self.file.with_suffix(".new").rename(self.file)

    def command(self, *arguments, before=(), **settings):
        """`before`: a program that executes the command."""
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

    def once(self, *arguments):
        """Read to the end of the logs."""
        return subprocess.run(
            **self.command("--once", *arguments, capture_output=True, text=True, timeout=PATIENCE), check=False
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def source(self, name="vault"):
        return next(one for one in self.status()["sources"] if one["name"] == name)

    def checkpoint(self):
        return json.loads((self.state / "state.json").read_text())


def accesses(*files):
    """The ids of the answered requests in the files of a log."""
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line["request"].get("id", "") for line in lines if line["type"] == "response"]
