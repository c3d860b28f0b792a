"""A real `lessee rotate --watch` with its own directory and permissions."""

import os
import subprocess
import sys

import yaml

from lessee.ops.rotate.policy import journal, status_fields
from support.programs.sidecar import Running
from support.reference.status import check_declared

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
    "confirmation_timeout": "100ms",
    "revoke_delay": "0s",
}


class Service(Running):
    """One process with a configuration of its own; `name` is the name of its directory and of its role."""

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
            "state_dir": str(self.state),
            "rotation": {},
        }

    @property
    def socket(self):
        return self.state / "rotator.sock"

    def status(self):
        return check_declared(super().status(), status_fields, "RotatorStatus")

    def allow(self, policy):
        """Replace its policy, also for its existing tokens."""
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

    # The secrets in Vault.

    def fields(self, path="app/one", version=0):
        return self.server.ask("GET", f"secret/data/{self.environment}/{path}?version={version}")["data"]["data"]

    def put(self, path="app/one", **fields):
        return self.server.put(f"{self.environment}/{path}", **fields)

    def versions(self, path="app/one"):
        """All versions, with their creation times."""
        return self.server.ask("GET", f"secret/metadata/{self.environment}/{path}")["data"]["versions"]

    def journal(self, name="one"):
        return journal.parse(self.fields(f"{journal.FOLDER}{name}"))

    def confirm(self, version, path="app/one"):
        """Confirm a version, as the agent of an app does."""
        where = f"secret/metadata/{self.environment}/lessee/consumers/simba/host-1"
        self.server.ask("POST", where, {"custom_metadata": {path: str(version)}})
