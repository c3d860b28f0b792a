"""Entries of an LDAP directory: one whose userPassword has the old and the new value, or two that alternate.

The directory gets hashes; only a bind sends a password. The configuration names the entries: a DN in the secret that
the apps read never chooses one, since who may write that secret would get a login as any entry.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from lessee.config.grammar.rotation import Ldap as Config
from lessee.core import credentials as wanted
from lessee.core.credentials import LdapLogin
from lessee.core.distinguished_names import position
from lessee.core.errors import ConfigError, LesseeError
from lessee.host.ldap_client import Code, Directory, LdapError, Operation
from lessee.ops.rotate.kinds import new_password
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
from lessee.ops.rotate.policy.ldap_passwords import hashed, matches
from lessee.telemetry.logs import log

_LENGTH = 48
_TIMEOUT = 6.0
"""Seconds for a connection, and all that it does."""
_STEP_TIMEOUT = 4 * _TIMEOUT
_ATTRIBUTE = "userPassword"
_REJECTED = frozenset({Code.INVALID_CREDENTIALS, Code.INAPPROPRIATE_AUTHENTICATION, Code.NO_SUCH_OBJECT})
_NEEDS_TLS = frozenset({Code.STRONGER_AUTH_REQUIRED, Code.CONFIDENTIALITY_REQUIRED})
_BUSY = frozenset({Code.BUSY, Code.UNAVAILABLE})
_CHANGED = frozenset({Code.NO_SUCH_ATTRIBUTE, Code.EXISTS, Code.ASSERTION_FAILED})

_Values = frozenset[bytes]


class Entries(KindDefaults):
    """The passwords of one entry, or of two."""

    traits = Traits(timeout=_STEP_TIMEOUT)

    def __init__(self, config: Config, context: KindContext) -> None:
        self._config, self._name, self._accounts = config, context.name, config.accounts
        self._alternates = len(config.accounts) > 1
        self._login = wanted.ldap(config.admin_secret, context.admin)
        self._known: dict[str, _Values] = {}
        """The values of entries when the lock was taken: a change replaces these, and no later ones."""
        if self._account(context.admin):
            what = "the admin is one of `accounts`, and would revoke its own login"
            todo = "use another entry in `admin_secret`"
            raise ConfigError([LesseeError(what, where=f"rotation.{context.name}", todo=todo)])

    def create(self, case: Case) -> NewCredential:
        """Raises LesseeError where the secret does not name a directory and an entry."""
        dn = self._accounts[(position(case.secret.get("dn"), self._accounts) + 1) % len(self._accounts)]
        made = {"dn": dn, "password": new_password(_LENGTH)}
        wanted.ldap(self._config.secret, {**case.secret, **made})
        return NewCredential(made)

    def apply(self, case: Case) -> None:
        dn, new = self._account(case.pending), hashed(str(case.pending["password"]), case.id)
        if not dn:
            todo = "name it there until the rotation is finished"
            raise self._refused(f"{case.pending['dn']}, which is being rotated, is not in `accounts` any more", todo)
        with self._admin() as admin:
            there = self._known[dn] if dn in self._known else self._read(admin, dn)
            if self._alternates:
                self._replace(admin, dn, there, frozenset({new}))
            elif new not in there:
                self._change(admin, dn, [(Operation.ADD, [new])], ignored=(Code.EXISTS,))
            if new not in self._read(admin, dn):
                # It would not find the old value later either.
                todo = f"in slapd's configuration: access to attrs=userPassword by dn.exact={self._login.dn!r} write"
                raise self._refused(f"the admin may not read userPassword of {dn}", todo)

    def verify(self, fields: Fields) -> bool:
        try:
            login = wanted.ldap(self._config.secret, fields)
        except LesseeError:
            return False
        with _translated(login, self._config.secret), Directory(login, _TIMEOUT) as directory:
            code = directory.bind(login.dn, login.password)
        if code in _REJECTED:
            return False
        self._check(code, login.dn, self._config.secret)
        return True

    def revoke(self, case: Case) -> bool:
        old, dn = str(case.current.get("dn") or ""), self._account(case.current)
        if old and not dn:
            todo = "revoke it: delete its userPassword with ldapmodify"
            log("warning", "old entry not revoked", target=self._name, dn=old, reason="not in `accounts`", todo=todo)
        if not self._alternates:
            return self._remove(case, case.current)
        if not self._is_unpublished(dn, case):
            return False
        self._disable(dn)
        return True

    def discard(self, case: Case) -> None:
        dn = self._account(case.pending)
        if not self._alternates:
            self._remove(case, case.pending)
        elif self._is_unpublished(dn, case):
            self._disable(dn)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """LDAP has no lock. The values of the entries are read before the documents are checked.

        A change of two entries that alternate names these values. If a rotator was suspended, and others have set new
        ones since, its change fails.
        """
        try:
            if self._alternates:
                with self._admin() as admin:
                    for dn in self._accounts:
                        self._known[dn] = self._read(admin, dn)
            yield
        finally:
            self._known.clear()

    def _account(self, fields: Fields) -> str:
        """The account that these fields name, as the configuration spells it; empty where they name another entry."""
        number = position(fields.get("dn"), self._accounts)
        return self._accounts[number] if number >= 0 else ""

    def _is_unpublished(self, dn: str, case: Case) -> bool:
        """Whether it is one of the entries, and not the published one."""
        return dn not in {"", self._account(case.secret)}

    def _disable(self, dn: str) -> None:
        """Let no password log in; the value stays one, by which a change finds it."""
        with self._admin() as admin:
            there = self._known[dn] if dn in self._known else self._read(admin, dn)
            unusable = hashed(secrets.token_hex(_LENGTH), secrets.token_hex())
            self._replace(admin, dn, there, frozenset({unusable}))

    def _remove(self, case: Case, fields: Fields) -> bool:
        """Remove a password that is not published from the one entry, which keeps those that are unknown.

        Whether these fields had a password of the entry.
        """
        (dn,), password = self._accounts, str(fields.get("password") or "")
        is_published = self._account(case.secret) == dn
        published = str(case.secret.get("password") or "")
        if fields.get("dn") and self._account(fields) != dn:
            password = ""
        elif is_published and password == published:
            return False
        with self._admin() as admin:
            there = self._read(admin, dn)
            if is_published and not any(matches(value, published) is not False for value in there):
                todo = "lessee retries it; see whether another program changes the entry"
                raise SystemUnavailableError("the directory has lost the new password", where=dn, todo=todo)
            if password:
                self._remove_password(admin, dn, password, there)
                there = self._read(admin, dn)
        if unknown := [value for value in there if not (is_published and matches(value, published))]:
            todo = "remove the values that are not used with ldapmodify"
            log("warning", "unknown passwords not revoked", target=self._name, dn=dn, count=len(unknown), todo=todo)
        return bool(password)

    def _remove_password(self, admin: Directory, dn: str, password: str, there: _Values) -> None:
        old = {value for value in there if matches(value, password)}
        self._change(admin, dn, [(Operation.DELETE, old)] if old else [])
        for value in sorted(value for value in there if matches(value, "") is None):
            # By its hash alone lessee cannot see whether it is of the old password; the directory can.
            if not self._accepts(dn, password):
                break
            self._change(admin, dn, [(Operation.DELETE, [value])])

    def _accepts(self, dn: str, password: str) -> bool:
        login = self._login
        with _translated(login, self._config.admin_secret), Directory(login, _TIMEOUT) as directory:
            return directory.bind(dn, password) == Code.SUCCESS

    @contextmanager
    def _admin(self) -> Iterator[Directory]:
        """A connection with the admin's login."""
        where = self._config.admin_secret
        with _translated(self._login, where), Directory(self._login, _TIMEOUT) as directory:
            code = directory.bind(self._login.dn, self._login.password)
            if code in _REJECTED:
                raise self._refused("the directory rejects the admin's bind", "correct dn and password there")
            self._check(code, self._login.dn, where)
            yield directory

    def _read(self, admin: Directory, dn: str) -> _Values:
        code, found = admin.values(dn, _ATTRIBUTE)
        self._check(code, dn, self._config.admin_secret)
        return found

    def _replace(self, admin: Directory, dn: str, there: _Values, new: _Values) -> None:
        """Replace these values. Raises SystemUnavailableError where the entry has others by now."""
        if there == new:
            return
        code = admin.modify(dn, _ATTRIBUTE, [(Operation.REPLACE, new)], there)
        if code == Code.UNSUPPORTED_CONTROL:
            # The deletion of values that are gone fails too. But a policy of slapd takes it for a user's own change.
            gone = [(Operation.DELETE, there)] if there else []
            code = admin.modify(dn, _ATTRIBUTE, [*gone, (Operation.ADD, new)])
        self._check_change(code, dn)

    def _change(
        self,
        admin: Directory,
        dn: str,
        changes: list[tuple[Operation, "list[bytes] | set[bytes] | _Values"]],
        ignored: tuple[Code, ...] = (),
    ) -> None:
        if not changes:
            return
        code = admin.modify(dn, _ATTRIBUTE, changes)
        if code not in ignored:
            self._check_change(code, dn)

    def _check_change(self, code: int, dn: str) -> None:
        if code in _CHANGED:
            todo = "lessee retries it; the admin needs to read userPassword too"
            raise SystemUnavailableError("another program has changed the entry's passwords", where=dn, todo=todo)
        self._check(code, dn, self._config.admin_secret)

    def _check(self, code: int, dn: str, where: str) -> None:
        """Raises SystemUnavailableError or SystemRefusedError for a code other than success."""
        if code == Code.SUCCESS:
            return
        address = self._login.address
        if code in _BUSY:
            todo = "see its own log; lessee retries it"
            raise SystemUnavailableError(f"the directory at {address} is busy", where=where, todo=todo)
        if code in _NEEDS_TLS:
            todo = "write ldaps:// in the secret's url, or `start_tls: true`"
            raise SystemRefusedError("the directory requires TLS", where=where, todo=todo)
        if code == Code.NO_SUCH_OBJECT:
            todo = "create it, or correct the DN"
            raise SystemRefusedError(f"the entry {dn} does not exist", where=where, todo=todo)
        if code == Code.INSUFFICIENT_ACCESS:
            todo = f"in slapd's configuration: access to attrs=userPassword by dn.exact={self._login.dn!r} write"
            raise SystemRefusedError(f"the admin may not change {dn}", where=where, todo=todo)
        if code == Code.CONSTRAINT_VIOLATION:
            todo = "set pwdCheckQuality to 0 or 1 there: lessee sends a hash; for one password each, name two entries"
            raise SystemRefusedError(f"the password policy refuses the new value of {dn}", where=where, todo=todo)
        if code in {Code.REFERRAL, Code.UNWILLING}:
            todo = "set url in the admin's secret to the directory's provider"
            raise SystemRefusedError(f"the directory at {address} is read-only", where=where, todo=todo)
        todo = "see its own log; RFC 4511, 4.1.9 lists the codes"
        raise SystemRefusedError(f"the directory answers with code {code}", where=where, todo=todo)

    def _refused(self, what: str, todo: str) -> SystemRefusedError:
        return SystemRefusedError(what, where=self._config.admin_secret, todo=todo)


@contextmanager
def _translated(login: LdapLogin, where: str) -> Iterator[None]:
    try:
        yield
    except LdapError as exc:
        todo = "check that it runs, and url, start_tls and ca_file in the secret; lessee retries it"
        what = f"the directory does not answer at {login.address} ({exc})"
        raise SystemUnavailableError(what, where=where, todo=todo) from None
