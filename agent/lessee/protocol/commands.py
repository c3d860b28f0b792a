"""What the state machine tells the agent to do."""

from collections.abc import Mapping

from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import ImmutableStruct
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret


class Login(ImmutableStruct, frozen=True):
    """Reuse the saved token if `fresh` is False and the token is still valid, else log in.

    `if_changed`: Vault refused the credentials before. Send them only if they have changed since.
    """

    request_id: int
    fresh: bool
    if_changed: bool = False


class RenewToken(ImmutableStruct, frozen=True):
    """Renew the token."""

    request_id: int


class LookUpToken(ImmutableStruct, frozen=True):
    """Look the token up, to find out whether it is still valid."""

    request_id: int


class DetectKvVersion(ImmutableStruct, frozen=True):
    """Find out which version of KV is mounted."""

    request_id: int
    mount: str


class ListFolder(ImmutableStruct, frozen=True):
    """List a folder of KV `version`. `detailed`: the response contains the metadata of each secret."""

    request_id: int
    folder: Folder
    version: int
    detailed: bool


class ReadMetadata(ImmutableStruct, frozen=True):
    """Read a secret's metadata."""

    request_id: int
    ref: Ref


class ReadSecret(ImmutableStruct, frozen=True):
    """Read a secret of KV `version`."""

    request_id: int
    ref: Ref
    version: int


class IssueSecret(ImmutableStruct, frozen=True):
    """Have Vault issue a dynamic secret, under the token with this id. `inputs`: its parameters from secrets."""

    hidden = ("inputs",)

    request_id: int
    need: DynamicSecret
    token: str
    inputs: Mapping[str, object] = {}


class RenewLease(ImmutableStruct, frozen=True):
    """Renew the lease with the agent's own `id`, for as long as its role allows."""

    request_id: int
    id: str
    lease_id: str


class LookUpLease(ImmutableStruct, frozen=True):
    """Find out whether a lease still exists, and for how long."""

    request_id: int
    id: str
    lease_id: str


class RevokeLease(ImmutableStruct, frozen=True):
    """Revoke a lease."""

    request_id: int
    id: str
    lease_id: str


class RevokeToken(ImmutableStruct, frozen=True):
    """Revoke the token with this id, and with it all leases issued under it."""

    request_id: int
    token: str


class ReportVersions(ImmutableStruct, frozen=True):
    """Report at `path` the versions of rotated secrets that the app uses since `generation`. Empty: delete the report.

    `previous`: the versions in the last report, and in those that were sent since without an answer.
    """

    request_id: int
    app: str
    path: str
    versions: Mapping[str, int]
    generation: int
    previous: Mapping[str, int]


class StoreLease(ImmutableStruct, frozen=True):
    """Save a lease in the state store, before it is used."""

    lease: Lease


class ForgetLease(ImmutableStruct, frozen=True):
    """Remove the lease with this id from the state store: it does not exist any more."""

    id: str


class ForgetToken(ImmutableStruct, frozen=True):
    """Remove the token with this id from the state store: it is not needed any more."""

    id: str


class HandleExpiry(ImmutableStruct, frozen=True):
    """An app's files contain secrets that have expired: apply the app's `on_expiry`."""

    app: str
    paths: tuple[str, ...]


class AbandonRequest(ImmutableStruct, frozen=True):
    """Stop waiting for this request; its response will be ignored."""

    request_id: int


class Render(ImmutableStruct, frozen=True):
    """Render an app's files from exactly these secrets."""

    hidden = ("compiled_app", "secrets", "folders", "dynamic")

    app: str
    job: int
    compiled_app: object
    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]


class RenderFallback(ImmutableStruct, frozen=True):
    """Render an app's files from its fallback: it has none, and Vault is unavailable."""

    hidden = ("compiled_app",)

    app: str
    job: int
    compiled_app: object


class SaveSnapshot(ImmutableStruct, frozen=True):
    """Save the secrets in an app's files as its last-known-good snapshot. `ends`: when those that expire do so."""

    hidden = ("secrets", "folders", "dynamic")

    app: str
    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]
    ends: Mapping[DynamicSecret, float]


class RunCheck(ImmutableStruct, frozen=True):
    """Run the app's `check` on a generation before it is published."""

    app: str
    job: int
    generation: Generation


class Publish(ImmutableStruct, frozen=True):
    """Publish a generation: readers see its files from now on.

    Before that moment the publication record says what must follow: `notify`, that the app is to be notified; `probe`,
    that its readiness is to be checked, and that the previous generation must remain until then.
    """

    app: str
    job: int
    generation: Generation
    notify: bool
    probe: bool = False
    fallback: FallbackKind | None = None
    """The fallback from which it was rendered: the record and a marker file say so."""


class Notify(ImmutableStruct, frozen=True):
    """Notify the app that its files changed at `published_at`."""

    app: str
    job: int
    published_at: float


class Probe(ImmutableStruct, frozen=True):
    """Check whether the app works with the files published at `published_at`, about which it was notified later."""

    app: str
    job: int
    published_at: float
    notified_at: float


class CancelProbe(ImmutableStruct, frozen=True):
    """The result of this probe is not needed any more."""

    app: str
    job: int


class MarkReady(ImmutableStruct, frozen=True):
    """Record that the app works with its files."""

    app: str


class AllowRetry(ImmutableStruct, frozen=True):
    """Remove from the record which generation did not work: it may be published again."""

    app: str


class RollBack(ImmutableStruct, frozen=True):
    """Publish the generation `to` again, whose environment was `environ`, and record the fingerprint that failed."""

    hidden = ("environ",)

    app: str
    to: int
    failed_fingerprint: str
    notify: bool
    environ: tuple[tuple[str, str], ...] | None = None


class MarkNotified(ImmutableStruct, frozen=True):
    """Record that the app was notified."""

    app: str


class Prune(ImmutableStruct, frozen=True):
    """Delete these generations of the app."""

    app: str
    numbers: tuple[int, ...]


class CheckFiles(ImmutableStruct, frozen=True):
    """Restore what another program has changed in the app's directory, and watch it from now on.

    `notify`: the record says that the app must be notified if what it reads had changed.
    """

    app: str
    notify: bool


class Log(ImmutableStruct, frozen=True):
    """Write one line to the log."""

    level: str
    event: str
    fields: Mapping[str, object]


TokenCommand = Login | RenewToken | LookUpToken
"""Of the token in use."""
SessionCommand = TokenCommand | RevokeToken
ReadingCommand = DetectKvVersion | ListFolder | ReadMetadata | ReadSecret
LeaseCommand = IssueSecret | RenewLease | LookUpLease | RevokeLease
VaultCommand = SessionCommand | ReadingCommand | LeaseCommand | ReportVersions
StateStoreCommand = StoreLease | ForgetLease | ForgetToken
ReadinessCommand = Probe | CancelProbe | MarkReady | AllowRetry | RollBack
AppCommand = (
    Render
    | RenderFallback
    | SaveSnapshot
    | RunCheck
    | Publish
    | Notify
    | ReadinessCommand
    | MarkNotified
    | Prune
    | HandleExpiry
    | CheckFiles
)
Command = VaultCommand | StateStoreCommand | AppCommand | AbandonRequest | Log
