"""Reads the identities, tokens and leases that lessee 0.1.0 wrote to its state store: format 1, with other names."""

from typing import Any

import msgspec

from lessee.config import Vault
from lessee.core.immutable import ImmutableStruct
from lessee.core.leases import Lease
from lessee.core.secrets import VersionMetadata
from lessee.core.tokens import Token
from lessee.publishing.state_records import FORMAT, StoredIdentity, StoredLease, StoredToken, file_name, key_of


class _Identity(ImmutableStruct, frozen=True):
    identity: str
    block: bytes


class _Token(ImmutableStruct, frozen=True):
    hidden = ("value",)

    identity: str
    boot: str
    token: Token
    value: str


class _Lease(ImmutableStruct, frozen=True):
    hidden = ("lease",)

    identity: str
    boot: str
    lease: dict[str, Any]


class _Marker(ImmutableStruct, frozen=True):
    version: int
    created: str
    gone: str = ""


def upgrade_identity(name: str, content: bytes) -> tuple[str, StoredIdentity] | None:
    """The identity as 0.1.0 called it, and its record now; None if the file `name` is not what 0.1.0 writes.

    The key is a hash of the `vault` block, whose keys have other names now: it is another key.
    """
    stored = msgspec.json.decode(content, type=_Identity)
    if file_name("identity", stored.identity) != name:
        return None
    block = msgspec.json.decode(stored.block, type=dict[str, Any])
    _rename(block, "server_name", "tls_server_name")
    _rename(block, "insecure", "tls_skip_verify")
    if isinstance(auth := block.get("auth"), dict):
        _rename(auth, "wrapped_path", "secret_id_response_wrapping_path")
    vault = msgspec.convert(block, type=Vault)
    return stored.identity, StoredIdentity(key_of(vault), msgspec.json.encode(vault), FORMAT)


def upgrade_token(name: str, content: bytes, old: str, key: str) -> StoredToken | None:
    """A token of the identity `old`, which is `key` now; None if it is of another one."""
    stored = msgspec.json.decode(content, type=_Token)
    if stored.identity != old or file_name("token", old, stored.token.id) != name:
        return None
    return StoredToken(key, stored.boot, stored.token, stored.value, FORMAT)


def upgrade_lease(name: str, content: bytes, old: str, key: str) -> StoredLease | None:
    """A lease of the identity `old`, which is `key` now; None if it is of another one."""
    stored = msgspec.json.decode(content, type=_Lease)
    fields = dict(stored.lease)
    if isinstance(secret := fields.get("secret"), dict) and (marker := secret.pop("marker", None)) is not None:
        version = msgspec.convert(marker, type=_Marker)
        secret["metadata"] = msgspec.to_builtins(VersionMetadata(version.version, version.created, version.gone))
    lease = msgspec.convert(fields, type=Lease)
    if stored.identity != old or file_name("lease", old, lease.id) != name:
        return None
    return StoredLease(key, stored.boot, lease, FORMAT)


def _rename(block: dict[str, Any], before: str, now: str) -> None:
    if before in block:
        block[now] = block.pop(before)
