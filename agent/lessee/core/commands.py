"""What the machine wants done."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lessee.core.generation import Generation
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret


@dataclass(frozen=True, slots=True)
class Login:
    """Adopt the kept token if `fresh` is False and it is still good, else log in."""

    call: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class RenewToken:
    """Renew the token."""

    call: int


@dataclass(frozen=True, slots=True)
class CheckToken:
    """Look the token up: is it still valid?"""

    call: int


@dataclass(frozen=True, slots=True)
class FindMount:
    """Ask which version of KV is mounted."""

    call: int
    mount: str


@dataclass(frozen=True, slots=True)
class ListFolder:
    """List a folder: `detailed` with the secrets' markers in the same answer. `version` of KV."""

    call: int
    folder: Folder
    version: int
    detailed: bool


@dataclass(frozen=True, slots=True)
class LookAt:
    """Read a secret's metadata."""

    call: int
    ref: Ref


@dataclass(frozen=True, slots=True)
class ReadSecret:
    """Read a secret. `version` of KV."""

    call: int
    ref: Ref
    version: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Do not wait for this call any more; its answer will be passed over."""

    call: int


@dataclass(frozen=True, slots=True)
class Render:
    """Render an app's files from exactly these secrets."""

    app: str
    job: int
    recipe: object = field(repr=False)
    secrets: Mapping[Ref, Secret] = field(repr=False)
    folders: Mapping[Folder, Mapping[str, Secret]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Publish:
    """Make a generation the one that readers see. `owe`: note durably, before that moment, that it is to be told."""

    app: str
    job: int
    generation: Generation
    owe: bool


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the app that its files changed at `published_at`."""

    app: str
    job: int
    published_at: float


@dataclass(frozen=True, slots=True)
class Settle:
    """The app has been told: forget durably that it was owed."""

    app: str


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove the app's old generations."""

    app: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Say something to the operator: one event, one line."""

    level: str
    event: str
    fields: Mapping[str, object]


VaultCommand = Login | RenewToken | CheckToken | FindMount | ListFolder | LookAt | ReadSecret
Command = VaultCommand | Abandon | Render | Publish | Notify | Settle | Prune | Tell
