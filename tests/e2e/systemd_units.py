"""The units of compose/systemd and what they need, on a machine with systemd as PID 1."""

import json
import time

import pytest

from support.paths import ROOT

FOLDER = ROOT / "compose/systemd"
AGENT, APP = "lessee@app.service", "app.service"
DB, DB_AGENT, DB_SOCKET = "db.service", "lessee@db.service", "lessee@db.socket"
DRILL = "lessee-drill.service", "lessee-drill.timer"
ISSUER = "lessee-issue.service"
STATUS = ("/opt/lessee/bin/lessee", "status", "--json", "--socket", "/run/lessee/app/agent/status.sock")
TIMEOUT = 90
POLICY = """
path "secret/data/production/*" { capabilities = ["read"] }
path "secret/metadata/production/*" { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
"""


class Installed:
    """The units and what they need, on a machine, and a Vault server."""

    def __init__(self, machine, server):
        self.machine, self.server = machine, server
        self.run = machine.run

    def install(self):
        for unit in "lessee@.service", "app.service", *DRILL:
            self.machine.put(f"/etc/systemd/system/{unit}", FOLDER / unit)
        self.machine.put(f"/etc/systemd/system/{ISSUER}", ROOT / "compose/issue" / ISSUER)
        self.machine.put("/usr/lib/sysusers.d/lessee.conf", FOLDER / "lessee.sysusers")
        self.machine.put("/opt/app/app.py", ROOT / "compose/quickstart/app/app.py")
        for unit in "lessee@.socket", DB:
            self.machine.put(f"/etc/systemd/system/{unit}", FOLDER / "credentials" / unit)
        self.machine.put("/etc/polkit-1/rules.d/50-lessee-db.rules", FOLDER / "credentials/lessee.rules")
        self.run("systemd-sysusers")
        self.secret_id = self.configure("app", FOLDER / "app", "app.env.j2")
        self.configure("db", FOLDER / "credentials/lessee", "password.j2")
        self.run("systemctl", "daemon-reload")

    def configure(self, name, folder, template):
        """As the README says."""
        config = (folder / "lessee.yaml").read_text().replace("https://vault:8200", self.server.address)
        self.machine.put(f"/etc/lessee/{name}/lessee.yaml", config)
        self.machine.put(f"/etc/lessee/{name}/{template}", folder / template)
        role_id, secret_id = self.server.approle(name, POLICY)
        self.machine.put(f"/etc/lessee/{name}/role_id", role_id)
        encrypt = ("systemd-creds", "encrypt", "--with-key=host", "--name=secret_id", "-")
        self.run(*encrypt, f"/etc/lessee/{name}/secret_id.cred", text=secret_id)
        return secret_id

    def rotate(self, value, name="database"):
        self.server.put(f"production/{name}", username="app", password=value)

    def journal(self, unit=APP):
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit)

    def file(self):
        return self.machine.path("/run/lessee/app/files/app.env").read_text()

    def pid(self, unit):
        return int(self.run("systemctl", "show", "--property=MainPID", "--value", unit))

    def status(self):
        return json.loads(self.run(*STATUS))

    def wait_for(self, check, what):
        deadline = time.monotonic() + TIMEOUT
        while not check():
            if time.monotonic() > deadline:
                states = self.run("systemctl", "status", "--no-pager", "--full", AGENT, APP, DB, check=False)
                logs = self.journal(AGENT) + self.journal(DB_AGENT)
                pytest.fail(f"no {what} within {TIMEOUT} s:\n{states}\n{logs}")
            time.sleep(0.1)
