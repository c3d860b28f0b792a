"""The objects that setup creates on a server: their kinds, their paths, and the fields that it compares."""

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_network
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.setup.policy.initial_values import Source

Fields = Mapping[str, Any]
"""The compared fields of an object as JSON values; fields that setup does not write are left out."""


class Group(StrEnum):
    """The groups of objects that `--only` selects."""

    MOUNTS = "mounts"
    AUDIT = "audit"
    POLICIES = "policies"
    ROLES = "roles"
    DATABASE = "database"
    PKI = "pki"
    SECRETS = "secrets"


class Kind(StrEnum):
    """The kinds of objects. Their values are printed."""

    KV = "KV engine"
    AUTH = "auth method"
    AUDIT = "audit device"
    POLICY = "policy"
    ROLE = "role"
    ENGINE = "engine"
    CONNECTION = "database connection"
    DATABASE_ROLE = "database role"
    CA = "root certificate"
    PKI_ROLE = "certificate role"
    SETTINGS = "settings of"
    """The metadata of a secret."""


class Object(ImmutableStruct, frozen=True):
    """An object that must exist."""

    kind: Kind
    group: Group
    environment: str
    """Empty: shared by all environments."""
    path: str
    """The API path below /v1/ that creates it."""
    fields: Fields
    password: Source | None = None
    """The password of a database connection, which Vault never returns."""

    @property
    def name(self) -> str:
        """The name for people."""
        return display_name(self.kind, self.path)


def display_name(kind: Kind, path: str) -> str:
    """The name for people of the object of this kind at this path."""
    for prefix in ("sys/mounts/", "sys/auth/", "sys/audit/", "sys/policies/acl/", "auth/approle/role/"):
        path = path.removeprefix(prefix)
    for between in ("/config/", "/roles/", "/metadata/"):
        path = path.replace(between, "/", 1)
    return path.removesuffix("/root/generate/internal") if kind is Kind.CA else path


def belongs_to(kind: Kind, path: str, environment: str) -> bool:
    """Whether an object of this kind at this path belongs to this environment only; "": to all of them.

    A record in Vault names paths too, so one that leads out of the environment's belongs to none.
    """
    if "%" in path or not {".", ".."}.isdisjoint(path.split("/")):
        return False
    own = environment.lower()
    match kind:
        case Kind.KV | Kind.AUTH | Kind.AUDIT:
            return not environment
        case Kind.POLICY:
            return path.startswith(f"sys/policies/acl/{own}-")
        case Kind.ROLE:
            return path.startswith(f"auth/approle/role/{own}-")
        case Kind.ENGINE:
            return path.startswith(f"sys/mounts/{environment}/")
        case Kind.SETTINGS:
            return f"/{environment}/" in path
        case _:
            return path.startswith(f"{environment}/")


def fields_of(kind: Kind, data: Mapping[str, Any], keys: Mapping[str, Any]) -> Fields:
    """These fields of an object in the server's answer, in the same form as the desired fields."""
    return {key: _normalized(key, value) for key, value in _reported_fields(kind, data).items() if key in keys}


def body_of(desired: Object, *, new: bool) -> dict[str, Any]:
    """The request body that creates or changes the object, without a password."""
    fields = dict(desired.fields)
    match desired.kind:
        case Kind.KV:
            return {"type": "kv", "options": {"version": "2"}}
        case Kind.ENGINE if new:
            config = {key: f"{value}s" for key, value in fields.items() if key != "type"}
            return {"type": fields["type"], "config": config}
        case Kind.ENGINE:
            return {key: f"{value}s" for key, value in fields.items() if key != "type"}
        case Kind.AUDIT:
            return {"type": fields["type"], "options": {"file_path": fields["file_path"]}}
        case Kind.CONNECTION:
            # Vault reports a wrong connection now, instead of to the first app that requests credentials.
            return {**fields, "verify_connection": True}
        case _:
            return fields


def _reported_fields(kind: Kind, data: Mapping[str, Any]) -> Mapping[str, Any]:
    match kind:
        case Kind.KV:
            # Before version 2 there were no options, and the type was `generic`.
            return {"type": data.get("type"), "version": str((data.get("options") or {}).get("version") or "1")}
        case Kind.ENGINE:
            return {"type": data.get("type"), "max_lease_ttl": (data.get("config") or {}).get("max_lease_ttl")}
        case Kind.AUDIT:
            return {"type": data.get("type"), "file_path": (data.get("options") or {}).get("file_path")}
        case Kind.CONNECTION:
            return {**data, **(data.get("connection_details") or {})}
        case _:
            return data


def _normalized(key: str, value: object) -> object:
    if key.endswith("_cidrs"):
        return sorted(str(ip_network(item, strict=False)) for item in (value if isinstance(value, list) else []))
    if isinstance(value, list) and not key.endswith("_statements"):
        return sorted(map(str, value))
    return value
