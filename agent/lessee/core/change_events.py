"""What is told of a change in Vault: a hint without a value, after which an agent looks for itself."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lessee.core.immutable import Record

CHANNEL = "lessee:changes"
"""The name of the channel and of the stream in Redis."""
HEARTBEAT = "lessee:heartbeat"
"""The stream, of one entry, by which agents know that the monitor itself is there."""
SILENCE = 3.5
"""Heartbeats that are missed in a row, after which the monitor is taken to be gone."""
LONGEST = 8192
"""Bytes. A longer message is none of ours: a path in Vault has no such length."""


class Change(Record, frozen=True, omit_defaults=True):
    """Something was written, removed or rotated; `version` None where KV has none or the log does not say it.

    `path` lies below `mount`, and for KV below `environment` too, where the path begins with the name of one.
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
    """Where it is not the root's."""

    @property
    def whole(self) -> str:
        """The path below the mount."""
        return f"{self.environment}/{self.path}" if self.environment is not None else self.path


class Beat(Record, frozen=True, forbid_unknown_fields=True):
    """The monitor is there, or takes its leave."""

    heartbeat: Literal["here", "leaving"] = "here"
    every: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Seconds until the next one. Who could stretch them could as well keep up the beat."""


Message = Change | Beat


def packed(message: Message) -> bytes:
    """As it is sent: JSON on one line."""
    return msgspec.json.encode(message)


def unpacked(text: bytes) -> Message | None:
    """None for whatever the monitor would not have sent: anybody may have."""
    if len(text) > LONGEST:
        return None
    try:
        said: Any = msgspec.json.decode(text)
        if isinstance(said, dict) and "heartbeat" in said:
            return msgspec.convert(said, Beat)
        change = msgspec.convert(said, Change)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return change if change.mount and change.path else None
