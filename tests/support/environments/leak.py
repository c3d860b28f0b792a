"""A real server with three environments, one of which has leaked, and the credentials of an attacker."""

import json
import os
import sys
from contextlib import suppress
from itertools import count
from urllib.request import Request, urlopen

import yaml

from lessee.host.openbao import ROOT_TOKEN, OpenBao
from support.programs.forks import run_lessee

ENVIRONMENTS = ("production", "testing", "development")
CANARY = "canary-9e1f-value"
CONFIG = """
raw_storage_endpoint = true
audit "file" "tests" { options { file_path = "%s" } }
"""
POLICY = """
path "secret/data/{0}/*" {{ capabilities = ["read"] }}
path "secret/metadata/{0}/*" {{ capabilities = ["read", "list"] }}
path "{0}/database/creds/*" {{ capabilities = ["read"] }}
path "auth/token/create" {{ capabilities = ["update"] }}
path "auth/token/create-orphan" {{ capabilities = ["update", "sudo"] }}
path "sys/leases/renew" {{ capabilities = ["update"] }}
path "sys/leases/revoke" {{ capabilities = ["update"] }}
"""
CREATION = ["""CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"""]
REVOCATION = ['DROP ROLE IF EXISTS "{{name}}"']
NAMES = count()


class LeakScenario:
    """A server with three environments, each with secrets, an AppRole and, on request, a database engine."""

    def __init__(self, folder, postgres):
        self.folder, self.postgres, self.number, self.db_roles = folder, postgres, next(NAMES), []
        self.audit = folder / "audit.log"
        self.bao = OpenBao(folder, config=CONFIG % self.audit)
        self.bao.ask("POST", "sys/auth/approle", {"type": "approle"})
        self.config({"setup": {"environments": list(ENVIRONMENTS)}})
        for environment in ENVIRONMENTS:
            self.bao.put(f"{environment}/database/postgres", password=CANARY)
            self.bao.put(f"{environment}/api-keys/openrouter", api_key=CANARY)
            self.policy(f"{environment}-app", POLICY.format(environment))
            self.role(f"{environment}-app")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bao.stop()
        for name in (*self.db_roles, *self.postgres.roles(f"%\\_{self.number}\\_%")):
            self.postgres.sql(f'DROP ROLE IF EXISTS "{name}"')

    def policy(self, name, text):
        self.bao.ask("PUT", f"sys/policies/acl/{name}", {"policy": text})

    def role(self, name, *policies, **settings):
        body = {"token_policies": list(policies) or [name], "token_ttl": "1h", **settings}
        self.bao.ask("POST", f"auth/approle/role/{name}", body)

    def secret_id(self, name="production-app"):
        return self.bao.ask("POST", f"auth/approle/role/{name}/secret-id", {})["data"]["secret_id"]

    def role_id(self, name="production-app"):
        return self.bao.ask("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]

    def log_in(self, name, secret_id):
        body = {"role_id": self.role_id(name), "secret_id": secret_id}
        return self.bao.ask("POST", "auth/approle/login", body)["auth"]["client_token"]

    def token(self, *policies, parent=ROOT_TOKEN, path="auth/token/create", **settings):
        body = {"policies": list(policies), "ttl": "1h", **settings}
        return self.bao.ask("POST", path, body, token=parent)["auth"]["client_token"]

    def accessor(self, token):
        return self.bao.ask("GET", "auth/token/lookup-self", token=token)["data"]["accessor"]

    def leave_accessor(self, token):
        """Delete a token, but not its accessor, as the server does if it revokes a token and its parent together."""
        accessor, ids = self.accessor(token), "sys/raw/sys/token/id"
        for name in self.bao.ask("LIST", ids)["data"]["keys"]:
            if accessor in self.bao.ask("GET", f"{ids}/{name}")["data"]["value"]:
                self.bao.ask("DELETE", f"{ids}/{name}")
        assert accessor in self.bao.ask("LIST", "auth/token/accessors")["data"]["keys"]
        return accessor

    def wrapped(self, path):
        headers = {"X-Vault-Token": ROOT_TOKEN, "X-Vault-Wrap-TTL": "600"}
        with urlopen(Request(f"{self.bao.address}/v1/{path}", headers=headers)) as answer:
            return json.load(answer)["wrap_info"]["token"]

    def database(self, environment, password="the-first-password"):  # noqa: S107  # Of a role that the test creates.
        """Enable a database engine for the environment, with its own root credential."""
        admin, user = (f"{kind}_{self.number}_{environment}" for kind in ("vault", "static"))
        self.db_roles += [admin, user]
        self.postgres.sql(f"CREATE ROLE {admin} SUPERUSER LOGIN PASSWORD '{password}'")
        self.postgres.sql(f"CREATE ROLE {user} LOGIN")
        mount = f"{environment}/database"
        self.bao.ask("POST", f"sys/mounts/{mount}", {"type": "database"})
        login = "{{username}}:{{password}}"
        connection = {
            "plugin_name": "postgresql-database-plugin",
            "connection_url": f"postgresql://{login}@127.0.0.1:{self.postgres.port}/postgres?sslmode=disable",
            "username": admin,
            "password": password,
            "allowed_roles": "*",
            "username_template": f"{environment}_{self.number}_{{{{random 8}}}}",
        }
        self.bao.ask("POST", f"{mount}/config/simba", connection)
        statements = {"creation_statements": CREATION, "revocation_statements": REVOCATION}
        self.bao.ask("POST", f"{mount}/roles/simba", {"db_name": "simba", "default_ttl": "1h", **statements})
        static = {"db_name": "simba", "username": user, "rotation_period": "24h"}
        self.bao.ask("POST", f"{mount}/static-roles/static", static)
        return admin

    def users(self, environment):
        return self.postgres.roles(f"{environment}\\_{self.number}\\_%")

    def leased(self, environment, token=ROOT_TOKEN):
        return self.bao.ask("GET", f"{environment}/database/creds/simba", token=token)["data"]

    def static(self, environment):
        return self.bao.ask("GET", f"{environment}/database/static-creds/static")["data"]["password"]

    def reads(self, token, environment="production", path="api-keys/openrouter"):
        try:
            return bool(self.bao.ask("GET", f"secret/data/{environment}/{path}", token=token))
        except RuntimeError as exc:
            if "403" not in str(exc):
                raise
            return False

    def config(self, config, address=None):
        (self.folder / "lessee.yaml").write_text(
            yaml.safe_dump({"vault": {"address": address or self.bao.address}, **config})
        )

    def command(self, *arguments, token=ROOT_TOKEN, environment="production"):
        line = [sys.executable, "-m", "lessee", "emergency", "--environment", environment, *arguments]
        environ = {"PATH": os.environ["PATH"], "VAULT_TOKEN": token, "HOME": str(self.folder)}
        return line, {"cwd": self.folder, "env": environ}

    def emergency(self, *arguments, code=0, **settings):
        line, options = self.command(*arguments, **settings)
        result = run_lessee(*line[3:], **options)
        assert result.returncode == code, result.stdout + result.stderr
        assert "internal error" not in result.stderr
        return result

    def records(self):
        return sorted(self.folder.glob("lessee-emergency-*.json"))

    def writes(self, since=0):
        """The paths of requests that changed something, from the audit log."""
        lines = self.audit.read_text().splitlines()[since:]
        requests = [json.loads(line)["request"] for line in lines if '"type":"request"' in line]
        return [
            request["path"]
            for request in requests
            if request["operation"] not in {"read", "list", "help"}
            and not request["path"].startswith(("auth/token/lookup", "sys/capabilities"))
        ]

    def left(self, environment="production"):
        """The tokens, secret_ids, leases and database users of an environment."""
        with_policies = []
        for accessor in self.bao.ask("LIST", "auth/token/accessors")["data"]["keys"]:
            with suppress(RuntimeError):
                token = self.bao.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
                with_policies += [token["display_name"]] if f"{environment}-app" in token["policies"] else []
        return sorted(with_policies), self.secret_ids(environment), self.leases(environment), self.users(environment)

    def secret_ids(self, environment):
        try:
            return len(self.bao.ask("LIST", f"auth/approle/role/{environment}-app/secret-id")["data"]["keys"])
        except RuntimeError:
            return 0

    def leases(self, environment):
        try:
            return len(self.bao.ask("LIST", f"sys/leases/lookup/{environment}/database/creds/simba")["data"]["keys"])
        except RuntimeError:
            return 0


def attack(scenario, environment="production"):
    """The credentials that an attacker may have for an environment: a secret_id, and tokens created with it."""
    name = f"{environment}-app"
    secret_id = scenario.secret_id(name)
    token = scenario.log_in(name, secret_id)
    child = scenario.token(name, parent=token)
    orphan = scenario.token(name, parent=token, path="auth/token/create-orphan")
    batch = scenario.token(name, parent=token, type="batch")
    harmless = scenario.token("default", parent=token)
    return secret_id, {"token": token, "child": child, "orphan": orphan, "batch": batch, "harmless": harmless}


def is_alive(scenario, token):
    try:
        scenario.bao.ask("GET", "auth/token/lookup-self", token=token)
    except RuntimeError:
        return False
    return True
