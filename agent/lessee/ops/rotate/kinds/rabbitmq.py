"""Users of RabbitMQ, by its management API: a new one with the permissions of the old one, which is then deleted.

RabbitMQ gets hashes, https://www.rabbitmq.com/docs/passwords; only a login sends a password. A user without a hash
cannot log in with a password.
"""

import base64
import json
import secrets
import time
from collections.abc import Iterator
from hashlib import sha256, sha512
from hmac import compare_digest
from typing import Any
from urllib.parse import quote

from lessee.config.grammar.rotation import Rabbitmq as Config
from lessee.core import credentials as wanted
from lessee.core.credentials import RabbitmqAdmin
from lessee.core.errors import LesseeError
from lessee.host import amqp_login, http_client
from lessee.host.amqp_login import AmqpError, Outcome
from lessee.host.http_client import HttpError
from lessee.ops.rotate.kinds import new_password
from lessee.ops.rotate.kinds.kind import (
    Case,
    KindContext,
    KindDefaults,
    NewCredential,
    SystemRefusedError,
    SystemUnavailableError,
)
from lessee.ops.rotate.policy.broker_users import is_name_of, name_of
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log

_LENGTH = 48
_REQUEST_TIMEOUT = 4.0
_LOGIN_TIMEOUT = 4.0
_STEP_TIMEOUT = 20.0
"""Seconds that all requests of one step may take together."""
_BODY_LIMIT = 1 << 20
_UNAUTHORIZED, _FORBIDDEN, _MISSING, _TOO_MANY, _SERVER = 401, 403, 404, 429, 500
_ALGORITHM = "rabbit_password_hashing_sha256"
_ALGORITHMS = {_ALGORITHM: sha256, "rabbit_password_hashing_sha512": sha512}
_SALT = 4
"""Bytes, as RabbitMQ's own."""
_PERMISSIONS = ("configure", "write", "read")
_TOPIC_PERMISSIONS = ("exchange", "write", "read")


class BrokerUsers(KindDefaults):
    """Users whose names have a suffix of their own, or one user.

    RabbitMQ has no lock for its users. A name that is never used again needs none: whatever a rotator that was
    suspended for long does to it, the published user is another.
    """

    def __init__(self, config: Config, context: KindContext) -> None:
        self._config, self._name = config, context.name
        self._keeps_name = config.keep_name
        delay = 0.0 if config.keep_name else config.delete_delay
        self.traits = Traits(overlaps=not config.keep_name, delete_delay=delay, timeout=_STEP_TIMEOUT)
        self._admin = self._admin_in(context.admin)
        self._api = _ManagementApi(self._admin, config.admin_path)

    def _admin_in(self, fields: Fields) -> RabbitmqAdmin:
        return wanted.rabbitmq_admin(self._config.admin_path, fields)

    def create(self, case: Case) -> NewCredential:
        """Raises LesseeError where the secret does not name a broker."""
        self._refuse_admin(case.secret)
        name = self._config.user if self._keeps_name else name_of(self._config.user, case.id)
        made = {"username": name, "password": new_password(_LENGTH)}
        wanted.rabbitmq(self._config.secret, {**case.secret, **made})
        if self._keeps_name:
            note = "with one user, logins fail until the apps have the new password"
            log("warning", "password change interrupts logins", target=self._name, note=note)
        return NewCredential(made, handle=name)

    def apply(self, case: Case) -> None:
        """The password is set last: a user that can log in has all its permissions."""
        self._api.begin()
        user = str(case.pending["username"])
        like = self._api.user(user if self._keeps_name else _username(case.current))
        if like is None and self._keeps_name:
            todo = f"rabbitmqctl add_user {user}, and set_permissions with what the apps need"
            raise self._refused(f"the user {user} does not exist", todo)
        if like is None:
            todo = "write an existing user's name and password into the secret: the new one gets its permissions"
            raise self._refused("the published user does not exist", todo)
        if not self._keeps_name:
            self._refuse_foreign(like, case)
            if self._api.user(user) is None:
                self._api.set_password_hash(user, "", like)
            self._copy_permissions(_username(case.current), user)
        self._api.set_password_hash(user, _hash(str(case.pending["password"])), like)

    def verify(self, fields: Fields) -> bool:
        """Log in to the secret's virtual host. Raises SystemRefusedError where the user may not use it."""
        try:
            login = wanted.rabbitmq(self._config.secret, fields)
        except LesseeError:
            return False
        try:
            outcome = amqp_login.log_in(login, _LOGIN_TIMEOUT)
        except AmqpError as exc:
            todo = "check that it runs, and host, port, tls and ca_file in the secret; lessee retries it"
            what = f"RabbitMQ does not answer at {login.address} ({exc})"
            raise SystemUnavailableError(what, where=self._config.secret, todo=todo) from None
        if outcome is Outcome.NO_VHOST:
            todo = f"rabbitmqctl set_permissions -p {login.vhost} {login.username} …, or correct `vhost` in the secret"
            what = f"{login.username} can log in, but not use the virtual host {login.vhost}"
            raise SystemRefusedError(what, where=self._config.secret, todo=todo)
        return outcome is Outcome.ACCEPTED

    def revoke(self, case: Case) -> bool:
        """Its connections stay open until it is deleted."""
        self._api.begin()
        old = _username(case.current)
        if old and not is_name_of(old, self._config.user):
            todo = "revoke it: rabbitmqctl clear_password, or delete_user"
            log("warning", "old user not revoked", target=self._name, username=old, reason="not `user`", todo=todo)
        if not self._is_revocable(old, case):
            return self._keeps_name and bool(case.current.get("password"))
        if not self.traits.delete_delay:
            self._api.delete_user(old)
        elif (there := self._api.user(old)) is not None:
            self._api.set_password_hash(old, "", there)
        return True

    def delete(self, case: Case) -> None:
        self._api.begin()
        if self._is_revocable(old := _username(case.current), case):
            self._api.delete_user(old)

    def discard(self, case: Case) -> None:
        self._api.begin()
        user, password = _username(case.pending), case.secret.get("password")
        if self._is_revocable(user, case):
            self._api.delete_user(user)
        elif user == _username(case.secret) and password and password != case.pending.get("password"):
            # This process was suspended for long, and has just overwritten what others have published since.
            there = self._api.user(user)
            self._api.set_password_hash(user, _hash(str(password)), there or {})

    def _is_revocable(self, user: str, case: Case) -> bool:
        """Whether a user may be disabled and deleted: one of the target's own, and not the published one."""
        return is_name_of(user, self._config.user) and user != _username(case.secret)

    def _refuse_admin(self, fields: Fields) -> None:
        if self._admin.username in {self._config.user, _username(fields)}:
            todo = "give the apps, or the admin, a user of their own"
            raise self._refused("the admin's user is the one that is rotated", todo)

    def _refuse_foreign(self, like: Fields, case: Case) -> None:
        """Who may write the secret, and so name a user in it, must not get the permissions of another client's.

        Nor have it deleted. A name with a suffix may be that of another target, or of an operator's user: that of the
        last rotation is in the journal.
        """
        name = _username(case.current)
        is_own = name in {self._config.user, case.handle}
        if is_own or _is_hash_of(like, str(case.current.get("password") or "")):
            return
        todo = "correct the secret, or set this password: rabbitmqctl change_password"
        raise self._refused(f"the published user {name} is not of `user`, and has another password", todo)

    def _copy_permissions(self, source: str, user: str) -> None:
        """Give the user all permissions of the source."""
        for kind, keys in (("permissions", _PERMISSIONS), ("topic-permissions", _TOPIC_PERMISSIONS)):
            for vhost, found in self._api.permissions(source, kind):
                self._api.set_permissions(kind, vhost, user, {key: found.get(key, "") for key in keys})

    def _refused(self, what: str, todo: str) -> SystemRefusedError:
        return SystemRefusedError(what, where=self._config.admin_path, todo=todo)


class OwnBrokerUser(BrokerUsers):
    """The user changes its own password, with the login that has last worked. It needs the tag `administrator`."""

    def verify(self, fields: Fields) -> bool:
        works = super().verify(fields)
        if works:
            self._admin = self._admin_in(fields)
            self._api = _ManagementApi(self._admin, self._config.admin_path)
        return works

    def _admin_in(self, fields: Fields) -> RabbitmqAdmin:
        """The secret is the apps', for whom `url` may be another one."""
        if not fields.get("management_url"):
            todo = "write the URL of the management API there, such as http://rabbitmq:15672; or set `admin_secret`"
            raise LesseeError("the secret lacks management_url", where=self._config.secret, todo=todo)
        return super()._admin_in({**fields, "url": fields["management_url"]})

    def _refuse_admin(self, fields: Fields) -> None:
        """It is the admin."""


class _ManagementApi:
    """https://www.rabbitmq.com/docs/http-api-reference."""

    def __init__(self, admin: RabbitmqAdmin, where: str) -> None:
        self._admin, self._where, self._deadline = admin, where, 0.0
        pair = f"{admin.username}:{admin.password}".encode()
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Content-Type": "application/json",
        }

    def begin(self) -> None:
        """Start the timeout of a step."""
        self._deadline = time.monotonic() + _STEP_TIMEOUT - _LOGIN_TIMEOUT

    def user(self, name: str) -> Fields | None:
        """A user, or None."""
        found = self._ask("GET", f"users/{_part(name)}", missing_ok=True)
        if found is not None and not isinstance(found, dict):
            raise self._unexpected()
        return found

    def set_password_hash(self, name: str, hash_: str, like: Fields) -> None:
        """Create or change a user, with the tags of another; an empty hash lets no password log in."""
        tags = like.get("tags", "")
        body = {"password_hash": hash_, "hashing_algorithm": _ALGORITHM, "tags": tags}
        self._ask("PUT", f"users/{_part(name)}", body)

    def delete_user(self, name: str) -> None:
        """Delete a user, which closes its connections."""
        self._ask("DELETE", f"users/{_part(name)}", missing_ok=True)

    def permissions(self, user: str, kind: str) -> Iterator[tuple[str, Fields]]:
        """A user's `permissions` or `topic-permissions`, each with its virtual host."""
        found = self._ask("GET", f"users/{_part(user)}/{kind}")
        if not isinstance(found, list) or not all(isinstance(one, dict) and "vhost" in one for one in found):
            raise self._unexpected()
        return ((str(one["vhost"]), one) for one in found)

    def set_permissions(self, kind: str, vhost: str, user: str, body: Fields) -> None:
        self._ask("PUT", f"{kind}/{_part(vhost)}/{_part(user)}", body)

    def _ask(self, method: str, path: str, body: Fields | None = None, *, missing_ok: bool = False) -> Any:
        """The document in the response; None for 404 with `missing_ok`, or without a body."""
        # A process that was suspended for longer than its lock lasts sends nothing more.
        left = self._deadline - time.monotonic()
        if left <= 0:
            what = "RabbitMQ's management API takes too long"
            raise SystemUnavailableError(what, where=self._admin.url, todo="lessee retries it")
        try:
            response = http_client.request(
                method,
                f"{self._admin.url}/api/{path}",
                headers=self._headers,
                body=None if body is None else json.dumps(body).encode(),
                timeout=min(left, _REQUEST_TIMEOUT),
                body_limit=_BODY_LIMIT,
                ca_file=self._admin.ca_file or None,
            )
        except HttpError as exc:
            todo = "check that it runs with the plugin rabbitmq_management, and `url` and `ca_file` in the secret"
            what = f"RabbitMQ's management API does not answer at {self._admin.url}: {exc.reason}"
            raise SystemUnavailableError(what, where=self._where, todo=todo) from None
        if response.status == _MISSING and missing_ok:
            return None
        self._check(response.status, method, path)
        if not response.body:
            return None
        try:
            return json.loads(response.body)
        except (ValueError, RecursionError):
            raise self._unexpected() from None

    def _check(self, status: int, method: str, path: str) -> None:
        what = f"RabbitMQ's management API answers {method} {path.partition('/')[0]} with status {status}"
        if status in range(200, 300):
            return
        if status >= _SERVER or status == _TOO_MANY:
            raise SystemUnavailableError(what, where=self._where, todo="see its own log; lessee retries it")
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            todo = (
                "correct username and password there; the admin needs its tag: "
                f"rabbitmqctl set_user_tags {self._admin.username} administrator"
            )
        else:
            todo = "see RabbitMQ's own log"
        raise SystemRefusedError(what, where=self._where, todo=todo)

    def _unexpected(self) -> SystemUnavailableError:
        todo = "check `url` in the admin's secret; a proxy may answer instead of RabbitMQ"
        return SystemUnavailableError("the response is not from RabbitMQ", where=self._admin.url, todo=todo)


def _username(fields: Fields) -> str:
    return str(fields.get("username") or "")


def _part(name: str) -> str:
    """A name in a path; the virtual host `/` is %2F."""
    return quote(name, safe="")


def _is_hash_of(user: Fields, password: str) -> bool:
    """Whether it is the user's password, as far as lessee knows the kind of its hash."""
    algorithm = _ALGORITHMS.get(str(user.get("hashing_algorithm")))
    if algorithm is None:
        return False
    try:
        stored = base64.b64decode(str(user.get("password_hash")), validate=True)
    except ValueError:
        return False
    salt, digest = stored[:_SALT], stored[_SALT:]
    return compare_digest(digest, algorithm(salt + password.encode()).digest())


def _hash(password: str) -> str:
    salt = secrets.token_bytes(_SALT)
    return base64.b64encode(salt + sha256(salt + password.encode()).digest()).decode()
