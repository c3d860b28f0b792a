"""What the agent reports to the state machine."""

from collections.abc import Mapping

from lessee.core.failures import Failure
from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import ImmutableStruct
from lessee.core.leases import Lease
from lessee.core.paths import Need
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.tokens import Token
from lessee.protocol.app_spec import AppSpec, Supply


class Configured(ImmutableStruct, frozen=True):
    """A configuration takes effect. `moved_apps`: see `State.moved_apps`."""

    apps: Mapping[str, AppSpec]
    moved_apps: frozenset[str] = frozenset()


class AppRecovered(ImmutableStruct, frozen=True):
    """What a previous run left of an app: the published generation, and what is still to be done for it."""

    app: str
    number: int | None
    notification_pending: bool
    published_at: float | None = None
    """None also if the time was not recorded."""
    old_generations: tuple[tuple[int, float], ...] = ()
    """See `App.old_generations`."""
    readiness_pending: bool = False
    """No probe of the published generation has succeeded yet."""
    rollback_to: int | None = None
    """The generation to roll back to if it does not."""
    failed_fingerprint: str | None = None
    """The fingerprint of a newer generation with which the app was not ready."""
    fingerprint: str | None = None
    """The fingerprint of the published generation, if known."""
    fallback: FallbackKind | None = None
    """The fallback from which the published generation was rendered."""
    is_missing: bool = False
    """The previous run has published files in this boot, and another program has removed them."""


class LeasesRecovered(ImmutableStruct, frozen=True):
    """What the state store holds from a previous run: leases, and the tokens under which they were issued."""

    leases: tuple[Lease, ...]
    tokens: tuple[Token, ...]


class Supplied(ImmutableStruct, frozen=True):
    """Another machine supplies this to an app. `source`: see `supply_name`."""

    app: str
    source: str
    supply: Supply


class ReadersChanged(ImmutableStruct, frozen=True):
    """The readers of the app to which this machine supplies something have another generation, or know of it.

    `reader` is the app in its own machine; `app` its name in this one.
    """

    hidden = ("reader",)

    app: str
    reader: object


class LoggedIn(ImmutableStruct, frozen=True):
    """A login returned a token. `reused`: it is the saved token of a previous run, which is still valid."""

    request_id: int
    token: Token
    reused: bool = False


class TokenRenewed(ImmutableStruct, frozen=True):
    """The token was renewed or looked up: it is valid, and `token.ttl` is the time that is left."""

    request_id: int
    token: Token


class KvVersionDetected(ImmutableStruct, frozen=True):
    """The version of a KV mount: 1 or 2."""

    request_id: int
    version: int


class FolderListed(ImmutableStruct, frozen=True):
    """The secrets in a folder, by name, each with its version metadata if the server lists it."""

    request_id: int
    secrets: Mapping[str, VersionMetadata | None]


class MetadataRead(ImmutableStruct, frozen=True):
    """The metadata of a secret's latest version."""

    request_id: int
    metadata: VersionMetadata


class SecretRead(ImmutableStruct, frozen=True):
    """A KV secret was read."""

    request_id: int
    secret: Secret


class SecretIssued(ImmutableStruct, frozen=True):
    """Vault issued a dynamic secret, or returned the credentials of a static role."""

    request_id: int
    lease: Lease


class LeaseRenewed(ImmutableStruct, frozen=True):
    """A lease was renewed or looked up: it is valid for `ttl` seconds from `sent_at`."""

    request_id: int
    sent_at: float
    ttl: float
    renewable: bool


class Revoked(ImmutableStruct, frozen=True):
    """A lease or a token was revoked."""

    request_id: int


class VersionsReported(ImmutableStruct, frozen=True):
    """An app's report of its versions was written."""

    request_id: int


class RequestFailed(ImmutableStruct, frozen=True):
    """A request to Vault failed. `metadata`: of the deleted version, if that is the reason."""

    request_id: int
    failure: Failure
    metadata: VersionMetadata | None = None


class Rendered(ImmutableStruct, frozen=True):
    """An app's files were rendered from the secrets in the command with this `job`."""

    app: str
    job: int
    generation: Generation


class RenderFailed(ImmutableStruct, frozen=True):
    """The templates cannot be rendered from these secrets."""

    app: str
    job: int
    text: str


class FallbackRendered(ImmutableStruct, frozen=True):
    """An app's files were rendered from its fallback."""

    app: str
    job: int
    generation: Generation
    source: FallbackKind


class FallbackFailed(ImmutableStruct, frozen=True):
    """The app's files cannot be rendered from its fallback."""

    app: str
    job: int
    text: str


class SnapshotSaved(ImmutableStruct, frozen=True):
    """An app's last-known-good snapshot was saved, or was not because of `error`."""

    app: str
    error: str | None = None


class CheckPassed(ImmutableStruct, frozen=True):
    """The app's `check` accepts the generation."""

    app: str
    job: int


class CheckFailed(ImmutableStruct, frozen=True):
    """The app's `check` rejects the generation; readers still see the previous one."""

    app: str
    job: int
    text: str


class Published(ImmutableStruct, frozen=True):
    """Readers see this generation. `changed` False: its files are the same as before."""

    app: str
    job: int
    number: int
    changed: bool
    fallback: FallbackKind | None = None
    """The fallback from which it was rendered."""


class PublishFailed(ImmutableStruct, frozen=True):
    """The files could not be written; readers still see the previous generation."""

    app: str
    job: int
    text: str


class Notified(ImmutableStruct, frozen=True):
    """The app was notified. `how`: a description for the log."""

    app: str
    job: int
    how: str


class NotificationFailed(ImmutableStruct, frozen=True):
    """The app could not be notified. `absent`: no process to notify was found.

    `retry_in`: the seconds until the next attempt, if the sender knows better than a backoff.
    """

    app: str
    job: int
    text: str
    absent: bool = False
    retry_in: float | None = None


class AppEnded(ImmutableStruct, frozen=True):
    """The app's process ended after it was notified, and nothing has started it again."""

    app: str


class AppReturned(ImmutableStruct, frozen=True):
    """The app's process, which had ended, runs again."""

    app: str


class ReadinessPassed(ImmutableStruct, frozen=True):
    """The probe succeeded: the app works with its files."""

    app: str
    job: int


class ReadinessFailed(ImmutableStruct, frozen=True):
    """The probe failed until its timeout."""

    app: str
    job: int
    text: str


class RolledBack(ImmutableStruct, frozen=True):
    """Readers see the previous generation again."""

    app: str


class RollbackFailed(ImmutableStruct, frozen=True):
    """The previous generation could not be published again."""

    app: str
    text: str


class Withdrawn(ImmutableStruct, frozen=True):
    """An app's files were removed."""

    app: str


class FilesTouched(ImmutableStruct, frozen=True):
    """Something has happened in the app's directory; the agent itself may have done it."""

    app: str


class FilesChecked(ImmutableStruct, frozen=True):
    """The app's directory was compared with what the agent published."""

    app: str
    number: int | None = None
    """The generation that readers see now; None: nothing is published."""
    found: tuple[str, ...] = ()
    """What another program had changed, each with its place."""
    changed: bool = False
    """Whether readers may have read something else than the published files, which they see again."""
    error: str | None = None
    """Why it is not restored, or not the mode and owner of the directory; None: all is as it was published."""
    is_lost: bool = False
    """The directory was replaced, and the agent may not write to the new one."""


class Stopping(ImmutableStruct, frozen=True):
    """The agent stops and leaves nothing in Vault: all its leases and tokens are revoked."""


class Deregistering(ImmutableStruct, frozen=True):
    """The agent stops: its reports are deleted, so that the rotator does not wait for its apps."""


class RefreshRequested(ImmutableStruct, frozen=True):
    """A user requests a check now, of these paths, or of all if there are none. The mount in a path is optional."""

    paths: tuple[str, ...] = ()


class EventSourceChanged(ImmutableStruct, frozen=True):
    """An event source is available from now on, or is not. The settings are those of `EventSource`."""

    live: bool
    poll_interval: float = 0.0
    jitter: float = 0.0
    silent_for: float = 0.0
    """Seconds since the last sign of a source that is unavailable now."""


class SecretsChanged(ImmutableStruct, frozen=True):
    """The event source reports that these may have changed."""

    needs: frozenset[Need]


class Tick(ImmutableStruct, frozen=True):
    """Nothing happened except that time passed."""


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
PublicationEvent = (
    Rendered
    | RenderFailed
    | FallbackRendered
    | FallbackFailed
    | CheckPassed
    | CheckFailed
    | Published
    | PublishFailed
    | Withdrawn
    | SnapshotSaved
    | FilesTouched
    | FilesChecked
)
ReadinessEvent = ReadinessPassed | ReadinessFailed | RolledBack | RollbackFailed
NotificationEvent = Notified | NotificationFailed | AppEnded | AppReturned
AppEvent = PublicationEvent | NotificationEvent | ReadinessEvent
ChangeEvent = RefreshRequested | EventSourceChanged | SecretsChanged
ControlEvent = Configured | AppRecovered | LeasesRecovered | Supplied | ReadersChanged | Stopping | Deregistering
Event = Answer | AppEvent | ChangeEvent | ControlEvent | Tick
