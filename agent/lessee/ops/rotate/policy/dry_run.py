"""What a rotation would do, told before anything is done, and what the rotator's token lacks for it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, assert_never

from lessee.config.durations import spell
from lessee.config.grammar import rotation as g
from lessee.core import consumers
from lessee.core.consumers import Standing
from lessee.core.immutable import Record
from lessee.ops.rotate.policy.journal import Fields, Journal, Step
from lessee.ops.rotate.policy.report import moment
from lessee.ops.rotate.policy.selection import Wish

Rights = Mapping[str, Collection[str]]
"""Capabilities in Vault, by path."""
_TURNS = 2
_FINISH = {
    Step.CREATING: "a new value that was asked for is removed where it was made, and asked for again",
    Step.CREATED: "a new value is made: it is tried, applied where the system does not know it, and published",
    Step.PUBLISHED: "the new value is published: the old one is retired once all have confirmed",
}


class Outlook(Record, frozen=True):
    """What is known of a target before a rotation. `path` is its secret's below the mount; `version` 0: none."""

    hidden = ("fields",)

    name: str
    said: g.Rotation
    wish: Wish
    path: str
    version: int
    fields: Fields
    journal: Journal
    standing: Standing | None
    now: float
    """Seconds since 1970."""


def lines(outlook: Outlook) -> Iterator[str]:
    """The target, and below it what would be done. No value is in it."""
    said, journal = outlook.said, outlook.journal
    if outlook.wish is Wish.NOTHING:
        return
    there = f"version {outlook.version}" if outlook.version else "does not exist yet"
    would = "would be rotated" if outlook.wish is Wish.ROTATE else "would be finished"
    yield f"{outlook.name}: {would}: {outlook.path} ({there})"
    if journal.is_open:
        yield f"  open since {moment(journal.started_at)}: {_FINISH[journal.step]}"
    elif journal.step is Step.KEEPING:
        yield f"  the old one of the last rotation, kept until {moment(journal.keep_until)}, is removed first"
    if outlook.wish is Wish.ROTATE:
        yield from (f"  {one}" for one in _new(said, outlook.fields))
    yield f"  waits {spell(said.confirm_within)} at most for {_who(outlook.standing, said)}"


def needed(mount: str, prefix: str, path: str, name: str) -> Rights:
    """What the token of a rotator must be able to do, by path."""
    journal = f"{prefix}lessee/rotation/{name}"
    return {
        f"{mount}/data/{journal}": ("read", "create", "update"),
        f"{mount}/metadata/{journal}": ("create", "update"),
        f"{mount}/data/{path}": ("read", "create", "update"),
        f"{mount}/metadata/{path}": ("read", "create", "update"),
        f"{mount}/metadata/{prefix}{consumers.FOLDER}": ("list",),
        f"{mount}/metadata/{prefix}{consumers.FOLDER}APP/INSTANCE": ("read", "delete"),
    }


def lacking(wanted: Rights, granted: Mapping[str, Any]) -> Mapping[str, list[str]]:
    """What is wanted and not granted; `granted` as sys/capabilities-self has it."""
    found: dict[str, list[str]] = {}
    for path, capabilities in wanted.items():
        there = granted.get(path, ())
        missing = [] if "root" in there else [one for one in capabilities if one not in there]
        if missing:
            found[path] = missing
    return found


def _who(standing: Standing | None, said: g.Rotation) -> str:
    if standing is None:
        return "its consumers, who cannot be looked at"
    names = sorted({*standing.confirmed, *standing.missing, *said.consumers})
    return ", ".join(names) or "whoever reads it: nobody is known"


def _new(said: g.Rotation, fields: Fields) -> Iterator[str]:
    """From which credential to which new one."""
    match said:
        case g.Postgres(roles=roles):
            yield from _roles(roles, str(fields.get("username", "")))
        case g.Redis(user=user):
            yield f"the ACL user {_named(user, 'of the secret')} gets a second password, and then loses the first"
        case g.S3(user=user, keep=keep):
            yield f"a second key of the user {user} is made; the old one is disabled, and removed after {spell(keep)}"
        case g.Minio(user=user, keep=keep):
            whose = _named(user, "of the admin")
            yield f"a new service account {whose} is made; the old one is disabled, and removed after {spell(keep)}"
        case g.ApiKey(recipe=recipe):
            yield f"a new key is made and the old one revoked, as {recipe} says"
        case g.Manual(keys=keys):
            yield f"a person makes it, and types in {', '.join(keys)}"
        case g.InVault(keys=keys, approle=approle):
            for key, value in keys.items():
                yield f"{key}: {value.generate} new characters" + _kept(value.previous)
            if approle is not None:
                yield f"a new secret_id of the AppRole {said.mount}/{approle}; the old one is destroyed"
        case g.Own(command=command):
            yield f"as {command[0]} does it"
        case _:
            assert_never(said)


def _kept(previous: str | None) -> str:
    return f"; the old ones stand in {previous} until the next rotation" if previous is not None else ""


def _roles(roles: tuple[str, ...], current: str) -> Iterator[str]:
    if len(roles) < _TURNS:
        yield f"the role {roles[0]} gets a new password"
        yield "WARNING: with a single role, logins fail from that moment until the apps have the new one; name two"
        return
    at = roles.index(current) if current in roles else -1
    was = roles[at] if at >= 0 else "a role that is none of these"
    yield f"from {was} to the role {roles[(at + 1) % len(roles)]}, with a new password"


def _named(name: str | None, otherwise: str) -> str:
    return name if name is not None else otherwise
