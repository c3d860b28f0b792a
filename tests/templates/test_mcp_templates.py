"""MCP servers get their keys from the templates: real servers, as children of `lessee exec`."""

import json
import ssl
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml
from dotenv import dotenv_values
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from lessee.core.errors import FormatError
from lessee.host.openbao import OpenBao
from lessee.rendering.formats.dotenv import variables
from support import npm, readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, rendered, use, written
from support.programs.sidecar import Sidecar, eventually, fork_of

SERVERS = "node_modules/@modelcontextprotocol"
READ_AS_THE_MEMORY_SERVICE = """
import json, mcp_memory_service.config as read
print(json.dumps([read.API_KEY, read.HTTP_ENABLED, read.HTTPS_ENABLED, read.SSL_CERT_FILE, read.SSL_KEY_FILE]))
"""


class Session:
    """A client of an MCP server over its stdin and stdout."""

    def __init__(self, process):
        self.process = process

    def ask(self, method, **parameters):
        self._send(id=1, method=method, params=parameters)
        line = self.process.stdout.readline()
        answer = json.loads(line)
        assert answer["id"] == 1, line
        return answer["result"]

    def initialize(self):
        """Initialize the session; returns the server's name."""
        about = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        answer = self.ask("initialize", **about)
        self._send(method="notifications/initialized")
        return answer["serverInfo"]["name"]

    def tools(self):
        return {tool["name"] for tool in self.ask("tools/list")["tools"]}

    def server(self):
        """The directory in /proc of the server's process, which is a child of the sidecar."""
        agent = fork_of(self.process)
        [pid] = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
        return Path("/proc", pid)

    def environ(self):
        pairs = (self.server() / "environ").read_text().removesuffix("\0").split("\0")
        return dict(pair.split("=", 1) for pair in pairs)

    def _send(self, **message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()


@contextmanager
def session(sidecar, template, *command, **app):
    use(sidecar, env_template=template, **app)
    del sidecar.web["files"]
    sidecar.write_config()
    with sidecar.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lessee", "exec", "--app", "web", "--", *command],
            cwd=sidecar.disk,
            env=sidecar.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        try:
            yield Session(process)
            process.terminate()
            process.wait(20)
            assert process.stdout.read() == ""
        finally:
            process.kill()


@pytest.fixture
def node():
    packages = npm.packages()
    return lambda name: [npm.program(packages, "node"), str(packages / SERVERS / name / "dist/index.js")]


def test_githubs_server_gets_its_token_from_vault(bao, sidecar, node):
    bao.put("testing/api-keys/github", api_key=HOSTILE)
    with session(sidecar, "mcp/github.env.j2", *node("server-github")) as client:
        assert client.initialize() == "github-mcp-server"
        assert {"create_issue", "search_code"} <= client.tools()
        assert client.environ()["GITHUB_PERSONAL_ACCESS_TOKEN"] == HOSTILE
        client.process.stdin.close()
        assert client.process.wait(20) == 0, sidecar.log.read_text()


def test_braves_server_starts_only_with_a_key(bao, sidecar, node):
    bao.put("testing/api-keys/brave-search", api_key=HOSTILE)
    with session(sidecar, "mcp/brave-search.env.j2", *node("server-brave-search")) as client:
        assert client.initialize() == "example-servers/brave-search"
        assert client.tools() == {"brave_web_search", "brave_local_search"}
        assert client.environ()["BRAVE_API_KEY"] == HOSTILE
    bao.put("testing/api-keys/brave-search", api_key="")
    done = sidecar.command("exec", "--app", "web", "--", *node("server-brave-search"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "BRAVE_API_KEY environment variable is required" in done.stderr


def test_a_restarted_server_gets_the_new_key(bao, sidecar, node):
    bao.put("testing/api-keys/github", api_key="first")
    notify = {"child": True, "action": "restart"}
    with session(sidecar, "mcp/github.env.j2", *node("server-github"), notify=notify) as client:
        client.initialize()
        first = client.server()
        bao.put("testing/api-keys/github", api_key=HOSTILE)
        eventually(lambda: not first.exists(), "the end of the first server")
        assert client.initialize() == "github-mcp-server"
        assert client.environ()["GITHUB_PERSONAL_ACCESS_TOKEN"] == HOSTILE


@pytest.fixture
def login(postgres):
    """A Postgres role with a hostile name and password, and its secret."""
    name = sql.Identifier(HOSTILE)
    postgres.sql(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(HOSTILE)))
    yield {"host": "127.0.0.1", "port": postgres.port, "database": "postgres", "username": HOSTILE, "password": HOSTILE}
    postgres.sql(sql.SQL("DROP ROLE {}").format(name))


def test_postgres_server_logs_in_and_no_argument_contains_the_password(bao, sidecar, node, login):
    bao.put("testing/database/postgres", **login)
    with session(sidecar, "mcp/postgres.env.j2", *node("server-postgres"), "postgresql:///") as client:
        assert client.initialize() == "example-servers/postgres"
        assert client.tools() == {"query"}
        answer = client.ask("tools/call", name="query", arguments={"sql": "SELECT session_user AS who"})
        assert json.loads(answer["content"][0]["text"]) == [{"who": HOSTILE}]
        assert (client.server() / "cmdline").read_text().endswith("\0postgresql:///\0")


def test_a_server_that_takes_a_url_logs_in(bao, sidecar, login):
    bao.put("testing/database/postgres", **login)
    values = dotenv_values(rendered(sidecar, "mcp/postgres-url.env.j2") / "postgres-url.env")
    assert list(values) == ["DATABASE_URI", "POSTGRES_CONNECTION_STRING"]
    for url in values.values():
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT session_user").fetchone() == (HOSTILE,)


def test_the_cache_server_logs_in_with_its_environment(bao, sidecar, login):
    bao.put("testing/cache/database", **login)
    bao.put("testing/mcp/cache-server", api_key=HOSTILE)
    script = """
import os, psycopg
part = {"host": "HOST", "port": "PORT", "dbname": "NAME", "user": "USER", "password": "PASSWORD"}
with psycopg.connect(**{key: os.environ[f"CACHE_DB_{name}"] for key, name in part.items()}) as connection:
    print(*connection.execute("SELECT session_user").fetchone(), os.environ["MCP_API_KEY"], sep="\\n")
"""
    use(sidecar, env_template="mcp/cache-server.env.j2")
    del sidecar.web["files"]
    sidecar.write_config()
    done = sidecar.command("exec", "--app", "web", "--", sys.executable, "-c", script)
    assert done.stdout == f"{HOSTILE}\n{HOSTILE}\n", done.stderr


def read_as_the_memory_service(code, folder):
    environ = {"PYTHONPATH": str(code), "HOME": str(folder)}
    command = [sys.executable, "-c", READ_AS_THE_MEMORY_SERVICE]
    done = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, check=True, timeout=60)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_memory_service_reads_its_key_and_the_path_of_its_certificate(tmp_path, memory, memory_service):
    with OpenBao(tmp_path) as bao:
        bao.ask("POST", "sys/mounts/pki", {"type": "pki"})
        bao.ask("POST", "pki/root/generate/internal", {"common_name": "an authority", "ttl": "48h"})
        bao.ask("POST", "pki/roles/memory-service", {"allow_any_name": True, "ttl": "24h"})
        bao.put("testing/mcp/memory-service", api_key=HOSTILE)
        templates = [f"mcp/memory-service/{name}.j2" for name in (".env", "tls.crt", "tls.key")]
        folder = rendered(Sidecar(bao.address, tmp_path, memory), *templates)
    place = "/run/secrets/memory-service"
    found = [HOSTILE, True, True, f"{place}/tls.crt", f"{place}/tls.key"]
    assert read_as_the_memory_service(memory_service, folder) == found
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / "tls.crt", folder / "tls.key")


@pytest.mark.parametrize(
    ("template", "path", "name"),
    [
        ("github", "api-keys/github", "GITHUB_PERSONAL_ACCESS_TOKEN"),
        ("brave-search", "api-keys/brave-search", "BRAVE_API_KEY"),
    ],
)
def test_every_hostile_key_reaches_the_server_except_one_with_nul(template, path, name):
    for value in VALUES:
        if "\0" in value:
            with pytest.raises(FormatError, match="contains a NUL"):
                written(f"mcp/{template}.env.j2", "dotenv", {path: {"api_key": value}})
            continue
        text = written(f"mcp/{template}.env.j2", "dotenv", {path: {"api_key": value}})
        assert variables(text, {"HOME": "/root"}) == {name: value}


def test_every_hostile_login_is_in_the_url():
    for value in VALUES:
        secret = {"host": "db", "port": 5432, "database": "simba", "username": value, "password": value}
        text = written("mcp/postgres-url.env.j2", "dotenv", {"database/postgres": secret})
        url = variables(text, {})["DATABASE_URI"]
        if "\0" not in value:  # libpq rejects NUL with an error.
            read = {"user": "", "password": ""} | conninfo_to_dict(url)
            assert read == {"user": value, "password": value, "host": "db", "port": "5432", "dbname": "simba"}


def test_the_readme_is_valid(tmp_path):
    readmes.check("mcp", tmp_path, SERVER="github")
    files = [json.loads(text) for text in readmes.blocks("mcp", "json")]
    servers = {name: server for file in files for part in file.values() for name, server in part.items()}
    assert len(servers) == 3
    apps = {name for text in readmes.blocks("mcp", "yaml") for name in yaml.safe_load(text)["apps"]}
    for name, server in servers.items():
        assert server["env"] == {"SERVER": name}
        assert server["args"][:5] == ["exec", "--config", "/etc/lessee/mcp.yaml", "--app", name]
        assert server["args"][5:8] == ["--respawn", "mcp-stdio", "--"]
        assert name in apps
