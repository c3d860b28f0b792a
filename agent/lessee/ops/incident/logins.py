"""Finds logins that get affected policies: AppRoles with their secret_ids, and those of all other auth methods."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from lessee.core.errors import LesseeError
from lessee.ops.incident.policy.findings import Login, Role
from lessee.ops.incident.requests import request_all
from lessee.vault.admin import AdminClient

_Logins = tuple[Login, ...]
RolesWithProblems = tuple[tuple[Role, ...], tuple[str, ...]]
"""The roles, and why others could not be read."""


def find_roles(client: AdminClient, names: frozenset[str]) -> RolesWithProblems:
    """The AppRoles that get one of these policies. Raises the errors of `AdminClient.read`."""
    found: list[Role] = []
    problems: list[str] = []
    for mount, default in _mounts(client.read("sys/auth") or {}, "approle"):
        roles = client.list(f"auth/{mount}/role")
        results = request_all(partial(_role, client, names, mount, default), roles)
        for name, role in zip(roles, results, strict=True):
            if isinstance(role, LesseeError):
                problems.append(f"AppRole {mount}/{name}: {role}")
            elif role is not None:
                found.append(role)
    return tuple(found), tuple(problems)


def _role(client: AdminClient, names: frozenset[str], mount: str, default: str, name: str) -> Role | None:
    path = f"auth/{mount}/role/{name}"
    data = client.read(path)
    if data is None:  # It was deleted since it was listed.
        return None
    policies = _policies(data)
    if not names & set(policies):
        return None
    return Role(
        mount=mount,
        name=name,
        policies=policies,
        secret_ids=client.list(f"{path}/secret-id"),
        binds_secret_id=bool(data.get("bind_secret_id")),
        batch=_is_batch(data, default),
        ttl=float(data.get("token_max_ttl") or data.get("token_ttl") or 0),
    )


def _find_in_auth_methods(client: AdminClient, names: frozenset[str]) -> _Logins:
    """Users, roles and groups of the other auth methods."""
    found: list[Login] = []
    methods = client.read("sys/auth") or {}
    for kind, folders in _FOLDERS.items():
        for mount, default in _mounts(methods, kind):
            for folder in folders:
                entries = _entries(client, f"auth/{mount}/{folder}", names)
                found += (Login(path, policies, _is_batch(data, default)) for path, policies, data in entries)
    return tuple(found)


def _find_in_identity(client: AdminClient, names: frozenset[str]) -> _Logins:
    """Entities and groups, whose policies are added to those of a token."""
    found: list[Login] = []
    for kind in ("entity", "group"):
        entries = _entries(client, f"identity/{kind}/id", names)
        found += (Login(f"identity {kind} {data.get('name')}", policies) for _, policies, data in entries)
    return tuple(found)


FIND_OTHERS: tuple[Callable[[AdminClient, frozenset[str]], _Logins], ...] = (_find_in_auth_methods, _find_in_identity)
"""Functions that find other logins with one of the policies; each raises the errors of `AdminClient.read`."""


def _entries(
    client: AdminClient, folder: str, names: frozenset[str]
) -> Iterator[tuple[str, tuple[str, ...], Mapping[str, Any]]]:
    """Paths in the folder with some of the policies, these policies, and the data."""
    paths = [f"{folder}/{name}" for name in client.list(folder)]
    for path, data in zip(paths, request_all(client.read, paths), strict=True):
        if isinstance(data, LesseeError):
            raise data
        policies = tuple(sorted(names & set(_policies(data or {}))))
        if policies:
            yield path, policies, data or {}


def _policies(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The policies of a login. Older methods use the key `policies`, and some a comma-separated text."""
    found: list[str] = []
    for key in ("token_policies", "policies"):
        value = data.get(key) or ()
        found += value.split(",") if isinstance(value, str) else map(str, value)
    if data.get("token_no_default_policy") is False:
        found.append("default")
    return tuple(dict.fromkeys(name.strip() for name in found))


def _is_batch(data: Mapping[str, Any], default: str) -> bool:
    kind = str(data.get("token_type") or "default")
    return "batch" in (default if kind == "default" else kind)


def _mounts(methods: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """The mounts of a method, each with its default token type."""
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
    "okta": ("users", "groups"),
    "kerberos": ("groups",),
    "aws": ("role",),
    "azure": ("role",),
    "gcp": ("role",),
    "cf": ("roles",),
}
