"""Which things of a server are saved beside its secrets, how two of them compare, and what no server gives away."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.records import Kind, Thing

OWN = ("sys/", "identity/", "cubbyhole/")
"""Mounts that every server has, and that hold nothing of an operator's that a path gives back."""


class Listed(ImmutableStruct, frozen=True):
    """What can be listed below a mount. `beside`: what stands below each of them."""

    folder: str
    kind: Kind
    beside: tuple[str, ...] = ()


OF_ENGINE: Mapping[str, tuple[Listed, ...]] = {
    "database": (Listed("roles", "role"), Listed("static-roles", "kept"), Listed("config", "kept")),
    "pki": (Listed("roles", "role"),),
}
OF_AUTH: Mapping[str, tuple[Listed, ...]] = {
    "approle": (Listed("role", "role", beside=("role-id",)),),
    "cert": (Listed("certs", "role"),),
    "jwt": (Listed("role", "role"),),
    "kubernetes": (Listed("role", "role"),),
    "oidc": (Listed("role", "role"),),
    "token": (Listed("roles", "role"),),
    "userpass": (Listed("users", "user"),),
}
CONFIGURED = ("jwt", "kubernetes", "oidc")
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


def is_known(thing: Thing, mounts: Mapping[str, str]) -> bool:
    """Whether a thing of an archive stands where such things do: nothing else is ever written.

    `mounts`: the types of the archive's mounts, by path, those of auth methods with `auth/` before it.
    """
    match thing.kind:
        case "mount" | "auth":
            return thing.path.endswith("/") and (thing.kind == "auth" or not thing.path.startswith(OWN))
        case "policy":
            return thing.path.startswith("sys/policies/acl/")
        case "config":
            return any(thing.path == f"{mount}config" and kind in {*CONFIGURED, "kv"} for mount, kind in mounts.items())
        case _:
            return any(
                thing.path.startswith(f"{mount}{listed.folder}/") and thing.kind == listed.kind
                for mount, kind in mounts.items()
                for listed in (OF_AUTH if mount.startswith("auth/") else OF_ENGINE).get(kind, ())
            )


def needs_what_is_lost(thing: Thing) -> str:
    """Why a thing cannot be brought back as it was; empty where it can."""
    data = thing.data
    if thing.kind == "config" and data.get("oidc_client_id"):
        return "its oidc_client_secret"
    if thing.kind == "config" and data.get("token_reviewer_jwt_set"):
        return "its token_reviewer_jwt"
    return ""


def reaches_out(thing: Thing) -> bool:
    """Whether a server that is given it asks another system: nothing that one does on trial."""
    return thing.kind == "config" and any(key.endswith(("_url", "_host")) and thing.data[key] for key in thing.data)


def gaps(things: Iterable[Thing], namespaces: Collection[str] | None, *, entities: bool) -> tuple[str, ...]:
    """What the server does not give away, in words for people. `namespaces` None: nobody knows of them."""
    found: dict[str, None] = {}
    for thing in things:
        match thing.kind:
            case "mount" if thing.data["type"] == "pki":
                found[f"keys and certificates of {thing.path} (pki)"] = None
            case "mount" if thing.data["type"] not in {"kv", "generic", "database"}:
                found[f"all that is in {thing.path} ({thing.data['type']})"] = None
            case "auth" if thing.data["type"] == "approle":
                found[f"secret_ids of auth/{thing.path}"] = None
            case "auth" if thing.data["type"] not in OF_AUTH:
                found[f"all that is in auth/{thing.path} ({thing.data['type']})"] = None
            case "user":
                found[f"passwords of {thing.path.rpartition('/')[0]}/"] = None
            case "kept":
                found[_OF_CONNECTIONS] = None
            case "config" if lost := needs_what_is_lost(thing):
                found[f"{thing.path}: {lost}"] = None
            case _:
                pass
    found["tokens and leases"] = None
    if entities:
        found["identity: entities, groups and aliases"] = None
    if namespaces is None:
        return (*found, "child namespaces, if there are any: the token may not list them")
    return (*found, *(f"the namespace {name}" for name in namespaces))
