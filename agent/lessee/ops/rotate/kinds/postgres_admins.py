"""Two admins of PostgreSQL that change each other's password: at each moment, one of them can log in."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lessee.ops.rotate.kinds.postgres import SIXTEEN
from lessee.ops.rotate.kinds.postgres_own import SelfAdministered

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


class AdminPair(SelfAdministered):
    """The published admin sets the password of the other, which is published and later disables the first.

    The other gets the attributes and memberships of the first, so that it can do the same.
    """

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
