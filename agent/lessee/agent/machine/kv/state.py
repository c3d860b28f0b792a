"""What the agent knows of KV mounts, folders and secrets, and of the event source that reports changes in them."""

from collections.abc import Mapping

from msgspec import field

from lessee.agent.machine.session.state import LONG_AGO, NEVER
from lessee.agent.machine.table import TableKind
from lessee.core.failures import Failure
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Need, Ref
from lessee.core.secrets import Secret, VersionMetadata


class KvMount(ImmutableStruct, frozen=True):
    """A KV mount. `version` 0: not detected yet."""

    version: int = 0
    next_at: float = 0.0
    attempts: int = 0
    since: float = 0.0
    failure: Failure | None = None
    request: int | None = None

    @property
    def due_at(self) -> float:
        """When to detect the version."""
        return NEVER if self.version or self.request is not None else self.next_at


class KvFolder(ImmutableStruct, frozen=True):
    """A folder with secrets that templates read, and how changes in it are detected."""

    refresh_interval: float
    refs: tuple[Ref, ...]
    reads_all: bool
    """Some template reads the whole folder."""
    lists_metadata: bool
    """One LIST returns the metadata of all its secrets. False: the metadata of each secret is read."""
    blocked: bool = False
    """The version of its mount is not known: it cannot be listed."""
    names: tuple[str, ...] | None = None
    listing: Mapping[str, VersionMetadata | None] | None = None
    """The last LIST, if its metadata was compared and no secret of the folder has changed since."""
    next_at: float = 0.0
    last_checked_at: float | None = None
    attempts: int = 0
    since: float = 0.0
    failure: Failure | None = None
    request: int | None = None
    event_due_at: float = NEVER
    """When to list it because of an event."""

    @property
    def due_at(self) -> float:
        """When to list it."""
        return NEVER if self.request is not None or self.blocked else min(self.next_at, self.event_due_at)


class KvSecret(ImmutableStruct, frozen=True):
    """A KV secret that some template reads."""

    secret: Secret | None = None
    metadata: VersionMetadata | None = None
    """Of the version that was read last."""
    seen_metadata: VersionMetadata | None = None
    """Of the version that a listing or the secret's metadata showed last, or of a deleted one."""
    stale: bool = True
    """It must be read: it never was, or it has changed."""
    blocked: bool = False
    """The version of its mount is not known: it cannot be read."""
    polls_data: bool = False
    """Its metadata is not readable, or does not exist (KV v1): changes are detected by reading the data."""
    next_at: float = 0.0
    """When to read it or its metadata."""
    last_checked_at: float | None = None
    last_read_at: float | None = None
    attempts: int = 0
    since: float = 0.0
    """When the first of these attempts failed."""
    failure: Failure | None = None
    request: int | None = None
    event_due_at: float = NEVER
    """When to read it because of an event."""

    @property
    def due_at(self) -> float:
        """When to read it or its metadata."""
        return NEVER if self.request is not None or self.blocked else min(self.next_at, self.event_due_at)


def has_failed(item: "KvMount | KvFolder | KvSecret") -> bool:
    """Whether the last attempt to read it failed."""
    return item.failure is not None


def is_retried(secret: KvSecret) -> bool:
    """Whether a secret failed, and has a time at which it is read again."""
    return secret.failure is not None and secret.next_at != NEVER


MOUNTS = TableKind[KvMount](lambda mount: mount.due_at, (has_failed,))
FOLDERS = TableKind[KvFolder](lambda folder: folder.due_at, (has_failed,))
SECRETS = TableKind[KvSecret](lambda secret: secret.due_at, (has_failed, is_retried))


class EventSource(ImmutableStruct, frozen=True):
    """Whether an event source reports changes, and how often the agent reads because of it."""

    live: bool = False
    poll_interval: float = 0.0
    """Seconds between two checks of each secret while it is live."""
    jitter: float = 0.0
    """The maximum random delay, in seconds, before a reported secret is read."""
    last_live_at: float = LONG_AGO
    """The last sign of a source that is unavailable now."""
    next_slots: Mapping[Need, float] = field(default_factory=dict)
    """The rate limit: for each path reported recently, when its next read would be due at the limit."""
    next_slot_of_all: float = 0.0
    """The rate limit of all paths together."""
