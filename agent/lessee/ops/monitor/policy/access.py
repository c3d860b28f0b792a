"""One answered request of Vault's audit log."""

from lessee.core.immutable import ImmutableStruct


class Access(ImmutableStruct, frozen=True):
    """An audit entry of the type `response`. It holds no value, and an HMAC remains an HMAC."""

    at: float
    """When the server answered, in seconds since 1970."""
    id: str
    """The request's id, which its `request` entry has too."""
    operation: str
    """In Vault's words: read, list, create, update, patch, delete."""
    path: str
    """The whole path, such as `secret/data/production/database/postgres`. The path of a list ends in a slash."""
    mount: str
    """`secret` or `auth/approle`, without the trailing slash."""
    mount_type: str
    namespace: str
    """Without the trailing slash. Empty for the root namespace."""
    address: str
    """The client's address as the server saw it. Empty for a request that the server made itself."""
    display_name: str
    entity: str
    role: str
    """The role in the login's metadata, or empty."""
    accessor: str
    """The accessor's HMAC, or the accessor itself if the device has `hmac_accessor = false` or `log_raw = true`."""
    policies: tuple[str, ...]
    root: bool
    """Whether the request used a root token."""
    error: str | None
    """The server's error on one line, truncated."""
    denied: bool
    """Whether the server answered: permission denied."""
    version: int | None
    """The version of a KV version 2 secret, if the answer names it."""
    server: str
    """The configured name of the audit log."""
    cluster: str = ""
    """The accessor of a mount that each cluster has from its initialization on, such as `system_c2316f99`, or empty.

    It is random, and remains the same over restarts and restored snapshots. No request can unmount it."""
    duration: float | None = None
    """Seconds from the request to the answer. None if the request's own entry was not seen."""

    @property
    def local_mount(self) -> str:
        """The mount as `path` has it: OpenBao's mounts include the namespace, and its paths do not."""
        return self.mount.removeprefix(f"{self.namespace}/") if self.namespace else self.mount


class LogEntry(ImmutableStruct, frozen=True):
    """An access with its number in the log of its source."""

    source: str
    number: int
    """Counts the accesses of the source from 1. Reading a file again gives each access the same number.

    After a kill, a socket or stdin skips numbers, so that no number is given twice."""
    access: Access
    is_history: bool = False
    """The server answered it before the monitor's first start, which began to read further back."""
