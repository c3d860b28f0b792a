"""One answered request, as the audit log of Vault has it."""

from lessee.core.immutable import Record


class Access(Record, frozen=True):
    """What is kept of a line of the type `response`. No value is in it, and an HMAC stays one."""

    at: float
    """Seconds since 1970: when it was answered."""
    id: str
    """Of the request; its other line has it too."""
    operation: str
    """In Vault's words: read, list, create, update, patch, delete."""
    path: str
    """Whole, such as `secret/data/production/database/postgres`; a list's ends in a slash."""
    mount: str
    """`secret`, `auth/approle`; without the last slash."""
    mount_type: str
    namespace: str
    """Without the last slash; empty: the root."""
    address: str
    """Of the client, as the server saw it; empty where the server asked itself."""
    display_name: str
    entity: str
    role: str
    """Which the login's metadata name; empty where there is none."""
    accessor: str
    """Its HMAC; the accessor itself where the device has `hmac_accessor = false` or `log_raw = true`."""
    policies: tuple[str, ...]
    root: bool
    """Whether the token may do anything."""
    error: str | None
    """What the server said, on one line and cut."""
    refused: bool
    """Whether the server said: permission denied."""
    version: int | None
    """Of a secret in KV version 2, where the answer names it."""
    server: str
    """What the configuration calls the log's source."""


class Line(Record, frozen=True):
    """An access, and its place in the log of its source."""

    source: str
    number: int
    """From 1: its place among the source's accesses. A file read again gives each the same one, and the next has the
    next. What is heard once, from a socket or stdin, leaves a gap after a kill: no number is ever given twice."""
    access: Access
