"""Login roles of PostgreSQL, rotated by an admin that is not a superuser."""

import os
from contextlib import contextmanager

import psycopg

from lessee.ops.rotate.kinds.postgres import LoginRoles as Kind
from support.needs import need
from support.servers.postgres import DATABASE, Postgres, find_initdb

PASSWORD = "first-of-an-app"
ADMIN_PASSWORD = "first-of-an-admin"


class LoginRoles:
    """Two roles that alternate, members of a role that owns a schema."""

    server = "postgres"
    calls = ("psycopg:connect", "psycopg:Connection.execute")
    min_calls = 18
    count = 2

    def __init__(self, postgres, **settings):
        """`settings`: more keys of the target."""
        self.postgres = postgres
        # Names that SQL misreads unless they are quoted.
        mark = os.urandom(4).hex()
        self.roles = [f"Simba {mark} {letter}'\"%" for letter in "ab"[: self.count]]
        self.owner, self.admin, self.schema = f"Owner-{mark}", f"admin {mark}", f"s{mark}"
        self.target = {
            "kind": "postgres",
            "secret": "database/postgres",
            "admin_secret": "database/admin",
            "roles": self.roles,
            "owner": self.owner,
            **settings,
        }
        self._make()

    @classmethod
    @contextmanager
    def started(cls, folder):
        need(find_initdb(), "needs PostgreSQL: apt install postgresql")
        with Postgres(folder) as postgres:
            yield lambda: cls(postgres)

    def secrets(self):
        where = {"host": "127.0.0.1", "port": self.postgres.port, "database": DATABASE}
        return {
            "database/postgres": {**where, "username": self.roles[0], "password": PASSWORD},
            "database/admin": {**where, "username": self.admin, "password": ADMIN_PASSWORD},
        }

    def connect(self, fields):
        """Connect as an app does."""
        where = {"host": fields["host"], "port": fields["port"], "dbname": fields["database"]}
        return psycopg.connect(**where, user=fields["username"], password=fields["password"], autocommit=True)

    def accepts(self, fields):
        return self.postgres.can_log_in(fields["username"], fields["password"])

    def orphans(self, fields):
        query = "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname = ANY(%s)"
        return {name for (name,) in self.postgres.sql(query, self.roles)} - {fields["username"]}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)

    def sql(self, text, **names):
        """Run statements as superuser, with names and literals in braces."""
        identifiers = {"owner": self.owner, "admin": self.admin, "schema": self.schema, **names}
        for number, role in enumerate(self.roles):
            identifiers[f"role{number}"] = role
        parts = {name: psycopg.sql.Identifier(value) for name, value in identifiers.items()}
        parts |= {"first": psycopg.sql.Literal(PASSWORD), "admins": psycopg.sql.Literal(ADMIN_PASSWORD)}
        composed = psycopg.sql.SQL(text).format(**parts)
        database = DATABASE if "SCHEMA" in text else "postgres"
        with psycopg.connect(self.postgres.admin_url, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(composed)
            return cursor.fetchall() if cursor.description else []

    def _make(self):
        self.postgres.make_database()
        self.sql("CREATE ROLE {owner} NOLOGIN")
        self.sql("CREATE ROLE {role0} LOGIN PASSWORD {first} IN ROLE {owner}")
        self.sql("CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD {admins}")
        self.sql("GRANT {owner}, {role0} TO {admin} WITH ADMIN OPTION")
        self.sql("CREATE SCHEMA {schema} AUTHORIZATION {owner}")


class OneRole(LoginRoles):
    """One role, whose password is changed: the old password is invalid immediately."""

    min_calls = 18
    count = 1


class OwnRole(LoginRoles):
    """One superuser, as an image makes it, which changes its own password."""

    min_calls = 18
    count = 1

    def _make(self):
        self.postgres.make_database()
        self.sql("CREATE ROLE {role0} LOGIN SUPERUSER PASSWORD {first}")
        for key in ("admin_secret", "owner"):
            del self.target[key]

    def secrets(self):
        return {path: fields for path, fields in super().secrets().items() if path == "database/postgres"}


def after_first_call(monkeypatch, name, act):
    """Let `act` run after the kind's first call of this method."""
    inner, done = getattr(Kind, name), []

    def call(self, *arguments):
        answer = inner(self, *arguments)
        if not done:
            done.append(True)
            act()
        return answer

    monkeypatch.setattr(Kind, name, call)
