"""What the service knows, what it hears, and what it wants done. Moments are in seconds since 1970."""

from collections.abc import Mapping

from msgspec import field

from lessee.core.consumers import Consumer, ConfirmationStatus
from lessee.core.immutable import ImmutableStruct
from lessee.ops.rotate.policy.journal import Journal
from lessee.ops.rotate.policy.schedule import Schedule

NEVER = float("inf")


class Plan(ImmutableStruct, frozen=True):
    """What the configuration says of a target that the service has to know."""

    schedule: Schedule
    secret: str
    """Its path, as consumers call it."""
    consumers: tuple[str, ...] = ()
    within: float = 300.0
    lingers: float = 5.0


class Target(ImmutableStruct, frozen=True):
    """A target, and how it stands."""

    plan: Plan
    seen_at: float
    draw: float
    """Where in its jitter the next one comes."""
    journal: Journal | None = None
    """As it was last seen, without values; None: it was not yet."""
    confirmation: ConfirmationStatus | None = None
    failures: int = 0
    """In a row."""
    failed_at: float = 0.0
    error: str = ""
    failing_since: float = 0.0
    again_at: float = 0.0
    """Nothing is done before."""
    at: float = NEVER
    """When there is something to do for it, windows aside."""
    open_only: bool = True
    """And whether that is to finish what has begun."""
    refusal: str = ""
    """Why the clock does not rotate it; that was told."""


class State(ImmutableStruct, frozen=True):
    """All that is known. `chance` is where the next draw comes from."""

    chance: int
    targets: Mapping[str, Target] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Why their journals cannot be read."""
    rotating: frozenset[str] = frozenset()
    at: float = 0.0
    """The moment of the last event."""
    looking: bool = False
    client: bool = False
    look_at: float = 0.0
    looked_at: float = 0.0
    asked_at: float = 0.0
    away_since: float = 0.0
    away_tries: int = 0
    away_text: str = ""
    away_until: float = 0.0
    stopping: bool = False
    work_at: float = NEVER
    """When somebody is to be asked, or something is to be rotated."""
    wake_at: float = NEVER
    """When there will be something to do, if nothing comes meanwhile."""


class Configured(ImmutableStruct, frozen=True):
    """These are the targets, from now on."""

    plans: Mapping[str, Plan]


class Looked(ImmutableStruct, frozen=True):
    """An answer to Look: the journals that are no longer as they were, and why others cannot be read."""

    journals: Mapping[str, Journal]
    unreadable: Mapping[str, str] = field(default_factory=dict)


class Asked(ImmutableStruct, frozen=True):
    """An answer to Ask."""

    consumers: tuple[Consumer, ...]


class Ended(ImmutableStruct, frozen=True):
    """An answer to Rotate: it came to an end, or as far as it goes without waiting."""

    target: str
    journal: Journal


class Failed(ImmutableStruct, frozen=True):
    """An answer to Rotate. `journal` None: it was not even read."""

    target: str
    error: str
    journal: Journal | None = None


class RotationBusy(ImmutableStruct, frozen=True):
    """An answer to Rotate: another rotator is at it."""

    target: str


class VaultUnavailable(ImmutableStruct, frozen=True):
    """An answer to any of them: Vault cannot be asked now. `target`: it was Rotate."""

    text: str
    target: str | None = None


class Tick(ImmutableStruct, frozen=True):
    """Time has passed."""


class Stopping(ImmutableStruct, frozen=True):
    """Begin nothing any more."""


Event = Configured | Looked | Asked | Ended | Failed | RotationBusy | VaultUnavailable | Tick | Stopping


class Look(ImmutableStruct, frozen=True):
    """Read the journals of these. `unknown`: those of which none was seen yet."""

    targets: tuple[str, ...]
    unknown: frozenset[str]


class Ask(ImmutableStruct, frozen=True):
    """Ask who has confirmed what."""


class Rotate(ImmutableStruct, frozen=True):
    """Rotate, unless that was done since `seen`. `open_only`: finish what has begun, and begin nothing."""

    target: str
    seen: float
    open_only: bool


class Tell(ImmutableStruct, frozen=True):
    """Say it once."""

    level: str
    event: str
    fields: Mapping[str, object]


Command = Look | Ask | Rotate | Tell
