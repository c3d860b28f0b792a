"""What can happen to the machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lessee.core.failures import Failure
from lessee.core.generation import Generation
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Marker, Secret


@dataclass(frozen=True, slots=True)
class Want:
    """What an app wants. `recipe` stands for its templates and settings: another recipe, another rendering."""

    needs: frozenset[Ref | Folder]
    refresh: float
    notifies: bool
    recipe: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration is in force. `identity` changes when another login is wanted."""

    apps: Mapping[str, Want]
    identity: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """What stood in an app's directory and ledger when the agent came: its live generation, whether it is owed."""

    app: str
    number: int | None
    owed: bool
    published_at: float | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its value. Times in seconds on the boot clock; `ttl` 0: it does not end."""

    accessor: str
    sent_at: float
    ttl: float
    renewable: bool

    @property
    def ends_at(self) -> float:
        """Counted from the sending of the request, so that it is never later than the server's own end."""
        return self.sent_at + self.ttl if self.ttl else float("inf")


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login, or the adoption of a kept token, gave a token."""

    call: int
    token: Token


@dataclass(frozen=True, slots=True)
class Renewed:
    """The token was renewed, or looked up: it is valid, and this is what is left of it."""

    call: int
    token: Token


@dataclass(frozen=True, slots=True)
class MountFound:
    """A KV mount and its version, 1 or 2."""

    call: int
    version: int


@dataclass(frozen=True, slots=True)
class Listed:
    """The secrets of a folder; their markers where the server lists those, else None each."""

    call: int
    markers: Mapping[str, Marker | None]


@dataclass(frozen=True, slots=True)
class Looked:
    """The newest version of a secret, by its metadata."""

    call: int
    marker: Marker


@dataclass(frozen=True, slots=True)
class Read:
    """A secret."""

    call: int
    secret: Secret


@dataclass(frozen=True, slots=True)
class Failed:
    """A call to Vault failed. `marker`: of a deleted version."""

    call: int
    failure: Failure
    marker: Marker | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """The files of an app, from the inputs that were handed out with `job`."""

    app: str
    job: int
    generation: Generation


@dataclass(frozen=True, slots=True)
class RenderFailed:
    """The templates could not be rendered from these inputs."""

    app: str
    job: int
    text: str


@dataclass(frozen=True, slots=True)
class Published:
    """A reader sees this generation now; `changed` False: it saw the same before."""

    app: str
    job: int
    number: int
    changed: bool


@dataclass(frozen=True, slots=True)
class PublishFailed:
    """The files could not be written; a reader still sees the old generation."""

    app: str
    job: int
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """The app has been told; `how` says it in words."""

    app: str
    job: int
    how: str


@dataclass(frozen=True, slots=True)
class NotTold:
    """The app could not be told. `absent`: nobody was there to be told.

    `retry_in`: seconds, where the effect knows better than a backoff.
    """

    app: str
    job: int
    text: str
    absent: bool = False
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Nudged:
    """Somebody asks to look now; no paths: at everything. A path is matched with or without its mount."""

    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Answer = LoggedIn | Renewed | MountFound | Listed | Looked | Read | Failed
Event = (
    Answer
    | Configured
    | Recovered
    | Rendered
    | RenderFailed
    | Published
    | PublishFailed
    | Told
    | NotTold
    | Nudged
    | Tick
)
