"""A valid environment of real servers, in which `lessee validate` finds no problems, and ways to change it."""

import copy
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import yaml
from botocore.exceptions import ClientError

from lessee.host.openbao import OpenBao, free_port
from support.needs import need
from support.programs.forks import run_lessee
from support.programs.sidecar import PATIENCE, Sidecar, eventually
from support.servers.certificate_authority import Authority
from support.servers.redis_server import Redis
from support.servers.s3_server import S3Server

POLICY = """
path "secret/data/testing/*"     { capabilities = ["read"] }
path "secret/metadata/testing/*" { capabilities = ["read", "list"] }
path "sys/audit"                 { capabilities = ["read", "sudo"] }
path "database/creds/*"          { capabilities = ["read"] }
"""
TLS = """
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "{pair}"
  tls_key_file  = "{pair}"
}}
"""
AUDIT = 'audit "file" "tests" {{ options {{ file_path = "{file}" }} }}\n'
USERS = {"app": ["Read:docs", "Write:docs", "List:docs", "Read:open", "Write:open", "List:open"]}
"""Users of the object store with their permissions, in addition to the admin."""


class ServerEnvironment:
    """Servers, their credentials in OpenBao, a running agent, and a configuration with all of them."""

    def __init__(self, folder, memory, postgres):
        self.folder, self.postgres = folder, postgres
        self.values = []
        """The values that no output may contain."""
        self.prefix = []
        """A program that runs `lessee`, and its arguments."""
        self._servers = ExitStack()
        self._agent = None
        try:
            self._start(memory)
        except BaseException:
            self.close()
            raise

    def close(self):
        self._servers.close()
        self.postgres.sql("DROP DATABASE IF EXISTS validated")
        for role in ("validated", "cached"):
            with suppress(psycopg.errors.UndefinedObject):
                self.postgres.sql(f"DROP ROLE {role}")

    def value(self):
        """A new value that no output may contain."""
        self.values.append(secrets.token_hex(12))
        return self.values[-1]

    def write(self, path, **fields):
        """Write a secret of the environment, without fields that are None."""
        self.secrets[path] = {key: value for key, value in fields.items() if value is not None}
        self.bao.put(f"testing/{path}", **self.secrets[path])

    @contextmanager
    def with_secret(self, path, **fields):
        """Change fields of a secret inside this context; None removes a field."""
        before = self.secrets[path]
        self.write(path, **before | fields)
        yield
        self.write(path, **before)

    @contextmanager
    def with_config(self, **blocks):
        """Replace blocks of the configuration; of `vault` and `validate` only the given keys."""
        before, self.config = self.config, copy.deepcopy(self.config)
        for name, block in blocks.items():
            self.config[name] = self.config[name] | block if name in {"vault", "validate"} else block
        try:
            yield
        finally:
            self.config = before

    def with_token(self, policies, **settings):
        """Use a new token instead of the login by AppRole."""
        body = {"policies": policies, **settings}
        token = self.bao.ask("POST", "auth/token/create", body)["auth"]["client_token"]
        self.values.append(token)
        return self.with_token_file(token)

    @contextmanager
    def with_token_file(self, token):
        file = self.folder / "token"
        file.write_text(token)
        with self.with_config(vault={"auth": {"method": "token", "token_file": str(file)}}):
            yield

    @contextmanager
    def with_agent(self, agent):
        """Use the status of another agent."""
        with self.with_config(state_dir=str(agent.state)):
            yield

    def validate(self, *arguments, **environ):
        """Run the command, and check that its output contains no value. A slow machine shows no progress."""
        arguments = ("--quiet", *arguments)
        (self.folder / "lessee.yaml").write_text(yaml.safe_dump(self.config))
        where = {"cwd": self.folder, "env": {"PATH": os.environ["PATH"], "HOME": str(self.folder), **environ}}
        if self.prefix:
            command = [*self.prefix, sys.executable, "-m", "lessee", "validate", *arguments]
            done = subprocess.run(command, **where, capture_output=True, text=True, timeout=PATIENCE, check=False)
        else:
            done = run_lessee("validate", *arguments, **where)
        printed = [value for value in self.values if value in done.stdout + done.stderr]
        assert not printed, f"{len(printed)} values are in the output of {arguments}"
        return done

    def results(self, *arguments, **environ):
        """The results by component and check; of several with the same name one that failed."""
        done = self.validate("--format", "json", *arguments, **environ)
        assert done.stderr == "", done.stderr
        found = json.loads(done.stdout)["results"]
        found.sort(key=lambda result: result["passed"] is False)
        return {(result["component"], result["check"]): result for result in found}

    def _start(self, memory):
        self._start_vault()
        self._start_database()
        self.redis = self._servers.enter_context(Redis(self.folder, self.pair))
        self._start_store()
        self.secrets = {}
        self._write_secrets()
        self._start_agent(memory)
        socket = str(self._agent.state)
        block = {"privileges": {"tables": ["orders"], "create": True}}
        cache = {"secret": "cache/database", "redis": "cache/redis"}
        self.config = {
            "environment": "testing",
            "vault": {"address": self.secure["good"], "ca_file": str(self.authority), "auth": self._auth},
            "state_dir": socket,
            "validate": {"timeout": "20s", "database": block, "storage": {}, "mcp_cache": cache},
        }

    def _start_vault(self):
        self.stranger = self.folder / "stranger.pem"
        Authority(self.stranger)
        self.authority = self.folder / "ca.pem"
        authority = Authority(self.authority)
        listeners, self.secure = "", {}
        for name, days in {"good": 90, "soon": 7, "now": 1}.items():
            pair, port = self.folder / f"{name}.pem", free_port()
            authority.issue(pair, days)
            listeners += TLS.format(port=port, pair=pair)
            self.secure[name] = f"https://127.0.0.1:{port}"
        self.pair = self.folder / "good.pem"
        audit = AUDIT.format(file=self.folder / "audit.log")
        self.bao = self._servers.enter_context(OpenBao(self.folder, config=audit + listeners))
        self.postgres.attach(self.bao)
        self._servers.callback(self.bao.ask, "POST", "sys/leases/revoke-prefix/database/creds", {"sync": True})
        files = {"role_id_file": self.folder / "role_id", "secret_id_file": self.folder / "secret_id"}
        for file, value in zip(files.values(), self.bao.approle("validated", POLICY), strict=True):
            file.touch(0o600)
            file.write_text(value)
            self.values.append(value)
        self._auth = {"method": "approle"} | {key: str(file) for key, file in files.items()}

    def _start_database(self):
        self.passwords = {role: self.value() for role in ("validated", "cached")}
        for role, password in self.passwords.items():
            self.postgres.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        self.postgres.sql("CREATE DATABASE validated OWNER validated")
        self.postgres.sql("CREATE TABLE orders (id int); GRANT ALL ON orders TO validated", database="validated")

    def _start_store(self):
        folder = self.folder / "store"
        folder.mkdir()
        self.keys = {name: (f"{name}-{secrets.token_hex(4)}", self.value()) for name in ("admin", *MORE_USERS)}
        actions = {"admin": ["Admin"], **MORE_USERS}
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": self.keys[name][0], "secretKey": self.keys[name][1]}],
                "actions": actions[name],
            }
            for name in self.keys
        ]
        identities.append({"name": "anonymous", "actions": ["Read:open", "List:open"]})
        users = self.folder / "users.json"
        users.write_text(json.dumps({"identities": identities}))
        self.store = S3Server(folder, free_port(), users, self.pair)
        self._servers.callback(self.store.close)
        admin = dict(zip(("access_key_id", "secret_access_key"), self.keys["admin"], strict=True))
        eventually(lambda: self.store.accepts(**admin), "the store")
        self.admin = self.store.client(**admin)
        self.admin.create_bucket(Bucket="open")
        eventually(self._is_warm, "a volume for the bucket")

    def _is_warm(self):
        # The first write to a bucket fails until it has a volume.
        try:
            return self.admin.put_object(Bucket="open", Key="a", Body=b"b")
        except ClientError:
            return False

    def _write_secrets(self):
        place = {"host": "127.0.0.1", "port": self.postgres.port}
        self.write(
            "database/postgres",
            **place,
            database="validated",
            username="validated",
            password=self.passwords["validated"],
        )
        self.write(
            "cache/database", **place, database="validated", username="cached", password=self.passwords["cached"]
        )
        password = self.value()
        self.redis.ask("ACL", "SETUSER", "app", "on", f">{password}", "~*", "+@all")
        self.write("cache/redis", host="127.0.0.1", port=self.redis.port, username="app", password=password)
        self.write(
            "storage/minio",
            endpoint=f"127.0.0.1:{self.store.port}",
            bucket="docs",
            **dict(zip(("access_key", "secret_key"), self.keys["app"], strict=True)),
        )

    def _start_agent(self, memory):
        disk = self.folder / "agent"
        disk.mkdir()
        self._agent = Sidecar(self.bao.address, disk, memory)
        self._servers.callback(self._agent.close)
        del self._agent.environ["VAULT_TOKEN"]
        self._agent.config["vault"]["auth"] = self._auth
        self._agent.template("db.txt.j2", '{{ dynamic("database/creds/simba").password }}\n')
        self._agent.start()
        self._agent.until(lambda status: status["fresh"])
        self.values.append((self._agent.directory / "db.txt").read_text().strip())


MORE_USERS = {
    **USERS,
    "unlisting": ["Read:docs", "Write:docs"],
    "reader": ["Read:docs", "List:docs"],
    "writer": ["Write:docs", "List:docs"],
}


@contextmanager
def clock_ahead(environment, seconds):
    """Let this machine's clock be ahead for `lessee validate`."""
    need(shutil.which("faketime"), "needs libfaketime: apt install faketime")
    environment.prefix = ["faketime", "-f", f"+{seconds}s"]
    yield
    environment.prefix = []


@contextmanager
def postgres_with_tls(environment):
    """Enable TLS of the database server, with the environment's certificate."""
    sql = environment.postgres.sql
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        pair = shutil.copy(environment.pair, folder)
        Path(folder).chmod(0o755)
        Path(pair).chmod(0o600)
        if os.geteuid() == 0:
            os.chown(pair, 65534, 65534)
        for name, value in {"ssl_cert_file": pair, "ssl_key_file": pair, "ssl": "on"}.items():
            sql(f"ALTER SYSTEM SET {name} = '{value}'")
        sql("SELECT pg_reload_conf()")
        try:
            eventually(lambda: sql("SHOW ssl") == [("on",)], "TLS")
            yield
        finally:
            for name in ("ssl", "ssl_cert_file", "ssl_key_file"):
                sql(f"ALTER SYSTEM RESET {name}")
            sql("SELECT pg_reload_conf()")
            eventually(lambda: sql("SHOW ssl") == [("off",)], "no TLS")
