"""The note that an emergency leaves in KV: the logins that it has revoked, for its follow-up and for `lessee setup`."""

from collections.abc import Mapping
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.core.timestamps import parse_timestamp

FOLDER = "lessee/emergencies/"
"""In the KV mount, outside of each environment's folder: no agent, rotator or component may read or write there."""


class RevokedRole(ImmutableStruct, frozen=True):
    """An AppRole whose secret_ids an emergency has destroyed. `at`: seconds since 1970."""

    name: str
    """With its mount, such as approle/production-simba."""
    at: float
    logins: int
    """How many of its tokens were revoked: 0 if it had no login."""


def note_path(environment: str) -> str:
    """The path of an environment's note in the KV mount."""
    return f"{FOLDER}{environment}"


def revoked_roles(note: Mapping[str, Any]) -> tuple[RevokedRole, ...]:
    """The roles in a note, without what lessee did not write."""
    found = []
    roles = note.get("roles")
    for name, value in sorted(roles.items()) if isinstance(roles, Mapping) else ():
        at = parse_timestamp(str(value.get("at"))) if isinstance(value, Mapping) else None
        if at is not None:
            logins = value.get("logins")
            found.append(RevokedRole(str(name), at, logins if type(logins) is int else 0))
    return tuple(found)


def with_roles(note: Mapping[str, Any], roles: Mapping[str, int], at: str) -> Mapping[str, Any]:
    """The note after another emergency. `roles`: how many tokens of each were revoked; `at`: when, in RFC 3339.

    A role that had no login since an earlier emergency stays as that one left it.
    """
    known = note.get("roles")
    before = dict(known) if isinstance(known, Mapping) else {}
    new = {name: {"at": at, "logins": logins} for name, logins in roles.items() if logins or name not in before}
    return {"roles": before | new}
