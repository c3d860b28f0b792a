"""The secret_id of an AppRole, which Vault creates and returns only once."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from lessee.config.grammar.rotation import SecretIdFile, VaultValues
from lessee.core.errors import LesseeError, VaultRequestError
from lessee.core.failures import Kind
from lessee.ops.rotate.kinds.kind import Case, KindContext, KindDefaults, NewCredential, SystemRefusedError
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log
from lessee.vault.admin import unless_missing

_MARK = "lessee_rotation"
"""The key in a secret_id's metadata that holds the rotation's id."""
_TIMEOUT = 30.0
"""Seconds: three read timeouts of the transport, for an operation takes up to three requests."""
_REFUSED = frozenset({Kind.INVALID, Kind.DENIED})

Values = Callable[[Fields], Iterable[tuple[str, Any]]]


class SecretIds(KindDefaults):
    """An AppRole's secret_ids, which Vault identifies by their accessors."""

    traits = Traits(system_generated=True, timeout=_TIMEOUT)

    def __init__(self, config: VaultValues | SecretIdFile, context: KindContext, values: Values) -> None:
        """`values`: what else changes in the secret at the same time."""
        self._config, self._target, self._vault, self._values = config, context.name, context.vault, values
        self._role = f"auth/{config.mount}/role/{config.approle}"
        self._name = {"role_name": config.approle, "mount_point": config.mount}

    def list_credentials(self, case: Case) -> tuple[str, ...]:
        """Accessors, also of secret_ids that others have created."""
        self._check(is_new=not case.retried)
        found = unless_missing(lambda: self._approle.list_secret_id_accessors(**self._name))
        return tuple(found["data"]["keys"]) if found else ()

    def create(self, case: Case) -> NewCredential:
        for accessor in case.leftovers:
            if self._rotation_of(accessor) == case.id:  # No process knows it.
                self._destroy(accessor)
        role_id = self._approle.read_role_id(**self._name)["data"]["role_id"]
        mark = {_MARK: case.id, "lessee_target": self._target}
        made = self._approle.generate_secret_id(**self._name, metadata=mark)["data"]
        fields = {"role_id": role_id, "secret_id": made["secret_id"], **dict(self._values(case.secret))}
        return NewCredential(fields, handle=str(made["secret_id_accessor"]))

    def apply(self, case: Case) -> None:
        """Vault has created it."""

    def verify(self, fields: Fields) -> bool:
        """Log in, and revoke the token."""
        credentials = {key: str(fields.get(key, "")) for key in ("role_id", "secret_id")}
        mount = self._name["mount_point"]
        try:
            answer = self._approle.login(**credentials, use_token=False, mount_point=mount)
        except VaultRequestError as exc:
            if exc.kind in _REFUSED:
                return False
            raise
        login = self._vault.with_token(str(answer["auth"]["client_token"]))
        with suppress(VaultRequestError):  # A batch token cannot be revoked, and each ends by its ttl.
            login.hvac.auth.token.revoke_self()
        return True

    def revoke(self, case: Case) -> bool:
        """Destroy the secret_id that was published before. Those of other clients stay valid."""
        published = self._accessor_of(case.secret)
        old = {self._accessor_of(case.current), case.handle} - {"", published, self._published_accessor(case)}
        for accessor in old:
            self._destroy(accessor)
        return bool(old)

    def discard(self, case: Case) -> None:
        if case.pending_handle not in {"", self._published_accessor(case), self._accessor_of(case.secret)}:
            self._destroy(case.pending_handle)

    @property
    def _approle(self) -> Any:
        return self._vault.hvac.auth.approle

    def _check(self, *, is_new: bool) -> None:
        """Raises SystemRefusedError where a new secret_id would not work."""
        found = unless_missing(lambda: self._approle.read_role(**self._name))
        if found is None:
            todo = f"create it: bao write {self._role} token_policies=…, or correct `approle` and `mount`"
            raise SystemRefusedError("the AppRole does not exist", where=self._role, todo=todo)
        role = found["data"]
        if not role.get("bind_secret_id", True):
            todo = "set bind_secret_id=true; now the role_id alone is enough for a login"
            raise SystemRefusedError("the AppRole does not use secret_ids", where=self._role, todo=todo)
        uses, ttl = role.get("secret_id_num_uses") or 0, role.get("secret_id_ttl") or 0
        if uses == 1:
            todo = "set secret_id_num_uses=0, or at least 2"
            raise SystemRefusedError(
                "a secret_id allows one login, which its verification needs", where=self._role, todo=todo
            )
        if uses and is_new:
            log("warning", "secret_id logins limited", target=self._target, logins=uses, note="verification uses one")
        if is_new and ttl and self._config.rotation_period and ttl <= self._config.rotation_period:
            todo = "set secret_id_ttl longer than `rotation_period` and the time of a rotation"
            log("warning", "secret_id expires before its rotation", target=self._target, ttl=ttl, todo=todo)

    @staticmethod
    def _published_accessor(case: Case) -> str:
        """The accessor of the pending secret_id where it is published."""
        pending = case.pending.get("secret_id")
        return case.pending_handle if pending and pending == case.secret.get("secret_id") else ""

    def _accessor_of(self, fields: Fields) -> str:
        """The accessor of a secret's secret_id; empty where Vault has none."""
        secret_id = fields.get("secret_id")
        if not isinstance(secret_id, str) or not secret_id:
            return ""
        found = self._approle.read_secret_id(**self._name, secret_id=secret_id)
        return str((found.get("data") or {}).get("secret_id_accessor") or "")

    def _rotation_of(self, accessor: str) -> str:
        found = self._about(accessor)
        return str((found.get("metadata") or {}).get(_MARK) or "")

    def _about(self, accessor: str) -> Fields:
        """The properties of a secret_id; empty where it does not exist."""
        look_up = self._approle.read_secret_id_accessor
        found = unless_missing(lambda: look_up(**self._name, secret_id_accessor=accessor))
        return (found or {}).get("data") or {}

    def _destroy(self, accessor: str) -> None:
        # Vault answers 500 where the accessor does not exist.
        if self._about(accessor):
            try:
                self._approle.destroy_secret_id_accessor(**self._name, secret_id_accessor=accessor)
            except LesseeError:
                if self._about(accessor):  # Otherwise another process has destroyed it.
                    raise
