"""A bare namespace of a real server, and `lessee setup` with the test's configuration."""

import json
import os
import sys

import yaml

from lessee.host.openbao import ROOT_TOKEN
from support.programs.forks import run_lessee

AUDIT = 'audit "file" "tests" { options { file_path = "%s" } }'
WRITES = {"create", "update", "delete", "patch"}
ENVIRONMENTS = ["development", "testing", "production"]
COMPONENTS = {"app": ["read", "list"], "database-admin": ["all"], "security": ["all"], "ci": ["read"]}
"""The access matrix."""
CANARY = "canary-7d1f3a"


class SetupNamespace:
    """A namespace like a new server: without engines, policies and auth methods except tokens."""

    def __init__(self, bao, name, disk, audit=None):
        self.bao, self.name, self.disk = bao, name, disk
        self._audit, self._read, self._requests = audit, 0, []
        bao.ask("POST", f"sys/namespaces/{name}", {})
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(disk),
            "VAULT_TOKEN": ROOT_TOKEN,
            "VAULT_NAMESPACE": name,
            "OPENROUTER_API_KEY": f"{CANARY}-openrouter",
        }
        self.config = {
            "vault": {"address": bao.address},
            "setup": {
                "environments": list(ENVIRONMENTS),
                "components": dict(COMPONENTS),
                "secrets": {
                    "database/postgres": {"password": {"generate": 32}, "username": {"value": "simba"}},
                    "api-keys/openrouter": {"api_key": {"env": "OPENROUTER_API_KEY"}},
                },
            },
        }

    @property
    def wanted(self):
        return self.config["setup"]

    def command(self, *arguments):
        (self.disk / "lessee.yaml").write_text(yaml.safe_dump(self.config))
        return [sys.executable, "-m", "lessee", *arguments]

    def run(self, *arguments, code=0, **environ):
        """Run `lessee setup …`, and return its output."""
        command = self.command("setup", *arguments)
        done = run_lessee(*command[3:], cwd=self.disk, env=self.environ | environ)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def ask(self, method, path, body=None, token=ROOT_TOKEN):
        return self.bao.ask(method, f"{self.name}/{path}", body, token=token)

    def is_allowed(self, method, path, body=None, token=ROOT_TOKEN):
        """Whether the token may do it; a 404 counts as allowed."""
        try:
            self.ask(method, path, body, token)
        except RuntimeError as exc:
            if str(exc).endswith(("403", "404")):
                return str(exc).endswith("404")
            raise
        return True

    def has(self, method, path):
        try:
            return self.ask(method, path)
        except RuntimeError:
            return None

    def secret(self, path):
        return self.ask("GET", f"secret/data/{path}")["data"]["data"]

    def log_in(self, role):
        """A token of this role."""
        role_id = self.ask("GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"]
        secret_id = self.ask("POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]
        body = {"role_id": role_id, "secret_id": secret_id}
        return self.ask("POST", "auth/approle/login", body, token="")["auth"]["client_token"]

    def writes(self):
        """The number of write requests in this namespace, allowed or not."""
        return sum(request["operation"] in WRITES for request in self._own_requests())

    def requests(self):
        """The number of requests in the server's audit log, of all clients."""
        return len(self._logged())

    def requested_paths(self):
        """The requested paths in this namespace, in order."""
        return [request["path"] for request in self._own_requests()]

    def _own_requests(self):
        own = f"{self.name}/"
        return [request for request in self._logged() if request.get("namespace", {}).get("path") == own]

    def _logged(self):
        with self._audit.open("rb") as log:
            log.seek(self._read)
            lines = [line for line in log.read().splitlines(keepends=True) if line.endswith(b"\n")]
        self._read += sum(map(len, lines))
        entries = map(json.loads, lines)
        self._requests += [entry["request"] for entry in entries if entry["type"] == "request"]
        return self._requests

    def dump(self, *environments):
        """The objects of these environments and the shared ones, without random values."""
        names = (*(f"{name}/" for name in environments), "lessee/")
        policies = [name for name in self._list("sys/policies/acl") if name.startswith(_dashed(environments))]
        roles = [name for name in self._list("auth/approle/role") if name.startswith(_dashed(environments))]
        mounts = self.ask("GET", "sys/mounts")["data"]
        return {
            "policies": {name: self.ask("GET", f"sys/policies/acl/{name}")["data"]["policy"] for name in policies},
            "roles": {name: self.ask("GET", f"auth/approle/role/{name}")["data"] for name in roles},
            "mounts": {name: mounts[name]["config"] for name in mounts if name.startswith((*names, "secret/"))},
            "secrets": {path: self._versions(path) for name in names for path in self._below(name)},
        }

    def _versions(self, path):
        metadata = self.ask("GET", f"secret/metadata/{path}")["data"]
        return metadata["cas_required"], metadata["versions"], self.secret(path) if metadata["versions"] else None

    def _below(self, folder):
        for name in self._list(f"secret/metadata/{folder}"):
            yield from self._below(f"{folder}{name}") if name.endswith("/") else [f"{folder}{name}"]

    def _list(self, path):
        return (self.has("GET", f"{path}?list=true") or {"data": {"keys": []}})["data"]["keys"]


def _dashed(environments):
    return tuple(f"{name}-" for name in environments)
