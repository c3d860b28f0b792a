"""The usual environment from nothing, as an operator has it: real servers, one configuration, services, and a shell."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import yaml

from lessee.host.openbao import find_bao
from lessee.status.client import request_status
from support.paths import ROOT, TESTS
from support.programs.movable_clock import faketime_library
from support.programs.sidecar import PATIENCE, eventually
from support.servers.alert_receivers import Hook
from support.servers.api_key_provider import Keyring
from support.servers.certificate_authority import Authority
from support.servers.providers_behind_proxy import HOSTS, ProvidersBehindProxy
from support.servers.redis_server import Redis
from support.servers.s3_server import BUCKET
from support.servers.vault_server import Server, adapted, certificate, ports
from support.systems.redis import ADMIN as REDIS_ADMIN
from support.systems.redis import RIGHTS as REDIS_RIGHTS
from support.systems.s3 import AccessKeys
from support.systems.s3 import started as started_store
from support.systems.s3_admin import AdminKeys

ENVIRONMENTS = ("testing", "production")
DATABASE, OWNER = "month", "month_owner"
ROLES, ADMINS = ("month_a", "month_b"), ("month_admin_a", "month_admin_b")
BRAVE = "api.search.brave.com"
TEMPLATES = {
    "simba": """{% set db = secret("database/postgres") %}{% set store = secret("storage/minio") -%}
POSTGRES_HOST={{ db.host }}
POSTGRES_PORT={{ db.port }}
POSTGRES_DB={{ db.database }}
POSTGRES_USER={{ db.username }}
POSTGRES_PASSWORD={{ db.password }}
MINIO_ENDPOINT={{ store.endpoint }}
MINIO_BUCKET={{ store.bucket }}
MINIO_ACCESS_KEY={{ store.access_key }}
MINIO_SECRET_KEY={{ store.secret_key }}
OPENROUTER_API_KEY={{ secret("api-keys/openrouter").api_key }}
BRAVE_API_KEY={{ secret("api-keys/brave-search").api_key }}
""",
    "cache": """{% set redis = secret("cache/redis") -%}
REDIS_HOST={{ redis.host }}
REDIS_PORT={{ redis.port }}
REDIS_USERNAME={{ redis.username }}
REDIS_PASSWORD={{ redis.password }}
""",
    "memory": 'MCP_API_KEY={{ secret("mcp/memory-service").api_key }}\n',
    "site": """{% set site = secret("frontend/app") -%}
VITE_API_URL={{ site.VITE_API_URL }}
VITE_APP_NAME={{ site.VITE_APP_NAME }}
""",
}
PROCESSES = ("simba", "cache")
"""The apps that run; the others only have files."""
SERVICES = {
    "agent": "lessee run --log-format json",
    "rotator": "lessee rotate --watch --log-format json",
    "monitor": "lessee monitor --log-format json",
}
SOCKETS = {"agent": "status.sock", "rotator": "rotator.sock", "monitor": "monitor.sock"}
IDENTITIES = {"rotator": "production-rotator", "monitor": "production-monitor"}
RESTART_DELAY = 0.1
"""Seconds: systemd's RestartSec."""


class Inbox(Hook):
    """The people's inbox: each alert with the time of its arrival."""

    def __init__(self):
        super().__init__()
        self.requests = self._Timed()

    class _Timed(list):
        def append(self, item):
            item[2]["arrived_at"] = time.time()
            super().append(item)

    def arrived(self):
        """Each message about an alert, with the time of its arrival."""
        return [(alert, body["arrived_at"]) for _, _, body in list(self.requests) for alert in body["alerts"]]


class Service:
    """A service with `Restart=always`, as systemd runs it."""

    def __init__(self, name, command, folder, environ):
        self.name, self.command = name, command
        self.log = folder / f"{name}.log"
        self.restarts = []
        """When it was restarted after it had ended by itself."""
        self._folder, self._environ = folder, environ
        self._wanted, self._lock = False, threading.Lock()
        self.process = None

    def start(self):
        with self._lock:
            self._wanted = True
            self._start()
        threading.Thread(target=self._supervise, daemon=True).start()

    def stop(self):
        """Returns the exit code."""
        with self._lock:
            self._wanted = False
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self):
        """As the kernel does if memory is out."""
        self.process.kill()

    def lines(self, *levels):
        """The lines of its log with these levels."""
        found = []
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            with suppress(ValueError):
                parsed = json.loads(line)
                if not levels or parsed.get("level") in levels:
                    found.append(parsed)
        return found

    def _start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", f"exec {self.command}"],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _supervise(self):
        while True:
            self.process.wait()
            time.sleep(RESTART_DELAY)
            with self._lock:
                if not self._wanted:
                    return
                self.restarts.append(time.time())
                self._start()


class Month:
    """The environment. `day`: seconds that a simulated day lasts."""

    def __init__(self, folder, memory, postgres, chronicle):
        self.folder, self.memory, self.postgres, self.chronicle = folder, memory, postgres, chronicle
        self.day, self.today, self.services = chronicle.day, 0, {}
        self._servers = ExitStack()

    def __enter__(self):
        try:
            self._start_servers()
            self._write_files()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for service in self.services.values():
            with suppress(Exception):
                service.stop()
        self._servers.close()

    # A shell.

    def type(self, command, *, code=0, by="a person", why="", days_ahead=0, stdin=None):
        """Run a command as it would be typed, and return its output. `code`: the expected exit code, or several.

        `days_ahead`: its clock is so many days ahead, for what decides by the date.
        """
        began = time.monotonic()
        environ = self.environ | (self._moved_clock(days_ahead) if days_ahead else {})
        with (self.folder / "said").open("w+") as out:  # Not a pipe, which a background process would keep open.
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                cwd=self.folder,
                env=environ,
                input=stdin or "",
                text=True,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=2 * PATIENCE,
                check=False,
            )
            out.seek(0)
            said = out.read()
        self.note_command(command, by, done.returncode, why)
        with (self.folder / "typed.log").open("a") as log:
            log.write(f"$ {command}\n{said}\nexit code {done.returncode} after {time.monotonic() - began:.1f} s\n\n")
        expected = (code,) if isinstance(code, int) else code
        assert done.returncode in expected, f"$ {command}\n{done.returncode}\n{said}"
        return said

    def note_command(self, command, by, code, why):
        from support.models.month_report import Typed  # noqa: PLC0415  # The report knows nothing of processes.

        self.chronicle.typed.append(Typed(self.today, by, command, code, why))

    def _moved_clock(self, days):
        return {
            "LD_PRELOAD": self._faketime,
            "FAKETIME": f"+{days}d",
            "FAKETIME_DISABLE_SHM": "1",  # A killed program would leave a segment.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    # Services.

    def start(self, name):
        """Start a service, and wait until it is ready."""
        if name not in self.services:
            environ = self.environ | {"IDENTITY": IDENTITIES.get(name, "none")}
            environ.pop("VAULT_TOKEN", None)
            self.services[name] = Service(name, SERVICES[name], self.folder, environ)
            self.chronicle.services[name] = SERVICES[name]
        self.services[name].start()
        self.until(name, lambda status: status["ready"])

    def can_log_in(self, user, password):
        """Whether PostgreSQL accepts this login to the apps' database."""
        try:
            psycopg.connect(self.postgres.admin_url, user=user, password=password, dbname=DATABASE).close()
        except psycopg.OperationalError as exc:
            if "authentication failed" in str(exc) or "not permitted to log in" in str(exc):
                return False
            raise
        return True

    def start_app(self, name):
        file, pid, journal = self.memory / name / f"{name}.env", self.folder / f"{name}.pid", self.journal(name)
        command = f"{sys.executable} {TESTS}/support/programs/month_app.py {file} {pid} {journal}"
        self.services[name] = Service(name, command, self.folder, self.environ)
        self.services[name].start()
        eventually(lambda: pid.exists() and pid.read_text(), f"the app {name}")

    def journal(self, app):
        return self.folder / f"{app}.journal"

    def status(self, name="agent"):
        return request_status(self.state / SOCKETS[name], "GET", "/status.json")

    def until(self, name, check, patience=PATIENCE):
        last = None

        def look():
            nonlocal last
            with suppress(Exception):  # It is not up yet.
                last = self.status(name)
                return last if check(last) else None

        try:
            return eventually(look, f"the wanted status of {name}", patience)
        except AssertionError as exc:
            log = self.services[name].log.read_text()[-5000:]
            raise AssertionError(f"{exc}\n{log}\n{json.dumps(last)}") from None

    def is_well(self, status):
        """Whether the agent's status is the one of a good day."""
        return status["ready"] and status["fresh"] and not status["problems"]

    # Secrets, as an operator's token reads them.

    def ask(self, method, path, body=None, token=None):
        return self.server.ask(method, path, body, token=token or self.operator_token)

    def fields(self, path):
        return self.ask("GET", f"secret/data/production/{path}")["data"]["data"]

    def version(self, path):
        return self.ask("GET", f"secret/metadata/production/{path}")["data"]["current_version"]

    @property
    def operator_token(self):
        return self.environ["VAULT_TOKEN"]

    @property
    def state(self):
        return self.memory / "lessee"

    def secret_id(self, role):
        return (self.folder / "logins" / "production" / role / "secret_id").read_text().strip()

    def role_id(self, role):
        return (self.folder / "logins" / "production" / role / "role_id").read_text().strip()

    # Servers.

    def _start_servers(self):
        enter = self._servers.enter_context
        vault = self.folder / "vault"
        vault.mkdir()
        certificate(vault / "tls")
        for name in ("data", "logs"):
            (vault / name).mkdir()
        numbers = ports(2)
        self.audit = vault / "logs" / "audit.log"
        ca = vault / "tls" / "ca.crt"
        self.server = enter(Server(vault, numbers[0], adapted("production.hcl", vault, numbers), ca=ca))
        self._start_database()
        (self.folder / "redis").mkdir()
        self.redis_admin = secrets.token_hex(16)
        acl = [f"user {REDIS_ADMIN} on >{self.redis_admin} {REDIS_RIGHTS}"]
        self.redis = enter(Redis(self.folder / "redis", acl=acl))
        self.redis_password = secrets.token_hex(16)
        rights = ("~*", "&*", "+@all", "-@admin", "-@dangerous")
        self.redis.ask("ACL", "SETUSER", "cache", "on", f">{self.redis_password}", *rights)
        self.redis.ask("ACL", "SAVE")
        (self.folder / "store").mkdir()
        store = enter(started_store(self.folder / "store"))
        self.keys, self.admin_keys = AccessKeys(store), AdminKeys(store)
        self.ring = Keyring()
        self._servers.callback(self.ring.close)
        authority, pair = self.folder / "providers.pem", self.folder / "providers-pair.pem"
        Authority(authority).issue(pair, 90, names=tuple(HOSTS))
        self.providers = ProvidersBehindProxy(pair, authority)
        self._servers.callback(self.providers.close)
        self.providers.keys[BRAVE] = f"brave-{secrets.token_hex(12)}"
        self.inbox = enter(Inbox())

    def _start_database(self):
        sql = self.postgres.sql
        sql(f"CREATE DATABASE {DATABASE}")
        self._servers.callback(self._drop)
        sql(f"CREATE ROLE {OWNER} NOLOGIN")
        self.passwords = {name: secrets.token_hex(16) for name in (ROLES[0], ADMINS[0])}
        sql(f"CREATE ROLE {ROLES[0]} LOGIN PASSWORD '{self.passwords[ROLES[0]]}' IN ROLE {OWNER}")
        sql(f"CREATE ROLE {ADMINS[0]} LOGIN CREATEROLE PASSWORD '{self.passwords[ADMINS[0]]}'")
        sql(f"GRANT {OWNER}, {ROLES[0]} TO {ADMINS[0]} WITH ADMIN OPTION")
        if sql("SELECT current_setting('server_version_num')::int >= 160000")[0][0]:
            sql(f"ALTER ROLE {ADMINS[0]} SUPERUSER")

    def _drop(self):
        for role in (*ROLES, *ADMINS, OWNER):
            with suppress(psycopg.Error):
                self.postgres.sql(f"DROP OWNED BY {role} CASCADE")
        self.postgres.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        for role in (*ROLES, *ADMINS, OWNER):
            self.postgres.sql(f"DROP ROLE IF EXISTS {role}")

    # The configuration.

    def _write_files(self):
        self._faketime = faketime_library()
        for name, text in TEMPLATES.items():
            (self.folder / f"{name}.env.j2").write_text(text)
        page = (ROOT / "docs/how-to/operations/new-server.md").read_text()
        policy = page.split("```hcl\n# operator.hcl\n", 1)[1].split("```", 1)[0]
        (self.folder / "operator.hcl").write_text(policy)
        self.write_config(self.configuration())
        programs = [Path(sys.executable).parent, Path(find_bao()).parent]
        self.environ = {
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
            "HOME": str(self.folder),
            "VAULT_ADDR": self.server.address,
            "VAULT_CACERT": str(self.server.folder / "tls" / "ca.crt"),
            "LESSEE_BACKUP_KEY_FILE": str(self.folder / "backup.key"),
            **self.providers.environ,
        }
        for name, value in self._first_values().items():
            self.environ[f"{name}_production"] = value
            self.environ[f"{name}_testing"] = value if name.endswith("_URL") else secrets.token_hex(16)

    def _first_values(self):
        store = self.keys.secrets() | self.admin_keys.secrets()
        return {
            "POSTGRES_USER": ROLES[0],
            "POSTGRES_PASSWORD": self.passwords[ROLES[0]],
            "ADMIN_USER": ADMINS[0],
            "ADMIN_PASSWORD": self.passwords[ADMINS[0]],
            "REDIS_PASSWORD": self.redis_password,
            "REDIS_ADMIN_PASSWORD": self.redis_admin,
            "MINIO_ACCESS_KEY": store["storage/minio"]["access_key"],
            "MINIO_SECRET_KEY": store["storage/minio"]["secret_key"],
            "MINIO_ADMIN_ACCESS_KEY": store["storage/admin"]["access_key"],
            "MINIO_ADMIN_SECRET_KEY": store["storage/admin"]["secret_key"],
            "OPENROUTER_API_KEY": self.ring.create("created manually")[1],
            "OPENROUTER_ADMIN_KEY": self.ring.admin,
            "BRAVE_API_KEY": self.providers.keys[BRAVE],
        }

    def write_config(self, config):
        file = self.folder / "lessee.yaml"
        file.with_suffix(".new").write_text(yaml.safe_dump(config, sort_keys=False))
        file.with_suffix(".new").rename(file)

    def configuration(self):
        """The file that all commands and services read. A period of a day is a simulated day."""
        apps = {name: self._app(name) for name in TEMPLATES}
        return {
            "environment": "production",
            "vault": {"auth": self._login("${IDENTITY:-production-app}")},
            "state_dir": str(self.state),
            "apps": apps,
            "setup": {
                "environments": list(ENVIRONMENTS),
                "components": {
                    "app": ["read", "list"],
                    "database-admin": ["all"],
                    "security": ["all"],
                    "ci": {"capabilities": ["read"], "prefixes": ["api-keys/"]},
                },
                "secrets": self._first_secrets(),
            },
            "rotation": self._rotation(),
            "validate": {
                "timeout": "60s",  # Only how long, for a busy machine.
                "api_keys": {
                    "openrouter": {"secret": "api-keys/openrouter", "key": "api_key", "url": f"{self.ring.url}/me"},
                    "brave": {"secret": "api-keys/brave-search", "key": "api_key"},
                },
            },
            "backup": {
                "directory": str(self.folder / "backups"),
                "keep": {"within": "24h", "last": 2, "daily": 7, "weekly": 4},
                "metrics_directory": str(self.folder / "metrics"),
            },
            "drill": {"directory": str(self.folder / "drills")},
            "audit_trail": {"directory": str(self.folder / "trail"), "key_file": str(self.folder / "trail.key")},
            "monitor": self._monitor(),
        }

    def _login(self, role):
        where = f"{self.folder}/logins/production/{role}"
        return {"method": "approle", "role_id_file": f"{where}/role_id", "secret_id_file": f"{where}/secret_id"}

    def _app(self, name):
        app = {
            "directory": str(self.memory / name),
            "vault": {"auth": self._login(f"production-{name}")},
            "refresh_interval": "300ms",
            "files": [{"template": f"{name}.env.j2"}],
        }
        if name in PROCESSES:
            app["notify"] = {"process": {"pid_file": str(self.folder / f"{name}.pid")}, "action": "SIGHUP"}
        if name == "site":
            app["public_variables"] = ["VITE_API_URL", "VITE_APP_NAME"]
        return app

    def _first_secrets(self):
        def env(name):
            return {"env": f"{name}_{{environment}}"}

        database = {
            "host": {"value": "127.0.0.1"},
            "port": {"value": str(self.postgres.port)},
            "database": {"value": DATABASE},
        }
        cache = {"host": {"value": "127.0.0.1"}, "port": {"value": str(self.redis.port)}}
        endpoint = {"endpoint": {"value": f"127.0.0.1:{self.keys.store.port}"}}
        return {
            "database/postgres": {**database, "username": env("POSTGRES_USER"), "password": env("POSTGRES_PASSWORD")},
            "database/admin": {**database, "username": env("ADMIN_USER"), "password": env("ADMIN_PASSWORD")},
            "cache/redis": {**cache, "username": {"value": "cache"}, "password": env("REDIS_PASSWORD")},
            "cache/admin": {**cache, "username": {"value": REDIS_ADMIN}, "password": env("REDIS_ADMIN_PASSWORD")},
            "storage/minio": {
                **endpoint,
                "bucket": {"value": BUCKET},
                "access_key": env("MINIO_ACCESS_KEY"),
                "secret_key": env("MINIO_SECRET_KEY"),
            },
            "storage/admin": {
                **endpoint,
                "access_key": env("MINIO_ADMIN_ACCESS_KEY"),
                "secret_key": env("MINIO_ADMIN_SECRET_KEY"),
            },
            "api-keys/openrouter": {"base_url": {"value": self.ring.url}, "api_key": env("OPENROUTER_API_KEY")},
            "api-keys/brave-search": {"api_key": env("BRAVE_API_KEY")},
            "admin/openrouter": {"base_url": {"value": self.ring.url}, "api_key": env("OPENROUTER_ADMIN_KEY")},
            "mcp/memory-service": {"api_key": {"generate": 40}},
            "frontend/app": {
                "VITE_API_URL": {"value": "https://api.example.org"},
                "VITE_APP_NAME": {"value": "Simba"},
                "VITE_ENABLE_AUTH": {"value": "true"},
            },
        }

    def _rotation(self):
        daily = {"rotation_period": self._days(1)}
        weekly = {"rotation_period": self._days(7)}
        rest = {"jitter": "0s", "confirmation_timeout": self._days(0.8), "revoke_delay": self._days(0.3)}
        # No app reads these, so there is no confirmation that ends the wait.
        alone = {"confirmation_timeout": self._days(0.2)}
        rotator = self._login("production-rotator")["secret_id_file"]
        targets = {
            "postgres": {
                "kind": "postgres",
                "secret": "database/postgres",
                "admin_secret": "database/admin",
                "roles": list(ROLES),
                "owner": OWNER,
                "consumers": ["simba"],
                **daily,
            },
            "admins": {"kind": "postgres-admins", "secret": "database/admin", "roles": list(ADMINS), **weekly, **alone},
            "cache": {
                "kind": "redis",
                "secret": "cache/redis",
                "admin_secret": "cache/admin",
                "user": "cache",
                "consumers": ["cache"],
                **weekly,
            },
            "storage": {
                "kind": "s3",
                "secret": "storage/minio",
                "admin_secret": "storage/admin",
                "user": self.keys.user,
                "consumers": ["simba"],
                "delete_delay": self._days(1),
                **weekly,
            },
            "storage-admin": {"kind": "s3-admin", "secret": "storage/admin", "user": self.admin_keys.user}
            | {"delete_delay": self._days(1)}
            | weekly
            | alone,
            "openrouter": {
                "kind": "api-key",
                "secret": "api-keys/openrouter",
                "admin_secret": "admin/openrouter",
                "recipe": "example",
                "consumers": ["simba"],
                **weekly,
            },
            "memory": {
                "kind": "vault",
                "secret": "mcp/memory-service",
                "keys": {"api_key": {"generate": 40}},
                "consumers": ["memory"],
                **weekly,
            },
            "rotator": {
                "kind": "secret-id",
                "secret": "admin/rotator",
                "approle": "production-rotator",
                "secret_id_file": rotator,
                **weekly,
                **alone,
            },
            "brave": {
                "kind": "manual",
                "secret": "api-keys/brave-search",
                "keys": ["api_key"],
                "recipe": "brave",
                "instructions": "Create a key in Brave's console.",
                "consumers": ["simba"],
                "rotation_period": self._days(21),
            },
        }
        return {name: rest | target for name, target in targets.items()}

    def _monitor(self):
        rules = [
            {"rule": "audit-off", "after": self._days(0.5), "silent_after": self._days(0.5)},
            {"rule": "agent-silent", "after": self._days(0.5)},
            {"rule": "agent-not-fresh", "after": self._days(0.2)},
            {"rule": "rotation-overdue", "after": self._days(0.7)},
        ]
        return {
            "audit": {"file": str(self.audit), "name": "vault"},
            "state_dir": str(self.folder / "monitor"),
            "poll_interval": "500ms",
            "watch": [str(self.state / SOCKETS[name]) for name in ("agent", "rotator")],
            "alerts": {
                "consecutive_denials": 5,
                "resolve_timeout": self._days(0.5),
                "repeat_interval": self._days(2),
                "rules": rules,
                "webhook": self.inbox.url,
            },
            "responses": {
                "audit_device": "file",
                "protected": [],
                "actions": [{"rule": "consecutive-denials", "action": "revoke-token", "max_per_hour": 3}],
            },
        }

    def _days(self, count):
        return f"{round(count * self.day * 1000)}ms"
