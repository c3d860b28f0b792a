"""Runs every command of the pages of operations in order, as an operator would."""

import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from lessee.host.openbao import find_bao
from support.operations import ORDER, page
from support.programs.operator_shell import Operator
from support.programs.sidecar import eventually
from support.servers.vault_server import Server, adapted, certificate, ports

CANARY = "canary-31c7d0"
USERS = {environment: f"operations_{environment}" for environment in ("testing", "production")}
ROTATED = ("simba_a", "simba_b")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def block_with(name, language, mark):
    """The block of a page in this language that starts with the mark."""
    (text,) = [text for word, text in _BLOCK.findall(page(name)) if word == language and text.startswith(mark)]
    return text


@pytest.fixture
def server(tmp_path):
    """A server with the production configuration."""
    numbers = ports(2)
    folder = tmp_path / "vault"
    folder.mkdir()
    certificate(folder / "tls")
    for name in ("data", "logs"):
        (folder / name).mkdir()
    with Server(folder, numbers[0], adapted("production.hcl", folder, numbers), ca=folder / "tls" / "ca.crt") as server:
        yield server


@pytest.fixture
def database(postgres):
    """A database with one user for each environment."""
    postgres.sql("CREATE DATABASE operations")
    with suppress(psycopg.errors.DuplicateObject):  # Other tests create it too.
        postgres.sql("CREATE ROLE simba_owner NOLOGIN")
    for environment, user in USERS.items():
        postgres.sql(f"CREATE ROLE {user} LOGIN PASSWORD '{CANARY}-{environment}'")
        postgres.sql(f"CREATE ROLE {user}_admin LOGIN CREATEROLE PASSWORD '{CANARY}-{environment}-admin'")
        postgres.sql(f"GRANT simba_owner TO {user}_admin WITH ADMIN OPTION")
    yield postgres
    postgres.sql("DROP DATABASE operations")
    for role in (*ROTATED, *(f"{user}{suffix}" for user in USERS.values() for suffix in ("", "_admin"))):
        postgres.sql(f"DROP ROLE IF EXISTS {role}")


@pytest.fixture
def operator(tmp_path, memory, server, database):
    folder = tmp_path / "operator"
    folder.mkdir()
    for name, text in {
        "lessee.yaml": block_with("index", "yaml", "# lessee.yaml"),
        "app.env.j2": block_with("index", "jinja", "{# app.env.j2 #}"),
        "operator.hcl": block_with("new-server", "hcl", "# operator.hcl"),
    }.items():
        (folder / name).write_text(text)
    programs = [Path(sys.executable).parent, Path(find_bao()).parent]
    environ = {
        "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(memory),
        "VAULT_ADDR": server.address,
        "VAULT_CACERT": str(server.folder / "tls" / "ca.crt"),
        "BACKUPS": str(folder / "backups"),
        "POSTGRES_HOST": "127.0.0.1",
        "POSTGRES_PORT": str(database.port),
        "POSTGRES_DB": "operations",
    }
    for environment, user in USERS.items():
        environ[f"POSTGRES_USER_{environment}"] = user
        environ[f"POSTGRES_PASSWORD_{environment}"] = f"{CANARY}-{environment}"
        environ[f"POSTGRES_ADMIN_{environment}"] = f"{user}_admin"
        environ[f"POSTGRES_ADMIN_PASSWORD_{environment}"] = f"{CANARY}-{environment}-admin"
    yield Operator(folder, environ)
    for process in processes_in(folder):
        os.kill(process, signal.SIGKILL)


def processes_in(folder):
    """The processes started in the background."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder:
                yield int(process.name)


def write_old_layout(server, token):
    server.ask("POST", "sys/mounts/legacy", {"type": "kv", "options": {"version": "2"}}, token=token)

    def written():
        # A new KV version 2 mount answers 400 until it is ready.
        with suppress(RuntimeError):
            path = "legacy/data/api-keys/partner"
            return server.ask("POST", path, {"data": {"api_key": f"{CANARY}-old"}}, token=token)

    eventually(written, "the old secret")


def values(server, token):
    """The current secret values of the environment."""
    for path, key in (
        ("database/postgres", "password"),
        ("mcp/memory-service", "api_key"),
        ("api-keys/partner", "api_key"),
    ):
        yield server.ask("GET", f"secret/data/production/{path}", token=token)["data"]["data"][key]


def output_and_files(operator, server):
    """All output, and all files except the operator's own secrets."""
    yield operator.said.encode()
    own = ("keys", "logins", "exported", "operator-token", "backup.key")
    for file in (*operator.folder.rglob("*"), server.log, *(server.folder / "logs").iterdir()):
        if file.is_file() and not str(file.relative_to(operator.folder.parent)).startswith(
            tuple(f"{operator.folder.name}/{name}" for name in own)
        ):
            yield file.read_bytes()


@pytest.mark.thorough
def test_every_command_of_the_pages_exits_as_documented(operator, server):
    for name in ORDER:
        if name == "outage":
            server.stop()
            server.start()
        for block in (block for word, block in _BLOCK.findall(page(name)) if word == "console"):
            operator.type(block)
            if "--init" in block:
                write_old_layout(server, (operator.folder / "keys" / "root-token").read_text().strip())
    token = (operator.folder / "operator-token").read_text().strip()
    hidden = [value.encode() for value in (*values(server, token), token, CANARY)]
    texts = list(output_and_files(operator, server))
    assert any(b"ENVIRONMENT VALIDATION REPORT" in text for text in texts)
    assert any(b'"operation":"update"' in text for text in texts)
    assert not [value for value in hidden for text in texts if value in text]
