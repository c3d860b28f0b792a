"""Users of MariaDB or MySQL: two that alternate, or one that has the old and the new password.

MariaDB gets hashes; its log of statements never has a password. MySQL removes passwords from its logs itself,
https://dev.mysql.com/doc/refman/8.4/en/password-logging.html, but they cross the network: it needs TLS.
"""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1, sha256
from typing import Any

from lessee.config.grammar.rotation import Mysql as Config
from lessee.core import credentials as wanted
from lessee.core.credentials import MysqlLogin
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import replace
from lessee.host import mysql_client
from lessee.host.http_client import is_loopback
from lessee.host.mysql_client import ErrorKind, MysqlError, Session, account, identifier
from lessee.ops.rotate.kinds import library, new_password
from lessee.ops.rotate.kinds.kind import (
    Case,
    KindContext,
    KindDefaults,
    NewCredential,
    SystemRefusedError,
    SystemUnavailableError,
)
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log

_LENGTH = 40
_CONNECT_TIMEOUT = 3.0
_SESSION_TIMEOUT = 8.0
_TIMEOUT = 25.0
"""Seconds that the admin's session, and one of the user in it, may take with connections to two addresses of a host."""
_LOCK_WAIT = "2"  # The client waits for an answer as long as for a connection.
_LIMITS = "SET SESSION wait_timeout = 10, SESSION lock_wait_timeout = 2"
"""They end the session, and its lock, of a rotator whose machine has failed."""
_NATIVE = "mysql_native_password"
_UNUSABLE = "invalid"
"""In the place of a hash, no password matches it."""
_QUOTED = r"'(?:[^'\\]|\\.|'')*+'"
"""Possessive: a hostile server could write quotes in whose readings a search would be lost."""
_IDENTIFIED = re.compile(rf"^ IDENTIFIED (?:BY PASSWORD '[^']*'|VIA (?:[\w`]+(?: USING {_QUOTED})?(?: OR )?)+)")
_TAIL = re.compile(rf"( REQUIRE (?:[^']|{_QUOTED})*?)?( WITH .*)?", re.DOTALL)
_GRANTABLE = ("GRANT OPTION", "ADMIN OPTION")
_USAGE = "GRANT USAGE ON *.*"
"""It grants nothing."""
_DEFAULT_ROLE = re.compile(r"^SET DEFAULT ROLE (.+) FOR ", re.DOTALL)
_NO_SUCH_THREAD = 1094
_NO_SUCH_GRANT = 1141

_Method = tuple[str, str]
"""A method of authentication, and what the server stores for it."""


class Users(KindDefaults):
    """Two users: the one that is not published gets a new password, and is published; or one user."""

    traits = Traits(timeout=_TIMEOUT)

    def __init__(self, config: Config, context: KindContext) -> None:
        self._config, self._name = config, context.name
        self._login = wanted.mysql(config.admin_path, context.admin)
        self._alternates = len(config.users) > 1
        self._open: Session | None = None
        library("pymysql")
        self._check_admin()

    def _check_admin(self) -> None:
        if self._login.username in self._config.users:
            what = "the admin is one of `users`, and would revoke its own login"
            todo = "use another user in `admin_secret`"
            raise ConfigError([LesseeError(what, where=f"rotation.{self._name}", todo=todo)])

    def create(self, case: Case) -> NewCredential:
        """Raises LesseeError where the secret does not name a server."""
        users = self._config.users
        current = case.secret.get("username")
        user = users[(users.index(current) + 1) % len(users)] if current in users else users[0]
        made = {"username": user, "password": new_password(_LENGTH)}
        wanted.mysql(self._config.secret, {**case.secret, **made})
        return NewCredential(made)

    def apply(self, case: Case) -> None:
        """The password is set last: a user that can log in has all its privileges."""
        user = str(case.pending["username"])
        with self._admin() as admin:
            if not self._alternates:
                self._add_password(admin, case)
                return
            self._grant(admin, user, case)
            self._set_password(admin, user, str(case.pending["password"]))

    def verify(self, fields: Fields) -> bool:
        """Log in to the secret's database. Raises SystemRefusedError where the user may not use it."""
        try:
            login = wanted.mysql(self._config.secret, fields)
        except LesseeError:
            return False
        try:
            with _session(login):
                return True
        except MysqlError as exc:
            if exc.kind is ErrorKind.REJECTED:
                return False
            if exc.kind is ErrorKind.NO_DATABASE:
                todo = f"GRANT … ON {login.database}.* TO {login.username}, or correct `database` in the secret"
                what = f"{login.username} can log in, but not use the database {login.database}"
                raise SystemRefusedError(what, where=self._config.secret, todo=todo) from None
            raise _failure(exc, login, self._config.secret) from None

    def revoke(self, case: Case) -> bool:
        old = case.current.get("username")
        if old and old not in self._config.users:
            todo = "revoke it: ALTER USER … ACCOUNT LOCK"
            log("warning", "old user not revoked", target=self._name, username=old, reason="not in `users`", todo=todo)
        with self._admin() as admin:
            is_own = self._is_unpublished(old, case) if self._alternates else bool(case.current.get("password"))
            if not self._alternates:
                self._remove_old_password(admin, case)
            elif is_own:
                self._disable(admin, str(old))
            self._terminate_sessions(admin, case)
        return is_own

    def discard(self, case: Case) -> None:
        user = case.pending.get("username")
        if self._alternates:
            if self._is_unpublished(user, case):
                with self._admin() as admin:
                    self._disable(admin, str(user))
        elif case.pending.get("password") != case.secret.get("password"):
            with self._admin() as admin:
                self._remove_pending_password(admin, case)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """A lock for these users in the whole server. It ends with the session."""
        with self._admin():
            yield

    @contextmanager
    def _admin(self) -> Iterator[Session]:
        """The admin's session, which has the lock: the open one, or a new one."""
        if self._open is not None:
            yield self._open
            return
        try:
            with _session(self._login) as admin:
                admin.rows(_LIMITS)
                if admin.rows(f"SELECT GET_LOCK(%s, {_LOCK_WAIT})", self._lock_name()) != [(1,)]:
                    todo = "run it again later; see SHOW PROCESSLIST"
                    where = self._config.admin_path
                    raise SystemUnavailableError("another rotator has the lock", where=where, todo=todo)
                self._open = admin
                yield admin
        except MysqlError as exc:
            raise _failure(exc, self._login, self._config.admin_path) from None
        finally:
            self._open = None

    def _lock_name(self) -> str:
        """The users' name: targets and environments that share them exclude each other."""
        text = "\0".join((self._config.account_host, *sorted(self._config.users)))
        return f"lessee rotate {sha256(text.encode()).hexdigest()[:32]}"

    def _account(self, user: str, host: str | None = None) -> str:
        return account(user, self._config.account_host if host is None else host)

    def _hosts(self, admin: Session, user: str) -> list[str]:
        """The host parts of the accounts of a single user, those that exist. The last one is that of its logins.

        So a new password that a login accepts is set in all of them.
        """
        more = [host for host in self._config.more_account_hosts if self._exists(admin, user, host)]
        return [*more, self._config.account_host]

    def _is_unpublished(self, user: object, case: Case) -> bool:
        """Whether it is one of the users, and not the published one."""
        return user in self._config.users and user != case.secret.get("username")

    # Privileges

    def _grant(self, admin: Session, user: str, case: Case) -> None:
        """Create the user if it is missing, with the role or with the grants of the current user and no others."""
        role, source = self._config.role, str(case.current.get("username") or "")
        exists = self._exists(admin, user)
        known = bool(source) and source != user and self._exists(admin, source)
        if role is None and not exists and not known:
            todo = "create it with the privileges that the apps need, or set `role`"
            raise self._refused(f"the user {user} does not exist, and no other has its privileges", todo)
        if not exists:
            self._do(admin, f"CREATE USER {self._account(user)} {self._unusable(admin)} ACCOUNT LOCK")
        if role is not None:
            self._do(admin, f"GRANT {identifier(role)} TO {self._account(user)}")
            self._set_default_role(admin, user, identifier(role))
        elif known:
            if source not in self._config.users:
                self._refuse_foreign(source, str(case.current.get("password") or ""))
            self._copy_grants(admin, source, user)
        else:
            note = "it keeps the privileges that it has"
            log("warning", "grants not copied", target=self._name, username=user, source=source, note=note)

    def _refuse_foreign(self, source: str, password: str) -> None:
        """Who may write the secret, and so name a user in it, must not get the grants of another client's."""
        try:
            with _session(replace(self._login, database="", username=source, password=password)):
                pass
        except MysqlError as exc:
            if exc.kind is not ErrorKind.REJECTED:
                raise
            todo = f"correct the secret, name the user in `users`, or let {source} log in from this machine"
            raise self._refused(
                f"the server rejects the published login of {source}, not one of `users`", todo
            ) from None

    def _exists(self, admin: Session, user: str, host: str | None = None) -> bool:
        statement = "SELECT COUNT(*) FROM mysql.user WHERE User = %s AND Host = %s"
        return self._do(admin, statement, user, self._config.account_host if host is None else host) != [(0,)]

    def _copy_grants(self, admin: Session, source: str, user: str) -> None:
        shown = [str(text) for (text,) in self._do(admin, f"SHOW GRANTS FOR {self._account(source)}")]
        grants = list(_copied(shown, self._account(source), self._account(user)))
        roles = [found[1] for text in shown if (found := _DEFAULT_ROLE.match(text))]
        if not admin.is_mariadb:
            statement = (
                "SELECT DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles WHERE USER = %s AND HOST = %s"
            )
            defaults = self._do(admin, statement, source, self._config.account_host)
            roles = [", ".join(account(name, host) for name, host in defaults)] if defaults else []
        # What an administrator has revoked from the current user, the next one must not bring back.
        self._do(admin, f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {self._account(user)}")
        if not admin.is_mariadb:
            # MySQL leaves the roles: https://dev.mysql.com/doc/refman/8.4/en/revoke.html
            for (text,) in self._do(admin, f"SHOW GRANTS FOR {self._account(user)}"):
                if str(text).startswith("GRANT `"):
                    granted = str(text).removeprefix("GRANT ").partition(f" TO {self._account(user)}")[0]
                    self._do(admin, f"REVOKE {granted} FROM {self._account(user)}")
        for statement in grants:
            self._do(admin, statement)
        for role in roles:
            self._set_default_role(admin, user, role)

    def _set_default_role(self, admin: Session, user: str, role: str) -> None:
        """Set the role that each session of the user begins with.

        In MariaDB only the user itself can do that, or an administrator that may write to the database `mysql`. So
        the user gets a password that nothing else knows, until the new one is set.
        """
        if not admin.is_mariadb:
            self._do(admin, f"SET DEFAULT ROLE {role} TO {self._account(user)}")
            return
        password = secrets.token_hex(_LENGTH)
        self._set_password(admin, user, password)
        login = replace(self._login, database="", username=user, password=password)
        try:
            with _session(login) as own:
                own.rows(f"SET DEFAULT ROLE {role}")
        except MysqlError as exc:
            if exc.kind is ErrorKind.UNAVAILABLE:
                raise
            todo = f"let {user} log in from this machine: `account_host`"
            raise self._refused(f"the default role of {user} cannot be set ({exc.reason})", todo) from None

    # Passwords

    def _set_password(self, admin: Session, user: str, password: str) -> None:
        """Let this password, and no other, be valid."""
        self._do(admin, f"ALTER USER {self._account(user)} {self._identified(admin, password)} ACCOUNT UNLOCK")

    def _identified(self, admin: Session, password: str) -> str:
        """The clause of a statement that sets the password."""
        if admin.is_mariadb:
            return _clause([(_NATIVE, _hash(password))])
        if not self._login.tls and not is_loopback(self._login.host):
            todo = "set `tls: true` in the admin's secret"
            raise self._refused("the new password would cross the network to MySQL in clear text", todo)
        return f"IDENTIFIED BY {admin.literal(password)}"

    def _unusable(self, admin: Session) -> str:
        """The clause for a password that nothing knows."""
        if admin.is_mariadb:
            return _clause([(_NATIVE, _UNUSABLE)])
        return self._identified(admin, secrets.token_hex(_LENGTH))

    def _disable(self, admin: Session, user: str) -> None:
        if self._exists(admin, user):
            self._do(admin, f"ALTER USER {self._account(user)} {self._unusable(admin)} ACCOUNT LOCK")
        else:
            log("debug", "user missing", target=self._name, username=user)

    def _add_password(self, admin: Session, case: Case) -> None:
        """Let the new password be valid too."""
        user = self._config.users[0]
        if not self._exists(admin, user):
            todo = "create it with the privileges that the apps need"
            raise self._refused(f"the user {user} does not exist", todo)
        for host in self._hosts(admin, user):
            self._add_to(admin, self._account(user, host), host, case)

    def _add_to(self, admin: Session, named: str, host: str, case: Case) -> None:
        new = str(case.pending["password"])
        if not admin.is_mariadb:
            self._do(admin, f"ALTER USER {named} {self._identified(admin, new)} RETAIN CURRENT PASSWORD")
            return
        added, current = (_NATIVE, _hash(new)), (_NATIVE, _hash(str(case.current.get("password", ""))))
        there = self._methods(admin, self._config.users[0], host)
        there = [method for method in there if method not in {added, (_NATIVE, _UNUSABLE)}]
        # Clients follow one change of the method, so that they can try two.
        old = [current] if current in there else there[:1]
        self._do(admin, f"ALTER USER {named} {_clause([*old, added])} ACCOUNT UNLOCK")

    def _remove_old_password(self, admin: Session, case: Case) -> None:
        user = self._config.users[0]
        for host in self._hosts(admin, user):
            self._remove_old_from(admin, self._account(user, host), host, case)

    def _remove_old_from(self, admin: Session, named: str, host: str, case: Case) -> None:
        user = self._config.users[0]
        if not admin.is_mariadb:
            self._do(admin, f"ALTER USER {named} DISCARD OLD PASSWORD")
            return
        new = (_NATIVE, _hash(str(case.pending["password"])))
        there = self._methods(admin, user, host)
        if new not in there:
            todo = "lessee retries it; see whether another program changes the user"
            raise SystemUnavailableError("MariaDB has lost the new password", where=self._login.address, todo=todo)
        self._do(admin, f"ALTER USER {named} {_clause([new])}")
        known = {new, (_NATIVE, _hash(str(case.current.get("password", "")))), (_NATIVE, _UNUSABLE)}
        if unknown := sorted({method for method, _ in set(there) - known}):
            log("warning", "other way to log in removed", target=self._name, username=user, methods=unknown)

    def _remove_pending_password(self, admin: Session, case: Case) -> None:
        user = self._config.users[0]
        if not self._exists(admin, user):
            return
        for host in self._hosts(admin, user):
            self._remove_pending_from(admin, self._account(user, host), host, case)

    def _remove_pending_from(self, admin: Session, named: str, host: str, case: Case) -> None:
        published = str(case.secret.get("password", ""))
        if not admin.is_mariadb:
            self._do(admin, f"ALTER USER {named} {self._identified(admin, published)}")
            self._do(admin, f"ALTER USER {named} DISCARD OLD PASSWORD")
            return
        there = self._methods(admin, self._config.users[0], host)
        pending = (_NATIVE, _hash(str(case.pending["password"])))
        if pending in there:
            left = [method for method in there if method != pending] or [(_NATIVE, _hash(published))]
            self._do(admin, f"ALTER USER {named} {_clause(left)}")

    def _methods(self, admin: Session, user: str, host: str) -> list[_Method]:
        """How the user can log in to MariaDB, in the order in which it tries them."""
        statement = "SELECT Priv FROM mysql.global_priv WHERE User = %s AND Host = %s"
        rows = self._do(admin, statement, user, host)
        return list(_methods_in(rows[0][0])) if rows else []

    # Sessions and errors

    def _terminate_sessions(self, admin: Session, case: Case) -> None:
        """With one user, also sessions that use the new password: the server does not distinguish them."""
        old = case.current.get("username")
        if not self._config.terminate or old not in self._config.users:
            return
        if self._alternates and not self._is_unpublished(old, case):
            return
        sessions = self._do(admin, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = %s", str(old))
        for (number,) in sessions:
            try:
                self._do(admin, f"KILL CONNECTION {int(number)}")
            except MysqlError as exc:
                if exc.code != _NO_SUCH_THREAD:
                    raise
        log("info", "sessions terminated", target=self._name, username=old, count=len(sessions))

    def _do(self, admin: Session, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return admin.rows(statement, *values)
        except MysqlError as exc:
            if exc.kind is not ErrorKind.DENIED:
                raise
            admins = self._account(self._login.username)
            if exc.code == _NO_SUCH_GRANT:
                todo = "set `account_host` to the host part of its account name, or set `role`"
                raise self._refused("the current user has no account of this host", todo) from None
            needed = (
                f"GRANT CREATE USER ON *.* TO {admins}; GRANT SELECT ON mysql.* TO {admins}; and the users' own "
                "privileges WITH GRANT OPTION, or `role` WITH ADMIN OPTION"
            )
            needed += "; for `terminate`: PROCESS, CONNECTION ADMIN" if self._config.terminate else ""
            verb = " ".join(statement.split()[:2])
            raise self._refused(f"the admin lacks the privilege for {verb} (error {exc.code})", needed) from None

    def _refused(self, what: str, todo: str) -> SystemRefusedError:
        return SystemRefusedError(what, where=self._config.admin_path, todo=todo)


@contextmanager
def _session(login: MysqlLogin) -> Iterator[Session]:
    with mysql_client.session(
        login, extra="rotate", program="lessee rotate", timeout=_CONNECT_TIMEOUT, total=_SESSION_TIMEOUT
    ) as opened:
        yield opened


def _failure(exc: MysqlError, login: MysqlLogin, where: str) -> LesseeError:
    """The error of a session; not for a login that is only verified."""
    match exc.kind:
        case ErrorKind.REJECTED:
            todo = "correct username and password there, or set a new password: ALTER USER … IDENTIFIED BY …"
            return SystemRefusedError("MariaDB rejects the admin's login", where=where, todo=todo)
        case ErrorKind.CLEAR_TEXT:
            todo = "set `tls: true` in the secret, and ca_file for a private CA"
            what = f"MySQL at {login.address} asks for the password in clear text"
            return SystemRefusedError(what, where=where, todo=todo)
        case ErrorKind.READ_ONLY:
            todo = "set host in the secret to the primary"
            return SystemUnavailableError(f"MariaDB at {login.address} is read-only", where=where, todo=todo)
        case ErrorKind.UNAVAILABLE:
            todo = "check that it runs, and host, port, tls and ca_file in the secret; lessee retries it"
            what = f"MariaDB does not answer at {login.address} ({exc.reason})"
            return SystemUnavailableError(what, where=where, todo=todo)
        case _:
            what = f"MariaDB at {login.address} rejects the request ({exc.reason})"
            return SystemRefusedError(what, where=where, todo="see its own log")


def _copied(shown: list[str], source: str, target: str) -> Iterator[str]:
    """What gives the target the grants that SHOW GRANTS prints for the source, without its password."""
    for text in shown:
        # In a quoted name each backtick is doubled, so that no name contains this.
        head, found, tail = text.partition(f" TO {source}")
        if not found or not head.startswith("GRANT "):
            continue
        requirement, options = _options(_IDENTIFIED.sub("", tail))
        grantable = [option for option in _GRANTABLE if f" {option}" in options]
        if head != _USAGE:
            yield f"{head} TO {target}{' WITH ' if grantable else ''}{''.join(grantable)}"
        if head.endswith(" ON *.*") and _IDENTIFIED.match(tail):
            # MariaDB shows them here; a right to grant all global privileges would be needed to grant them.
            limits = options.removeprefix(" WITH").replace(" GRANT OPTION", "")
            yield f"ALTER USER {target}{requirement or ' REQUIRE NONE'}{' WITH' if limits else ''}{limits}"


def _options(tail: str) -> tuple[str, str]:
    """What an account requires of connections, and what follows WITH."""
    found = _TAIL.fullmatch(tail)
    return (found[1] or "", found[2] or "") if found else ("", "")


def _methods_in(stored: str | bytes) -> Iterator[_Method]:
    """The methods in a row of mysql.global_priv; https://mariadb.com/kb/en/mysqlglobal_priv-table/."""
    found = json.loads(stored)
    first = {key: found.get(key, "") for key in ("plugin", "authentication_string")}
    # In the list of alternatives an empty object means the first one.
    for method in found.get("auth_or") or [{}]:
        one = method or first
        if one.get("plugin"):
            yield str(one["plugin"]), str(one.get("authentication_string", ""))


def _clause(methods: list[_Method]) -> str:
    """The clause that lets a user log in by any of the methods."""
    return f"IDENTIFIED VIA {' OR '.join(map(_spelled, methods))}"


def _spelled(method: _Method) -> str:
    plugin, stored = method
    quoted = stored.replace("\\", "\\\\").replace("'", "''")
    return f"{identifier(plugin)} USING '{quoted}'" if stored else identifier(plugin)


def _hash(password: str) -> str:
    """https://mariadb.com/kb/en/authentication-plugin-mysql_native_password/."""
    inner = sha1(password.encode(), usedforsecurity=False).digest()
    return f"*{sha1(inner, usedforsecurity=False).hexdigest().upper()}"
