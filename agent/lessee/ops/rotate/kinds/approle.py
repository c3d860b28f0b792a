"""The secret_id of an AppRole: Vault makes it, and shows it once."""

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from lessee.config.grammar.rotation import InVault as Said
from lessee.core.errors import LesseeError
from lessee.core.failures import Kind
from lessee.ops.rotate.kinds.kind import Case, Made, Setting, SystemRefusedError
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log
from lessee.vault.admin import request_error
from lessee.vault.engines import leases
from lessee.vault.transport import RequestFailedError

_MARK = "lessee_rotation"
"""The key of a secret_id's metadata under which the rotation's id stands."""
_PATIENCE = 30.0
"""Three of the door's times to read: what is made or removed at once is made of as many requests."""
_REFUSED = frozenset({Kind.INVALID, Kind.DENIED})

Values = Callable[[Fields], Iterable[tuple[str, Any]]]


class SecretIds:
    """An AppRole's secret_ids, of which each is known to Vault by its accessor."""

    traits = Traits(made_by_system=True, patience=_PATIENCE)

    def __init__(self, said: Said, setting: Setting, values: Values) -> None:
        """`values`: what else changes in the secret with it."""
        self._said, self._target, self._vault, self._values = said, setting.name, setting.vault, values
        self._role = f"auth/{said.mount}/role/{said.approle}"
        self._login = f"auth/{said.mount}/login"

    def look(self, case: Case) -> tuple[str, ...]:
        """Accessors; there may be more of them, since others may make secret_ids of this role too."""
        self._check(is_new=not case.retried)
        return self._vault.list(f"{self._role}/secret-id")

    def create(self, case: Case) -> Made:
        for accessor in case.left:
            if self._rotation_of(accessor) == case.id:  # And so nobody knows it.
                self._destroy(accessor)
        role_id = (self._vault.read(f"{self._role}/role-id") or {})["role_id"]
        mark = json.dumps({_MARK: case.id, "lessee_target": self._target})
        made = self._vault.write(f"{self._role}/secret-id", {"metadata": mark}).data
        fields = {"role_id": role_id, "secret_id": made["secret_id"], **dict(self._values(case.secret))}
        return Made(fields, handle=str(made["secret_id_accessor"]))

    def apply(self, case: Case) -> None:
        """Vault knows what it has made."""

    def prove(self, fields: Fields) -> bool:
        """A real login, whose token is revoked at once."""
        body = {key: str(fields.get(key, "")) for key in ("role_id", "secret_id")}
        transport = self._vault.transport
        try:
            answer = transport.ask("POST", self._login, token=None, body=body)
        except RequestFailedError as exc:
            if exc.failure.kind in _REFUSED:
                return False
            raise request_error(exc.failure, self._login) from None
        with suppress(RequestFailedError):  # A batch token cannot be, and each ends by itself.
            leases.revoke_token(transport, str(answer.auth["client_token"]))
        return True

    def retire(self, case: Case) -> None:
        """Destroy what was published before; what people and other machines log in with stays."""
        published = self._accessor_of(case.secret)
        for accessor in {self._accessor_of(case.current), case.handle} - {"", published, self._kept(case)}:
            self._destroy(accessor)

    def remove(self, case: Case) -> None:
        """None is kept."""

    def discard(self, case: Case) -> None:
        if case.pending_handle not in {"", self._kept(case), self._accessor_of(case.secret)}:
            self._destroy(case.pending_handle)

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """The door is the operator's."""

    def _check(self, *, is_new: bool) -> None:
        """Raises SystemRefusedError where a new secret_id would be of no use."""
        role = self._vault.read(self._role)
        if role is None:
            todo = f"make it: bao write {self._role} token_policies=…, or mend `approle:` and `mount:`"
            raise SystemRefusedError("there is no such AppRole", where=self._role, todo=todo)
        if not role.get("bind_secret_id", True):
            todo = "set bind_secret_id=true; now who knows its role_id is let in"
            raise SystemRefusedError("a login of this role takes no secret_id", where=self._role, todo=todo)
        uses, ttl = role.get("secret_id_num_uses") or 0, role.get("secret_id_ttl") or 0
        if uses == 1:
            todo = "set secret_id_num_uses=0, or at least 2"
            raise SystemRefusedError(
                "a secret_id is good for one login, which the proof takes", where=self._role, todo=todo
            )
        if uses and is_new:
            log("warning", "each proof takes one of a secret_id's logins", target=self._target, logins=uses)
        if is_new and ttl and self._said.every and ttl <= self._said.every:
            todo = "make secret_id_ttl longer than `every` and what a rotation takes"
            log("warning", "a secret_id ends before the next one comes", target=self._target, ttl=ttl, todo=todo)

    @staticmethod
    def _kept(case: Case) -> str:
        """The accessor of what is published, as far as it is the pending one."""
        pending = case.pending.get("secret_id")
        return case.pending_handle if pending and pending == case.secret.get("secret_id") else ""

    def _accessor_of(self, fields: Fields) -> str:
        """Empty where Vault knows none."""
        secret_id = fields.get("secret_id")
        if not isinstance(secret_id, str) or not secret_id:
            return ""
        found = self._vault.write(f"{self._role}/secret-id/lookup", {"secret_id": secret_id}).data
        return str(found.get("secret_id_accessor") or "")

    def _rotation_of(self, accessor: str) -> str:
        found = self._about(accessor)
        return str((found.get("metadata") or {}).get(_MARK) or "")

    def _about(self, accessor: str) -> Fields:
        """What Vault knows of a secret_id; nothing of one that is gone."""
        path = f"{self._role}/secret-id-accessor/lookup"
        vault = self._vault
        try:
            return vault.transport.ask("POST", path, token=vault.token, body={"secret_id_accessor": accessor}).data
        except RequestFailedError as exc:
            if exc.failure.kind is Kind.MISSING:
                return {}
            raise request_error(exc.failure, path) from None

    def _destroy(self, accessor: str) -> None:
        # What is gone cannot be destroyed: Vault then answers 500.
        if self._about(accessor):
            try:
                self._vault.write(f"{self._role}/secret-id-accessor/destroy", {"secret_id_accessor": accessor})
            except LesseeError:
                if self._about(accessor):  # Else somebody else was faster.
                    raise
