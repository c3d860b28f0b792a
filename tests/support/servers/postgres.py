"""A real PostgreSQL in memory, and its connection to OpenBao's database engine."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from lessee.host.openbao import free_port

OWNER = "simba_owner"
DATABASE = "simba"

_PATIENCE = 20.0
_UNPRIVILEGED = {"user": 65534, "group": 65534, "extra_groups": []}
# The data need not survive a crash, so nothing waits for a disk.
_SETTINGS = {"listen_addresses": "127.0.0.1", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# Without `SET role`, what an app creates belongs to the lease's user, which then cannot be dropped.
_CREATION = [
    """CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE simba_owner""",
    """ALTER ROLE "{{name}}" SET role TO 'simba_owner'""",
]
_REVOCATION = [
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'",
    'DROP ROLE IF EXISTS "{{name}}"',
]


class Postgres:
    """The machine's own PostgreSQL on loopback. Its data is deleted at its end, its log stays in the folder."""

    def __init__(self, folder):
        self._programs = Path(find_initdb()).resolve().parent
        self._log = folder / "postgres.log"
        # Its user must be able to enter all parent directories, which a test's directory forbids.
        self._home = Path(tempfile.mkdtemp(prefix="lessee-postgres-", dir="/dev/shm"))
        # PostgreSQL refuses to run as root.
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else {}
        if self._user:
            os.chown(self._home, _UNPRIVILEGED["user"], _UNPRIVILEGED["group"])
        self.port = free_port()
        self._password = os.urandom(8).hex()
        self.admin_url = f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/postgres"
        self._init()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self._home)

    def start(self):
        """Start it with its existing data, and wait until it answers."""
        settings = _SETTINGS | {"port": self.port, "unix_socket_directories": self._home}
        options = [f"--{name}={value}" for name, value in settings.items()]
        self.process = self._run("postgres", "-D", self._home / "data", *options)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.sql("SELECT 1")
            except psycopg.OperationalError:
                assert self.process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self):
        """Stop it immediately, with all its connections."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(_PATIENCE)

    def sql(self, text, *values, database="postgres"):
        """Run a statement as superuser. Returns its rows."""
        with psycopg.connect(self.admin_url, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(text, values or None)
            return cursor.fetchall() if cursor.description else []

    def roles(self, like):
        """The names of the roles that match this pattern of LIKE."""
        return [name for (name,) in self.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY 1", like)]

    def connect(self, user, password):
        """A connection of this user to the database simba."""
        return psycopg.connect(self.admin_url, user=user, password=password, dbname=DATABASE)

    def can_log_in(self, user, password):
        """Whether the server accepts the login. Raises OperationalError where it does not answer."""
        try:
            self.connect(user, password).close()
        except psycopg.OperationalError as exc:
            refusals = ("authentication failed", "is not permitted to log in", "does not exist")
            if any(refusal in str(exc) for refusal in refusals):
                return False
            raise
        return True

    def make_database(self):
        """Create the database simba and its owner, unless they exist."""
        self._make(f"CREATE ROLE {OWNER} NOLOGIN")
        self._make(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")

    def attach(self, bao, role="simba", default_ttl="1h", max_ttl="24h"):
        """Let `database/creds/ROLE` of an OpenBao server issue users of the database simba. Call it for each role."""
        self.make_database()
        if "database/" not in bao.ask("GET", "sys/mounts")["data"]:
            bao.ask("POST", "sys/mounts/database", {"type": "database"})
        login = "{{username}}:{{password}}"
        connection = {
            "plugin_name": "postgresql-database-plugin",
            "connection_url": f"postgresql://{login}@127.0.0.1:{self.port}/{DATABASE}?sslmode=disable",
            "username": "postgres",
            "password": self._password,
            "allowed_roles": "*",
        }
        bao.ask("POST", f"database/config/{DATABASE}", connection)
        times = {"default_ttl": default_ttl, "max_ttl": max_ttl}
        statements = {"creation_statements": _CREATION, "revocation_statements": _REVOCATION}
        bao.ask("POST", f"database/roles/{role}", {"db_name": DATABASE, **statements, **times})

    def static_role(self, bao, name, rotation_period="24h"):
        """After `attach`: let `database/static-creds/NAME` rotate the password of a user of that name."""
        self._make(f'CREATE ROLE "{name}" LOGIN IN ROLE {OWNER}')
        role = {"db_name": DATABASE, "username": name, "rotation_period": rotation_period}
        bao.ask("POST", f"database/static-roles/{name}", role)

    def _make(self, statement):
        # PostgreSQL has no IF NOT EXISTS for these.
        with suppress(psycopg.errors.DuplicateObject, psycopg.errors.DuplicateDatabase):
            self.sql(statement)

    def _init(self):
        password = self._home / "password"
        password.write_text(self._password)
        password.chmod(0o644)
        options = ["--username=postgres", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync"]
        code = self._run("initdb", "-D", self._home / "data", *options).wait(_PATIENCE)
        assert code == 0, self._log.read_text()

    def _run(self, program, *arguments):
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *arguments],
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._user,
            )


def find_initdb():
    """The machine's `initdb`, or None. Debian installs it outside PATH, in a directory for each version."""
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which("initdb", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *folders]))
