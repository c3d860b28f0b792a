"""An ACL user of Redis, which has the old and the new password until all consumers use the new one.

Redis stores and accepts hashes. Only a login sends a password in clear text, and Redis hides its AUTH from MONITOR.
ACLs apply to one server: its replicas and the other nodes of a cluster do not get them.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from lessee.config.grammar.rotation import Redis as Config
from lessee.core import credentials as wanted
from lessee.core.credentials import RedisLogin
from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.host.answer_limits import broken_limit
from lessee.host.redis_client import client_for
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

_LENGTH = 48
_TIMEOUT = 2.0
"""Seconds for each read."""
_CLIENT_TIMEOUT = 10.0
"""Seconds for a connection, a login, and up to four requests."""
_STEP_TIMEOUT = 2 * _CLIENT_TIMEOUT
"""Seconds for a login and saving the ACL, with a connection each."""
_HASH_PREFIX = 16
"""Digits of a hash that identify it."""
_DEFAULT = "default"
_RULES = "+acl|getuser +acl|setuser +acl|save +config|rewrite"
_NO_FILE = "not configured to use an ACL file"
_NO_PASSWORD = "without any password"  # noqa: S105  # A part of Redis' own message.


class AclUser(KindDefaults):
    """The password of one ACL user."""

    traits = Traits(timeout=_STEP_TIMEOUT)

    def __init__(self, config: Config, context: KindContext) -> None:
        self._config, self._target = config, context.name
        self._driver = library("redis")
        self._admin = wanted.redis(config.admin_path, context.admin)
        self._unsaved = True
        """A rotator that was killed may have changed the user without saving the ACL."""

    def create(self, case: Case) -> NewCredential:
        name = self._config.user
        if str(case.secret.get("username") or "") not in {"", name}:
            todo = "correct `user`, or the secret's username"
            raise LesseeError(f"the username in the secret is not {name}", where=self._config.secret, todo=todo)
        self._refuse_admin(name)
        password = new_password(_LENGTH)
        # With the name: if a user changes it in the secret during the rotation, this password's owner stays recorded.
        fields = {"password": password} if name == _DEFAULT else {"username": name, "password": password}
        # Missing fields are reported before the rotation starts.
        wanted.redis(self._config.secret, {**case.secret, **fields})
        self._unsaved = False
        return NewCredential(fields, handle=_hash(password)[:_HASH_PREFIX])

    def apply(self, case: Case) -> None:
        name = _name_of(case.pending)
        self._refuse_admin(name)
        with self._admin_client() as client:
            if "off" in self._user(client, name).flags:
                todo = f"enable it: ACL SETUSER {name} on"
                raise SystemRefusedError("the ACL user is disabled", where=f"{self._admin.address} {name}", todo=todo)
            self._unsaved = True
            client.execute_command("ACL", "SETUSER", name, f"#{_hash_of(case.pending)}")
            self._save(client)

    def verify(self, fields: Fields) -> bool:
        """Log in to the secret's database. A password counts as accepted once it would survive a restart of Redis."""
        login = wanted.redis(self._config.secret, fields)
        if not self._accepts(login):
            return False
        if self._unsaved:
            with self._admin_client() as client:
                self._save(client)
        return True

    def revoke(self, case: Case) -> bool:
        """Remove the old password from the user, if Redis still knows the new one: it may have been restarted.

        Unknown passwords are logged, and stay valid: an operator may have added them.
        """
        name = _name_of(case.pending)
        valid = {_hash_of(fields) for fields in (case.secret, case.pending) if fields.get("password")}
        with self._admin_client() as client:
            there = self._user(client, name).hashes
            known = {hash_ for hash_ in there if case.handle and hash_.startswith(case.handle)}
            if case.current.get("password") and _name_of(case.current) == name:
                known.add(_hash_of(case.current))
            old = sorted((known & there) - valid)
            if not valid & there:
                todo = "lessee retries it; configure an aclfile, so that ACL users survive a restart"
                raise SystemUnavailableError("Redis has lost the new password", where=self._admin.address, todo=todo)
            # The new one is not set again here: a suspended rotator would restore what others have revoked since.
            client.execute_command("ACL", "SETUSER", name, *(f"!{hash_}" for hash_ in old))
            self._save(client)
        if (other := _name_of(case.current)) != name and case.current:
            todo = f"remove it: ACL SETUSER {other} resetpass"
            log("warning", "old password not revoked", target=self._target, user=other, todo=todo)
        if unknown := there - valid - known:
            todo = f"remove those that are not used: ACL SETUSER {name} !HASH"
            hashes = sorted(hash_[:_HASH_PREFIX] for hash_ in unknown)
            log("warning", "unknown passwords not revoked", target=self._target, user=name, hashes=hashes, todo=todo)
        return bool(known)

    def discard(self, case: Case) -> None:
        name, pending = _name_of(case.pending), _hash_of(case.pending)
        if case.pending.get("password") == case.secret.get("password"):
            return
        with self._admin_client() as client:
            user = _User.parse(client.acl_getuser(name))
            if user is not None and pending in user.hashes:
                client.execute_command("ACL", "SETUSER", name, f"!{pending}")
            self._save(client)

    def _refuse_admin(self, name: str) -> None:
        if name == (self._admin.username or _DEFAULT):
            what, todo = f"the admin is {name} too, and would revoke its own login", "give the admin its own user"
            raise SystemRefusedError(
                what, where=self._config.admin_path, todo=f"{todo}: ACL SETUSER lessee on >PASSWORD {_RULES}"
            )

    def _user(self, client: Any, name: str) -> "_User":
        """The ACL user. Raises SystemRefusedError where it does not exist, or needs no password."""
        user, where = _User.parse(client.acl_getuser(name)), f"{self._admin.address} {name}"
        if user is None:
            todo = f"create it: ACL SETUSER {name} on … with the permissions that it needs, then ACL SAVE"
            raise SystemRefusedError("the ACL user does not exist", where=where, todo=todo)
        if "nopass" in user.flags:
            todo = f"set a password: ACL SETUSER {name} resetpass >PASSWORD; and write it to {self._config.secret}"
            raise SystemRefusedError("the ACL user accepts any password", where=where, todo=todo)
        return user

    def _accepts(self, login: RedisLogin) -> bool:
        errors = self._driver.exceptions
        with _translate_errors(errors, login, login.username):
            try:
                with closing(self._client(login)) as client:
                    client.ping()
            except errors.NoPermissionError:
                return True  # The login succeeded; the user lacks a permission.
            except errors.AuthenticationError:
                return False
            except errors.ResponseError as exc:
                if _NO_PASSWORD in str(exc):
                    return False
                raise
        return True

    @contextmanager
    def _admin_client(self) -> Iterator[Any]:
        """The admin's client, with errors that name the admin."""
        login = self._admin
        with _translate_errors(self._driver.exceptions, login, login.username), closing(self._client(login)) as client:
            yield client

    def _save(self, client: Any) -> None:
        """Save the ACL, so that it survives a restart; log a warning where Redis has no file for it."""
        errors = self._driver.exceptions
        try:
            client.execute_command("ACL", "SAVE")
        except errors.NoPermissionError:
            raise
        except errors.ResponseError as exc:
            if "unknown" not in str(exc) and _NO_FILE not in str(exc):
                todo = "check that Redis may write the file and its directory; see its log"
                raise SystemRefusedError(
                    "Redis cannot write its aclfile", where=self._admin.address, todo=todo
                ) from None
            self._rewrite(client)
        self._unsaved = False

    def _rewrite(self, client: Any) -> None:
        errors = self._driver.exceptions
        try:
            client.execute_command("CONFIG", "REWRITE")
        except errors.NoPermissionError:
            raise
        except errors.ResponseError:
            todo = "configure an `aclfile`, or a configuration file that Redis may write"
            log("warning", "password lost at a restart of Redis", target=self._target, todo=todo)

    def _client(self, login: RedisLogin) -> Any:
        """A client that connects and logs in with its first command."""
        if login.tls and login.ca_file and not Path(login.ca_file).is_file():
            raise LesseeError(
                "the secret's ca_file does not exist", where=login.ca_file, todo="create it, or correct ca_file"
            )
        # One connection: the server process that changes the ACL also saves it.
        return client_for(login, extra="rotate", timeout=_TIMEOUT, total=_CLIENT_TIMEOUT, single_connection=True)


class OwnAclUser(AclUser):
    """The user changes its own passwords, with the login that has last worked."""

    def verify(self, fields: Fields) -> bool:
        if not self._accepts(login := wanted.redis(self._config.secret, fields)):
            return False
        self._admin = login
        return super().verify(fields)

    def _refuse_admin(self, name: str) -> None:
        """It is the admin."""


class _User(ImmutableStruct, frozen=True):
    hidden = ("hashes",)

    flags: frozenset[str]
    hashes: frozenset[str]

    @classmethod
    def parse(cls, user: Any) -> "_User | None":
        if user is None:
            return None
        return cls(frozenset(map(str, user["flags"])), frozenset(map(str, user["passwords"])))


@contextmanager
def _translate_errors(errors: Any, login: RedisLogin, name: str) -> Iterator[None]:
    """Translates the client's errors, whose texts may repeat what was sent."""
    where = login.address
    try:
        yield
    except errors.AuthenticationError:
        todo = "correct username and password in the admin's secret, and enable the user"
        raise SystemRefusedError("Redis rejects the admin's login", where=where, todo=todo) from None
    except errors.NoPermissionError:
        todo = f"grant them: ACL SETUSER {name or _DEFAULT} {_RULES}"
        raise SystemRefusedError("the admin lacks permissions", where=where, todo=todo) from None
    except (errors.ConnectionError, errors.TimeoutError) as exc:
        todo = "check that it runs, and `host`, `port` and `tls` in the secret"
        reason = broken_limit(exc) or type(exc).__name__
        raise SystemUnavailableError(f"Redis does not answer ({reason})", where=where, todo=todo) from None
    except (errors.RedisError, UnicodeError) as exc:
        todo = "check that it is Redis 6 or later, and `host` and `db` in the secret"
        raise SystemRefusedError(f"Redis rejects the request ({type(exc).__name__})", where=where, todo=todo) from None


def _name_of(fields: Fields) -> str:
    return str(fields.get("username") or _DEFAULT)


def _hash_of(fields: Fields) -> str:
    return _hash(str(fields["password"]))


def _hash(password: str) -> str:
    return sha256(password.encode()).hexdigest()
