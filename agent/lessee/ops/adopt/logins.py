"""The logins of an adoption's agents: secret_ids of AppRoles, which other clones of the project may use too."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from lessee.core.errors import DeniedError, VaultRequestError
from lessee.core.failures import Kind as Failed
from lessee.core.immutable import ImmutableStruct
from lessee.host.project import Project as Configuration
from lessee.host.user_file import write_beneath
from lessee.ops.adopt.policy.role_owners import Owner, foreign, missing, owner_of, refusal
from lessee.ops.adopt.record import Record
from lessee.ops.setup.policy.desired_state import desired_for_environment
from lessee.ops.setup.policy.objects import Kind, Object
from lessee.vault.admin import AdminClient

_T = TypeVar("_T")
_WORLD_READABLE = 0o444
"""The agent's container has no capability to read files of another user; the folder above is for the owner alone."""
_FOLDER = 0o755


class CloneRoles(ImmutableStruct, frozen=True):
    """What a clone finds of its roles in Vault."""

    new: tuple[str, ...]
    """Those whose policies do not exist."""
    writable: frozenset[str]
    """Those that no other login has: the clone may set them up."""
    is_known: bool
    """An adoption of this project has a login."""


class Logins:
    """Makes and removes logins. Every method raises DeniedError or VaultUnreachableError."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def check(self, record: Record, configuration: Configuration) -> None:
        """Raises WriteError if a role is another project's, or another clone of this one would lose a secret."""
        for role, policy in self.needed(configuration).items():
            logins = [owner for _, owner in self._logins(role)]
            before = (self._client.read(f"sys/policies/acl/{role}") or {}).get("policy") if logins else None
            refused = refusal(role, logins, _owner(record), before, policy)
            if refused is not None:
                raise refused

    @staticmethod
    def needed(configuration: Configuration) -> dict[str, str]:
        """The policies that the configuration needs, by role."""
        desired = desired_for_environment(configuration.config, configuration.compiled_apps)
        items = [item for item in desired if isinstance(item, Object) and item.kind is Kind.POLICY]
        return {item.name: str(item.fields["policy"]) for item in items}

    def check_clone(self, record: Record, needed: Mapping[str, str]) -> CloneRoles:
        """What a clone finds of its roles. Raises WriteError if one is another project's, or grants less than needed.

        A clone gives no role more that another login has too.
        """
        own = _owner(record)
        new, writable = [], []
        is_known = False
        for role, policy in needed.items():
            owners = [owner for _, owner in self._logins(role)]
            refused = foreign(role, owners, own)
            if refused is not None:
                raise refused
            is_known = is_known or any(owner.project for owner in owners)
            found = self._client.read(f"sys/policies/acl/{role}")
            if found is None:
                new.append(role)
            if any(owner != own for owner in owners):
                if (refused := missing(role, str((found or {}).get("policy")), policy)) is not None:
                    raise refused
            else:
                writable.append(role)
        return CloneRoles(tuple(new), frozenset(writable), is_known)

    def write_identity(self, role: str, folder: Path, below: str, record: Record) -> None:
        """Write role_id and secret_id to `below` in the folder, unless those of this role are there.

        Raises WriteError.
        """
        role_id = self._role_id(role)
        if not role_id:
            raise DeniedError(
                "the role does not exist", where=f"auth/approle/role/{role}", todo="run `lessee adopt` again"
            )
        files = {name: folder / below / name for name in ("role_id", "secret_id")}
        if _text(files["role_id"]) == role_id and self._accessor(role, files["secret_id"]):
            return
        body = {"metadata": json.dumps(_owner(record).metadata)}
        answer = self._client.write(f"auth/approle/role/{role}/secret-id", body)
        for name, text in (("role_id", role_id), ("secret_id", str(answer.data["secret_id"]))):
            write_beneath(folder, f"{below}/{name}", text.encode(), mode=_WORLD_READABLE, folder_mode=_FOLDER)

    def remove(self, record: Record, folder: Path, roles: Iterable[str]) -> tuple[str, ...]:
        """Remove the adoption's logins of these roles, and roles with their policies that no other login has.

        `folder`: that of the logins' files. Returns the roles that others use, which stay.
        """
        shared = []
        for role in roles:
            place = f"auth/approle/role/{role}"
            file = folder / record.environment / role / "secret_id"
            written = self._accessor(role, file) if self._role_id(role) else ""
            others = 0
            for accessor, owner in self._logins(role):
                if owner == _owner(record) or accessor == written:
                    body = {"secret_id_accessor": accessor}
                    _unless_absent(partial(self._client.write, f"{place}/secret-id-accessor/destroy", body))
                else:
                    others += 1
            if others:
                shared.append(role)
                continue
            self._client.delete(place)
            self._client.delete(f"sys/policies/acl/{role}")
        return tuple(shared)

    def _logins(self, role: str) -> Iterator[tuple[str, Owner]]:
        """The accessors of the role's secret_ids, with what they belong to."""
        place = f"auth/approle/role/{role}"
        for accessor in self._client.list(f"{place}/secret-id") if self._role_id(role) else ():
            body = {"secret_id_accessor": accessor}
            # It may have ended meanwhile.
            found = _unless_absent(partial(self._client.write, f"{place}/secret-id-accessor/lookup", body))
            if found is not None and isinstance(found.data, Mapping):
                yield accessor, owner_of(found.data.get("metadata"))

    def _role_id(self, role: str) -> str:
        """Empty: there is no such role."""
        found = _unless_absent(partial(self._client.read, f"auth/approle/role/{role}/role-id"))
        return str(found["role_id"]) if found else ""

    def _accessor(self, role: str, file: Path) -> str:
        """The accessor of the secret_id in the file; empty: the role does not have it."""
        secret_id = _text(file)
        if not re.fullmatch(r"[\w-]+", secret_id):
            return ""
        place = f"auth/approle/role/{role}/secret-id/lookup"
        found = _unless_absent(lambda: self._client.write(place, {"secret_id": secret_id}))
        return str(found.data.get("secret_id_accessor") or "") if found is not None and found.data else ""


def _unless_absent(ask: Callable[[], _T]) -> _T | None:
    """What a request returns; None if Vault has nothing there, or no such path."""
    try:
        return ask()
    except VaultRequestError as exc:
        if exc.kind not in {Failed.NOT_FOUND, Failed.UNSUPPORTED}:
            raise
        return None


def _owner(record: Record) -> Owner:
    return Owner(record.id, record.project, record.environment, record.project_id)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
