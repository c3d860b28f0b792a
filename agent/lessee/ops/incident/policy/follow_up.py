"""What follows an emergency: which of the logins that it has revoked there are again, and which are missing."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lessee.core.emergencies import RevokedRole
from lessee.core.immutable import ImmutableStruct
from lessee.ops.incident.policy.findings import Token
from lessee.ops.rotate.policy.report import printable

_NAMES = ("role_name", "role", "cert_name")
"""What the auth methods call the role in a login's metadata: AppRole; JWT, Kubernetes and clouds; certificates."""
_OF_USER = "/login/"
"""In the name of a user, such as userpass/login/alice: a person may never log in again, and is not missing."""
Spell = Callable[[float], str]
"""Writes a time in seconds since 1970."""


class Report(ImmutableStruct, frozen=True):
    """An agent's last report to the rotator. `at`: seconds since 1970."""

    agent: str
    at: float


def report(
    environment: str, roles: Iterable[RevokedRole], tokens: Iterable[Token], reports: Iterable[Report], at: Spell
) -> tuple[str, tuple[str, ...]]:
    """The text, and the roles that had a login and have none again.

    A token counts only where a login has made it: other tokens have names that their clients choose.
    """
    roles, reports = tuple(roles), tuple(reports)
    if not roles:
        return f"no emergency of {environment} is recorded\n", ()
    first: dict[str, float] = {}
    since = {role.name: role.at for role in roles}
    for token in tokens:
        # Vault counts whole seconds.
        if token.role in since and token.created >= int(since[token.role]):
            first[token.role] = min(token.created, first.get(token.role, token.created))
    missing = tuple(role.name for role in roles if role.logins and role.name not in first and _OF_USER not in role.name)
    lines = [f"FOLLOW-UP: {environment}", "=" * 60, "", "logins that were revoked"]
    lines += [f"  {printable(role.name)}: {_state(role, first, at)}" for role in roles]
    if reports:
        lines += ["", "agents that report to the rotator", *(f"  {_reported(item, roles, at)}" for item in reports)]
    if missing:
        lines += ["", f"missing: {', '.join(map(printable, missing))}"]
        lines += [f"  AppRoles need new secret_ids: `lessee setup --only environment={environment} --output DIR`"]
        lines += ["  where a login is not missing any more, see that the agent runs: `lessee status`"]
    return "".join(f"{line}\n" for line in lines), missing


def login_name(path: str, metadata: Mapping[str, Any]) -> str:
    """The mount and name of the role or user whose login has made a token: `path` is the token's. Else empty.

    The path of a login is the server's own word. On any other path, the client has chosen the metadata.
    """
    mount, found, user = path.removeprefix("auth/").partition("/login")
    if not found or mount.partition("/")[0] == "token" or (user and not user.startswith("/")):
        return ""
    if user:
        return f"{mount}{_OF_USER}{user[1:]}"
    names = [metadata[key] for key in _NAMES if metadata.get(key)]
    return f"{mount}/{names[0]}" if names and isinstance(names[0], str) else ""


def _state(role: RevokedRole, first: Mapping[str, float], at: Spell) -> str:
    revoked = f"revoked {at(role.at)}"
    if role.name in first:
        return f"{revoked}; logged in again {at(first[role.name])}"
    return f"{revoked}; {'NOT logged in again' if role.logins else 'it had no login'}"


def _reported(item: Report, roles: Iterable[RevokedRole], at: Spell) -> str:
    is_new = item.at >= max(role.at for role in roles)
    return f"{printable(item.agent)}: {'reported again' if is_new else 'NO report since'} {at(item.at)}"
