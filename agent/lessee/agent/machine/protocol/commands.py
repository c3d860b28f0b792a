"""What the machine wants done."""

from collections.abc import Mapping

from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import ImmutableStruct
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret


class Login(ImmutableStruct, frozen=True):
    """Adopt the kept token if `fresh` is False and it is still good, else log in.

    `if_changed`: the credentials were refused before; Vault is asked only where they are others now.
    """

    call: int
    fresh: bool
    if_changed: bool = False


class RenewToken(ImmutableStruct, frozen=True):
    """Renew the token."""

    call: int


class LookUpToken(ImmutableStruct, frozen=True):
    """Look the token up: is it still valid?"""

    call: int


class DetectKvVersion(ImmutableStruct, frozen=True):
    """Ask which version of KV is mounted."""

    call: int
    mount: str


class ListFolder(ImmutableStruct, frozen=True):
    """List a folder: `detailed` with the secrets' version metadata in the same answer. `version` of KV."""

    call: int
    folder: Folder
    version: int
    detailed: bool


class ReadMetadata(ImmutableStruct, frozen=True):
    """Read a secret's metadata."""

    call: int
    ref: Ref


class ReadSecret(ImmutableStruct, frozen=True):
    """Read a secret. `version` of KV."""

    call: int
    ref: Ref
    version: int


class IssueSecret(ImmutableStruct, frozen=True):
    """Ask for a dynamic secret, under the token with this id."""

    call: int
    need: DynamicSecret
    token: str


class RenewLease(ImmutableStruct, frozen=True):
    """Renew the lease that has this id with us, for as long as its role says."""

    call: int
    id: str
    lease_id: str


class LookUpLease(ImmutableStruct, frozen=True):
    """Is this lease still there, and how long?"""

    call: int
    id: str
    lease_id: str


class RevokeLease(ImmutableStruct, frozen=True):
    """End a lease now."""

    call: int
    id: str
    lease_id: str


class RevokeToken(ImmutableStruct, frozen=True):
    """End the token with this id now, and with it all that was issued under it."""

    call: int
    token: str


class ReportVersions(ImmutableStruct, frozen=True):
    """Say at `where` that the app works with these versions of secrets, since a generation. Empty: take it back.

    `before`: what was said last.
    """

    call: int
    app: str
    where: str
    versions: Mapping[str, int]
    generation: int
    before: Mapping[str, int]


class StoreLease(ImmutableStruct, frozen=True):
    """Note a lease durably, before it is used."""

    lease: Lease


class ForgetLease(ImmutableStruct, frozen=True):
    """The lease with this id is no more."""

    id: str


class ForgetToken(ImmutableStruct, frozen=True):
    """The token with this id is not needed any more."""

    id: str


class HandleExpiry(ImmutableStruct, frozen=True):
    """An app's files hold what is no longer valid: do as the app wants it, `on_expiry`."""

    app: str
    paths: tuple[str, ...]


class AbandonRequest(ImmutableStruct, frozen=True):
    """Do not wait for this call any more; its answer will be passed over."""

    call: int


class Render(ImmutableStruct, frozen=True):
    """Render an app's files from exactly these secrets."""

    hidden = ("recipe", "secrets", "folders", "dynamic")

    app: str
    job: int
    recipe: object
    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]


class RenderFallback(ImmutableStruct, frozen=True):
    """Make an app's files from its fallback: Vault is away, and there are none."""

    hidden = ("recipe",)

    app: str
    job: int
    recipe: object


class SaveSnapshot(ImmutableStruct, frozen=True):
    """Keep for a later cold start what an app's files were made from. `ends`: when that of what ends does."""

    hidden = ("secrets", "folders", "dynamic")

    app: str
    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]
    ends: Mapping[DynamicSecret, float]


class RunCheck(ImmutableStruct, frozen=True):
    """Let the app's `check` judge a generation that no reader sees yet."""

    app: str
    job: int
    generation: Generation


class Publish(ImmutableStruct, frozen=True):
    """Make a generation the one that readers see.

    What follows is noted durably before that moment: `owe`, that it is to be told; `prove`, that it is to be proved,
    and what readers saw before is to be kept until then.
    """

    app: str
    job: int
    generation: Generation
    owe: bool
    prove: bool = False
    fallback: FallbackKind | None = None
    """It comes from a fallback: that is noted too, and shown beside it."""


class Notify(ImmutableStruct, frozen=True):
    """Tell the app that its files changed at `published_at`."""

    app: str
    job: int
    published_at: float


class Probe(ImmutableStruct, frozen=True):
    """Look whether the app works with what was published at `published_at`, and it was told of at `told_at`."""

    app: str
    job: int
    published_at: float
    told_at: float


class CancelProbe(ImmutableStruct, frozen=True):
    """Nobody waits for this proof any more."""

    app: str
    job: int


class MarkReady(ImmutableStruct, frozen=True):
    """The app works with what it sees: note it durably."""

    app: str


class AllowRetry(ImmutableStruct, frozen=True):
    """Forget durably which generation did not work: it may be tried again."""

    app: str


class RollBack(ImmutableStruct, frozen=True):
    """Show the generation `to` again, whose environment was `environ`, and remember the fingerprint of a bad one."""

    hidden = ("environ",)

    app: str
    to: int
    bad: str
    owe: bool
    environ: tuple[tuple[str, str], ...] | None = None


class MarkNotified(ImmutableStruct, frozen=True):
    """The app has been told: forget durably that it was owed."""

    app: str


class Prune(ImmutableStruct, frozen=True):
    """Remove these generations of the app."""

    app: str
    numbers: tuple[int, ...]


class Log(ImmutableStruct, frozen=True):
    """Say something to the operator: one event, one line."""

    level: str
    event: str
    fields: Mapping[str, object]


SessionCommand = Login | RenewToken | LookUpToken | RevokeToken
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
)
Command = VaultCommand | StateStoreCommand | AppCommand | AbandonRequest | Log
