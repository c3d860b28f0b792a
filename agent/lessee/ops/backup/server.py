"""Reads a server: what it says of itself, and all that stands beside its secrets."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from lessee.core.errors import VaultUnreachableError
from lessee.core.failures import Kind as Failing
from lessee.ops.backup.policy.objects import CONFIGURED, OF_AUTH, OF_ENGINE, OWN, Listed, settings
from lessee.ops.backup.policy.records import Kind, Thing
from lessee.ops.backup.policy.restore_guard import Server
from lessee.vault.admin import Operator, error
from lessee.vault.transport import RequestFailedError


def describe(asking: Operator, namespace: str | None) -> Server:
    """What it says of itself. Raises VaultUnreachableError."""
    try:
        said = asking.door.ask("GET", "sys/seal-status", token=None).data
    except RequestFailedError as exc:
        raise error(exc.failure, asking.door.address) from None
    if said.get("sealed") or not said.get("cluster_id"):
        raise VaultUnreachableError("it is sealed, or not initialised", where=asking.door.address)
    return Server(
        cluster_id=str(said["cluster_id"]),
        cluster_name=str(said.get("cluster_name") or ""),
        version=str(said.get("version") or ""),
        storage=str(said.get("storage_type") or ""),
        namespace=(namespace or "").strip("/"),
    )


def things(asking: Operator) -> Iterator[Thing]:
    """In the order in which they are made: mounts, auth methods, policies, and what stands in them.

    Raises RefusedError where the token may not read one of them: half a backup is none.
    """
    engines = {path: found for path, found in mounts(asking, "mount").items() if not path.startswith(OWN)}
    methods = mounts(asking, "auth")
    yield from (Thing("mount", path, found) for path, found in engines.items())
    yield from (Thing("auth", path, found) for path, found in methods.items())
    for name in asking.list("sys/policies/acl"):
        if name != "root":
            yield from _thing(asking, "policy", f"sys/policies/acl/{name}")
    for path, found in engines.items():
        if is_versioned(found):
            yield from _thing(asking, "config", f"{path}config")
        yield from _listed(asking, path, OF_ENGINE.get(found["type"], ()))
    for path, found in methods.items():
        if found["type"] in CONFIGURED:
            yield from _thing(asking, "config", f"auth/{path}config")
        yield from _listed(asking, f"auth/{path}", OF_AUTH.get(found["type"], ()))


def is_versioned(mount: Mapping[str, Any]) -> bool:
    """Whether it is KV version 2."""
    return mount["type"] == "kv" and str((mount.get("options") or {}).get("version")) == "2"


def mounts(asking: Operator, kind: Literal["mount", "auth"]) -> dict[str, dict[str, Any]]:
    """What is mounted where, in order. Raises RefusedError."""
    found = asking.read("sys/mounts" if kind == "mount" else "sys/auth") or {}
    return {path: settings(kind, found[path]) for path in sorted(found)}


def _listed(asking: Operator, mount: str, all_listed: tuple[Listed, ...]) -> Iterator[Thing]:
    for listed in all_listed:
        for name in asking.list(f"{mount}{listed.folder}"):
            path = f"{mount}{listed.folder}/{name}"
            yield from _thing(asking, listed.kind, path)
            for beside in listed.beside:
                yield from _thing(asking, listed.kind, f"{path}/{beside}")


def _thing(asking: Operator, kind: Kind, path: str) -> Iterator[Thing]:
    found = asking.read(path)
    if found is not None:
        yield Thing(kind, path, settings(kind, found))


def namespaces(asking: Operator) -> tuple[str, ...] | None:
    """Those below; None where the token may not ask."""
    try:
        answer = asking.door.ask("GET", "sys/namespaces", token=asking.token, params={"list": "true"})
    except RequestFailedError as exc:
        return None if exc.failure.kind is Failing.DENIED else ()
    return tuple(answer.data.get("keys") or ())


def has_entities(asking: Operator) -> bool:
    """Whether there are any; so it is taken to be where the token may not ask."""
    try:
        asking.door.ask("GET", "identity/entity/id", token=asking.token, params={"list": "true"})
    except RequestFailedError as exc:
        return exc.failure.kind is not Failing.MISSING
    return True
