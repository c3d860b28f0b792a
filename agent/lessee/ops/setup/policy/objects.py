"""What setup makes on a server: its kind, its place, and the fields that are compared."""

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_network
from typing import Any

from lessee.core.immutable import ImmutableStruct
from lessee.ops.setup.policy.initial_values import Source

Fields = Mapping[str, Any]
"""What is compared of an object, as JSON has it; what setup does not write is left out."""


class Group(StrEnum):
    """What one may set up alone."""

    MOUNTS = "mounts"
    AUDIT = "audit"
    POLICIES = "policies"
    ROLES = "roles"
    DATABASE = "database"
    PKI = "pki"
    SECRETS = "secrets"


class Kind(StrEnum):
    """A kind of object, in words for people."""

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
    """Of a secret: its metadata."""


class Object(ImmutableStruct, frozen=True):
    """Something that is to be there."""

    kind: Kind
    group: Group
    environment: str
    """Empty: of all environments."""
    path: str
    """Where it is written, below /v1/."""
    fields: Fields
    password: Source | None = None
    """Of a connection: no server gives it back."""

    @property
    def name(self) -> str:
        """As people call it."""
        return display_name(self.kind, self.path)


def display_name(kind: Kind, path: str) -> str:
    """What people call the object of this kind at this path."""
    for prefix in ("sys/mounts/", "sys/auth/", "sys/audit/", "sys/policies/acl/", "auth/approle/role/"):
        path = path.removeprefix(prefix)
    for between in ("/config/", "/roles/", "/metadata/"):
        path = path.replace(between, "/", 1)
    return path.removesuffix("/root/generate/internal") if kind is Kind.CA else path


def belongs_to(kind: Kind, path: str, environment: str) -> bool:
    """Whether an object of this kind at this path is the environment's, and no other's; empty: of all."""
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
    """These keys of what the server says of an object, in the form in which they are wanted."""
    return {key: _normalized(key, value) for key, value in _reported_fields(kind, data).items() if key in keys}


def body_of(wanted: Object, *, new: bool) -> dict[str, Any]:
    """What is written to have it so, without a password."""
    fields = dict(wanted.fields)
    match wanted.kind:
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
            # A wrong one is told at once, and not when the first app asks.
            return {**fields, "verify_connection": True}
        case _:
            return fields


def _reported_fields(kind: Kind, data: Mapping[str, Any]) -> Mapping[str, Any]:
    match kind:
        case Kind.KV:
            # Before version 2 there were no options, and its type was called generic.
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
