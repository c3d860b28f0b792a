"""A monitor that responds to alerts: its login, with just the policy that lessee derives, and clients that offend."""

import json
from contextlib import suppress

from lessee.config.parsing import parse
from lessee.ops.access.policy.monitor_policy import of_monitor
from support.programs.monitor import Monitor

SECRET = "secret/data/production/database/postgres"
NONE = "secret/data/testing/none"
DENIED = 3
"""Denials in a row that raise an alert."""
READER = 'path "secret/data/production/*" { capabilities = ["read"] }'


class Responder(Monitor):
    """A monitor of environment `production` with `responses`; `write_login` gives it its role on the server."""

    def __init__(self, server, disk, memory, hook, **responses):
        alerts = {"webhook": hook.url, "consecutive_denials": DENIED, "default_rules": False, "resolve_timeout": "1h"}
        audit = {"file": str(server.audit), "name": "vault"}
        super().__init__(disk, memory, audit, alerts=alerts, start_at="end")
        self.server, self.hook = server, hook
        self.responses = {"protected": [], "audit_device": "tests", **responses}
        login = {"method": "approle", "role_id_file": str(disk / "role_id"), "secret_id_file": str(disk / "secret_id")}
        self.config |= {"environment": "production", "vault": {"address": server.address, "auth": login}}
        self.config["monitor"]["responses"] = self.responses

    def start(self, *arguments, **settings):
        self.write_login()
        super().start(*arguments, **settings)
        self.until(lambda status: status["ready"] and status["sources"])
        return self

    def write_login(self):
        """The AppRole and policy that `lessee setup` makes for these responses."""
        config = parse(json.dumps(self.config), source="lessee.yaml", environ={}, blocks=("monitor", "rotation"))
        policy = of_monitor("production-monitor", config)
        if policy:
            role_id, secret_id = self.server.approle("production-monitor", policy, token_no_default_policy=True)
            (self.disk / "role_id").write_text(role_id)
            (self.disk / "secret_id").write_text(secret_id)

    def recent(self, response=None):
        """The newest record of each response."""
        found = self.status()["responses"]["recent"]
        return [one for one in found if response is None or one["response"] == response]

    def journal(self):
        return [json.loads(line) for line in (self.state / "responses.jsonl").read_text().splitlines()]

    def counted(self):
        return [one for one in self.journal() if one["event"] == "counted"]


class Client:
    """A client of Vault with a token of its own."""

    def __init__(self, server, login=None, token=None):
        self.server = server
        if token is None:
            role_id, secret_id = login
            body = {"role_id": role_id, "secret_id": secret_id}
            token = server.ask("POST", "auth/approle/login", body, token="")["auth"]["client_token"]
        self.token = token

    def offend(self, count=DENIED):
        for _ in range(count):
            with suppress(RuntimeError):
                self.server.ask("GET", NONE, token=self.token)

    @property
    def is_alive(self):
        try:
            self.server.ask("GET", "auth/token/lookup-self", token=self.token)
        except RuntimeError:
            return False
        return True
