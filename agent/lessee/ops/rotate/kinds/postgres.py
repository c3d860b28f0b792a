"""Login roles of PostgreSQL: two that alternate, or one whose password is changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lessee.config.grammar.rotation import Postgres, PostgresAdmins
from lessee.core import credentials as wanted
from lessee.core.errors import ConfigError, LesseeError
from lessee.ops.rotate.kinds import library, new_password, postgres_session
from lessee.ops.rotate.kinds.kind import Case, KindContext, KindDefaults, NewCredential, SystemRefusedError
from lessee.ops.rotate.kinds.postgres_session import LoginRefusedError, session
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log

if TYPE_CHECKING:
    from lessee.ops.rotate.kinds.postgres_session import Session

_LENGTH = 40
SIXTEEN = 160000
"""From version 16 on, CREATEROLE covers only roles with the ADMIN option, and a member may lack the right to
`SET role`."""
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


class LoginRoles(KindDefaults):
    """Two login roles: the one that is not published gets a new password, and is published."""

    def __init__(self, config: Postgres | PostgresAdmins, context: KindContext) -> None:
        self._config = config
        self._name = context.name
        self._login = wanted.postgres(config.admin_path, context.admin)
        self._driver = library("psycopg")
        self._open: Session | None = None
        self.traits = Traits(
            overlaps=len(config.roles) > 1,
            delete_delay=config.terminate_delay if config.terminate else 0.0,
            timeout=postgres_session.TIMEOUT,
        )
        if problems := list(self._problems()):
            raise ConfigError(LesseeError(what, where=f"rotation.{context.name}", todo=todo) for what, todo in problems)

    def create(self, case: Case) -> NewCredential:
        """Raises LesseeError where the secret does not name a database."""
        roles = self._config.roles
        username = case.secret.get("username")
        role = roles[(roles.index(username) + 1) % len(roles)] if username in roles else roles[0]
        made = {"username": role, "password": new_password(_LENGTH)}
        wanted.postgres(self._config.secret, {**case.secret, **made})
        if not self.traits.overlaps:
            note = "with one role, logins fail until the apps have the new password"
            log("warning", "password change interrupts logins", target=self._name, note=note)
        return NewCredential(made)

    def apply(self, case: Case) -> None:
        """In one transaction."""
        role, password = case.pending["username"], case.pending["password"]
        with self._admin() as admin, admin.transaction():
            if self._config.terminate:
                self._check_terminate_permission(admin)
            self._make_member(admin, role)
            # The server may log statements: a verifier is not a password.
            verifier = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            self._do(admin, "ALTER ROLE {role} LOGIN PASSWORD {verifier}", role=role, verifier=verifier)
            if self._config.owner:
                # Objects that an app creates then belong to the owner, and the other role can use them.
                self._do(admin, "ALTER ROLE {role} SET role TO {owner}", role=role, owner=self._config.owner)

    def verify(self, fields: Fields) -> bool:
        """Also whether one of the configured roles may act as the owner."""
        try:
            login = wanted.postgres(self._config.secret, fields)
        except LesseeError:
            return False
        owner = self._config.owner if login.username in self._config.roles else None
        try:
            with session(login, self._config.secret) as found:
                (may,) = _row(found.execute(_MAY_ACT, {"owner": owner, "as": _membership(found)}))
        except LoginRefusedError:
            return False
        return bool(may) or owner is None

    def revoke(self, case: Case) -> bool:
        old = case.current.get("username")
        if old and old not in self._config.roles:
            todo = "revoke it: ALTER ROLE … NOLOGIN"
            log("warning", "old user not revoked", target=self._name, username=old, reason="not in `roles`", todo=todo)
        is_own = self._is_unpublished(old, case) if self.traits.overlaps else old in self._config.roles
        with self._admin() as admin:
            if self.traits.overlaps and is_own:
                self._disable(admin, old)
            if not self.traits.delete_delay:
                self._terminate_sessions(admin, case)
        return is_own

    def delete(self, case: Case) -> None:
        """Terminate its sessions, which `terminate_delay` left open."""
        with self._admin() as admin:
            self._terminate_sessions(admin, case)

    def discard(self, case: Case) -> None:
        role = case.pending.get("username")
        if self._is_unpublished(role, case):
            with self._admin() as admin:
                self._disable(admin, role)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """An advisory lock for these roles, in the whole server. It ends with the session."""
        with self._admin():
            yield

    def _problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the configuration, and what to do."""
        if self._login.username in self._config.roles:
            yield "the admin is one of `roles`, and would revoke its own login", "use another role in `admin_secret`"
        if self._config.terminate_delay and not self._config.terminate:
            yield "`terminate_delay` needs `terminate`", "set `terminate: true`, or remove `terminate_delay`"

    @contextmanager
    def _admin(self) -> "Iterator[Session]":
        """The admin's session, which has the lock: the open one, or a new one."""
        if self._open is not None:
            yield self._open
            return
        try:
            with session(self._login, self._config.admin_path) as admin:
                postgres_session.limit(admin)
                admin.execute("SELECT pg_advisory_lock(%s)", (self._lock_key(),))
                self._open = admin
                yield admin
        except LoginRefusedError:
            todo = "correct username and password there, or set a new password: ALTER ROLE … PASSWORD …"
            raise SystemRefusedError(
                "PostgreSQL rejects the admin's login", where=self._config.admin_path, todo=todo
            ) from None
        finally:
            self._open = None

    def _lock_key(self) -> int:
        """The roles' key: targets and environments that share them exclude each other."""
        text = "\0".join(("lessee rotate", *sorted(self._config.roles)))
        return int.from_bytes(sha256(text.encode()).digest()[:8], signed=True)

    def _is_unpublished(self, role: object, case: Case) -> bool:
        """Whether it is one of the roles, and not the published one."""
        return role in self._config.roles and role != case.secret.get("username")

    def _make_member(self, admin: "Session", role: str) -> None:
        owner, values = self._config.owner, {"role": role, "owner": self._config.owner, "as": _membership(admin)}
        exists, is_expired, owner_exists, is_member = _row(admin.execute(_KNOWN, values))
        if owner and not owner_exists:
            raise self._refused(
                f"the role {owner} does not exist", self._sql("CREATE ROLE {owner} NOLOGIN", owner=owner)
            )
        if is_expired:
            todo = self._sql("ALTER ROLE {role} VALID UNTIL 'infinity'", role=role)
            raise self._refused(f"the password of {role} expired (VALID UNTIL)", todo)
        if not exists and not owner:
            # Its privileges are not known.
            todo = "create it with the privileges of the other role, or set `owner`"
            raise self._refused(f"the role {role} does not exist", todo)
        if not exists:
            self._do(admin, "CREATE ROLE {role}", role=role)
        if owner and not is_member:
            self._do(admin, "GRANT {owner} TO {role}", owner=owner, role=role)

    def _check_terminate_permission(self, admin: "Session") -> None:
        (may,) = _row(admin.execute(_MAY_END, {"roles": list(self._config.roles)}))
        if not may:
            todo = self._sql("GRANT pg_signal_backend TO {admin}", admin=self._login.username)
            raise self._refused("the admin may not terminate sessions, which `terminate` needs", todo)

    def _disable(self, admin: "Session", role: Any) -> None:
        try:
            self._do(admin, "ALTER ROLE {role} NOLOGIN PASSWORD NULL", role=role)
        except self._driver.errors.UndefinedObject:
            log("debug", "role missing", target=self._name, role=role)

    def _terminate_sessions(self, admin: "Session", case: Case) -> None:
        """With one role, also sessions that use the new password: PostgreSQL does not distinguish them."""
        old = case.current.get("username")
        if not self._config.terminate or old not in self._config.roles:
            return
        if self.traits.overlaps and not self._is_unpublished(old, case):
            return
        (count,) = _row(admin.execute(_END, (old,)))
        log("info", "sessions terminated", target=self._name, role=old, count=count)

    def _do(self, admin: "Session", text: str, **parts: str) -> None:
        try:
            admin.execute(self._composed(text, **parts))
        except self._driver.errors.InsufficientPrivilege:
            statement = self._sql(text, **{**parts, "verifier": "…"})
            todo = f"run as a superuser: {'; '.join(self._grants(admin))}"
            raise self._refused(f"the admin lacks the privilege for: {statement}", todo) from None

    def _grants(self, admin: "Session") -> Iterator[str]:
        """The statements that give the admin all privileges that it needs."""
        names = {"admin": self._login.username}
        yield self._sql("ALTER ROLE {admin} CREATEROLE", **names)
        if admin.info.server_version >= SIXTEEN:
            for name in (*self._config.roles, self._config.owner):
                if name:
                    yield self._sql("GRANT {name} TO {admin} WITH ADMIN OPTION", name=name, **names)

    def _refused(self, what: str, todo: str) -> SystemRefusedError:
        return SystemRefusedError(what, where=self._config.admin_path, todo=todo)

    def _sql(self, text: str, **parts: str) -> str:
        return str(self._composed(text, **parts).as_string(None))

    def _composed(self, text: str, **parts: str) -> Any:
        """A statement with identifiers, and the verifier as a literal."""
        sql = self._driver.sql
        kinds = {name: sql.Literal if name == "verifier" else sql.Identifier for name in parts}
        return sql.SQL(text).format(**{name: kinds[name](part) for name, part in parts.items()})


def _membership(session: "Session") -> str:
    """The kind of membership that `SET role` needs."""
    return "SET" if session.info.server_version >= SIXTEEN else "MEMBER"


def _row(cursor: Any) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return tuple(row)
