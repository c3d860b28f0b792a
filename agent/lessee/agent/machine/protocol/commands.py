"""What the machine wants done."""

from collections.abc import Mapping

from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import Record
from lessee.core.leases import Lease
from lessee.core.paths import Dynamic, Folder, Ref
from lessee.core.secrets import Secret


class Login(Record, frozen=True):
    """Adopt the kept token if `fresh` is False and it is still good, else log in.

    `if_changed`: the credentials were refused before; Vault is asked only where they are others now.
    """

    call: int
    fresh: bool
    if_changed: bool = False


class RenewToken(Record, frozen=True):
    """Renew the token."""

    call: int


class CheckToken(Record, frozen=True):
    """Look the token up: is it still valid?"""

    call: int


class DetectKvVersion(Record, frozen=True):
    """Ask which version of KV is mounted."""

    call: int
    mount: str


class ListFolder(Record, frozen=True):
    """List a folder: `detailed` with the secrets' markers in the same answer. `version` of KV."""

    call: int
    folder: Folder
    version: int
    detailed: bool


class ReadMetadata(Record, frozen=True):
    """Read a secret's metadata."""

    call: int
    ref: Ref


class ReadSecret(Record, frozen=True):
    """Read a secret. `version` of KV."""

    call: int
    ref: Ref
    version: int


class Issue(Record, frozen=True):
    """Ask for a dynamic secret, under the token with this id."""

    call: int
    need: Dynamic
    token: str


class RenewLease(Record, frozen=True):
    """Renew the lease that has this id with us, for as long as its role says."""

    call: int
    id: str
    lease_id: str


class LookUpLease(Record, frozen=True):
    """Is this lease still there, and how long?"""

    call: int
    id: str
    lease_id: str


class RevokeLease(Record, frozen=True):
    """End a lease now."""

    call: int
    id: str
    lease_id: str


class RevokeToken(Record, frozen=True):
    """End the token with this id now, and with it all that was issued under it."""

    call: int
    token: str


class Report(Record, frozen=True):
    """Say at `where` that the app works with these versions of secrets, since a generation. Empty: take it back.

    `before`: what was said last.
    """

    call: int
    app: str
    where: str
    versions: Mapping[str, int]
    generation: int
    before: Mapping[str, int]


class KeepLease(Record, frozen=True):
    """Note a lease durably, before it is used."""

    lease: Lease


class ForgetLease(Record, frozen=True):
    """The lease with this id is no more."""

    id: str


class ForgetToken(Record, frozen=True):
    """The token with this id is not needed any more."""

    id: str


class Expire(Record, frozen=True):
    """An app's files hold what is no longer valid: do as the app wants it, `on_expiry`."""

    app: str
    paths: tuple[str, ...]


class Abandon(Record, frozen=True):
    """Do not wait for this call any more; its answer will be passed over."""

    call: int


class Render(Record, frozen=True):
    """Render an app's files from exactly these secrets."""

    hidden = ("recipe", "secrets", "folders", "dynamic")

    app: str
    job: int
    recipe: object
    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[Dynamic, Secret]


class FallBack(Record, frozen=True):
    """Make an app's files from its fallback: Vault is away, and there are none."""

    hidden = ("recipe",)

    app: str
    job: int
    recipe: object


class KeepGood(Record, frozen=True):
    """Keep for a later cold start what an app's files were made from. `ends`: when that of what ends does."""

    hidden = ("secrets", "folders", "dynamic")

    app: str
    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[Dynamic, Secret]
    ends: Mapping[Dynamic, float]


class Check(Record, frozen=True):
    """Let the app's `check` judge a generation that no reader sees yet."""

    app: str
    job: int
    generation: Generation


class Publish(Record, frozen=True):
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


class Notify(Record, frozen=True):
    """Tell the app that its files changed at `published_at`."""

    app: str
    job: int
    published_at: float


class Prove(Record, frozen=True):
    """Look whether the app works with what was published at `published_at`, and it was told of at `told_at`."""

    app: str
    job: int
    published_at: float
    told_at: float


class CancelProbe(Record, frozen=True):
    """Nobody waits for this proof any more."""

    app: str
    job: int


class Confirm(Record, frozen=True):
    """The app works with what it sees: note it durably."""

    app: str


class Forgive(Record, frozen=True):
    """Forget durably which generation did not work: it may be tried again."""

    app: str


class RollBack(Record, frozen=True):
    """Show the generation `to` again, whose environment was `environ`, and remember the fingerprint of a bad one."""

    hidden = ("environ",)

    app: str
    to: int
    bad: str
    owe: bool
    environ: tuple[tuple[str, str], ...] | None = None


class Settle(Record, frozen=True):
    """The app has been told: forget durably that it was owed."""

    app: str


class Prune(Record, frozen=True):
    """Remove these generations of the app."""

    app: str
    numbers: tuple[int, ...]


class Tell(Record, frozen=True):
    """Say something to the operator: one event, one line."""

    level: str
    event: str
    fields: Mapping[str, object]


SessionCommand = Login | RenewToken | CheckToken | RevokeToken
ReadingCommand = DetectKvVersion | ListFolder | ReadMetadata | ReadSecret
LeaseCommand = Issue | RenewLease | LookUpLease | RevokeLease
VaultCommand = SessionCommand | ReadingCommand | LeaseCommand | Report
KeepingCommand = KeepLease | ForgetLease | ForgetToken
ProvingCommand = Prove | CancelProbe | Confirm | Forgive | RollBack
AppCommand = Render | FallBack | KeepGood | Check | Publish | Notify | ProvingCommand | Settle | Prune | Expire
Command = VaultCommand | KeepingCommand | AppCommand | Abandon | Tell
