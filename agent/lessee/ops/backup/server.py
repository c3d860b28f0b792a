"""Reads a server's description of itself, and all its objects except secrets."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from lessee.core.errors import VaultRequestError, VaultUnreachableError
from lessee.core.failures import Kind as Failing
from lessee.ops.backup.policy.comparison import Server
from lessee.ops.backup.policy.objects import (
    AUTH_LISTINGS,
    BUILT_IN_MOUNTS,
    ENGINE_LISTINGS,
    READABLE_CONFIGS,
    Listing,
    settings,
)
from lessee.ops.backup.policy.records import Kind, ServerObject
from lessee.vault.admin import AdminClient


def describe(client: AdminClient, namespace: str | None) -> Server:
    """The server's description of itself. Raises VaultUnreachableError."""
    status = client.seal_status().data
    if status.get("sealed") or not status.get("cluster_id"):
        raise VaultUnreachableError("the server is sealed or not initialized", where=client.address)
    return Server(
        cluster_id=str(status["cluster_id"]),
        cluster_name=str(status.get("cluster_name") or ""),
        version=str(status.get("version") or ""),
        storage=str(status.get("storage_type") or ""),
        namespace=(namespace or "").strip("/"),
    )


def objects(client: AdminClient) -> Iterator[ServerObject]:
    """The objects in the order of creation: mounts, auth methods, policies, and the objects of mounts.

    Raises DeniedError where the token may not read one of them, because an incomplete backup would be misleading.
    """
    engines = {path: found for path, found in mounts(client, "mount").items() if not path.startswith(BUILT_IN_MOUNTS)}
    methods = mounts(client, "auth")
    yield from (ServerObject("mount", path, found) for path, found in engines.items())
    yield from (ServerObject("auth", path, found) for path, found in methods.items())
    for name in client.hvac.sys.list_acl_policies()["data"]["keys"]:
        if name != "root":
            yield from _object(client, "policy", f"sys/policies/acl/{name}")
    for path, found in engines.items():
        if is_versioned(found):
            yield from _object(client, "config", f"{path}config")
        yield from _listed(client, path, ENGINE_LISTINGS.get(found["type"], ()))
    for path, found in methods.items():
        if found["type"] in READABLE_CONFIGS:
            yield from _object(client, "config", f"auth/{path}config")
        yield from _listed(client, f"auth/{path}", AUTH_LISTINGS.get(found["type"], ()))


def is_versioned(mount: Mapping[str, Any]) -> bool:
    """Whether it is KV version 2."""
    return mount["type"] == "kv" and str((mount.get("options") or {}).get("version")) == "2"


def mounts(client: AdminClient, kind: Literal["mount", "auth"]) -> dict[str, dict[str, Any]]:
    """The mounts by path, in order. Raises DeniedError."""
    system = client.hvac.sys
    found = (system.list_mounted_secrets_engines() if kind == "mount" else system.list_auth_methods())["data"]
    return {path: settings(kind, found[path]) for path in sorted(found)}


def _listed(client: AdminClient, mount: str, all_listed: tuple[Listing, ...]) -> Iterator[ServerObject]:
    for listed in all_listed:
        for name in client.list(f"{mount}{listed.folder}"):
            path = f"{mount}{listed.folder}/{name}"
            yield from _object(client, listed.kind, path)
            for children in listed.children:
                yield from _object(client, listed.kind, f"{path}/{children}")


def _object(client: AdminClient, kind: Kind, path: str) -> Iterator[ServerObject]:
    found = client.read(path)
    if found is not None:
        yield ServerObject(kind, path, settings(kind, found))


def namespaces(client: AdminClient) -> tuple[str, ...] | None:
    """The child namespaces; None where the token may not list them."""
    try:
        return tuple(client.hvac.sys.list_namespaces()["data"]["keys"])
    except VaultRequestError as exc:
        return None if exc.kind is Failing.DENIED else ()


def has_entities(client: AdminClient) -> bool:
    """Whether there are identity entities. Assumes that there are if the token may not list them."""
    try:
        client.hvac.secrets.identity.list_entities()
    except VaultRequestError as exc:
        return exc.kind is not Failing.NOT_FOUND
    return True
