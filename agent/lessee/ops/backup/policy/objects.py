"""The server objects that a backup saves, how two of them compare, and what no server returns."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.records import Kind, ServerObject

BUILT_IN_MOUNTS = ("sys/", "identity/", "cubbyhole/")
"""The mounts that every server has; they hold nothing of an operator that Vault returns at a path."""


class Listing(ImmutableStruct, frozen=True):
    """Objects that can be listed below a mount. `children`: the paths to read below each of them."""

    folder: str
    kind: Kind
    children: tuple[str, ...] = ()


ENGINE_LISTINGS: Mapping[str, tuple[Listing, ...]] = {
    "database": (Listing("roles", "role"), Listing("static-roles", "reference"), Listing("config", "reference")),
    "pki": (Listing("roles", "role"),),
}
AUTH_LISTINGS: Mapping[str, tuple[Listing, ...]] = {
    "approle": (Listing("role", "role", children=("role-id",)),),
    "cert": (Listing("certs", "role"),),
    "jwt": (Listing("role", "role"),),
    "kubernetes": (Listing("role", "role"),),
    "oidc": (Listing("role", "role"),),
    "token": (Listing("roles", "role"),),
    "userpass": (Listing("users", "user"),),
}
READABLE_CONFIGS = ("jwt", "kubernetes", "oidc")
"""The auth methods whose `config` is readable."""

_WRITABLE_FIELDS = {
    "policy": frozenset({"policy"}),
    "mount": frozenset({"type", "description", "config", "options", "local", "seal_wrap"}),
}
_READ_ONLY_FIELDS = frozenset({"status", "token_reviewer_jwt_set"})
"""Fields of answers that no request may contain."""
_OF_CONNECTIONS = "passwords of database connections; settings of connections and static roles are saved for reference"


def settings(kind: Kind, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an answer that can be written again."""
    only = _WRITABLE_FIELDS.get("mount" if kind == "auth" else kind)
    return {
        # A namespace has its own names for its built-in mounts, such as ns_token.
        key: value.removeprefix("ns_") if key == "type" and isinstance(value, str) else value
        for key, value in data.items()
        if value is not None and key not in _READ_ONLY_FIELDS and (only is None or key in only)
    }


def differs(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    """Whether a write is needed. Vault returns empty values in several forms."""
    return any((value or None) != (present.get(key) or None) for key, value in wanted.items())


def has_known_path(server_object: ServerObject, mounts: Mapping[str, str]) -> bool:
    """Whether an object of an archive has a path that its kind can have; no other path is ever written.

    `mounts`: the types of the archive's mounts by path, with `auth/` before the paths of auth methods.
    """
    match server_object.kind:
        case "mount" | "auth":
            return server_object.path.endswith("/") and (
                server_object.kind == "auth" or not server_object.path.startswith(BUILT_IN_MOUNTS)
            )
        case "policy":
            return server_object.path.startswith("sys/policies/acl/")
        case "config":
            return any(
                server_object.path == f"{mount}config" and kind in {*READABLE_CONFIGS, "kv"}
                for mount, kind in mounts.items()
            )
        case _:
            return any(
                server_object.path.startswith(f"{mount}{listed.folder}/") and server_object.kind == listed.kind
                for mount, kind in mounts.items()
                for listed in (AUTH_LISTINGS if mount.startswith("auth/") else ENGINE_LISTINGS).get(kind, ())
            )


def missing_secret(server_object: ServerObject) -> str:
    """The secret without which an object cannot be restored; empty if it can."""
    data = server_object.data
    if server_object.kind == "config" and data.get("oidc_client_id"):
        return "its oidc_client_secret"
    if server_object.kind == "config" and data.get("token_reviewer_jwt_set"):
        return "its token_reviewer_jwt"
    return ""


def contacts_other_systems(server_object: ServerObject) -> bool:
    """Whether this configuration makes a server contact another system, which a trial restore must not do."""
    return server_object.kind == "config" and any(
        key.endswith(("_url", "_host")) and server_object.data[key] for key in server_object.data
    )


def gaps(objects: Iterable[ServerObject], namespaces: Collection[str] | None, *, entities: bool) -> tuple[str, ...]:
    """What the server does not return, as text. `namespaces` None: they are unknown."""
    found: dict[str, None] = {}
    for server_object in objects:
        match server_object.kind:
            case "mount" if server_object.data["type"] == "pki":
                found[f"keys and certificates of {server_object.path} (pki)"] = None
            case "mount" if server_object.data["type"] not in {"kv", "generic", "database"}:
                found[f"everything in {server_object.path} ({server_object.data['type']})"] = None
            case "auth" if server_object.data["type"] == "approle":
                found[f"secret_ids of auth/{server_object.path}"] = None
            case "auth" if server_object.data["type"] not in AUTH_LISTINGS:
                found[f"everything in auth/{server_object.path} ({server_object.data['type']})"] = None
            case "user":
                found[f"passwords of {server_object.path.rpartition('/')[0]}/"] = None
            case "reference":
                found[_OF_CONNECTIONS] = None
            case "config" if lost := missing_secret(server_object):
                found[f"{server_object.path}: {lost}"] = None
            case _:
                pass
    found["tokens and leases"] = None
    if entities:
        found["identity: entities, groups and aliases"] = None
    if namespaces is None:
        return (*found, "child namespaces, if any: the token may not list them")
    return (*found, *(f"the namespace {name}" for name in namespaces))
