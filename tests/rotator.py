"""A real `lessee rotate --watch` in a folder of its own, with rights of its own."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import yaml

from lessee.core.rotation import journal
from lessee.host.status import UnixConnection, ask
from sidecar import PATIENCE, eventually

POLICY = """
path "secret/data/{0}/app/*" {{ capabilities = ["create", "read", "update"] }}
path "secret/metadata/{0}/app/*" {{ capabilities = ["create", "read", "update"] }}
path "secret/data/{0}/lessee/rotation/*" {{ capabilities = ["create", "read", "update"] }}
path "secret/metadata/{0}/lessee/rotation/*" {{ capabilities = ["create", "read", "update"] }}
path "secret/metadata/{0}/lessee/consumers/*" {{ capabilities = ["list", "read", "delete"] }}
"""
TARGET = {
    "kind": "vault",
    "secret": "app/one",
    "keys": {"password": {"generate": 32}},
    "confirm_within": "100ms",
    "retire_after": "0s",
}


class Service:
    """One process over a configuration of the test's own; `name` is its folder's and its role's."""

    def __init__(self, server, disk, memory, *, environment, name="rotator", address=None):
        self.server, self.environment, self.name = server, environment, f"{environment}-{name}"
        self.disk, self.state = disk / name, memory / name
        self.disk.mkdir()
        self.file, self.log = self.disk / "lessee.yaml", self.disk / "rotator.log"
        self.process, self.arguments = None, ()
        self.allow(POLICY.format(environment))
        files = {key: str(self.disk / key) for key in ("role_id", "secret_id")}
        self.config = {
            "environment": environment,
            "vault": {
                "address": address or server.address,
                "auth": {"method": "approle"} | {f"{key}_file": file for key, file in files.items()},
            },
            "state": str(self.state),
            "rotation": {},
        }

    @property
    def socket(self):
        return self.state / "rotator.sock"

    def allow(self, policy):
        """From now on, and for all its tokens."""
        for key, value in zip(("role_id", "secret_id"), self.server.approle(self.name, policy), strict=True):
            (self.disk / key).write_text(value)

    def target(self, name, **settings):
        self.config["rotation"][name] = TARGET | settings

    def write_config(self):
        text = yaml.safe_dump(self.config)
        self.file.with_suffix(".new").write_text(text)
        self.file.with_suffix(".new").rename(self.file)

    def start(self, *arguments):
        self.write_config()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lessee", "rotate", "--watch", *arguments],
                cwd=self.disk,
                env={"PATH": os.environ["PATH"], "HOME": str(self.disk)},
                stdout=log,
                stderr=log,
            )
        return self

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def status(self):
        return ask(self.socket, "GET", "/status.json")

    def get(self, path):
        """The code, and the text, of one answer."""
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

    def events(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    # What is in Vault.

    def fields(self, path="app/one", version=0):
        return self.server.ask("GET", f"secret/data/{self.environment}/{path}?version={version}")["data"]["data"]

    def put(self, path="app/one", **fields):
        return self.server.put(f"{self.environment}/{path}", **fields)

    def versions(self, path="app/one"):
        """All that are there, and when each was made."""
        return self.server.ask("GET", f"secret/metadata/{self.environment}/{path}")["data"]["versions"]

    def journal(self, name="one"):
        return journal.read(self.fields(f"{journal.FOLDER}{name}"))

    def confirm(self, version, path="app/one"):
        """As the agent of an app does."""
        where = f"secret/metadata/{self.environment}/lessee/consumers/simba/host-1"
        self.server.ask("POST", where, {"custom_metadata": {path: str(version)}})
