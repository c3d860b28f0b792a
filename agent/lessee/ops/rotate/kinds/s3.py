"""Access keys of a user, by the IAM API of AWS: a second is made, and the first goes when all have the second."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from lessee.config.grammar import rotation as grammar
from lessee.core.credentials import S3Login
from lessee.core.immutable import replace
from lessee.ops.rotate.kinds import aws
from lessee.ops.rotate.kinds.kind import Case, Made, Setting, SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log

_ROOM = 2
"""Keys that a user of AWS may have, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""
_GONE = {"NoSuchEntity", "NoSuchEntityException"}
_FULL = {"LimitExceeded", "LimitExceededException"}
_UNKNOWN = {"InvalidAction", "MethodNotAllowed", "NotImplemented"}
_RIGHTS = "iam:ListAccessKeys, iam:CreateAccessKey, iam:UpdateAccessKey and iam:DeleteAccessKey"


class AccessKeys:
    """A user's keys. What stands in the secret is never deleted or disabled, nor is what the admin uses."""

    patience: ClassVar[float] = 8.0
    """Seconds for which a refused key is tried again."""

    def __init__(self, said: grammar.S3, setting: Setting) -> None:
        self._user, self._where = said.user, f"rotation.{setting.name}"
        self.traits = Traits(made_by_system=True, keep=said.keep, patience=self.patience + 3 * aws.LONGEST)
        login = _iam(said.admin, setting.admin)
        self._admin = login.access_key
        # The one IAM of all regions of AWS signs for the first.
        region = aws.REGION if login.host.endswith(".amazonaws.com") else aws.region_of(setting.admin)
        self._client = aws.client("iam", login, region)

    def look(self, case: Case) -> tuple[str, ...]:
        keys, published = self._keys(), aws.access_key(case.secret)
        if len(keys) >= _ROOM and not case.retried:
            others = ", ".join(f"{aws.short(key)} ({status})" for key, status in keys.items() if key != published)
            todo = "if nobody uses it, delete it by hand: lessee deletes no key that it has not made"
            what = f"the user {self._user} has {len(keys)} keys, of which the secret has not {others}"
            raise SystemRefusedError(f"{what}; there is room for {_ROOM}", where=self._where, todo=todo)
        if published not in keys and not case.retried:
            log("warning", "the published key is none of this user's, and stays as it is", user=self._user)
        return tuple(keys)

    def create(self, case: Case) -> Made:
        for key in case.left:
            if aws.may_go(key, case, self._admin) and key != aws.access_key(case.current):
                self._delete(key)
                log("info", "key of an interrupted try deleted", key=aws.short(key))
        code, answer = aws.ask(self._client, "create_access_key", UserName=self._user)
        if code in _FULL:
            todo = "delete the one by hand that nobody uses"
            what = f"the user {self._user} has as many keys as it may ({code})"
            raise SystemRefusedError(what, where=self._where, todo=todo)
        self._check(code, "a key cannot be made")
        made = answer.get("AccessKey", {})
        fields = {"access_key": made.get("AccessKeyId"), "secret_key": made.get("SecretAccessKey")}
        if not all(fields.values()):
            raise SystemUnavailableError(
                "what answers is no IAM: it made no key", where=self._where, todo="mend the admin's endpoint"
            )
        return Made(fields)

    def apply(self, case: Case) -> None:
        """What the system has made, it knows."""

    def prove(self, fields: Fields) -> bool:
        return aws.lets_in(f"{self._where}: its secret", fields, self.patience)

    def retire(self, case: Case) -> None:
        key = aws.to_retire(case)
        if not aws.may_go(key, case, self._admin):
            return
        if not self.traits.keep:
            self._delete(key)
            return
        said = {"UserName": self._user, "AccessKeyId": key, "Status": "Inactive"}
        code, _ = aws.ask(self._client, "update_access_key", **said)
        if code in _UNKNOWN:
            log("warning", "this IAM disables no keys: the old one stays valid until it is deleted", key=aws.short(key))
        elif code not in _GONE:
            self._check(code, f"the old key {aws.short(key)} cannot be disabled")

    def remove(self, case: Case) -> None:
        if aws.may_go(key := aws.access_key(case.current), case, self._admin):
            self._delete(key)

    def discard(self, case: Case) -> None:
        if aws.may_go(key := aws.access_key(case.pending), case, self._admin):
            self._delete(key)

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        self._client.close()

    def _keys(self) -> Mapping[str, str]:
        """The user's keys with their status."""
        found: dict[str, str] = {}
        said: dict[str, str] = {}
        while True:
            code, answer = aws.ask(self._client, "list_access_keys", UserName=self._user, **said)
            self._check(code, "its keys cannot be listed")
            found |= {key["AccessKeyId"]: str(key.get("Status")) for key in _listed(answer)}
            if not answer.get("IsTruncated"):
                return found
            said = {"Marker": answer["Marker"]}

    def _delete(self, key: str) -> None:
        code, _ = aws.ask(self._client, "delete_access_key", UserName=self._user, AccessKeyId=key)
        if code not in _GONE:
            self._check(code, f"the key {aws.short(key)} cannot be deleted")

    def _check(self, code: str, what: str) -> None:
        if code in _GONE:
            todo = "make it, or mend `user`"
            raise SystemRefusedError(f"there is no user {self._user}", where=self._where, todo=todo)
        if code:
            todo = f"grant the admin {_RIGHTS} on it"
            raise SystemRefusedError(f"user {self._user}: {what} ({code})", where=self._where, todo=todo)


def _listed(answer: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return answer.get("AccessKeyMetadata") or ()


def _iam(path: str, admin: Fields) -> S3Login:
    login = aws.administrator(path, admin, "iam_endpoint")
    if admin.get("iam_endpoint") or not login.host.endswith(".amazonaws.com"):
        return login
    return replace(login, url="https://iam.amazonaws.com", host="iam.amazonaws.com", port=443)
