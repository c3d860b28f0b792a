"""Two admins of PostgreSQL that change each other's password: at each moment, one of them can log in."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lessee.config.grammar.rotation import PostgresAdmins as Config
from lessee.core import credentials as wanted
from lessee.core.credentials import PostgresLogin
from lessee.ops.rotate.kinds.kind import KindContext
from lessee.ops.rotate.kinds.postgres import SIXTEEN, LoginRoles
from lessee.ops.rotate.kinds.postgres_session import LoginRefusedError, session
from lessee.ops.rotate.policy.journal import Fields

if TYPE_CHECKING:
    from lessee.ops.rotate.kinds.postgres_session import Session

_ATTRIBUTES = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")
_LACKS = """
    SELECT own.rolsuper > other.rolsuper, own.rolcreaterole > other.rolcreaterole, own.rolcreatedb > other.rolcreatedb,
           own.rolreplication > other.rolreplication, own.rolbypassrls > other.rolbypassrls
    FROM pg_roles own, pg_roles other WHERE own.rolname = current_user AND other.rolname = %(other)s
"""
_MEMBERSHIPS = """
    SELECT DISTINCT of.rolname, m.admin_option
    FROM pg_auth_members m JOIN pg_roles own ON own.oid = m.member JOIN pg_roles of ON of.oid = m.roleid
    WHERE own.rolname = current_user AND of.rolname <> %(other)s AND NOT EXISTS (
        SELECT FROM pg_auth_members o JOIN pg_roles other ON other.oid = o.member
        WHERE other.rolname = %(other)s AND o.roleid = m.roleid AND (o.admin_option OR NOT m.admin_option)
    )
"""


class AdminPair(LoginRoles):
    """The published admin sets the password of the other, which is published and later disables the first.

    The other gets the attributes and memberships of the first, so that it can do the same.
    """

    def __init__(self, config: Config, context: KindContext) -> None:
        super().__init__(config, context)
        self._published = self._login
        self._verified: list[PostgresLogin] = []
        """Logins of the pair that have worked, the last one last."""

    def verify(self, fields: Fields) -> bool:
        works = super().verify(fields)
        if works:
            login = wanted.postgres(self._config.secret, fields)
            if login.username in self._config.roles:
                self._verified = [*(one for one in self._verified if one != login), login]
        return works

    def _problems(self) -> Iterator[tuple[str, str]]:
        """The admin may be one of the roles."""
        yield from ()

    @contextmanager
    def _admin(self) -> "Iterator[Session]":
        """The session of an admin whose login works; after the publication, of the new one."""
        if self._open is None:
            self._login = self._working_login()
        with super()._admin() as admin:
            yield admin

    def _working_login(self) -> PostgresLogin:
        for login in reversed(self._verified):
            with suppress(LoginRefusedError), session(login, self._config.secret):
                return login
        return self._published  # Its rejection is an error.

    def _make_member(self, admin: "Session", role: str) -> None:
        """Give the role what the admin itself has. Raises SystemRefusedError where the admin may not."""
        self._check_circle(admin)
        other = {"other": role}
        if admin.execute("SELECT FROM pg_roles WHERE rolname = %(other)s", other).fetchone() is None:
            self._do(admin, "CREATE ROLE {role}", role=role)
        super()._make_member(admin, role)
        (lacks,) = admin.execute(_LACKS, other).fetchall()
        for name, is_missing in zip(_ATTRIBUTES, lacks, strict=True):
            if is_missing:
                self._do(admin, f"ALTER ROLE {{role}} {name}", role=role)
        for of, with_admin in admin.execute(_MEMBERSHIPS, other).fetchall():
            option = " WITH ADMIN OPTION" if with_admin else ""
            self._do(admin, f"GRANT {{of}} TO {{role}}{option}", of=of, role=role)

    def _check_circle(self, admin: "Session") -> None:
        """From PostgreSQL 16 on, CREATEROLE needs the ADMIN OPTION on a role.

        That is a membership, https://www.postgresql.org/docs/16/sql-grant.html, and two roles cannot have it on each
        other, not even by a third one. So the next admin could never disable this one.
        """
        (is_superuser,) = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() or (
            False,
        )
        if admin.info.server_version >= SIXTEEN and not is_superuser:
            what = "two admins without SUPERUSER cannot have the ADMIN OPTION on each other from PostgreSQL 16 on"
            raise self._refused(what, f"run as a superuser: {'; '.join(self._grants(admin))}")

    def _grants(self, admin: "Session") -> Iterator[str]:
        attribute = "SUPERUSER" if admin.info.server_version >= SIXTEEN else "CREATEROLE"
        for name in self._config.roles:
            yield self._sql(f"ALTER ROLE {{name}} {attribute}", name=name)
