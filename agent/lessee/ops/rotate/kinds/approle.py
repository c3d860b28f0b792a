"""The secret_id of an AppRole: Vault makes it, and shows it once."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from lessee.config.grammar.rotation import VaultValues as Said
from lessee.core.errors import LesseeError, VaultRequestError
from lessee.core.failures import Kind
from lessee.ops.rotate.kinds.kind import Case, NewCredential, KindContext, SystemRefusedError
from lessee.ops.rotate.policy.decision import Traits
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log
from lessee.vault.admin import unless_missing

_MARK = "lessee_rotation"
"""The key of a secret_id's metadata under which the rotation's id stands."""
_PATIENCE = 30.0
"""Seconds: three read timeouts of the transport, for an operation takes up to three requests."""
_REFUSED = frozenset({Kind.INVALID, Kind.DENIED})

Values = Callable[[Fields], Iterable[tuple[str, Any]]]


class SecretIds:
    """An AppRole's secret_ids, of which each is known to Vault by its accessor."""

    traits = Traits(system_generated=True, timeout=_PATIENCE)

    def __init__(self, said: Said, setting: KindContext, values: Values) -> None:
        """`values`: what else changes in the secret with it."""
        self._said, self._target, self._vault, self._values = said, setting.name, setting.vault, values
        self._role = f"auth/{said.mount}/role/{said.approle}"
        self._name = {"role_name": said.approle, "mount_point": said.mount}

    def list_credentials(self, case: Case) -> tuple[str, ...]:
        """Accessors; there may be more of them, since others may make secret_ids of this role too."""
        self._check(is_new=not case.retried)
        found = unless_missing(lambda: self._approle.list_secret_id_accessors(**self._name))
        return tuple(found["data"]["keys"]) if found else ()

    def create(self, case: Case) -> NewCredential:
        for accessor in case.leftovers:
            if self._rotation_of(accessor) == case.id:  # And so nobody knows it.
                self._destroy(accessor)
        role_id = self._approle.read_role_id(**self._name)["data"]["role_id"]
        mark = {_MARK: case.id, "lessee_target": self._target}
        made = self._approle.generate_secret_id(**self._name, metadata=mark)["data"]
        fields = {"role_id": role_id, "secret_id": made["secret_id"], **dict(self._values(case.secret))}
        return NewCredential(fields, handle=str(made["secret_id_accessor"]))

    def apply(self, case: Case) -> None:
        """Vault knows what it has made."""

    def verify(self, fields: Fields) -> bool:
        """A real login, whose token is revoked at once."""
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

    def revoke(self, case: Case) -> None:
        """Destroy what was published before; what people and other machines log in with stays."""
        published = self._accessor_of(case.secret)
        for accessor in {self._accessor_of(case.current), case.handle} - {"", published, self._kept(case)}:
            self._destroy(accessor)

    def delete(self, case: Case) -> None:
        """None is kept."""

    def discard(self, case: Case) -> None:
        if case.pending_handle not in {"", self._kept(case), self._accessor_of(case.secret)}:
            self._destroy(case.pending_handle)

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """The admin client is the command's."""

    @property
    def _approle(self) -> Any:
        return self._vault.hvac.auth.approle

    def _check(self, *, is_new: bool) -> None:
        """Raises SystemRefusedError where a new secret_id would be of no use."""
        found = unless_missing(lambda: self._approle.read_role(**self._name))
        if found is None:
            todo = f"make it: bao write {self._role} token_policies=…, or mend `approle:` and `mount:`"
            raise SystemRefusedError("there is no such AppRole", where=self._role, todo=todo)
        role = found["data"]
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
        if is_new and ttl and self._said.rotation_period and ttl <= self._said.rotation_period:
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
        found = self._approle.read_secret_id(**self._name, secret_id=secret_id)
        return str((found.get("data") or {}).get("secret_id_accessor") or "")

    def _rotation_of(self, accessor: str) -> str:
        found = self._about(accessor)
        return str((found.get("metadata") or {}).get(_MARK) or "")

    def _about(self, accessor: str) -> Fields:
        """What Vault knows of a secret_id; nothing of one that is gone."""
        look_up = self._approle.read_secret_id_accessor
        found = unless_missing(lambda: look_up(**self._name, secret_id_accessor=accessor))
        return (found or {}).get("data") or {}

    def _destroy(self, accessor: str) -> None:
        # What is gone cannot be destroyed: Vault then answers 500.
        if self._about(accessor):
            try:
                self._approle.destroy_secret_id_accessor(**self._name, secret_id_accessor=accessor)
            except LesseeError:
                if self._about(accessor):  # Else somebody else was faster.
                    raise
