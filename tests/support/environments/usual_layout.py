"""A valid environment in the usual layout of secrets, with a configuration that has no block for its systems."""

import json
import secrets
from contextlib import contextmanager
from pathlib import Path

from lessee.host.openbao import free_port
from support.environments.app_environment import halves
from support.environments.server_environment import POLICY, ServerEnvironment
from support.programs.sidecar import Sidecar
from support.servers.certificate_authority import Authority
from support.servers.providers_behind_proxy import HOSTS, ProvidersBehindProxy
from support.servers.redis_server import Redis

COMPONENTS = {"database", "api_keys", "storage", "mcp_cache", "mcp_auth", "frontend"}
"""The components that have a folder in the layout."""
TEMPLATES = {
    "simba": """{% set db = secret("database/postgres") %}{% set store = secret("storage/minio") -%}
POSTGRES_HOST={{ db.host }}
POSTGRES_PORT={{ db.port }}
POSTGRES_DB={{ db.database }}
POSTGRES_USER={{ db.username }}
POSTGRES_PASSWORD={{ db.password }}
MINIO_ENDPOINT={{ store.endpoint }}
MINIO_ACCESS_KEY={{ store.access_key }}
MINIO_SECRET_KEY={{ store.secret_key }}
MINIO_BUCKET={{ store.bucket }}
OPENROUTER_API_KEY={{ secret("api-keys/openrouter").api_key }}
OPENAI_API_KEY={{ secret("api-keys/openai").api_key }}
BRAVE_API_KEY={{ secret("api-keys/brave-search").api_key }}
""",
    "cache": """{% set db = secret("cache/database") %}{% set redis = secret("cache/redis") -%}
CACHE_HOST={{ db.host }}
CACHE_PASSWORD={{ db.password }}
REDIS_PASSWORD={{ redis.password }}
""",
    "memory": 'MCP_API_KEY={{ secret("mcp/memory-service").api_key }}\n',
    "site": """{% set site = secret("frontend/app") -%}
VITE_API_URL={{ site.VITE_API_URL }}
VITE_APP_NAME={{ site.VITE_APP_NAME }}
""",
}
"""The template of each app's env file."""
CONSUMERS = """
path "secret/data/testing/lessee/consumers/*"     { capabilities = ["create", "read", "update"] }
path "secret/metadata/testing/lessee/consumers/*" { capabilities = ["create", "read", "update", "delete", "list"] }
"""
"""With it, agents report which versions their apps use."""
_PROVIDERS = {"openrouter": "openrouter.ai", "openai": "api.openai.com", "brave-search": "api.search.brave.com"}


class UsualLayout(ServerEnvironment):
    """Its config names the apps and the environments; what the secrets are, only their paths and keys say."""

    def validate(self, *arguments, **environ):
        return super().validate(*arguments, **self.providers.environ | environ)

    def report(self, *arguments, **environ):
        """The report as one object."""
        done = self.validate("--format", "json", *arguments, **environ)
        assert done.stderr == "", done.stderr
        return json.loads(done.stdout)

    def failed_components(self):
        return set(failures(self.report()))

    def passed_components(self, **environ):
        return {result["component"] for result in self.report(**environ)["results"] if result["passed"]}

    def change(self, path, **fields):
        """Change fields of a secret; None removes one. Returns when the agent has published it, or refused to."""
        self.write(path, **self.secrets[path] | fields)
        self.agent.command("refresh")
        self.agent.until(lambda status: self._is_published(status, path) or self._has_error(status, path))

    def remove(self, path):
        """Remove a secret with its versions. Returns when the agent has noticed it."""
        self.bao.ask("DELETE", f"secret/metadata/testing/{path}")
        self.agent.command("refresh")
        self.agent.until(lambda status: self._has_error(status, path))

    @contextmanager
    def changed(self, path, **fields):
        before = dict(self.secrets[path])
        self.change(path, **fields)
        try:
            yield
        finally:
            self._restore(path, before)

    @contextmanager
    def removed(self, path):
        before = dict(self.secrets[path])
        self.remove(path)
        try:
            yield
        finally:
            self._restore(path, before)

    @contextmanager
    def added(self, path, **fields):
        self.bao.put(f"testing/{path}", **fields)
        try:
            yield
        finally:
            self.bao.ask("DELETE", f"secret/metadata/testing/{path}")

    def token_with(self, policy):
        """A token that reads secrets in place of the login's."""
        self.bao.ask("PUT", "sys/policies/acl/other", {"policy": policy})
        body = {"policies": ["other"], "ttl": "1h"}
        self.values.append(self.bao.ask("POST", "auth/token/create", body)["auth"]["client_token"])
        return self.values[-1]

    @contextmanager
    def with_agent_template(self, name, text):
        """Replace a template, also that of the agent."""
        file = self.agent.disk / f"{name}.env.j2"
        before = file.read_text()
        file.write_text(text)
        try:
            self.agent.until(lambda status: status["apps"][name]["error"])
            yield
        finally:
            file.write_text(before)
            self.agent.until(lambda status: status["fresh"] and not status["problems"])

    def _restore(self, path, fields):
        self.write(path, **fields)
        self.agent.command("refresh")
        self.agent.until(lambda status: status["fresh"] and not status["problems"] and self._is_published(status, path))

    def _is_published(self, status, path):
        """Whether the agent has read the newest version of a secret, and its files have the values."""
        newest = self.bao.ask("GET", f"secret/metadata/testing/{path}")["data"]["current_version"]
        read = {secret["version"] for name in _readers(path) for secret in self._of(status, name, path)}
        return read <= {newest} and all(self._has_values(name, path) for name in _readers(path))

    def _has_values(self, name, path):
        """An app's file has the secret's values that its template reads: the old ones are gone, as each is unique."""
        content = (Path(self.agent.config["apps"][name]["directory"]) / f"{name}.env").read_text()
        used = {key: value for key, value in self.secrets[path].items() if f".{key} " in TEMPLATES[name]}
        return all(str(value) in content if value else _is_empty(key, content) for key, value in used.items())

    def _has_error(self, status, path):
        return any(
            status["apps"][name]["error"] or any(secret["error"] for secret in self._of(status, name, path))
            for name in _readers(path)
        )

    @staticmethod
    def _of(status, name, path):
        return [secret for secret in status["apps"][name]["secrets"] if secret["path"] == f"secret/testing/{path}"]

    def _start(self, memory):
        self._start_vault()
        self._start_database()
        self.redis = self._servers.enter_context(Redis(self.folder, self.pair))
        self._start_store()
        self.secrets = {}
        self._write_secrets()
        self._write_other_secrets()
        self._start_agent(memory)
        self.config = {
            "environment": "testing",
            "vault": {"address": self.bao.address, "auth": self._auth},
            "state_dir": str(self.agent.state),
            "template_dir": str(self.agent.disk),
            "apps": {name: app | {"refresh_interval": "1s"} for name, app in self.agent.config["apps"].items()},
            "setup": {"environments": ["testing", "production"]},
            "validate": {"timeout": "60s"},  # Only how long, for a busy machine: it names no system.
        }

    def _write_other_secrets(self):
        self.authority = self.folder / "providers.pem"
        self.certificates, pair = Authority(self.authority), self.folder / "providers-pair.pem"
        self.certificates.issue(pair, 90, names=tuple(HOSTS))
        self.providers = ProvidersBehindProxy(pair, self.authority)
        self._servers.callback(self.providers.close)
        for name, host in _PROVIDERS.items():
            self.providers.keys[host] = f"sk-{self.value()}"
            self.values.append(self.providers.keys[host])
            self.write(f"api-keys/{name}", api_key=self.providers.keys[host], rotation_count=8)
        self.write("mcp/memory-service", api_key=self.value())
        self.write(
            "frontend/app",
            VITE_API_URL="https://api.example.org",
            VITE_APP_NAME="Simba",
            VITE_ENABLE_AUTH="true",
            VITE_ENABLE_API_KEYS="true",
        )

    def _start_agent(self, memory):
        self.bao.ask("PUT", "sys/policies/acl/validated", {"policy": POLICY + CONSUMERS})
        (self.folder / "agent").mkdir()
        self.agent = Sidecar(self.bao.address, self.folder / "agent", memory)
        self._servers.callback(self.agent.close)
        del self.agent.environ["VAULT_TOKEN"]
        self.agent.config["vault"]["auth"] = self._auth
        self.agent.config["apps"] = {}
        for name, text in TEMPLATES.items():
            (self.agent.disk / f"{name}.env.j2").write_text(text)
            self.agent.config["apps"][name] = {
                "directory": str(memory / name),
                "refresh_interval": "200ms",
                "files": [{"template": f"{name}.env.j2"}],
            }
        self.agent.config["apps"]["site"]["public_variables"] = ["VITE_API_URL", "VITE_APP_NAME"]
        self.agent.start(wait=False)
        self.agent.until(lambda status: status["ready"] and status["fresh"])

    def expired_certificate(self):
        """The fields of a secret with a certificate that ended yesterday."""
        file = self.folder / "expired.pem"
        self.certificates.issue(file, -1)
        found = halves(file.read_text())
        self.values.append(found["private_key"].splitlines()[1])
        return found


def _readers(path):
    """The apps whose templates read a secret."""
    return [name for name, text in TEMPLATES.items() if f'"{path}"' in text]


def _is_empty(key, content):
    return any(line.lower().endswith(f"{key}=") or line.endswith("=''") for line in content.splitlines())


def failures(report):
    """A text of each component that failed, without swap, which the machine of the test may have."""
    return {
        result["component"]: result["text"]
        for result in report["results"]
        if result["passed"] is False and result["check"] != "no-swap"
    }


def password():
    """A password that no system knows."""
    return secrets.token_hex(12)


def unused_port():
    """A port at which no server listens."""
    return free_port()
