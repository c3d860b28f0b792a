"""What is copied to another server, and what of it is left to a person."""

from collections.abc import Iterable, Iterator
from typing import assert_never

from lessee.core.immutable import ImmutableStruct
from lessee.ops.backup.policy.object_restore import Change, Conflict, Unrestorable
from lessee.ops.backup.policy.objects import AUTH_LISTINGS
from lessee.ops.backup.policy.records import Secret, ServerObject
from lessee.ops.backup.policy.secret_restore import Plan, SecretStatus, WriteVersion
from lessee.ops.dev.policy.server_config import ADMIN

_OWN_POLICIES = frozenset({"default", ADMIN})
"""Each server has a default policy of its own."""
_TOKENS = "sys/auth/token/tune"


class Copied(ImmutableStruct, frozen=True):
    """What one object or secret becomes on the other server, as a line of the plan."""

    text: str
    is_left: bool = False
    """It is left to a person."""
    is_write: bool = False


def is_copied(server_object: ServerObject) -> bool:
    """Whether an object is the user's. A role_id is not: the other server makes its own."""
    match server_object.kind:
        case "policy":
            return server_object.path.rpartition("/")[2] not in _OWN_POLICIES
        case "role":
            return not server_object.path.endswith("/role-id")
        case _:
            return True


def of_object(found: Change | Unrestorable | Conflict, *, force: bool) -> Copied | None:
    """The line of an object that differs; None where the other server's settings are its own affair."""
    match found:
        case Change(path=path) if found.new:
            return Copied(f"+ {path}", is_write=True)
        case Change(server_object=ServerObject(kind="mount" | "auth")):
            if found.path == _TOKENS:
                return None
            return Copied(f"= {found.path.removesuffix('/tune')}: exists, and its settings stay")
        case Change(path=path) if force:
            return Copied(f"~ {path}: another one there is overwritten (--force)", is_write=True)
        case Change(path=path):
            return Copied(f"! {path}: another one is there, and stays; compare them, or use --force", is_left=True)
        case Unrestorable(path=path, what=what):
            return Copied(f"! {path}: cannot be read from a server ({what}); write it there yourself", is_left=True)
        case Conflict(path=path, what=what):
            return Copied(
                f"! {path}: {what.replace('the archive', 'this one')}; nothing was copied into it", is_left=True
            )
        case _:
            assert_never(found)


def of_secret(secret: Secret, plan: Plan, *, force: bool) -> Copied | None:
    """The line of a secret; None where it is equal."""
    count = sum(isinstance(step, WriteVersion) for step in plan.steps)
    versions = f"{count} version{'s' * (count != 1)}"
    match plan.status:
        case SecretStatus.EQUAL:
            return None
        case SecretStatus.NEW:
            return Copied(f"+ {secret.where}: {versions}", is_write=True)
        case SecretStatus.CONTINUED:
            return Copied(
                f"~ {secret.where}: its first versions are there; {versions} and its settings follow", is_write=True
            )
        case SecretStatus.CHANGED if force:
            return Copied(f"~ {secret.where}: a different secret there gets a new version (--force)", is_write=True)
        case SecretStatus.CHANGED:
            return Copied(
                f"! {secret.where}: a different secret is there, and stays; compare them, or use --force", is_left=True
            )
        case _:
            assert_never(plan.status)


def not_readable(objects: Iterable[ServerObject], namespaces: Iterable[str]) -> Iterator[Copied]:
    """What no server returns, once each: so a person has to make it on the other one."""
    lines: dict[str, None] = {}
    for one in objects:
        match one:
            case ServerObject(kind="mount") if one.data["type"] == "pki":
                lines[f"! {one.path}: a CA's key never leaves its server; make or import one there"] = None
            case ServerObject(kind="mount") if one.data["type"] not in {"kv", "generic", "database"}:
                lines[
                    f"! {one.path}: what is in an engine of type {one.data['type']} cannot be read; set it up there"
                ] = None
            case ServerObject(kind="auth") if one.data["type"] not in AUTH_LISTINGS:
                lines[f"! auth/{one.path}: what is in it cannot be read ({one.data['type']}); set it up there"] = None
            case _:
                pass
    yield from (Copied(line, is_left=True) for line in lines)
    for name in (one.removesuffix("/") for one in namespaces):
        yield Copied(f"! namespace {name}: copy it with --namespace {name}", is_left=True)


def notes(objects: Iterable[ServerObject]) -> Iterator[str]:
    """What is new on each server, and is no part of a copy."""
    if any(one.kind == "auth" and one.data["type"] == "approle" for one in objects):
        yield "secret_ids are not copied: issue new ones there with `lessee setup --output DIR`"
    yield "tokens and leases are not copied: each client logs in there"
