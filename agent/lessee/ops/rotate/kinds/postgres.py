"""Login roles of PostgreSQL that take turns, or a single one whose password is changed."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lessee.config.grammar.rotation import Postgres as Said
from lessee.core import credentials as wanted
from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.rotate.kinds import library, postgres_session
from lessee.ops.rotate.kinds.kind import Case, Made, Setting, SystemRefusedError
from lessee.ops.rotate.kinds.postgres_session import LoginRefusedError, session
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.setup.policy.initial_values import ALPHABET
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.ops.rotate.kinds.postgres_session import Session

_LENGTH = 40
_SIXTEEN = 160000
"""From 16 on CREATEROLE is a right over those roles alone of which one has the ADMIN option, and one may be a member
without the right to `SET role`."""
_KNOWN = """
    SELECT r.oid IS NOT NULL, coalesce(r.rolvaliduntil <= now(), false), o.oid IS NOT NULL,
           coalesce(pg_has_role(r.oid, o.oid, %(as)s), false)
    FROM (SELECT) AS one
    LEFT JOIN pg_roles r ON r.rolname = %(role)s
    LEFT JOIN pg_roles o ON o.rolname = %(owner)s
"""
_MAY_ACT = """
    SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %(owner)s AND pg_has_role(session_user, oid, %(as)s))
"""
_MAY_END = """
    SELECT pg_has_role('pg_signal_backend', 'USAGE')
           OR (SELECT count(*) = cardinality(%(roles)s::text[]) AND bool_and(pg_has_role(oid, 'USAGE'))
               FROM pg_roles WHERE rolname = ANY(%(roles)s))
"""
_END = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = %s"


class LoginRoles:
    """Two login roles; the one that is not published gets a new password, and is published."""

    def __init__(self, said: Said, setting: Setting) -> None:
        self._said = said
        self._name = setting.name
        self._login = wanted.postgres(said.admin, setting.admin)
        self._driver = library("psycopg")
        self._open: Session | None = None
        self.traits = Traits(
            overlaps=len(said.roles) > 1,
            keep=said.grace if said.terminate else 0.0,
            patience=postgres_session.PATIENCE,
        )
        if problems := list(_problems(said, self._login.username)):
            raise ConfigError(LesseeError(what, where=f"rotation.{setting.name}", todo=todo) for what, todo in problems)

    def look(self, case: Case) -> tuple[str, ...]:
        del case
        return ()

    def create(self, case: Case) -> Made:
        """Raises LesseeError where the secret does not say which database it opens."""
        roles = self._said.roles
        username = case.secret.get("username")
        role = roles[(roles.index(username) + 1) % len(roles)] if username in roles else roles[0]
        made = {"username": role, "password": "".join(secrets.choice(ALPHABET) for _ in range(_LENGTH))}
        wanted.postgres(self._said.secret, {**case.secret, **made})
        if not self.traits.overlaps:
            log("warning", "logins fail until the apps have the new password: only one role", target=self._name)
        return Made(made)

    def apply(self, case: Case) -> None:
        """All of it at once, or nothing."""
        role, password = case.pending["username"], case.pending["password"]
        with self._admin() as admin, admin.transaction():
            if self._said.terminate:
                self._see_that_sessions_can_be_ended(admin)
            self._make_member(admin, role)
            # What the server is sent it may log: this proves a password, and is none.
            verifier = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            self._do(admin, "ALTER ROLE {role} LOGIN PASSWORD {verifier}", role=role, verifier=verifier)
            if self._said.owner:
                # What an app creates then belongs to the owner, and the other role can use it.
                self._do(admin, "ALTER ROLE {role} SET role TO {owner}", role=role, owner=self._said.owner)

    def prove(self, fields: Fields) -> bool:
        """Of our own roles, also whether they may act as the owner."""
        try:
            login = wanted.postgres(self._said.secret, fields)
        except LesseeError:
            return False
        owner = self._said.owner if login.username in self._said.roles else None
        try:
            with session(login, self._said.secret) as found:
                (may,) = _row(found.execute(_MAY_ACT, {"owner": owner, "as": _membership(found)}))
        except LoginRefusedError:
            return False
        return bool(may) or owner is None

    def retire(self, case: Case) -> None:
        old = case.current.get("username")
        if old and old not in self._said.roles:
            event = "the user before is none of the roles, and left as it is: take it out of use by hand"
            log("warning", event, target=self._name, username=old)
        with self._admin() as admin:
            if self.traits.overlaps and self._is_out(old, case):
                self._take_out(admin, old)
            if not self.traits.keep:
                self._end_sessions(admin, case)

    def remove(self, case: Case) -> None:
        """Its sessions went on meanwhile."""
        with self._admin() as admin:
            self._end_sessions(admin, case)

    def discard(self, case: Case) -> None:
        role = case.pending.get("username")
        if self._is_out(role, case):
            with self._admin() as admin:
                self._take_out(admin, role)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Of these roles, in the whole server. It ends with the process."""
        with self._admin():
            yield

    def close(self) -> None:
        """Nothing is open between two calls."""

    @contextmanager
    def _admin(self) -> "Iterator[Session]":
        """The admin's session that has the lock: the one that is open, or a new one."""
        if self._open is not None:
            yield self._open
            return
        try:
            with session(self._login, self._said.admin) as admin:
                postgres_session.limit(admin)
                admin.execute("SELECT pg_advisory_lock(%s)", (self._key(),))
                self._open = admin
                yield admin
        except LoginRefusedError:
            todo = "mend username and password there, or set it anew: ALTER ROLE … PASSWORD …"
            raise SystemRefusedError(
                "PostgreSQL refuses the admin's login", where=self._said.admin, todo=todo
            ) from None
        finally:
            self._open = None

    def _key(self) -> int:
        """Of the roles: targets and environments that share them lock each other out."""
        text = "\0".join(("lessee rotate", *sorted(self._said.roles)))
        return int.from_bytes(sha256(text.encode()).digest()[:8], signed=True)

    def _is_out(self, role: object, case: Case) -> bool:
        """Whether nobody is to log in with it any more."""
        return role in self._said.roles and role != case.secret.get("username")

    def _make_member(self, admin: "Session", role: str) -> None:
        owner, values = self._said.owner, {"role": role, "owner": self._said.owner, "as": _membership(admin)}
        is_there, is_past, has_owner, is_member = _row(admin.execute(_KNOWN, values))
        if owner and not has_owner:
            raise self._refused(f"there is no role {owner}", self._sql("CREATE ROLE {owner} NOLOGIN", owner=owner))
        if is_past:
            todo = self._sql("ALTER ROLE {role} VALID UNTIL 'infinity'", role=role)
            raise self._refused(f"the password of {role} ended at its VALID UNTIL", todo)
        if not is_there and not owner:
            # Nobody knows what it should be allowed to do.
            raise self._refused(f"there is no role {role}", "make it, with the rights of the other, or name an `owner`")
        if not is_there:
            self._do(admin, "CREATE ROLE {role}", role=role)
        if owner and not is_member:
            self._do(admin, "GRANT {owner} TO {role}", owner=owner, role=role)

    def _see_that_sessions_can_be_ended(self, admin: "Session") -> None:
        (may,) = _row(admin.execute(_MAY_END, {"roles": list(self._said.roles)}))
        if not may:
            todo = self._sql("GRANT pg_signal_backend TO {admin}", admin=self._login.username)
            raise self._refused("the admin may not end sessions, which `terminate` wants", todo)

    def _take_out(self, admin: "Session", role: Any) -> None:
        try:
            self._do(admin, "ALTER ROLE {role} NOLOGIN PASSWORD NULL", role=role)
        except self._driver.errors.UndefinedObject:
            log("debug", "the role is gone", target=self._name, role=role)

    def _end_sessions(self, admin: "Session", case: Case) -> None:
        """Of a single role also those that have logged in with the new password: PostgreSQL tells no difference."""
        old = case.current.get("username")
        if not self._said.terminate or old not in self._said.roles:
            return
        if self.traits.overlaps and not self._is_out(old, case):
            return
        (count,) = _row(admin.execute(_END, (old,)))
        log("info", "sessions ended", target=self._name, role=old, count=count)

    def _do(self, admin: "Session", text: str, **parts: str) -> None:
        try:
            admin.execute(self._composed(text, **parts))
        except self._driver.errors.InsufficientPrivilege:
            statement = self._sql(text, **{**parts, "verifier": "…"})
            todo = f"as a superuser: {'; '.join(self._rights(admin))}"
            raise self._refused(f"the admin may not do this: {statement}", todo) from None

    def _rights(self, admin: "Session") -> Iterator[str]:
        """What gives the admin all that it needs."""
        names = {"admin": self._login.username}
        yield self._sql("ALTER ROLE {admin} CREATEROLE", **names)
        if admin.info.server_version >= _SIXTEEN:
            for name in (*self._said.roles, self._said.owner):
                if name:
                    yield self._sql("GRANT {name} TO {admin} WITH ADMIN OPTION", name=name, **names)

    def _refused(self, what: str, todo: str) -> SystemRefusedError:
        return SystemRefusedError(what, where=self._said.admin, todo=todo)

    def _sql(self, text: str, **parts: str) -> str:
        return str(self._composed(text, **parts).as_string(None))

    def _composed(self, text: str, **parts: str) -> Any:
        """A statement of names; what is a verifier is written as a text."""
        sql = self._driver.sql
        kinds = {name: sql.Literal if name == "verifier" else sql.Identifier for name in parts}
        return sql.SQL(text).format(**{name: kinds[name](part) for name, part in parts.items()})


def _problems(said: Said, admin: str) -> Iterator[tuple[str, str]]:
    if admin in said.roles:
        yield "the admin is one of the roles, and would lock itself out", "let `admin` be another role"
    if said.grace and not said.terminate:
        yield "grace is of no use without terminate", "write `terminate: true`, or leave grace out"


def _membership(session: "Session") -> str:
    """What `SET role` needs."""
    return "SET" if session.info.server_version >= _SIXTEEN else "MEMBER"


def _row(cursor: Any) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return tuple(row)
