"""A valid environment for the checks of apps: secrets, an agent with an app, an MCP server, a frontend, an API key."""

import secrets
import subprocess
import sys
from contextlib import contextmanager, suppress
from urllib.request import Request, urlopen

from lessee.host.openbao import OpenBao, free_port
from support.environments.server_environment import Authority, ServerEnvironment
from support.needs import need
from support.paths import TESTS
from support.programs.sidecar import App, Sidecar, eventually
from support.servers.https_provider import Provider

POLICY = """
path "secret/data/testing/*"     { capabilities = ["read"] }
path "secret/metadata/testing/*" { capabilities = ["read", "list"] }
path "pki/issue/web"             { capabilities = ["update"] }
"""
OPERATOR = """
path "secret/data/*"     { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["read", "list"] }
"""
TEMPLATES = {
    "app.env.j2": (
        '{% set db = secret("database/postgres") %}DB_PASSWORD={{ db.password }}\nDB_HOST={{ db.host }}\n'
        'KEYS={{ secrets("api-keys/") | join(",") }}\n'
    ),
    "build.env.j2": 'VITE_API_URL={{ secret("frontend/app").api_url }}\nAPI_KEY={{ secret("mcp/memory").api_key }}\n',
    "tls.pem.j2": '{{ certificate("pki/issue/web", common_name="web.local", ttl="1h").private_key }}\n',
}
ROTATION = {
    "kind": "vault",
    "secret": "database/postgres",
    "keys": {"password": {"generate": 40}},
    "rotation_period": "24h",
}
MCP = str(TESTS / "support/programs/mcp_server.py")


class AppEnvironment(ServerEnvironment):
    """As `ServerEnvironment`, with other parts. `environ`: the environment variables of each run."""

    def __init__(self, folder, memory):
        self.environ = {}
        super().__init__(folder, memory, None)

    def close(self):
        self._servers.close()

    def validate(self, *arguments, **environ):
        return super().validate(*arguments, **self.environ | environ)

    @contextmanager
    def with_environ(self, **variables):
        before, self.environ = self.environ, self.environ | variables
        yield
        self.environ = before

    @contextmanager
    def with_template(self, name, text):
        """Replace a template, but not the agent's copy of it."""
        (self.templates / name).write_text(text)
        yield
        (self.templates / name).write_text(TEMPLATES[name])

    @contextmanager
    def with_app(self, **keys):
        """Replace keys of the app's block, but not in the agent's configuration."""
        app = self.config["apps"]["web"]
        with self.with_config(apps={"web": {key: value for key, value in (app | keys).items() if value is not None}}):
            yield

    @contextmanager
    def within(self, script):
        """Run it in its own mount namespace, after a shell script."""
        command = ["unshare", "-rm", "sh", "-ec", f'{script}\nexec "$@"', "sh"]
        with suppress(FileNotFoundError):
            result = subprocess.run([*command, "true"], capture_output=True, check=False)
        need(result.returncode == 0, f"needs mount namespaces: {result.stderr}")
        before, self.prefix = self.prefix, command
        yield
        self.prefix = before

    @contextmanager
    def with_mcp(self, mode):
        """Another MCP server; `mode` says which keys it accepts."""
        port = free_port()
        arguments = [sys.executable, MCP, str(port), mode, str(self.folder / "mcp.key")]
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}/mcp"
            eventually(lambda: process.poll() is not None or answers(url), "the MCP server")
            block = self.config["validate"]["mcp_auth"] | {"url": url} if self.config else {}
            self.mcp_url = url
            with self.with_config(**({"validate": {"mcp_auth": block}} if block else {})):
                yield
        finally:
            process.kill()
            process.wait()

    def with_key(self, name="openai", **keys):
        """Replace keys of the API key's block."""
        block = self.config["validate"]["api_keys"]["openai"] | keys
        return self.with_config(validate={"api_keys": {name: block}})

    def with_frontend(self, **keys):
        return self.with_config(validate={"frontend": self.config["validate"]["frontend"] | keys})

    @contextmanager
    def with_file(self, name, content):
        """Add a file to the build's output."""
        path = self.dist / name
        path.write_bytes(content)
        yield
        path.unlink()

    def _start(self, memory):
        self.config, self.secrets = {}, {}
        authority = Authority(self.folder / "ca.pem")
        authority.issue(self.folder / "pair.pem", 90)
        self._start_bao()
        self._write_all(authority)
        self._start_agent_and_app(memory)
        self._build_frontend()
        self.provider = Provider(
            "Authorization", f"Bearer {self.secrets['api-keys/openai']['api_key']}", pair=self.folder / "pair.pem"
        )
        self._servers.callback(self.provider.close)
        (self.folder / "mcp.key").write_text(self.secrets["mcp/memory"]["api_key"])
        self._servers.enter_context(self.with_mcp("only"))
        self.config = {
            **{key: self.agent.config[key] for key in ("vault", "state_dir", "apps")},
            "template_dir": "templates",
            "environment": "testing",
            "setup": {"environments": ["testing", "production"]},
            "rotation": {"postgres": ROTATION},
            "validate": {
                "timeout": "20s",
                "api_keys": {"openai": {"secret": "api-keys/openai", "url": f"{self.provider.url}/models"}},
                "mcp_auth": {"url": self.mcp_url, "secret": "mcp/memory"},
                "frontend": {"dist": str(self.dist), "env_files": [str(self.folder / "site.env")]},
            },
        }
        self.environ = {"SSL_CERT_FILE": str(self.folder / "ca.pem"), "VAULT_TOKEN": self.token}

    def _start_bao(self):
        self.bao = self._servers.enter_context(OpenBao(self.folder))
        self.bao.ask("POST", "sys/mounts/pki", {"type": "pki"})
        self.bao.ask("POST", "pki/root/generate/internal", {"common_name": "test CA", "ttl": "24h", "key_type": "ec"})
        self.bao.ask("POST", "pki/roles/web", {"allow_any_name": True, "ttl": "1h", "key_type": "ec"})
        self.bao.ask("PUT", "sys/policies/acl/operator", {"policy": OPERATOR})
        self.token = self.token_with("operator")
        files = {"role_id_file": self.folder / "role_id", "secret_id_file": self.folder / "secret_id"}
        for file, value in zip(files.values(), self.bao.approle("environment", POLICY), strict=True):
            file.touch(0o600)
            file.write_text(value)
            self.values.append(value)
        self._auth = {"method": "approle"} | {key: str(file) for key, file in files.items()}

    def token_with(self, policy):
        body = {"policies": [policy], "ttl": "1h"}
        token = self.bao.ask("POST", "auth/token/create", body)["auth"]["client_token"]
        self.values.append(token)
        return token

    def _write_all(self, authority):
        certificate = self.folder / "tls.pem"
        authority.issue(certificate, 90)
        self.write("database/postgres", host="db", port=5432, database="simba", username="simba", password=self.value())
        self.write("api-keys/openai", api_key=f"fake-{self.value()}")
        self.write("mcp/memory", api_key=self.value())
        self.write("frontend/app", api_url="https://api.example.org/v1")
        self.write("web/tls", **halves(certificate.read_text()))
        self.values.append(self.secrets["web/tls"]["private_key"].splitlines()[1])
        self.bao.put("production/database/postgres", host="db", username="simba", password=self.value())

    def _start_agent_and_app(self, memory):
        disk, self.templates = self.folder / "agent", self.folder / "templates"
        disk.mkdir()
        self.templates.mkdir()
        self.agent = Sidecar(self.bao.address, disk, memory)
        self._servers.callback(self.agent.close)
        del self.agent.environ["VAULT_TOKEN"]
        self.agent.config["vault"]["auth"] = self._auth
        for name, text in TEMPLATES.items():
            (disk / name).write_text(text)
            (self.templates / name).write_text(text)
        self.agent.web["files"] = [{"template": name} for name in TEMPLATES]
        self.agent.web["public_variables"] = ["VITE_API_URL"]
        self.agent.start()
        self.name = f"prem{secrets.token_hex(3)}"
        app = App(self.name, self.agent.directory / "app.env")
        self._servers.callback(app.close)
        self.values.append((self.agent.directory / "tls.pem").read_text().splitlines()[1])
        # Only for the checks: the agent's own configuration has no `notify` and `ready`.
        listening = Provider("X", "x")
        self._servers.callback(listening.close)
        self.agent.web["notify"] = {"process": {"name": self.name}}
        self.agent.web["ready"] = {"tcp": f"127.0.0.1:{listening.port}"}

    def _build_frontend(self):
        self.dist = self.folder / "dist"
        (self.dist / "assets").mkdir(parents=True)
        (self.dist / "index.html").write_text("<script src=assets/index.js></script>")
        (self.dist / "assets/index.js").write_text('fetch("https://api.example.org/v1")')
        (self.folder / "site.env").write_text("VITE_API_URL=https://api.example.org/v1\nTOKEN=only-for-the-build\n")


def halves(pem):
    """A certificate and its private key, from a file with both."""
    certificate, mark, key = pem.partition("-----BEGIN PRIVATE KEY-----")
    return {"certificate": certificate, "private_key": mark + key}


def answers(url):
    """Whether a server accepts connections there."""
    try:
        urlopen(Request(url), timeout=1).close()
    except OSError as exc:
        return hasattr(exc, "code")
    return True
