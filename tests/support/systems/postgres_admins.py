"""Two admins of PostgreSQL, one of which other targets use."""

import os
from contextlib import contextmanager

import psycopg

from support.needs import need
from support.servers.postgres import DATABASE, Postgres, find_initdb

PASSWORD = "first-of-an-admin"
_MAY = """
    SELECT rolcreaterole, pg_has_role(%(app)s, 'MEMBER WITH ADMIN OPTION'),
           pg_has_role(%(owner)s, 'MEMBER WITH ADMIN OPTION')
    FROM pg_roles WHERE rolname = current_user
"""


class AdminPair:
    """The first admin and an app's role, which each admin must be able to change. The second admin does not exist."""

    server = "postgres"
    calls = ("psycopg:connect", "psycopg:Connection.execute")
    min_calls = 18

    def __init__(self, postgres):
        self.postgres, mark = postgres, os.urandom(4).hex()
        # Names that SQL misreads unless they are quoted.
        self.roles = [f"Admin {mark} {letter}'\"%" for letter in "ab"]
        self.app, self.owner = f"app-{mark}", f"Owner {mark}"
        self.target = {"kind": "postgres-admins", "secret": "database/admin", "roles": self.roles}
        postgres.make_database()
        self.sql("CREATE ROLE {owner} NOLOGIN")
        self.sql("CREATE ROLE {role0} LOGIN CREATEROLE CREATEDB PASSWORD {first}")
        self.sql("CREATE ROLE {app} LOGIN IN ROLE {owner}")
        self.sql("GRANT {owner}, {app} TO {role0} WITH ADMIN OPTION")
        is_newer = postgres.sql("SELECT current_setting('server_version_num')::int >= 160000")[0][0]
        self.right = "SUPERUSER" if is_newer else "CREATEROLE"
        """What each admin needs to change the other."""
        self.sql(f"ALTER ROLE {{role0}} {self.right}")

    @classmethod
    @contextmanager
    def started(cls, folder):
        need(find_initdb(), "needs PostgreSQL: apt install postgresql")
        with Postgres(folder) as postgres:
            yield lambda: cls(postgres)

    def secrets(self):
        where = {"host": "127.0.0.1", "port": self.postgres.port, "database": DATABASE}
        return {"database/admin": {**where, "username": self.roles[0], "password": PASSWORD}}

    def connect(self, fields):
        """Connect as a rotator does."""
        where = {"host": fields["host"], "port": fields["port"], "dbname": fields["database"]}
        return psycopg.connect(**where, user=fields["username"], password=fields["password"], autocommit=True)

    def accepts(self, fields):
        """Whether the published admin logs in, and may change the app's role and the owner's members.

        It changes nothing: PostgreSQL refuses concurrent changes of one role.
        """
        try:
            with self.connect(fields) as admin:
                row = admin.execute(_MAY, {"app": self.app, "owner": self.owner}).fetchone()
        except psycopg.OperationalError:
            return False
        return row == (True, True, True)

    def orphans(self, fields):
        query = "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname = ANY(%s)"
        return {name for (name,) in self.postgres.sql(query, self.roles)} - {fields["username"]}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)

    def sql(self, text):
        """Run a statement as superuser, with names in braces."""
        with psycopg.connect(self.postgres.admin_url, dbname="postgres", autocommit=True) as connection:
            cursor = connection.execute(self._composed(text))
            return cursor.fetchall() if cursor.description else []

    def _composed(self, text):
        names = {"role0": self.roles[0], "role1": self.roles[1], "app": self.app, "owner": self.owner}
        parts = {name: psycopg.sql.Identifier(value) for name, value in names.items()}
        return psycopg.sql.SQL(text).format(**parts, first=psycopg.sql.Literal(PASSWORD))
