"""What can happen to the machine."""

from collections.abc import Mapping

from lessee.agent.machine.protocol.app_spec import Want
from lessee.core.failures import Failure
from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import ImmutableStruct
from lessee.core.leases import Lease
from lessee.core.paths import Need
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.tokens import Token


class Configured(ImmutableStruct, frozen=True):
    """A configuration is in force. `elsewhere`: as `State.elsewhere`."""

    apps: Mapping[str, Want]
    elsewhere: frozenset[str] = frozenset()


class AppRecovered(ImmutableStruct, frozen=True):
    """What stood in an app's directory and ledger when the agent came: its live generation, whether it is owed."""

    app: str
    number: int | None
    owed: bool
    published_at: float | None = None
    """None too where it is not known any more."""
    old: tuple[tuple[int, float], ...] = ()
    """Generations that readers may still hold, as `App.old`."""
    unproved: bool = False
    """The live one is not known to work yet."""
    good: int | None = None
    """The one to go back to, should it not."""
    bad: str | None = None
    """The fingerprint of one that did not work."""
    fingerprint: str | None = None
    """That of the live one, where it is known."""
    fallback: FallbackKind | None = None
    """The live one comes from a fallback."""


class LeasesRecovered(ImmutableStruct, frozen=True):
    """What the ledger kept over the death of an earlier agent: leases, and the tokens under which they live."""

    leases: tuple[Lease, ...]
    tokens: tuple[Token, ...]


class LoggedIn(ImmutableStruct, frozen=True):
    """A login gave a token; or it was `kept` from an earlier life, and is still good."""

    call: int
    token: Token
    kept: bool = False


class TokenRenewed(ImmutableStruct, frozen=True):
    """The token was renewed, or looked up: it is valid, and this is what is left of it."""

    call: int
    token: Token


class KvVersionDetected(ImmutableStruct, frozen=True):
    """A KV mount and its version, 1 or 2."""

    call: int
    version: int


class FolderListed(ImmutableStruct, frozen=True):
    """The secrets of a folder; their version metadata if the server lists it, else None each."""

    call: int
    secrets: Mapping[str, VersionMetadata | None]


class MetadataRead(ImmutableStruct, frozen=True):
    """The newest version of a secret, by its metadata."""

    call: int
    metadata: VersionMetadata


class SecretRead(ImmutableStruct, frozen=True):
    """A secret."""

    call: int
    secret: Secret


class SecretIssued(ImmutableStruct, frozen=True):
    """A dynamic secret was issued, or a static role read."""

    call: int
    lease: Lease


class LeaseRenewed(ImmutableStruct, frozen=True):
    """A lease was renewed, or looked up: it is valid, and this is what is left of it. `ttl` from `sent_at` on."""

    call: int
    sent_at: float
    ttl: float
    renewable: bool


class Revoked(ImmutableStruct, frozen=True):
    """A lease or a token is no more."""

    call: int


class VersionsReported(ImmutableStruct, frozen=True):
    """What an app works with is said."""

    call: int


class RequestFailed(ImmutableStruct, frozen=True):
    """A call to Vault failed. `metadata`: of a deleted version."""

    call: int
    failure: Failure
    metadata: VersionMetadata | None = None


class Rendered(ImmutableStruct, frozen=True):
    """The files of an app, from the inputs that were handed out with `job`."""

    app: str
    job: int
    generation: Generation


class RenderFailed(ImmutableStruct, frozen=True):
    """The templates could not be rendered from these inputs."""

    app: str
    job: int
    text: str


class FallbackRendered(ImmutableStruct, frozen=True):
    """The files of an app, from its fallback."""

    app: str
    job: int
    generation: Generation
    source: FallbackKind


class FallbackFailed(ImmutableStruct, frozen=True):
    """The fallback cannot serve the app."""

    app: str
    job: int
    text: str


class SnapshotSaved(ImmutableStruct, frozen=True):
    """What an app's files were made from is kept; or it is not, and why."""

    app: str
    error: str | None = None


class CheckPassed(ImmutableStruct, frozen=True):
    """The app's `check` has nothing against the generation."""

    app: str
    job: int


class CheckFailed(ImmutableStruct, frozen=True):
    """The app's `check` will not have the generation; a reader still sees the old one."""

    app: str
    job: int
    text: str


class Published(ImmutableStruct, frozen=True):
    """A reader sees this generation now; `changed` False: it saw the same before."""

    app: str
    job: int
    number: int
    changed: bool
    fallback: FallbackKind | None = None
    """It comes from a fallback."""


class PublishFailed(ImmutableStruct, frozen=True):
    """The files could not be written; a reader still sees the old generation."""

    app: str
    job: int
    text: str


class Notified(ImmutableStruct, frozen=True):
    """The app has been told; `how` says it in words."""

    app: str
    job: int
    how: str


class NotificationFailed(ImmutableStruct, frozen=True):
    """The app could not be told. `absent`: nobody was there to be told.

    `retry_in`: seconds, where the effect knows better than a backoff.
    """

    app: str
    job: int
    text: str
    absent: bool = False
    retry_in: float | None = None


class ReadinessPassed(ImmutableStruct, frozen=True):
    """The app works with what it was told of."""

    app: str
    job: int


class ReadinessFailed(ImmutableStruct, frozen=True):
    """The app does not work, or not yet."""

    app: str
    job: int
    text: str


class RolledBack(ImmutableStruct, frozen=True):
    """A reader sees the generation again that was before."""

    app: str


class RollbackFailed(ImmutableStruct, frozen=True):
    """The previous generation could not be shown again."""

    app: str
    text: str


class Withdrawn(ImmutableStruct, frozen=True):
    """An app's files were removed from its readers' sight."""

    app: str


class Stopping(ImmutableStruct, frozen=True):
    """The agent ends, and nothing is to be left in Vault: every lease and every token of ours is revoked."""


class Deregistering(ImmutableStruct, frozen=True):
    """The agent ends, and the rotator need not wait for its apps any more."""


class RefreshRequested(ImmutableStruct, frozen=True):
    """Somebody asks to look now; no paths: at everything. A path is matched with or without its mount."""

    paths: tuple[str, ...] = ()


class EventSourceChanged(ImmutableStruct, frozen=True):
    """Changes are told from now on, if `live`; the rest is as of `Heard`."""

    live: bool
    poll: float = 0.0
    spread: float = 0.0
    silent: float = 0.0
    """Seconds since somebody who is gone was last there."""


class SecretsChanged(ImmutableStruct, frozen=True):
    """Somebody says that these have changed."""

    needs: frozenset[Need]


class Tick(ImmutableStruct, frozen=True):
    """Time has passed."""


Answer = (
    LoggedIn
    | TokenRenewed
    | KvVersionDetected
    | FolderListed
    | MetadataRead
    | SecretRead
    | SecretIssued
    | LeaseRenewed
    | Revoked
    | VersionsReported
    | RequestFailed
)
Made = (
    Rendered | RenderFailed | FallbackRendered | FallbackFailed | CheckPassed | CheckFailed | Published | PublishFailed
)
Shown = Notified | NotificationFailed | ReadinessPassed | ReadinessFailed | RolledBack | RollbackFailed | SnapshotSaved
Heard = EventSourceChanged | SecretsChanged
Event = (
    Answer
    | Configured
    | AppRecovered
    | LeasesRecovered
    | Withdrawn
    | Stopping
    | Deregistering
    | Made
    | Shown
    | RefreshRequested
    | Heard
    | Tick
)
