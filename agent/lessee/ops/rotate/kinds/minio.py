"""Service accounts of MinIO, by its admin API: a second one with the rights of the first, which then goes."""

import io
import json
import secrets
import string
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from lessee.config.grammar import rotation as grammar
from lessee.core.credentials import S3Login
from lessee.ops.rotate.kinds import aws, library
from lessee.ops.rotate.kinds.kind import Case, Made, Setting, SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.ops.setup.policy.initial_values import ALPHABET
from lessee.telemetry.logs import log

_PREFIX = "/minio/admin/v3/"
_ACCESS_KEY, _SECRET_KEY = 20, 40
"""Characters, as many as MinIO makes itself, and as it takes at most."""
_OK, _DENIED, _MISSING, _MANY, _SERVER = range(200, 300), 403, 404, 429, 500
_SILENT = {"POST", "DELETE"}
"""Where MinIO answers with a status alone."""
_RIGHTS = "admin:CreateServiceAccount, UpdateServiceAccount, ListServiceAccounts and RemoveServiceAccount"


class ServiceAccounts:
    """Accounts below one user. What stands in the secret is never deleted or disabled, nor is what the admin uses."""

    patience: ClassVar[float] = 3.0
    """Seconds for which a refused key is tried again, until all servers of a cluster know it."""

    def __init__(self, said: grammar.Minio, setting: Setting) -> None:
        self.traits = Traits(keep=said.keep, patience=self.patience + 3 * aws.LONGEST)
        self._said, self._where = said, f"rotation.{setting.name}"
        self._login = aws.administrator(said.admin, setting.admin, "endpoint")
        self._door = _AdminApi(self._login, aws.region_of(setting.admin))
        self._has_applied = False

    def look(self, case: Case) -> tuple[str, ...]:
        del case
        return ()

    def create(self, case: Case) -> Made:
        del case
        name = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(_ACCESS_KEY))
        return Made({"access_key": name, "secret_key": "".join(secrets.choice(ALPHABET) for _ in range(_SECRET_KEY))})

    def apply(self, case: Case) -> None:
        """With the parent and the rights that the old one has, so that nobody may more than before."""
        self._has_applied = True
        key, secret = str(case.pending["access_key"]), str(case.pending["secret_key"])
        if self._info(key) is not None:
            self._change(key, {"newSecretKey": secret, "newStatus": "on"})
            return
        old = self._info(aws.access_key(case.current)) or {}
        parent = self._said.user or old.get("parentUser")
        if not parent:
            todo = "write one into the secret, or say `user`: whose rights the new one shall have"
            raise SystemRefusedError("the published key is no service account of MinIO", where=self._where, todo=todo)
        if not old:
            log("warning", "the published key is no service account, and stays as it is", user=parent)
        like_old = {name: old[name] for name in ("name", "description") if old.get(name)}
        if old and old.get("impliedPolicy") is not True:
            like_old["policy"] = _policy(old.get("policy"), self._where)
        said = {"targetUser": parent, "accessKey": key, "secretKey": secret, **like_old}
        status, code, _ = self._door.ask("PUT", "add-service-account", said=said)
        self._check(status, code, "a service account cannot be made")

    def prove(self, fields: Fields) -> bool:
        # What this process has told nobody of need not be waited for: it is told again.
        patience = self.patience if self._has_applied else 0.0
        return aws.lets_in(f"{self._where}: its secret", fields, patience)

    def retire(self, case: Case) -> None:
        key = aws.to_retire(case)
        if not aws.may_go(key, case, self._login.access_key):
            return
        if self.traits.keep:
            self._change(key, {"newStatus": "off"}, gone=True)
        else:
            self._delete(key)

    def remove(self, case: Case) -> None:
        if aws.may_go(key := aws.access_key(case.current), case, self._login.access_key):
            self._delete(key)

    def discard(self, case: Case) -> None:
        if aws.may_go(key := aws.access_key(case.pending), case, self._login.access_key):
            self._delete(key)

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        self._door.close()

    def _info(self, key: str) -> Fields | None:
        status, code, answer = self._door.ask("GET", "info-service-account", key)
        if status == _MISSING:
            return None
        self._check(status, code, f"{aws.short(key)} cannot be looked at")
        return self._door.read(answer)

    def _change(self, key: str, said: Fields, *, gone: bool = False) -> None:
        status, code, _ = self._door.ask("POST", "update-service-account", key, said=said)
        if not (gone and status == _MISSING):
            self._check(status, code, f"{aws.short(key)} cannot be changed")

    def _delete(self, key: str) -> None:
        status, code, _ = self._door.ask("DELETE", "delete-service-account", key)
        if status != _MISSING:
            self._check(status, code, f"{aws.short(key)} cannot be deleted")

    def _check(self, status: int, code: str, what: str) -> None:
        if status not in _OK:
            todo = f"grant the admin {_RIGHTS}" if status == _DENIED else "see MinIO's own log"
            raise SystemRefusedError(f"{what} ({code})", where=self._where, todo=todo)


class _AdminApi:
    """MinIO's admin API: requests signed as those of S3 are, bodies enciphered with the admin's secret key."""

    def __init__(self, login: S3Login, region: str) -> None:
        self._login = login
        self._crypto = library("minio.crypto")
        self._auth = library("botocore.auth").S3SigV4Auth(
            library("botocore.credentials").Credentials(login.access_key, login.secret_key), "s3", region
        )
        self._session = library("botocore.httpsession").URLLib3Session(
            verify=login.ca_file or True, timeout=aws.TIMEOUTS
        )

    def ask(self, method: str, command: str, key: str = "", *, said: Fields | None = None) -> tuple[int, str, bytes]:
        """The status, the code of a refusal, and the answer, still enciphered. Raises SystemUnavailableError."""
        body = b"" if said is None else self._crypto.encrypt(json.dumps(said).encode(), self._login.secret_key)
        request = library("botocore.awsrequest").AWSRequest(
            method, f"{self._login.url}{_PREFIX}{command}", data=body, params={"accessKey": key} if key else {}
        )
        self._auth.add_auth(request)
        try:
            answer = self._session.send(request.prepare())
        except library("botocore.exceptions").BotoCoreError as exc:
            todo = "is it up, and are endpoint, secure and ca_file in the admin's secret right?"
            raise SystemUnavailableError(
                f"no answer ({type(exc).__name__})", where=self._login.url, todo=todo
            ) from None
        status = int(answer.status_code)
        if status in _OK:
            if answer.content and method in _SILENT:
                raise _stranger(self._login.url)
            return status, "", bytes(answer.content)
        code = _code(answer.content) or f"HTTP {status}"
        if status >= _SERVER or status == _MANY:
            raise SystemUnavailableError(f"it cannot serve now ({code})", where=self._login.url, todo="see its own log")
        return status, code, b""

    def read(self, content: bytes) -> Fields:
        """What an answer says; 0.1 s of computing. Raises SystemUnavailableError."""
        try:
            found = json.loads(self._crypto.decrypt(_Body(content), self._login.secret_key))
        except (ValueError, OSError):
            found = None
        if not isinstance(found, dict):
            raise _stranger(self._login.url)
        return found

    def close(self) -> None:
        self._session.close()


class _Body(io.BytesIO):
    """Bytes as the library reads them off a connection."""

    def release_conn(self) -> None:
        """There is none any more."""


def _stranger(where: str) -> SystemUnavailableError:
    todo = "does MinIO listen at the admin's endpoint, or something that stands before it?"
    return SystemUnavailableError("what answers is no MinIO", where=where, todo=todo)


def _policy(text: Any, where: str) -> Any:
    """Raises SystemUnavailableError where it is none: without it an account could do all that its user can."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        raise _stranger(where) from None


def _code(content: bytes) -> str:
    try:
        found: Any = json.loads(content)
    except ValueError:
        return ""
    code = found.get("Code") if isinstance(found, dict) else None
    return code if isinstance(code, str) else ""
