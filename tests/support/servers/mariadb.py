"""A real MariaDB on loopback."""

import os
import shutil
import subprocess
from contextlib import closing

import pymysql

from lessee.host.openbao import free_port
from support.needs import need
from support.programs.sidecar import eventually

DATABASE = "shop"
_REJECTED = {1044, 1045, 4151}
_SMALL = (
    "--innodb-log-file-size=4M",
    "--innodb-data-file-path=ibdata1:12M:autoextend",
    "--innodb-buffer-pool-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-log-bin",
)


class Mariadb:
    """A server with a database, whose user root has no password. Its log of statements is `general_log`."""

    def __init__(self, folder, *options):
        """`options`: more of the server's, such as for TLS."""
        install, program = shutil.which("mariadb-install-db"), find_mariadbd()
        need(install and program, "needs MariaDB: apt install mariadb-server")
        self.port = free_port()
        self.general_log, self.log = folder / "statements.log", folder / "mariadb.log"
        data, user = folder / "data", ("--user=root",) if os.geteuid() == 0 else ()
        common = ("--no-defaults", f"--datadir={data}", *user, *_SMALL)
        quick = ("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
        subprocess.run([install, *common, *quick], check=True, capture_output=True, cwd=folder)
        where = (f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={folder / 'socket'}")
        logs = (f"--general-log-file={self.general_log}", f"--pid-file={folder / 'pid'}", "--skip-name-resolve")
        self.command = [program, *common, *where, *logs, *options]
        self.start()
        self.sql(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        self.sql(f"CREATE TABLE IF NOT EXISTS {DATABASE}.orders (number INT)")

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        eventually(self._answers, "MariaDB")

    def stop(self):
        """Kill it, as a power failure does."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def connect(self, username="root", password="", **settings):
        """Connect as an app does."""
        where = {"host": "127.0.0.1", "port": self.port}
        return pymysql.connect(**where, user=username, password=password, autocommit=True, **settings)

    def sql(self, statement, *values):
        """Run a statement as root. Returns its rows."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def can_log_in(self, username, password, database=DATABASE):
        try:
            self.connect(username, password, database=database).close()
        except pymysql.err.OperationalError as exc:
            if exc.args[0] in _REJECTED:
                return False
            raise
        return True

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True


def find_mariadbd():
    """The server's program, which is no user's; None if it is not installed."""
    return shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
