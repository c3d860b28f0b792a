"""An ACL user of Redis: it has the old password and the new one until all have the new.

Redis keeps hashes, and takes them too: no clear password is sent but by who logs in, whose AUTH it shows to nobody.
ACLs are of one server alone; neither its replicas nor the other nodes of a cluster hear of them.
"""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

from lessee.config.grammar.rotation import Redis as Said
from lessee.core import credentials as wanted
from lessee.core.credentials import RedisLogin
from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.kinds import library
from lessee.ops.rotate.kinds.kind import Case, Made, Setting, SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.setup.policy.initial_values import ALPHABET
from lessee.telemetry.logs import log

_LENGTH = 48
_TIMEOUT = 2.0
"""Seconds for each answer."""
_PATIENCE = 20.0
"""A try and what makes it last: two logins, and up to four answers each."""
_SHOWN = 16
"""So much of a hash tells it from the others."""
_DEFAULT = "default"
_RULES = "+acl|getuser +acl|setuser +acl|save +config|rewrite"
_NO_FILE = "not configured to use an ACL file"
_NO_PASSWORD = "without any password"  # noqa: S105  # Of Redis' own text.


class AclUser:
    """The password of one ACL user."""

    traits = Traits(patience=_PATIENCE)

    def __init__(self, said: Said, setting: Setting) -> None:
        self._said, self._target = said, setting.name
        self._driver = library("redis")
        self._admin = wanted.redis(said.admin, setting.admin)
        self._unsaved = True
        """Somebody who was killed may have changed the user, and not made that last."""

    def look(self, case: Case) -> tuple[str, ...]:
        del case
        return ()

    def create(self, case: Case) -> Made:
        name = self._name(case.secret)
        self._refuse_admin(name)
        password = "".join(secrets.choice(ALPHABET) for _ in range(_LENGTH))
        # The name stands there too: whoever changes it by hand meanwhile must not change whose password this is.
        fields = {"password": password} if name == _DEFAULT else {"username": name, "password": password}
        wanted.redis(self._said.secret, {**case.secret, **fields})  # What it lacks is told before anything is begun.
        self._unsaved = False
        return Made(fields, handle=_hash(password)[:_SHOWN])

    def apply(self, case: Case) -> None:
        name = _name_of(case.pending)
        self._refuse_admin(name)
        with self._asked() as client:
            if "off" in self._user(client, name).flags:
                todo = f"if it shall not be: ACL SETUSER {name} on"
                raise SystemRefusedError("the user is switched off", where=f"{self._admin.address} {name}", todo=todo)
            self._unsaved = True
            client.execute_command("ACL", "SETUSER", name, f"#{_hash_of(case.pending)}")
            self._save(client)

    def prove(self, fields: Fields) -> bool:
        """A login, to the database of the secret. Only what outlives a restart of Redis counts as proved."""
        login = wanted.redis(self._said.secret, fields)
        if not self._lets_in(login):
            return False
        if self._unsaved:
            with self._asked() as client:
                self._save(client)
        return True

    def retire(self, case: Case) -> None:
        """Take the old password from the user, if Redis still knows the new one: it may have been started anew.

        Passwords that nobody here knows are told of, and stay: a person may have added them.
        """
        name = _name_of(case.pending)
        kept = {_hash_of(fields) for fields in (case.secret, case.pending) if fields.get("password")}
        with self._asked() as client:
            there = self._user(client, name).hashes
            known = {one for one in there if case.handle and one.startswith(case.handle)}
            if case.current.get("password") and _name_of(case.current) == name:
                known.add(_hash_of(case.current))
            old = sorted((known & there) - kept)
            if not kept & there:
                todo = "it is tried again; does it keep its users in an aclfile?"
                raise SystemUnavailableError("Redis has lost the new password", where=self._admin.address, todo=todo)
            # The new one is not set again here: who stood still would bring back what others have retired since.
            client.execute_command("ACL", "SETUSER", name, *(f"!{one}" for one in old))
            self._save(client)
        if (other := _name_of(case.current)) != name and case.current:
            log("warning", "the old password stays", target=self._target, user=other, todo="take it from him by hand")
        if others := there - kept - known:
            todo = f"if nobody needs them: ACL SETUSER {name} !HASH"
            shown = sorted(one[:_SHOWN] for one in others)
            log("warning", "passwords of others", target=self._target, user=name, hashes=shown, todo=todo)

    def remove(self, case: Case) -> None:
        """None is kept."""

    def discard(self, case: Case) -> None:
        name, pending = _name_of(case.pending), _hash_of(case.pending)
        if case.pending.get("password") == case.secret.get("password"):
            return
        with self._asked() as client:
            user = _User.of(client.acl_getuser(name))
            if user is not None and pending in user.hashes:
                client.execute_command("ACL", "SETUSER", name, f"!{pending}")
            self._save(client)

    def lock(self) -> AbstractContextManager[None]:
        """Redis has none that would not need rights to its keys; the journal is written with check-and-set."""
        return nullcontext()

    def close(self) -> None:
        """No connection is kept: between two questions Redis may be gone, or be another."""

    def _name(self, fields: Fields) -> str:
        there = str(fields.get("username") or "")
        if self._said.user and there not in {"", self._said.user}:
            todo = "mend `user:`, or the secret's username"
            raise LesseeError(f"its username is not {self._said.user}", where=self._said.secret, todo=todo)
        return self._said.user or there or _DEFAULT

    def _refuse_admin(self, name: str) -> None:
        if name == (self._admin.username or _DEFAULT):
            what, todo = f"the admin is {name} himself, and would be shut out", "give it a user of its own"
            raise SystemRefusedError(
                what, where=self._said.admin, todo=f"{todo}: ACL SETUSER lessee on >PASSWORD {_RULES}"
            )

    def _user(self, client: Any, name: str) -> "_User":
        """Raises SystemRefusedError where a password would be of no use to it."""
        user, where = _User.of(client.acl_getuser(name)), f"{self._admin.address} {name}"
        if user is None:
            todo = f"make it: ACL SETUSER {name} on … with the rights that it needs, then ACL SAVE"
            raise SystemRefusedError("there is no such ACL user", where=where, todo=todo)
        if "nopass" in user.flags:
            todo = f"ACL SETUSER {name} resetpass >PASSWORD, and write that into {self._said.secret}"
            raise SystemRefusedError("the user takes any password", where=where, todo=todo)
        return user

    def _lets_in(self, login: RedisLogin) -> bool:
        errors = self._driver.exceptions
        with _as_ours(errors, login, login.username):
            try:
                with closing(self._client(login)) as client:
                    client.ping()
            except errors.NoPermissionError:
                return True  # It is in, and may not do everything.
            except errors.AuthenticationError:
                return False
            except errors.ResponseError as exc:
                if _NO_PASSWORD in str(exc):
                    return False
                raise
        return True

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """The admin's client. What goes wrong is told of him."""
        login = self._admin
        with _as_ours(self._driver.exceptions, login, login.username), closing(self._client(login)) as client:
            yield client

    def _save(self, client: Any) -> None:
        """Let the users outlive a restart; warn where that cannot be."""
        errors = self._driver.exceptions
        try:
            client.execute_command("ACL", "SAVE")
        except errors.NoPermissionError:
            raise
        except errors.ResponseError as exc:
            if "unknown" not in str(exc) and _NO_FILE not in str(exc):
                todo = "may Redis write the file, and its folder? its log says more"
                raise SystemRefusedError(
                    "Redis cannot save its aclfile", where=self._admin.address, todo=todo
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
            todo = "give it an `aclfile`, or a configuration file that it may write"
            log("warning", "a restart of Redis loses the new password", target=self._target, todo=todo)

    def _client(self, login: RedisLogin) -> Any:
        """It is connected, and logged in."""
        secured: dict[str, Any] = {}
        if login.tls:
            if login.ca_file and not Path(login.ca_file).is_file():
                raise LesseeError("the secret's ca_file is not there", where=login.ca_file, todo="put it there")
            secured = {"ssl": True, "ssl_ca_certs": login.ca_file or None, "ssl_check_hostname": True}
        return self._driver.Redis(
            host=login.host,
            port=login.port,
            db=login.db,
            username=login.username or None,
            password=login.password,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=None,
            single_connection_client=True,  # What is changed is saved by the process that was asked, or by none.
            protocol=2,  # With RESP 3 the client asks for more than a user of few rights may.
            **secured,
        )


class _User(ImmutableStruct, frozen=True):
    hidden = ("hashes",)

    flags: frozenset[str]
    hashes: frozenset[str]

    @classmethod
    def of(cls, said: Any) -> "_User | None":
        if said is None:
            return None
        return cls(frozenset(said["flags"]), frozenset(said["passwords"]))


@contextmanager
def _as_ours(errors: Any, login: RedisLogin, name: str) -> Iterator[None]:
    """The client's errors as ours: its texts may repeat what was sent."""
    where = login.address
    try:
        yield
    except errors.AuthenticationError:
        todo = "write the admin's username and password into its secret; is it switched on?"
        raise SystemRefusedError("Redis refuses the admin's login", where=where, todo=todo) from None
    except errors.NoPermissionError:
        todo = f"ACL SETUSER {name or _DEFAULT} {_RULES}"
        raise SystemRefusedError("the admin may not do what is needed", where=where, todo=todo) from None
    except (errors.ConnectionError, errors.TimeoutError) as exc:
        todo = "is it up, and does the port speak what the secret's `tls` says?"
        raise SystemUnavailableError(f"Redis does not answer ({type(exc).__name__})", where=where, todo=todo) from None
    except (errors.RedisError, UnicodeError) as exc:
        todo = "is it a Redis from version 6 on, and are host and db right?"
        raise SystemRefusedError(f"Redis refuses ({type(exc).__name__})", where=where, todo=todo) from None


def _name_of(fields: Fields) -> str:
    return str(fields.get("username") or _DEFAULT)


def _hash_of(fields: Fields) -> str:
    return _hash(str(fields["password"]))


def _hash(password: str) -> str:
    return sha256(password.encode()).hexdigest()
