"""Service accounts of MinIO, by its admin API: a second one with the policy of the first, which is then deleted."""

import io
import json
import secrets
import string
from typing import Any, ClassVar

from lessee.config.grammar import rotation as grammar
from lessee.core.credentials import S3Login
from lessee.core.immutable import replace
from lessee.host.answer_limits import broken_limit
from lessee.host.aws_client import limited_session
from lessee.ops.rotate.kinds import aws, library, new_password
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

_PREFIX = "/minio/admin/v3/"
_ACCESS_KEY_LENGTH, _SECRET_KEY_LENGTH = 20, 40
"""Characters: as many as MinIO generates itself, and the most that it accepts."""
_OK, _DENIED, _MISSING, _MANY, _SERVER = range(200, 300), 403, 404, 429, 500
_WITHOUT_BODY = {"POST", "DELETE"}
"""The methods that MinIO answers without a body."""
_PERMISSIONS = "admin:CreateServiceAccount, UpdateServiceAccount, ListServiceAccounts and RemoveServiceAccount"


class ServiceAccounts(KindDefaults):
    """One user's service accounts. The published one and the admin's are never deleted or disabled."""

    propagation_timeout: ClassVar[float] = 3.0
    """Seconds that a cluster may take until all its servers know a new key."""

    def __init__(self, config: grammar.Minio, context: KindContext) -> None:
        self.traits = Traits(
            delete_delay=config.delete_delay, timeout=self.propagation_timeout + 3 * aws.REQUEST_TIMEOUT
        )
        self._config, self._where = config, f"rotation.{context.name}"
        self._login = aws.administrator(config.admin_secret, context.admin, "endpoint")
        self._region = aws.region_of(context.admin)
        self._api = _AdminApi(self._login, self._region)
        self._has_applied = False

    def create(self, case: Case) -> NewCredential:
        del case
        name = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(_ACCESS_KEY_LENGTH))
        secret = new_password(_SECRET_KEY_LENGTH)
        return NewCredential({"access_key": name, "secret_key": secret}, handle=name)

    def apply(self, case: Case) -> None:
        """Create it with the parent and the policy of the old one, so that it has no other permissions."""
        self._has_applied = True
        key, secret = str(case.pending["access_key"]), str(case.pending["secret_key"])
        if self._info(key) is not None:
            self._change(key, {"newSecretKey": secret, "newStatus": "on"})
            return
        old = self._published(case)
        parent = self._config.user or old.get("parentUser")
        if not parent:
            todo = "write a service account's key into the secret, or set `user`"
            raise SystemRefusedError(
                "the published key is not a service account of MinIO", where=self._where, todo=todo
            )
        if not old:
            log("warning", "published key not revocable", user=parent, reason="it is not a service account")
        like_old = {name: old[name] for name in ("name", "description") if old.get(name)}
        if old and old.get("impliedPolicy") is not True:
            like_old["policy"] = _policy(old.get("policy"), self._where)
        account = {"targetUser": parent, "accessKey": key, "secretKey": secret, **like_old}
        status, code, _ = self._api.ask("PUT", "add-service-account", body=account)
        self._check(status, code, "cannot create a service account")

    def verify(self, fields: Fields) -> bool:
        # A key that this process has not created yet needs no time to propagate.
        timeout = self.propagation_timeout if self._has_applied else 0.0
        return aws.accepts_key(f"{self._where}: its secret", fields, timeout)

    def revoke(self, case: Case) -> bool:
        key = aws.key_to_revoke(case)
        if not aws.is_revocable(key, case, self._login.access_key):
            return False
        if self.traits.delete_delay:
            self._change(key, {"newStatus": "off"}, missing_ok=True)
        else:
            self._delete(key)
        return True

    def delete(self, case: Case) -> None:
        if aws.is_revocable(key := aws.access_key(case.current), case, self._login.access_key):
            self._delete(key)

    def discard(self, case: Case) -> None:
        if aws.is_revocable(key := aws.access_key(case.pending), case, self._login.access_key):
            self._delete(key)

    def close(self) -> None:
        self._api.close()

    def _published(self, case: Case) -> Fields:
        """The account whose parent and policy the new one gets; empty where no account exists.

        Raises SystemRefusedError where neither the last rotation has published it nor the secret has its secret key:
        who may write the secret, and so name an account in it, must not get the permissions of another client's.
        """
        key = aws.access_key(case.current)
        found = self._info(key)
        if found is None:
            return (self._info(case.handle) if case.handle else None) or {}
        if key == case.handle:
            return found
        login = replace(self._login, access_key=key, secret_key=str(case.current.get("secret_key") or ""))
        if not login.secret_key or not aws.is_known(login, self._region):
            todo = "correct access_key and secret_key there"
            what = f"MinIO rejects the published key {aws.short(key)}, which lessee has not created"
            raise SystemRefusedError(what, where=self._where, todo=todo)
        return found

    def _info(self, key: str) -> Fields | None:
        status, code, answer = self._api.ask("GET", "info-service-account", key)
        if status == _MISSING:
            return None
        self._check(status, code, f"cannot read {aws.short(key)}")
        return self._api.read(answer)

    def _change(self, key: str, changes: Fields, *, missing_ok: bool = False) -> None:
        status, code, _ = self._api.ask("POST", "update-service-account", key, body=changes)
        if not (missing_ok and status == _MISSING):
            self._check(status, code, f"cannot change {aws.short(key)}")

    def _delete(self, key: str) -> None:
        status, code, _ = self._api.ask("DELETE", "delete-service-account", key)
        if status != _MISSING:
            self._check(status, code, f"cannot delete {aws.short(key)}")

    def _check(self, status: int, code: str, what: str) -> None:
        if status not in _OK:
            todo = f"grant the admin {_PERMISSIONS}" if status == _DENIED else "see MinIO's own log"
            raise SystemRefusedError(f"{what} ({code})", where=self._where, todo=todo)


class _AdminApi:
    """MinIO's admin API: requests are signed as those of S3, bodies are encrypted with the admin's secret key."""

    def __init__(self, login: S3Login, region: str) -> None:
        self._login = login
        self._crypto = library("minio.crypto")
        self._auth = library("botocore.auth").S3SigV4Auth(
            library("botocore.credentials").Credentials(login.access_key, login.secret_key), "s3", region
        )
        self._session = limited_session(
            verify=login.ca_file or True, seconds=aws.REQUEST_TIMEOUT, timeouts=aws.TIMEOUTS, extra="rotate"
        )

    def ask(self, method: str, command: str, key: str = "", *, body: Fields | None = None) -> tuple[int, str, bytes]:
        """The status, an error code, and the response, still encrypted. Raises SystemUnavailableError."""
        data = b"" if body is None else self._crypto.encrypt(json.dumps(body).encode(), self._login.secret_key)
        request = library("botocore.awsrequest").AWSRequest(
            method, f"{self._login.url}{_PREFIX}{command}", data=data, params={"accessKey": key} if key else {}
        )
        self._auth.add_auth(request)
        try:
            answer = self._session.send(request.prepare())
        except library("botocore.exceptions").BotoCoreError as exc:
            todo = "check that it runs, and `endpoint`, `secure` and `ca_file` in the admin's secret"
            raise SystemUnavailableError(
                f"no response ({broken_limit(exc) or type(exc).__name__})", where=self._login.url, todo=todo
            ) from None
        status = int(answer.status_code)
        if status in _OK:
            if answer.content and method in _WITHOUT_BODY:
                raise _not_minio(self._login.url)
            return status, "", bytes(answer.content)
        code = _code(answer.content) or f"HTTP {status}"
        if status >= _SERVER or status == _MANY:
            raise SystemUnavailableError(
                f"temporarily unavailable ({code})", where=self._login.url, todo="see its own log"
            )
        return status, code, b""

    def read(self, content: bytes) -> Fields:
        """The decrypted response, which takes 0.1 s. Raises SystemUnavailableError."""
        try:
            found = json.loads(self._crypto.decrypt(_Body(content), self._login.secret_key))
        except (ValueError, OSError):
            found = None
        if not isinstance(found, dict):
            raise _not_minio(self._login.url)
        return found

    def close(self) -> None:
        self._session.close()


class _Body(io.BytesIO):
    """Bytes with the interface of a connection that the library expects."""

    def release_conn(self) -> None:
        """There is no connection."""


def _not_minio(where: str) -> SystemUnavailableError:
    todo = "check `endpoint` in the admin's secret; a proxy may answer instead of MinIO"
    return SystemUnavailableError("the response is not from MinIO", where=where, todo=todo)


def _policy(text: Any, where: str) -> Any:
    """The policy in a response. Raises SystemUnavailableError where it is not one.

    Without a policy, an account would have all permissions of its user.
    """
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise _not_minio(where) from None


def _code(content: bytes) -> str:
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    code = found.get("Code") if isinstance(found, dict) else None
    return code if isinstance(code, str) else ""
