"""The root user of OpenBao's connection to PostgreSQL, with an admin that may repair it."""

import os
from contextlib import contextmanager, suppress

from support.needs import need
from support.servers.postgres import DATABASE, Postgres, find_initdb

FIRST_PASSWORD = "first-of-the-root"
ADMIN_PASSWORD = "first-of-an-admin"
_CREATION = """CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"""


class RootCredential:
    """A connection with a role, in the server that the rotator itself uses, which `attach` sets."""

    server = "postgres"
    calls = ("psycopg:connect", "psycopg:Connection.execute")
    min_calls = 10

    def __init__(self, postgres, **settings):
        """`settings`: more keys of the target."""
        self.postgres, mark = postgres, os.urandom(4).hex()
        # Names that SQL misreads unless they are quoted.
        self.root, self.admin, self.mount = f"Vault root {mark}'", f"admin-{mark}", f"database-{mark}"
        self.target = {
            "kind": "database-root",
            "secret": "database/root",
            "connection": "simba",
            "mount": self.mount,
            "admin_secret": "database/admin",
            **settings,
        }
        postgres.make_database()
        root, admin = (postgres_name(name) for name in (self.root, self.admin))
        postgres.sql(f"CREATE ROLE {root} LOGIN CREATEROLE PASSWORD '{FIRST_PASSWORD}'")
        postgres.sql(f"CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD '{ADMIN_PASSWORD}'")
        if postgres.sql("SELECT current_setting('server_version_num')::int >= 160000")[0][0]:
            postgres.sql(f"GRANT {root} TO {admin} WITH ADMIN OPTION")

    @classmethod
    @contextmanager
    def started(cls, folder):
        need(find_initdb(), "needs PostgreSQL: apt install postgresql")
        with Postgres(folder) as postgres:
            yield lambda: cls(postgres)

    def attach(self, bao):
        self._bao = bao
        bao.ask("POST", f"sys/mounts/{self.mount}", {"type": "database"})
        self.connect("simba")
        role = {"db_name": "simba", "creation_statements": [_CREATION], "default_ttl": "1h"}
        bao.ask("POST", f"{self.mount}/roles/app", role)

    def connect(self, name):
        """Make a connection of the root user."""
        connection = {
            "plugin_name": "postgresql-database-plugin",
            "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{self.postgres.port}/{DATABASE}",
            "allowed_roles": ["app"],
            "username": self.root,
            "password": FIRST_PASSWORD,
        }
        self._bao.ask("POST", f"{self.mount}/config/{name}", connection)

    def secrets(self):
        where = {"host": "127.0.0.1", "port": self.postgres.port, "database": DATABASE}
        return {
            "database/root": {"host": "database-1"},
            "database/admin": {**where, "username": self.admin, "password": ADMIN_PASSWORD},
        }

    def accepts(self, fields):
        """Whether Vault issues a login that works."""
        assert "password" not in fields
        lease = self.issue()
        return lease is not None and self.can_log_in(lease)

    def issue(self):
        """A login that Vault issues; None where it cannot now."""
        try:
            return self._bao.ask("GET", f"{self.mount}/creds/app")["data"]
        except RuntimeError:
            return None

    def can_log_in(self, lease):
        return self.postgres.can_log_in(lease["username"], lease["password"])

    def orphans(self, fields):
        """There is one password, which only Vault has."""
        del fields
        return set()

    def old_is_revoked(self, fields):
        del fields
        return not self.postgres.can_log_in(self.root, FIRST_PASSWORD)

    def lose_password(self):
        """As a server that was killed after the change in the database, and before its own."""
        self.postgres.sql(f"ALTER ROLE {postgres_name(self.root)} PASSWORD 'lost'")
        with suppress(RuntimeError):  # It closes the connection that was open before, and tries to log in.
            self._bao.ask("POST", f"{self.mount}/reset/simba", {})

    def remove(self):
        self._bao.ask("DELETE", f"sys/mounts/{self.mount}")


def postgres_name(name):
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'
