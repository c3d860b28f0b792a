"""Looks at the ways to get a token with certain policies: AppRoles with their secret_ids, and all others."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from lessee.core.errors import LesseeError
from lessee.ops.incident.policy.findings import Login, Role
from lessee.ops.incident.requests import side_by_side
from lessee.vault.admin import AdminClient

_Logins = tuple[Login, ...]
Roles = tuple[tuple[Role, ...], tuple[str, ...]]
"""Those that there are, and why others could not be looked at."""


def roles(client: AdminClient, names: frozenset[str]) -> Roles:
    """The AppRoles that give one of the policies. Raises as `AdminClient.read`."""
    found: list[Role] = []
    lost: list[str] = []
    for mount, default in _mounts(client.read("sys/auth") or {}, "approle"):
        there = client.list(f"auth/{mount}/role")
        answers = side_by_side(partial(_role, client, names, mount, default), there)
        for name, role in zip(there, answers, strict=True):
            if isinstance(role, LesseeError):
                lost.append(f"AppRole {mount}/{name}: {role}")
            elif role is not None:
                found.append(role)
    return tuple(found), tuple(lost)


def _role(client: AdminClient, names: frozenset[str], mount: str, default: str, name: str) -> Role | None:
    path = f"auth/{mount}/role/{name}"
    data = client.read(path)
    if data is None:  # It is gone since.
        return None
    given = _given(data)
    if not names & set(given):
        return None
    return Role(
        mount=mount,
        name=name,
        policies=given,
        secret_ids=client.list(f"{path}/secret-id"),
        binds_secret_id=bool(data.get("bind_secret_id")),
        batch=_is_batch(data, default),
        ttl=float(data.get("token_max_ttl") or data.get("token_ttl") or 0),
    )


def _of_methods(client: AdminClient, names: frozenset[str]) -> _Logins:
    """Users, roles and groups of the other auth methods."""
    found: list[Login] = []
    methods = client.read("sys/auth") or {}
    for kind, folders in _FOLDERS.items():
        for mount, default in _mounts(methods, kind):
            for folder in folders:
                giving = _giving(client, f"auth/{mount}/{folder}", names)
                found += (Login(path, given, _is_batch(data, default)) for path, given, data in giving)
    return tuple(found)


def _of_identity(client: AdminClient, names: frozenset[str]) -> _Logins:
    """Entities and groups, whose policies come on top of a token's own."""
    found: list[Login] = []
    for kind in ("entity", "group"):
        giving = _giving(client, f"identity/{kind}/id", names)
        found += (Login(f"identity {kind} {data.get('name')}", given) for _, given, data in giving)
    return tuple(found)


OTHERS: tuple[Callable[[AdminClient, frozenset[str]], _Logins], ...] = (_of_methods, _of_identity)
"""Who else gives one of the policies; each raises as `AdminClient.read`."""


def _giving(
    client: AdminClient, folder: str, names: frozenset[str]
) -> Iterator[tuple[str, tuple[str, ...], Mapping[str, Any]]]:
    """Paths in the folder that give some of the policies, which, and what else is said there."""
    paths = [f"{folder}/{name}" for name in client.list(folder)]
    for path, data in zip(paths, side_by_side(client.read, paths), strict=True):
        if isinstance(data, LesseeError):
            raise data
        given = tuple(sorted(names & set(_given(data or {}))))
        if given:
            yield path, given, data or {}


def _given(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Older methods call them `policies`, and some say them in one text; `default` goes without saying."""
    found: list[str] = []
    for key in ("token_policies", "policies"):
        said = data.get(key) or ()
        found += said.split(",") if isinstance(said, str) else map(str, said)
    if data.get("token_no_default_policy") is False:
        found.append("default")
    return tuple(dict.fromkeys(name.strip() for name in found))


def _is_batch(data: Mapping[str, Any], default: str) -> bool:
    kind = str(data.get("token_type") or "default")
    return "batch" in (default if kind == "default" else kind)


def _mounts(methods: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """Those of a kind, each with the type of token that it gives where nothing else is said."""
    return [
        (path.removesuffix("/"), str((method.get("config") or {}).get("token_type")))
        for path, method in methods.items()
        if method["type"] == kind
    ]


_FOLDERS = {
    "userpass": ("users",),
    "jwt": ("role",),
    "oidc": ("role",),
    "kubernetes": ("role",),
    "cert": ("certs",),
    "ldap": ("users", "groups"),
    "radius": ("users",),
}
