"""A real PgBouncer, whose databases and clients are in files that an agent renders."""

import os
import shutil
import socket
import subprocess

import psycopg

from support.needs import need
from support.programs.sidecar import eventually
from support.readmes import blocks

_UNPRIVILEGED = {"user": 65534, "group": 65534, "extra_groups": []}
_PORT = 6432  # In the configuration of its README.
DATABASE = "app"
"""The name by which clients know the database."""


class PgBouncer:
    """The configuration of templates/pgbouncer/README.md, with the machine's own paths and a Unix socket alone."""

    def __init__(self, folder, files, *, auth="trust", **settings):
        """`files`: the directory that the agent renders. `auth`: how clients log in. `settings` replace others."""
        need(shutil.which("pgbouncer"), "needs PgBouncer: apt install pgbouncer")
        self.home = folder / "pgbouncer"
        self.home.mkdir()
        (text,) = blocks("pgbouncer", "ini")
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else {}  # It refuses to run as root.
        text = text.replace("/run/secrets/pgbouncer", str(files)).replace("/run/pgbouncer", str(self.home))
        text = text.replace("/etc/pgbouncer/hba.conf", f"{self.home}/hba.conf")
        lines = [line for line in text.splitlines() if line.partition(" =")[0] not in settings]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self.home / "pgbouncer.ini").write_text("\n".join([*lines, ""]))
        (self.home / "hba.conf").write_text(f"local all all {auth}\n")
        for path in (self.home, *self.home.iterdir()):
            if self._user:
                os.chown(path, self._user["user"], self._user["group"])
        self.log = folder / "pgbouncer.log"

    def __enter__(self):
        with self.log.open("ab") as log:
            command = ["pgbouncer", self.home / "pgbouncer.ini"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._user)
        eventually(lambda: self.process.poll() is not None or self._listens(), "PgBouncer")
        assert self.process.poll() is None, self.log.read_text()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def _listens(self):
        # The socket's file is there before the server listens on it.
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.home / f".s.PGSQL.{_PORT}")) == 0

    def connect(self, user="app", password=None, database=DATABASE, **settings):
        """A client's connection, which has no password by default."""
        where = {"host": str(self.home), "port": _PORT, "user": user, "password": password, "dbname": database}
        return psycopg.connect(**where, autocommit=True, **settings)
