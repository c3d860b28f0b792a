"""The access keys of an admin: with one key it creates the other, with which it later deletes the first."""

import time
from collections.abc import Mapping
from typing import Any

from lessee.ops.rotate.kinds import aws
from lessee.ops.rotate.kinds.kind import Case, NewCredential, SystemRefusedError
from lessee.ops.rotate.kinds.s3 import PERMISSIONS, AccessKeys
from lessee.ops.rotate.policy.journal import Fields

_PAUSE = 0.25


class AdminKeys(AccessKeys):
    """Each request is made with the published key, so that each key proves itself before the other is disabled."""

    def list_credentials(self, case: Case) -> tuple[str, ...]:
        self._use(case.secret)
        return super().list_credentials(case)

    def create(self, case: Case) -> NewCredential:
        self._use(case.secret)
        return super().create(case)

    def verify(self, fields: Fields) -> bool:
        """Whether the key may list the admin's keys, as the next rotation does.

        Raises SystemRefusedError where the key is known, and may not: another key of the same user would not help.
        """
        client, _ = self._connect(fields)
        deadline = time.monotonic() + self.propagation_timeout
        try:
            while True:
                code, _ = aws.call(client, "list_access_keys", UserName=self._user)
                if code not in aws.UNKNOWN_KEY:
                    break
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_PAUSE)
        finally:
            client.close()
        if code:
            todo = f"grant it {PERMISSIONS} on itself"
            what = f"the admin {self._user} may not list its keys ({code})"
            raise SystemRefusedError(what, where=self._where, todo=todo)
        return True

    def revoke(self, case: Case) -> bool:
        self._use(case.secret)
        return super().revoke(case)

    def delete(self, case: Case) -> None:
        self._use(case.secret)
        super().delete(case)

    def discard(self, case: Case) -> None:
        self._use(case.secret)
        super().discard(case)

    def _use(self, published: Mapping[str, Any]) -> None:
        """Make the next requests with this key."""
        if aws.access_key(published) != self._admin:
            self._client.close()
            self._client, self._admin = self._connect(published)
