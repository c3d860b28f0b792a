"""Reads the last-known-good snapshots that lessee 0.1.0 saved: format 1, with other names of the same fields."""

from typing import Any

import msgspec

from lessee.core.immutable import ImmutableStruct


class Header1(ImmutableStruct, frozen=True):
    """The app and time of a snapshot."""

    app: str
    environment: str
    kept_at: float


def upgrade_content(content: bytes) -> bytes:
    """The content under today's names. Raises what msgspec raises for one that is no snapshot."""
    snapshot = msgspec.json.decode(content, type=dict[str, Any])
    issued = msgspec.convert(snapshot.get("issued"), type=list[dict[str, Any]])
    for secret in issued:
        secret["expires_at"] = secret.pop("ends_at", None)
    return msgspec.json.encode(snapshot | {"issued": issued})
