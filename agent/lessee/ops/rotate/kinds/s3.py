"""Access keys of a user, by the IAM API of AWS: the user gets a second key, and later loses the first."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from lessee.config.grammar import rotation as grammar
from lessee.core.credentials import S3Login
from lessee.core.immutable import replace
from lessee.ops.rotate.kinds import aws
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

_MAX_KEYS = 2
"""Access keys of a user of AWS, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""
_MISSING = {"NoSuchEntity", "NoSuchEntityException"}
_FULL = {"LimitExceeded", "LimitExceededException"}
_UNKNOWN = {"InvalidAction", "MethodNotAllowed", "NotImplemented"}
PERMISSIONS = "iam:ListAccessKeys, iam:CreateAccessKey, iam:UpdateAccessKey and iam:DeleteAccessKey"


class AccessKeys(KindDefaults):
    """One user's access keys. The published one and the admin's are never deleted or disabled."""

    propagation_timeout: ClassVar[float] = 8.0
    """Seconds that AWS may take until all its servers know a new key."""

    def __init__(self, config: grammar.S3 | grammar.S3Admin, context: KindContext) -> None:
        self._user, self._where = config.user, f"rotation.{context.name}"
        self.traits = Traits(
            system_generated=True,
            delete_delay=config.delete_delay,
            timeout=self.propagation_timeout + 3 * aws.REQUEST_TIMEOUT,
        )
        self._admin_secret = config.admin_secret
        self._client, self._admin = self._connect(context.admin)

    def list_credentials(self, case: Case) -> tuple[str, ...]:
        keys, published = self._keys(), aws.access_key(case.secret)
        if len(keys) >= _MAX_KEYS and not case.retried:
            others = ", ".join(f"{aws.short(key)} ({status})" for key, status in keys.items() if key != published)
            todo = "delete a key that is not used; lessee deletes only keys that it has created"
            what = f"the user {self._user} has {len(keys)} of {_MAX_KEYS} keys; not in the secret: {others}"
            raise SystemRefusedError(what, where=self._where, todo=todo)
        if published not in keys and not case.retried:
            log("warning", "published key not revocable", user=self._user, reason="it is not a key of this user")
        return tuple(keys)

    def create(self, case: Case) -> NewCredential:
        for key in case.leftovers:
            if aws.is_revocable(key, case, self._admin) and key != aws.access_key(case.current):
                self._delete(key)
                log("info", "key of an interrupted attempt deleted", key=aws.short(key))
        code, answer = aws.call(self._client, "create_access_key", UserName=self._user)
        if code in _FULL:
            todo = "delete a key that is not used"
            what = f"the user {self._user} has the maximum number of keys ({code})"
            raise SystemRefusedError(what, where=self._where, todo=todo)
        self._check(code, "cannot create a key")
        made = answer.get("AccessKey", {})
        fields = {"access_key": made.get("AccessKeyId"), "secret_key": made.get("SecretAccessKey")}
        if not all(fields.values()):
            raise SystemUnavailableError(
                "the response is not from IAM: it has no key", where=self._where, todo="correct the admin's endpoint"
            )
        return NewCredential(fields)

    def apply(self, case: Case) -> None:
        """The system has created it."""

    def verify(self, fields: Fields) -> bool:
        return aws.accepts_key(f"{self._where}: its secret", fields, self.propagation_timeout)

    def revoke(self, case: Case) -> bool:
        key = aws.key_to_revoke(case)
        if not aws.is_revocable(key, case, self._admin):
            return False
        if not self.traits.delete_delay:
            self._delete(key)
            return True
        code, _ = aws.call(self._client, "update_access_key", UserName=self._user, AccessKeyId=key, Status="Inactive")
        if code in _UNKNOWN:
            note = "this IAM cannot disable keys; the key stays valid until it is deleted"
            log("warning", "old key not disabled", key=aws.short(key), note=note)
        elif code not in _MISSING:
            self._check(code, f"cannot disable the old key {aws.short(key)}")
        return True

    def delete(self, case: Case) -> None:
        if aws.is_revocable(key := aws.access_key(case.current), case, self._admin):
            self._delete(key)

    def discard(self, case: Case) -> None:
        if aws.is_revocable(key := aws.access_key(case.pending), case, self._admin):
            self._delete(key)

    def close(self) -> None:
        self._client.close()

    def _connect(self, admin: Fields) -> tuple[Any, str]:
        """A client of IAM, and the id of the key that it uses."""
        login = _iam(self._admin_secret, admin)
        # The IAM of AWS is global, and uses the first region for signatures.
        region = aws.REGION if login.host.endswith(".amazonaws.com") else aws.region_of(admin)
        return aws.client("iam", login, region), login.access_key

    def _keys(self) -> Mapping[str, str]:
        """The status of each of the user's keys."""
        found: dict[str, str] = {}
        page: dict[str, str] = {}
        while True:
            code, answer = aws.call(self._client, "list_access_keys", UserName=self._user, **page)
            self._check(code, "cannot list its keys")
            found |= {key["AccessKeyId"]: str(key.get("Status")) for key in _listed(answer)}
            if not answer.get("IsTruncated"):
                return found
            page = {"Marker": answer["Marker"]}

    def _delete(self, key: str) -> None:
        code, _ = aws.call(self._client, "delete_access_key", UserName=self._user, AccessKeyId=key)
        if code not in _MISSING:
            self._check(code, f"cannot delete the key {aws.short(key)}")

    def _check(self, code: str, what: str) -> None:
        if code in _MISSING:
            todo = "create it, or correct `user`"
            raise SystemRefusedError(f"the user {self._user} does not exist", where=self._where, todo=todo)
        if code:
            todo = f"grant the admin {PERMISSIONS} on it"
            raise SystemRefusedError(f"user {self._user}: {what} ({code})", where=self._where, todo=todo)


def _listed(answer: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return answer.get("AccessKeyMetadata") or ()


def _iam(path: str, admin: Fields) -> S3Login:
    login = aws.administrator(path, admin, "iam_endpoint")
    if admin.get("iam_endpoint") or not login.host.endswith(".amazonaws.com"):
        return login
    return replace(login, url="https://iam.amazonaws.com", host="iam.amazonaws.com", port=443)
