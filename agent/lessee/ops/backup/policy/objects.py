"""Which things of a server are saved beside its secrets, how two of them compare, and what no server gives away."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.records import Kind, ServerObject

BUILT_IN_MOUNTS = ("sys/", "identity/", "cubbyhole/")
"""Mounts that every server has, and that hold nothing of an operator's that a path gives back."""


class Listing(ImmutableStruct, frozen=True):
    """What can be listed below a mount. `beside`: what stands below each of them."""

    folder: str
    kind: Kind
    children: tuple[str, ...] = ()


ENGINE_LISTINGS: Mapping[str, tuple[Listing, ...]] = {
    "database": (Listing("roles", "role"), Listing("static-roles", "kept"), Listing("config", "kept")),
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
"""Auth methods whose `config` can be read."""

_SAID_ONLY = {
    "policy": frozenset({"policy"}),
    "mount": frozenset({"type", "description", "config", "options", "local", "seal_wrap"}),
}
_TOLD = frozenset({"status", "token_reviewer_jwt_set"})
"""Answers that no request may hold."""
_OF_CONNECTIONS = "passwords of database connections: their settings and those of static roles are kept to be read"


def settings(kind: Kind, data: Mapping[str, Any]) -> dict[str, Any]:
    """What can be written of what was read."""
    only = _SAID_ONLY.get("mount" if kind == "auth" else kind)
    return {
        # A namespace calls those that it was made with by names of its own, such as ns_token.
        key: value.removeprefix("ns_") if key == "type" and isinstance(value, str) else value
        for key, value in data.items()
        if value is not None and key not in _TOLD and (only is None or key in only)
    }


def differs(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    """Whether a write is needed. A server tells empty values in several ways."""
    return any((value or None) != (present.get(key) or None) for key, value in wanted.items())


def has_known_path(server_object: ServerObject, mounts: Mapping[str, str]) -> bool:
    """Whether a thing of an archive stands where such things do: nothing else is ever written.

    `mounts`: the types of the archive's mounts, by path, those of auth methods with `auth/` before it.
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
    """Why a thing cannot be brought back as it was; empty where it can."""
    data = server_object.data
    if server_object.kind == "config" and data.get("oidc_client_id"):
        return "its oidc_client_secret"
    if server_object.kind == "config" and data.get("token_reviewer_jwt_set"):
        return "its token_reviewer_jwt"
    return ""


def contacts_other_systems(server_object: ServerObject) -> bool:
    """Whether a server that is given it asks another system: nothing that one does on trial."""
    return server_object.kind == "config" and any(
        key.endswith(("_url", "_host")) and server_object.data[key] for key in server_object.data
    )


def gaps(objects: Iterable[ServerObject], namespaces: Collection[str] | None, *, entities: bool) -> tuple[str, ...]:
    """What the server does not give away, in words for people. `namespaces` None: nobody knows of them."""
    found: dict[str, None] = {}
    for server_object in objects:
        match server_object.kind:
            case "mount" if server_object.data["type"] == "pki":
                found[f"keys and certificates of {server_object.path} (pki)"] = None
            case "mount" if server_object.data["type"] not in {"kv", "generic", "database"}:
                found[f"all that is in {server_object.path} ({server_object.data['type']})"] = None
            case "auth" if server_object.data["type"] == "approle":
                found[f"secret_ids of auth/{server_object.path}"] = None
            case "auth" if server_object.data["type"] not in AUTH_LISTINGS:
                found[f"all that is in auth/{server_object.path} ({server_object.data['type']})"] = None
            case "user":
                found[f"passwords of {server_object.path.rpartition('/')[0]}/"] = None
            case "kept":
                found[_OF_CONNECTIONS] = None
            case "config" if lost := missing_secret(server_object):
                found[f"{server_object.path}: {lost}"] = None
            case _:
                pass
    found["tokens and leases"] = None
    if entities:
        found["identity: entities, groups and aliases"] = None
    if namespaces is None:
        return (*found, "child namespaces, if there are any: the token may not list them")
    return (*found, *(f"the namespace {name}" for name in namespaces))
