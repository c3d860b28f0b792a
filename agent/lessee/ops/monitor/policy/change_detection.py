"""Detects the requests that changed what agents read, or what they are allowed to read."""

from collections.abc import Collection
from datetime import UTC, datetime

from lessee.core.change_events import Change
from lessee.ops.monitor.policy.access import Access

_WRITES = frozenset({"create", "update", "patch"})
_ROLES = frozenset({"role", "roles", "certs", "users", "groups", "static-roles"})
_ROTATES = {"rotate-role": "static-creds", "rotate-root": "config"}
_SECRET_IDS = ("secret-id", "secret-id-accessor", "custom-secret-id", "role-id")
"""Requests below an AppRole that do not change the role."""


def change_of(access: Access, environments: Collection[str]) -> Change | None:
    """The change that a request made, or None if it was denied, failed, only read, or changed nothing of interest.

    The path tells everything. Values play no part, and the log has none.
    """
    if access.denied or access.error is not None:
        return None
    mount = access.local_mount
    below = access.path.removeprefix(mount).lstrip("/")
    if access.mount_type in {"kv", "generic"}:
        change = _of_kv(access.operation, below)
    elif mount == "sys":
        change = _of_policies(access.operation, below)
    else:
        change = _of_roles(access.operation, below, is_auth=mount.startswith("auth/"))
    if change is None:
        return None
    operation, path = change
    environment = None
    if access.mount_type in {"kv", "generic"}:
        first, slash, rest = path.partition("/")
        if slash and rest and first in environments:
            environment, path = first, rest
    at = datetime.fromtimestamp(access.at, UTC).isoformat(timespec="milliseconds")
    return Change(environment, mount, path, access.version, operation, at, access.namespace)


def _of_kv(operation: str, below: str) -> tuple[str, str] | None:
    view, slash, path = below.partition("/")
    match view, operation:
        case "data", "create" | "update" | "patch" | "delete" if path:
            return operation, path
        case "delete" | "undelete" | "destroy", "create" | "update" if path:
            return view, path
        case "metadata", "delete" if path:
            return "remove", path
        case (("data" | "metadata" | "config" | "subkeys" | "detailed-metadata"), _) if slash or view == "config":
            return None  # Settings change no value.
        case _, "create" | "update" | "delete" if below:
            return operation, below  # Version 1.
        case _:
            return None


def _of_policies(operation: str, below: str) -> tuple[str, str] | None:
    name = below.removeprefix("policies/acl/").removeprefix("policy/")
    if name == below or not name or operation not in _WRITES | {"delete"}:
        return None
    return operation, f"policies/acl/{name}"


def _of_roles(operation: str, below: str, *, is_auth: bool) -> tuple[str, str] | None:
    kind, _, name = below.partition("/")
    if not name or operation not in _WRITES | {"delete"}:
        return None
    if not is_auth and kind in _ROTATES:
        return "rotate", f"{_ROTATES[kind]}/{name}"
    role, _, setting = name.partition("/")
    if kind not in _ROLES or setting.split("/")[0] in _SECRET_IDS:
        return None
    # Deleting a setting of a role updates the role.
    return (operation, f"{kind}/{role}") if not setting else ("update", f"{kind}/{role}")
