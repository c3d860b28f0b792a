"""Looks at the ways to get a token with certain policies: AppRoles with their secret_ids, and all others."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from lessee.core.emergency.sight import Login, Role
from lessee.core.errors import LesseeError
from lessee.emergency.asking import side_by_side
from lessee.vault.operator import Operator

_Logins = tuple[Login, ...]
Roles = tuple[tuple[Role, ...], tuple[str, ...]]
"""Those that there are, and why others could not be looked at."""


def roles(operator: Operator, names: frozenset[str]) -> Roles:
    """The AppRoles that give one of the policies. Raises as `Operator.read`."""
    found: list[Role] = []
    lost: list[str] = []
    for mount in _mounts(operator, "approle"):
        there = operator.list(f"auth/{mount}/role")
        answers = side_by_side(partial(_role, operator, names, mount), there)
        for name, role in zip(there, answers, strict=True):
            if isinstance(role, LesseeError):
                lost.append(f"AppRole {mount}/{name}: {role}")
            elif role is not None:
                found.append(role)
    return tuple(found), tuple(lost)


def _role(operator: Operator, names: frozenset[str], mount: str, name: str) -> Role | None:
    path = f"auth/{mount}/role/{name}"
    data = operator.read(path)
    if data is None:  # It is gone since.
        return None
    given = _given(data)
    if not names & set(given):
        return None
    return Role(
        mount=mount,
        name=name,
        policies=given,
        secret_ids=operator.list(f"{path}/secret-id"),
        binds_secret_id=bool(data.get("bind_secret_id")),
        batch="batch" in str(data.get("token_type")),
        ttl=float(data.get("token_max_ttl") or data.get("token_ttl") or 0),
    )


def _of_methods(operator: Operator, names: frozenset[str]) -> _Logins:
    """Users, roles and groups of the other auth methods."""
    found: list[Login] = []
    for kind, folders in _FOLDERS.items():
        for mount in _mounts(operator, kind):
            for folder in folders:
                found += (Login(path, given) for path, given, _ in _giving(operator, f"auth/{mount}/{folder}", names))
    return tuple(found)


def _of_identity(operator: Operator, names: frozenset[str]) -> _Logins:
    """Entities and groups, whose policies come on top of a token's own."""
    found: list[Login] = []
    for kind in ("entity", "group"):
        giving = _giving(operator, f"identity/{kind}/id", names)
        found += (Login(f"identity {kind} {name}", given) for _, given, name in giving)
    return tuple(found)


OTHERS: tuple[Callable[[Operator, frozenset[str]], _Logins], ...] = (_of_methods, _of_identity)
"""Who else gives one of the policies; each raises as `Operator.read`."""


def _giving(operator: Operator, folder: str, names: frozenset[str]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Paths in the folder that give some of the policies, which, and a name of their own where they have one."""
    paths = [f"{folder}/{name}" for name in operator.list(folder)]
    for path, data in zip(paths, side_by_side(operator.read, paths), strict=True):
        if isinstance(data, LesseeError):
            raise data
        given = tuple(sorted(names & set(_given(data or {}))))
        if given:
            yield path, given, str((data or {}).get("name") or "")


def _given(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Older methods call them `policies`, and some say them in one text."""
    found: list[str] = []
    for key in ("token_policies", "policies"):
        said = data.get(key) or ()
        found += said.split(",") if isinstance(said, str) else map(str, said)
    return tuple(dict.fromkeys(name.strip() for name in found))


def _mounts(operator: Operator, kind: str) -> list[str]:
    methods = operator.read("sys/auth") or {}
    return [path.removesuffix("/") for path, method in methods.items() if method["type"] == kind]


_FOLDERS = {
    "userpass": ("users",),
    "jwt": ("role",),
    "oidc": ("role",),
    "kubernetes": ("role",),
    "cert": ("certs",),
    "ldap": ("users", "groups"),
    "radius": ("users",),
    "token": ("roles",),
}
