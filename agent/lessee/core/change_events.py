"""Change events: messages without values that tell agents to read a path in Vault again."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lessee.core.immutable import ImmutableStruct

CHANNEL = "lessee:changes"
"""The name of the channel and of the stream in Redis."""
HEARTBEAT_STREAM = "lessee:heartbeat"
"""The stream in Redis that holds one entry: the monitor's last heartbeat."""
MISSED_HEARTBEATS = 3.5
"""Heartbeat intervals without a heartbeat after which an agent considers the monitor unavailable."""
MAX_MESSAGE_BYTES = 8192
"""A longer message is rejected: a path in Vault is never that long."""


class Change(ImmutableStruct, frozen=True, omit_defaults=True):
    """A write, deletion or rotation in Vault. `version` may be None: KV v1 has none, and some audit entries omit it.

    `path` is below `mount`, and below `environment` if the path in KV begins with the name of an environment.
    """

    environment: str | None
    mount: str
    path: str
    version: int | None
    operation: str
    """create, update, patch, delete, undelete, destroy, remove (of all versions) or rotate."""
    at: str
    """RFC 3339."""
    namespace: str = ""
    """Vault's namespace; empty is the root namespace."""

    @property
    def full_path(self) -> str:
        """The path below the mount."""
        return f"{self.environment}/{self.path}" if self.environment is not None else self.path


class Heartbeat(ImmutableStruct, frozen=True, forbid_unknown_fields=True):
    """The monitor is alive, or is about to stop."""

    heartbeat: Literal["alive", "stopping"] = "alive"
    interval: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Seconds until the next heartbeat, bounded because any client that can write to the stream can send one."""


Message = Change | Heartbeat


def encode_message(message: Message) -> bytes:
    """The message as it is sent: JSON on one line."""
    return msgspec.json.encode(message)


def decode_message(text: bytes) -> Message | None:
    """The message, or None if the monitor would not have sent it: other clients may write to the same place."""
    if len(text) > MAX_MESSAGE_BYTES:
        return None
    try:
        decoded: Any = msgspec.json.decode(text)
        if isinstance(decoded, dict) and "heartbeat" in decoded:
            return msgspec.convert(decoded, Heartbeat)
        change = msgspec.convert(decoded, Change)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return change if change.mount and change.path else None
